UPDATE endpoints SET state = $2, disabled_reason = $3, paused_reason = $4, revision = revision + 1, update_time = $5 WHERE key = $1
