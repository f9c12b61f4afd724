DELETE FROM event_keys WHERE tenant = $1 AND (tenant, kind, id) IN (SELECT tenant, kind, id FROM event_keys WHERE tenant = $1 LIMIT $2)
