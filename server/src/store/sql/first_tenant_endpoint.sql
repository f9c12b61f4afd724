SELECT key FROM endpoints WHERE tenant = $1 LIMIT 1
