SELECT id, update_time FROM tenants WHERE state = 2 ORDER BY update_time LIMIT 1 FOR UPDATE SKIP LOCKED
