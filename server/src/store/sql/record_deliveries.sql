-- A fresh delivery must still be this epoch's and pending; a leased one was checked in the backlog.
WITH input (event_seq, endpoint_key, part, state, attempt_count, class, status, ms, leased) AS (/*rows*/)
UPDATE deliveries SET state = input.state, revision = deliveries.revision + 1, attempt_count = input.attempt_count,
  last_class = input.class, last_status = input.status, last_ms = input.ms, update_time = $1, owner_epoch = NULL
FROM input
WHERE deliveries.event_seq = input.event_seq AND deliveries.endpoint_key = input.endpoint_key AND deliveries.part = input.part
  AND (input.leased = 1 OR (deliveries.owner_epoch = $2 AND deliveries.state = 1))
RETURNING deliveries.event_seq, deliveries.endpoint_key, deliveries.part, deliveries.revision
