WITH input (event_seq, endpoint_key, part) AS (/*rows*/)
UPDATE deliveries SET state = 6, revision = deliveries.revision + 1, update_time = $1, owner_epoch = NULL
FROM input
WHERE deliveries.event_seq = input.event_seq AND deliveries.endpoint_key = input.endpoint_key AND deliveries.part = input.part
  AND deliveries.state IN (1, 2)
RETURNING deliveries.event_seq, deliveries.endpoint_key, deliveries.part, deliveries.revision, deliveries.attempt_count,
  deliveries.last_status, deliveries.last_class
