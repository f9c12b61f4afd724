WITH input (seq) AS (/*rows*/)
SELECT e.seq, e.tenant, e.id, e.type, e.create_time FROM input JOIN events e ON e.seq = input.seq
