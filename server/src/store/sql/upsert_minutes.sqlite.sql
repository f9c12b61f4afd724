WITH input (endpoint_key, succeeded, failed, total_ms, max_ms) AS (/*rows*/)
INSERT INTO endpoint_minutes (endpoint_key, minute, succeeded_count, failed_count, total_ms, max_ms)
SELECT endpoint_key, $1, succeeded, failed, total_ms, max_ms FROM input WHERE true
ON CONFLICT (endpoint_key, minute) DO UPDATE SET
  succeeded_count = endpoint_minutes.succeeded_count + excluded.succeeded_count,
  failed_count = endpoint_minutes.failed_count + excluded.failed_count,
  total_ms = endpoint_minutes.total_ms + excluded.total_ms,
  max_ms = MAX(endpoint_minutes.max_ms, excluded.max_ms)
