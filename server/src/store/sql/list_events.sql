SELECT e.seq, e.id, e.type, e.subject, e.tags, e.occurred_time, e.create_time, e.txn, e.delivery_count, e.schema_version
FROM events e WHERE e.tenant = $1 AND e.seq < $2 ORDER BY e.seq DESC LIMIT $3
