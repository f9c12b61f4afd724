SELECT CAST(COALESCE(SUM(succeeded_count), 0) AS BIGINT), CAST(COALESCE(SUM(failed_count), 0) AS BIGINT),
  CAST(COALESCE(SUM(total_ms), 0) AS BIGINT), CAST(COALESCE(MAX(max_ms), 0) AS BIGINT)
FROM endpoint_minutes WHERE endpoint_key = $1 AND minute > $2
