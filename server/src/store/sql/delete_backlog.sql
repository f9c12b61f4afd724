WITH input (event_seq, endpoint_key, part) AS (/*rows*/)
DELETE FROM backlog WHERE (event_seq, endpoint_key, part) IN (SELECT event_seq, endpoint_key, part FROM input)
