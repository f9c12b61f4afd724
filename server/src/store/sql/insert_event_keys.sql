-- Comes back: the numbers of those that are new.
WITH input (tenant, kind, id, event_seq, event_id, hash, delivery_count, skipped_count, create_time) AS (/*rows*/)
INSERT INTO event_keys (tenant, kind, id, event_seq, event_id, hash, delivery_count, skipped_count, create_time)
SELECT tenant, kind, id, event_seq, event_id, hash, delivery_count, skipped_count, create_time FROM input WHERE true
ON CONFLICT DO NOTHING RETURNING event_seq
