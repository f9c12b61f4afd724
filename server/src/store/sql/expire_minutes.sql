DELETE FROM endpoint_minutes WHERE (endpoint_key, minute) IN (
  SELECT endpoint_key, minute FROM endpoint_minutes WHERE minute < $1 LIMIT $2)
