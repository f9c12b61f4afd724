-- ON CONFLICT: a fresh delivery may have got a backlog row just before.
INSERT INTO backlog (event_seq, endpoint_key, part, state, priority, due, lease_epoch, lease_token, attempt_count, schedule_attempts,
  loss_count, ordering_key)
SELECT event_seq, endpoint_key, part, 1, 1, $4, NULL, 0, attempt_count, 0, 1, ''
FROM deliveries WHERE event_seq >= $2 AND event_seq <= $3 AND owner_epoch = $1 AND state = 1
ON CONFLICT DO NOTHING
