DELETE FROM endpoint_secrets WHERE endpoint_key = $1
