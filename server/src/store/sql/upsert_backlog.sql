WITH input (event_seq, endpoint_key, part, state, priority, due, attempt_count, schedule_attempts) AS (/*rows*/)
INSERT INTO backlog (event_seq, endpoint_key, part, state, priority, due, lease_epoch, lease_token, attempt_count, schedule_attempts,
  loss_count, ordering_key)
SELECT event_seq, endpoint_key, part, state, priority, due, NULL, 0, attempt_count, schedule_attempts, 0, '' FROM input WHERE true
ON CONFLICT (event_seq, endpoint_key, part) DO UPDATE SET state = excluded.state, due = excluded.due, lease_epoch = NULL,
  attempt_count = excluded.attempt_count, schedule_attempts = excluded.schedule_attempts, loss_count = 0
