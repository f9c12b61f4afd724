SELECT seq, commit_time, changes FROM journal
WHERE tenant = $1 AND epoch = $2 AND lane = $3 AND seq > $4 AND commit_time >= $5
ORDER BY seq LIMIT $6
