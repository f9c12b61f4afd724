SELECT last_ms FROM deliveries WHERE event_seq = $1 AND endpoint_key = $2 AND part = $3
