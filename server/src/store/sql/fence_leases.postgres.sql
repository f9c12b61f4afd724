WITH input (event_seq, endpoint_key, part, token) AS (/*rows*/)
SELECT b.event_seq, b.endpoint_key, b.part FROM input JOIN backlog b
  ON b.event_seq = input.event_seq AND b.endpoint_key = input.endpoint_key AND b.part = input.part
WHERE b.lease_epoch = $1 AND b.lease_token = input.token
FOR UPDATE OF b
