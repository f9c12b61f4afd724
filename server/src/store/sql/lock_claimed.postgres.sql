-- By key alone: a row that a claim is still committing looks unclaimed, and only waiting for it shows what became of it.
WITH input (event_seq, endpoint_key, part) AS (/*rows*/)
SELECT b.event_seq FROM input JOIN backlog b
  ON b.event_seq = input.event_seq AND b.endpoint_key = input.endpoint_key AND b.part = input.part
FOR UPDATE OF b
