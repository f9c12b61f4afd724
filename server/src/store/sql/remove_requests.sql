DELETE FROM requests WHERE tenant = $1 AND (tenant, method, request_id) IN (SELECT tenant, method, request_id FROM requests WHERE tenant = $1 LIMIT $2)
