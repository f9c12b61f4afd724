WITH input (event_seq, endpoint_key, part, number, class, status, end_time, total_ms, dns_ms, connect_ms, first_byte_ms, address,
  response, detail) AS (/*rows*/)
INSERT INTO attempts (event_seq, endpoint_key, part, number, class, status, end_time, total_ms, dns_ms, connect_ms, first_byte_ms,
  address, response, detail)
SELECT event_seq, endpoint_key, part, number, class, status, end_time, total_ms, dns_ms, connect_ms, first_byte_ms, address, response,
  detail
FROM input WHERE true
ON CONFLICT DO NOTHING
