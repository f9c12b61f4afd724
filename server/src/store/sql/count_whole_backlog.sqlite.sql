-- A skip scan over endpoints, then rows of one state until the limit. CROSS JOIN keeps SQLite from turning the two around.
WITH RECURSIVE heads (endpoint_key) AS (
  SELECT MIN(endpoint_key) FROM backlog
  UNION ALL
  SELECT (SELECT MIN(b.endpoint_key) FROM backlog b WHERE b.endpoint_key > heads.endpoint_key)
  FROM heads WHERE heads.endpoint_key IS NOT NULL
)
SELECT COUNT(*) FROM (
  SELECT 1 FROM heads CROSS JOIN backlog b ON b.endpoint_key = heads.endpoint_key AND b.state = $1 LIMIT $2
) AS counted
