WITH input (seq, tenant, id, type, subject, subject_hash, tags, occurred_time, create_time, txn, schema_version, delivery_count,
  payload) AS (/*rows*/)
INSERT INTO events (seq, tenant, id, type, subject, subject_hash, tags, ordering_key, occurred_time, create_time, txn, schema_version,
  delivery_count, payload, trace_context)
SELECT seq, tenant, id, type, subject, subject_hash, tags, '', occurred_time, create_time, txn, schema_version, delivery_count, payload, ''
FROM input
