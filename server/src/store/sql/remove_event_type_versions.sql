DELETE FROM event_type_versions WHERE tenant = $1 AND (tenant, name, schema_version) IN (SELECT tenant, name, schema_version FROM event_type_versions WHERE tenant = $1 LIMIT $2)
