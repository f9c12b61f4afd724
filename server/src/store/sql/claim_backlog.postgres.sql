WITH want (endpoint_key, priority, count) AS (/*rows*/),
picked AS (
  SELECT found.event_seq, found.endpoint_key, found.part
  FROM want CROSS JOIN LATERAL (
    SELECT b.event_seq, b.endpoint_key, b.part FROM backlog b
    WHERE b.endpoint_key = want.endpoint_key AND b.priority = want.priority AND b.due IS NOT NULL AND b.due <= $1
    ORDER BY b.due LIMIT want.count FOR UPDATE SKIP LOCKED
  ) AS found
)
UPDATE backlog SET lease_epoch = $2, lease_token = backlog.lease_token + 1, due = $3,
  -- A lease that ran out is a request without a recorded outcome.
  loss_count = backlog.loss_count + CASE WHEN backlog.lease_epoch IS NULL THEN 0 ELSE 1 END
FROM picked
WHERE backlog.event_seq = picked.event_seq AND backlog.endpoint_key = picked.endpoint_key AND backlog.part = picked.part
RETURNING backlog.event_seq, backlog.endpoint_key, backlog.part, backlog.lease_token, backlog.attempt_count,
  backlog.schedule_attempts, backlog.priority
