UPDATE deliveries SET state = 1, revision = revision + 1, update_time = $4, owner_epoch = NULL WHERE event_seq = $1 AND endpoint_key = $2 AND part = $3
