DELETE FROM event_types WHERE tenant = $1 AND (tenant, name) IN (SELECT tenant, name FROM event_types WHERE tenant = $1 LIMIT $2)
