-- Pending and retrying ones; dead letters are finished.
SELECT event_seq, endpoint_key, part FROM backlog WHERE endpoint_key = $1 AND state <= 2 ORDER BY state, event_seq LIMIT $2 FOR UPDATE SKIP LOCKED
