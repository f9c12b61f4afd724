-- A look into the index for each endpoint: the order keeps the planner from reading the backlog until it meets the endpoint.
SELECT p.key FROM endpoints p WHERE p.tenant = $1 AND ($2 = '' OR p.id = $2)
  AND (SELECT b.event_seq FROM backlog b WHERE b.endpoint_key = p.key AND b.state >= 2 ORDER BY b.state, b.event_seq LIMIT 1) IS NOT NULL
