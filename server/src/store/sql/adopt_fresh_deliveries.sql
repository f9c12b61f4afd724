UPDATE deliveries SET owner_epoch = NULL
WHERE event_seq >= $2 AND event_seq <= $3 AND owner_epoch = $1 AND state = 1
