INSERT INTO requests (tenant, method, request_id, hash, response, create_time) VALUES ($1, $2, $3, $4, '', $5)
ON CONFLICT DO NOTHING
