SELECT number, class, status, end_time, total_ms, dns_ms, connect_ms, first_byte_ms, response, detail FROM attempts
WHERE event_seq = $1 AND endpoint_key = $2 AND part = $3 AND number > $4 ORDER BY number LIMIT $5
