UPDATE backlog SET due = $4 WHERE event_seq = $1 AND endpoint_key = $2 AND part = $3 AND lease_epoch IS NULL AND due > $4
