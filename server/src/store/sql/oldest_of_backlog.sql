-- One look into the index an endpoint and state. What a pause holds back is nobody's delay.
WITH RECURSIVE heads (endpoint_key) AS (
  SELECT MIN(endpoint_key) FROM backlog
  UNION ALL
  SELECT (SELECT MIN(b.endpoint_key) FROM backlog b WHERE b.endpoint_key > heads.endpoint_key)
  FROM heads WHERE heads.endpoint_key IS NOT NULL
), firsts (event_seq) AS (
  SELECT (SELECT MIN(b.event_seq) FROM backlog b WHERE b.endpoint_key = heads.endpoint_key AND b.state = states.state)
  FROM heads JOIN endpoints p ON p.key = heads.endpoint_key CROSS JOIN (SELECT 1 AS state UNION ALL SELECT 2) AS states
  WHERE p.state = 1 AND p.delete_time IS NULL
)
SELECT e.create_time FROM events e WHERE e.seq = (SELECT MIN(firsts.event_seq) FROM firsts)
