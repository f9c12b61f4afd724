DELETE FROM migration_lease WHERE id = 1 AND holder = $1
