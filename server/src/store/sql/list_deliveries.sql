-- Walks the tenant's events backwards; their deliveries are looked up by key. An event without deliveries gives a row of its own.
SELECT e.seq, d.endpoint_key, d.part, d.state, d.revision, d.attempt_count, d.last_class, d.last_status, d.update_time,
  e.id, e.type, e.create_time, p.id, p.state, p.delete_time, b.due
FROM (SELECT seq, id, type, create_time FROM events WHERE tenant = $4 AND seq <= $1 ORDER BY seq DESC LIMIT $5) AS e
LEFT JOIN deliveries d ON d.event_seq = e.seq AND (d.event_seq, d.endpoint_key, d.part) < ($1, $2, $3)
LEFT JOIN endpoints p ON p.key = d.endpoint_key
LEFT JOIN backlog b ON b.event_seq = d.event_seq AND b.endpoint_key = d.endpoint_key AND b.part = d.part
ORDER BY e.seq DESC, d.endpoint_key DESC, d.part DESC LIMIT $5
