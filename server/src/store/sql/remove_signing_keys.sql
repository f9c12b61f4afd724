DELETE FROM signing_keys WHERE tenant = $1 AND (tenant, number) IN (SELECT tenant, number FROM signing_keys WHERE tenant = $1 LIMIT $2)
