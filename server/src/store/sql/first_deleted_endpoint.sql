-- A look into the index for each deleted endpoint: the order keeps the planner from reading the backlog until it meets the endpoint.
SELECT p.key, p.id FROM endpoints p WHERE p.delete_time IS NOT NULL
  AND (SELECT b.event_seq FROM backlog b WHERE b.endpoint_key = p.key AND b.state <= 2 ORDER BY b.state, b.event_seq LIMIT 1) IS NOT NULL
LIMIT 1
