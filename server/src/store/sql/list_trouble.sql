-- One state of one endpoint, newest event first: the index has them in this order, however many there are.
SELECT d.event_seq, d.endpoint_key, d.part, d.state, d.revision, d.attempt_count, d.last_class, d.last_status, d.update_time,
  e.id, e.type, e.create_time, p.id, p.state, p.delete_time, newest.due
FROM (SELECT event_seq, endpoint_key, part, due FROM backlog
  WHERE endpoint_key = $1 AND state = $2 AND event_seq <= $3 AND (event_seq < $3 OR part < $4)
  ORDER BY event_seq DESC, part DESC LIMIT $5) AS newest
JOIN deliveries d ON d.event_seq = newest.event_seq AND d.endpoint_key = newest.endpoint_key AND d.part = newest.part
JOIN events e ON e.seq = d.event_seq JOIN endpoints p ON p.key = d.endpoint_key
ORDER BY d.event_seq DESC, d.part DESC
