SELECT seq, tenant, id, type, subject, occurred_time, create_time, txn, schema_version, payload FROM events WHERE seq = $1
