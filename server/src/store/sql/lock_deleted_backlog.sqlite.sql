SELECT b.event_seq, b.endpoint_key, b.part, e.id FROM endpoints e JOIN backlog b ON b.endpoint_key = e.key AND b.state IN (1, 2)
WHERE e.delete_time IS NOT NULL LIMIT $1
