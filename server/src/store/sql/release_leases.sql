WITH input (event_seq, endpoint_key, part, token) AS (/*rows*/)
UPDATE backlog SET lease_epoch = NULL, due = $1 FROM input
WHERE backlog.event_seq = input.event_seq AND backlog.endpoint_key = input.endpoint_key AND backlog.part = input.part
  AND backlog.lease_epoch = $2 AND backlog.lease_token = input.token
