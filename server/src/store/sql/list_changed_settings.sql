SELECT id, settings_version FROM tenants WHERE settings_time >= $1 ORDER BY settings_time LIMIT 10000
