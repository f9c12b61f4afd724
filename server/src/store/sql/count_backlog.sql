SELECT COUNT(*) FROM (SELECT 1 FROM backlog WHERE endpoint_key = $1 AND state = $2 ORDER BY event_seq LIMIT $3) AS counted
