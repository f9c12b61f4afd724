WITH input (seq) AS (/*rows*/)
SELECT e.seq, e.tenant, e.id, e.type, e.subject, e.occurred_time, e.create_time, e.txn, e.schema_version, e.payload
FROM input JOIN events e ON e.seq = input.seq
