WITH input (tenant, id, number) AS (/*rows*/)
SELECT input.number, k.event_seq, k.event_id, k.hash, k.delivery_count, k.skipped_count
FROM input JOIN event_keys k ON k.tenant = input.tenant AND k.kind = $1 AND k.id = input.id
