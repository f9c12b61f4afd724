SELECT event_seq, endpoint_key, part FROM deliveries
WHERE event_seq >= $2 AND owner_epoch = $1 AND state = 1
ORDER BY event_seq, endpoint_key, part LIMIT $3
