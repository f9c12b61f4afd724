INSERT INTO backlog (event_seq, endpoint_key, part, state, priority, due, lease_epoch, lease_token, attempt_count, schedule_attempts,
  loss_count, ordering_key)
VALUES ($1, $2, $3, 1, 1, $4, NULL, 0, $5, 0, 0, '')
ON CONFLICT (event_seq, endpoint_key, part) DO UPDATE SET state = 1, due = excluded.due, lease_epoch = NULL,
  lease_token = backlog.lease_token + 1, schedule_attempts = 0, loss_count = 0
