-- A run of failures goes on over flushes unless a success lies in this one.
WITH input (endpoint_key, last_success, last_failure, failures, hold_until) AS (/*rows*/)
INSERT INTO endpoint_health (endpoint_key, last_success_time, last_failure_time, consecutive_failures, hold_until_time)
SELECT endpoint_key, last_success, last_failure, failures, hold_until FROM input WHERE true
ON CONFLICT (endpoint_key) DO UPDATE SET
  last_success_time = COALESCE(excluded.last_success_time, endpoint_health.last_success_time),
  last_failure_time = COALESCE(excluded.last_failure_time, endpoint_health.last_failure_time),
  consecutive_failures = excluded.consecutive_failures
    + CASE WHEN excluded.last_success_time IS NULL THEN endpoint_health.consecutive_failures ELSE 0 END,
  hold_until_time = COALESCE(excluded.hold_until_time, endpoint_health.hold_until_time)
