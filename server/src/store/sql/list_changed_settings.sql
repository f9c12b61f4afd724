SELECT id, settings_version, state FROM tenants WHERE settings_time >= $1 ORDER BY settings_time LIMIT 10000
