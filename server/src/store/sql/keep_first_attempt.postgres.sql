INSERT INTO attempts (event_seq, endpoint_key, part, number, class, status, end_time, total_ms, dns_ms, connect_ms, first_byte_ms,
  address, response)
SELECT event_seq, endpoint_key, part, 1, last_class, last_status, update_time, last_ms, NULL, NULL, NULL, '', CAST('' AS BYTEA)
FROM deliveries WHERE event_seq = $1 AND endpoint_key = $2 AND part = $3 AND attempt_count = 1
ON CONFLICT DO NOTHING
