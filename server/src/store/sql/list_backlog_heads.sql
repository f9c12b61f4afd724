-- A skip scan: one index descent an endpoint, however long its backlog.
WITH RECURSIVE heads (endpoint_key) AS (
  SELECT MIN(endpoint_key) FROM backlog WHERE due IS NOT NULL
  UNION ALL
  SELECT (SELECT MIN(b.endpoint_key) FROM backlog b WHERE b.due IS NOT NULL AND b.endpoint_key > heads.endpoint_key)
  FROM heads WHERE heads.endpoint_key IS NOT NULL
), firsts (endpoint_key, priority, due) AS (
  SELECT heads.endpoint_key, priorities.priority,
    (SELECT MIN(b.due) FROM backlog b
     WHERE b.endpoint_key = heads.endpoint_key AND b.priority = priorities.priority AND b.due IS NOT NULL)
  FROM heads CROSS JOIN (SELECT 0 AS priority UNION ALL SELECT 1 UNION ALL SELECT 2) AS priorities
  WHERE heads.endpoint_key IS NOT NULL
)
SELECT endpoint_key, priority, due FROM firsts WHERE due IS NOT NULL
