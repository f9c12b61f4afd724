SELECT seq, delivery_count FROM events WHERE tenant = $1 ORDER BY seq LIMIT $2
