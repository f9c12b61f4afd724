INSERT INTO migration_lease (id, holder, until) VALUES (1, $1, $3)
ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE migration_lease.until < $2 OR migration_lease.holder = $1
