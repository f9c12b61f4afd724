WITH input (event_seq, endpoint_key, part, create_time, owner_epoch) AS (/*rows*/)
INSERT INTO deliveries (event_seq, endpoint_key, part, state, revision, attempt_count, last_class, last_status, last_ms, update_time,
  owner_epoch)
SELECT event_seq, endpoint_key, part, 1, 1, 0, 0, 0, 0, create_time, owner_epoch FROM input
