UPDATE tenants SET state = 3, display_name = '', update_time = $2 WHERE id = $1
