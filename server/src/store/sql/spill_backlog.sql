WITH input (event_seq, endpoint_key, part) AS (/*rows*/)
INSERT INTO backlog (event_seq, endpoint_key, part, state, priority, due, lease_epoch, lease_token, attempt_count, schedule_attempts,
  loss_count, ordering_key)
SELECT d.event_seq, d.endpoint_key, d.part, 1, 1, $1, NULL, 0, d.attempt_count, 0, 0, ''
FROM input JOIN deliveries d ON d.event_seq = input.event_seq AND d.endpoint_key = input.endpoint_key AND d.part = input.part
WHERE d.owner_epoch = $2 AND d.state = 1
ON CONFLICT DO NOTHING
