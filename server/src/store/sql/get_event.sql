SELECT e.seq, e.id, e.type, e.subject, e.tags, e.occurred_time, e.create_time, e.txn, e.delivery_count, e.schema_version, e.payload
FROM event_keys k JOIN events e ON e.seq = k.event_seq
WHERE k.tenant = $1 AND k.kind = 1 AND k.id = $2
