DELETE FROM event_keys WHERE (tenant, kind, id) IN (
  SELECT tenant, kind, id FROM event_keys WHERE kind = 2 AND create_time < $1 ORDER BY create_time LIMIT $2)
