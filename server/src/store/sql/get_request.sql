SELECT hash, response FROM requests WHERE tenant = $1 AND method = $2 AND request_id = $3
