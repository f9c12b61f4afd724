SELECT seq, commit_time, changes, tenant FROM journal
WHERE epoch = $1 AND lane = $2 AND seq > $3 ORDER BY seq, tenant LIMIT $4
