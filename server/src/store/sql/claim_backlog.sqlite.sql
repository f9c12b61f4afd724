UPDATE backlog SET lease_epoch = $2, lease_token = lease_token + 1, due = $3,
  -- A lease that ran out is a request without a recorded outcome.
  loss_count = loss_count + CASE WHEN lease_epoch IS NULL THEN 0 ELSE 1 END
WHERE (event_seq, endpoint_key, part) IN (
  SELECT event_seq, endpoint_key, part FROM backlog
  WHERE endpoint_key = $4 AND priority = $5 AND due IS NOT NULL AND due <= $1
  ORDER BY due LIMIT $6)
RETURNING event_seq, endpoint_key, part, lease_token, attempt_count, schedule_attempts, priority
