SELECT d.event_seq, d.endpoint_key, d.part, d.state, d.revision, d.attempt_count, d.last_class, d.last_status, d.update_time,
  e.id, e.type, e.create_time, p.id, p.state, p.delete_time, b.due
FROM deliveries d JOIN events e ON e.seq = d.event_seq JOIN endpoints p ON p.key = d.endpoint_key
LEFT JOIN backlog b ON b.event_seq = d.event_seq AND b.endpoint_key = d.endpoint_key AND b.part = d.part
WHERE d.event_seq = $1 AND d.endpoint_key = $2 AND d.part = $3 AND e.tenant = $4
