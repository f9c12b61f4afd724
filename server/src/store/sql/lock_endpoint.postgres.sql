-- The tenant's row first, as every change of its endpoints holds it. The endpoint's row too: who has waited for the tenant's would see the
-- endpoint as it was before the wait.
SELECT p.key, p.state FROM tenants t JOIN endpoints p ON p.tenant = t.id
WHERE t.id = $1 AND t.state = 1 AND p.id = $2 AND p.delete_time IS NULL
FOR UPDATE OF t FOR NO KEY UPDATE OF p
