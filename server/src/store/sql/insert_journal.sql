-- Nothing comes back when the rows are there already: the first try of this commit got through.
WITH input (epoch, lane, seq, tenant, commit_time, changes) AS (/*rows*/)
INSERT INTO journal (epoch, lane, seq, tenant, commit_time, changes)
SELECT epoch, lane, seq, tenant, commit_time, changes FROM input WHERE true
ON CONFLICT DO NOTHING RETURNING seq
