SELECT d.state, d.revision, d.attempt_count, d.last_class, d.last_status, e.id, e.type, e.create_time, p.id, p.delete_time
FROM deliveries d JOIN events e ON e.seq = d.event_seq JOIN endpoints p ON p.key = d.endpoint_key
WHERE d.event_seq = $1 AND d.endpoint_key = $2 AND d.part = $3 AND e.tenant = $4
