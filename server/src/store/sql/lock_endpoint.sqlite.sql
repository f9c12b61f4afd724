SELECT p.key, p.state FROM tenants t JOIN endpoints p ON p.tenant = t.id
WHERE t.id = $1 AND t.state = 1 AND p.id = $2 AND p.delete_time IS NULL
