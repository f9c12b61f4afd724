UPDATE requests SET response = $4 WHERE tenant = $1 AND method = $2 AND request_id = $3
