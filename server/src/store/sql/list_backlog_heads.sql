-- A skip scan: one index descent an endpoint and priority, however long its backlog. Endpoints that may not get anything now stay out.
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
SELECT firsts.endpoint_key, firsts.priority, firsts.due, p.tenant,
  (SELECT h.hold_until_time FROM endpoint_health h WHERE h.endpoint_key = firsts.endpoint_key)
FROM firsts JOIN endpoints p ON p.key = firsts.endpoint_key
WHERE firsts.due IS NOT NULL AND p.state = 1 AND p.delete_time IS NULL
