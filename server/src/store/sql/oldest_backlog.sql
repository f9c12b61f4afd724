SELECT MIN(e.create_time) FROM events e
WHERE e.seq IN (SELECT MIN(b.event_seq) FROM backlog b WHERE b.endpoint_key = $1 AND b.state = 1
  UNION ALL SELECT MIN(b.event_seq) FROM backlog b WHERE b.endpoint_key = $1 AND b.state = 2)
