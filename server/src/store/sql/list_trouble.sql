-- Retrying and dead deliveries are in the backlog: of one endpoint, or with '' of all of the tenant.
SELECT d.event_seq, d.endpoint_key, d.part, d.state, d.revision, d.attempt_count, d.last_class, d.last_status, d.update_time,
  e.id, e.type, e.create_time, p.id, p.state, p.delete_time, b.due
FROM endpoints p JOIN backlog b ON b.endpoint_key = p.key
JOIN deliveries d ON d.event_seq = b.event_seq AND d.endpoint_key = b.endpoint_key AND d.part = b.part
JOIN events e ON e.seq = d.event_seq
WHERE p.tenant = $4 AND ($5 = '' OR p.id = $5) AND p.delete_time IS NULL AND b.state IN (2, 5)
  AND (b.event_seq, b.endpoint_key, b.part) < ($1, $2, $3)
ORDER BY b.event_seq DESC, b.endpoint_key DESC, b.part DESC LIMIT $6
