DELETE FROM endpoint_minutes WHERE endpoint_key = $1
