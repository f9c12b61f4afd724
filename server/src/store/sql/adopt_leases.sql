-- Lost once: due now. From the second loss in a row on it waits, as it may be what kills its node.
UPDATE backlog SET lease_epoch = NULL, loss_count = loss_count + 1,
  due = $2 + CASE WHEN loss_count = 0 THEN 0 WHEN loss_count = 1 THEN 30000 WHEN loss_count = 2 THEN 120000 ELSE 600000 END
WHERE (event_seq, endpoint_key, part) IN (
  SELECT event_seq, endpoint_key, part FROM backlog WHERE lease_epoch = $1 LIMIT $3)
