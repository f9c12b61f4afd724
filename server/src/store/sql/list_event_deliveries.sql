SELECT d.event_seq, d.endpoint_key, d.part, d.state, d.revision, d.attempt_count, d.last_class, d.last_status, d.update_time,
  e.id, e.type, e.create_time, p.id, p.state, p.delete_time, b.due
FROM event_keys k JOIN events e ON e.seq = k.event_seq
JOIN deliveries d ON d.event_seq = e.seq JOIN endpoints p ON p.key = d.endpoint_key
LEFT JOIN backlog b ON b.event_seq = d.event_seq AND b.endpoint_key = d.endpoint_key AND b.part = d.part
WHERE k.tenant = $4 AND k.kind = 1 AND k.id = $5 AND (d.event_seq, d.endpoint_key, d.part) < ($1, $2, $3)
ORDER BY d.event_seq DESC, d.endpoint_key DESC, d.part DESC LIMIT $6
