WITH input (event_seq, endpoint_key, part) AS (/*rows*/)
UPDATE deliveries SET owner_epoch = NULL FROM input
WHERE deliveries.event_seq = input.event_seq AND deliveries.endpoint_key = input.endpoint_key AND deliveries.part = input.part
  AND deliveries.owner_epoch = $1 AND deliveries.state = 1
