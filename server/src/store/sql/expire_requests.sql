DELETE FROM requests WHERE (tenant, method, request_id) IN (
  SELECT tenant, method, request_id FROM requests WHERE create_time < $1 ORDER BY create_time LIMIT $2)
