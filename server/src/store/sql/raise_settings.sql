UPDATE tenants SET settings_version = settings_version + 1, settings_time = $2 WHERE id = $1
