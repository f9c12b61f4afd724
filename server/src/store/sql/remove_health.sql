DELETE FROM endpoint_health WHERE endpoint_key = $1
