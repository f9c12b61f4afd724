WITH input (event_seq, endpoint_key, part, due) AS (/*rows*/)
INSERT INTO backlog (event_seq, endpoint_key, part, state, priority, due, lease_epoch, lease_token, attempt_count, schedule_attempts,
  loss_count, ordering_key)
SELECT event_seq, endpoint_key, part, 1, 1, due, NULL, 0, 0, 0, 0, '' FROM input
