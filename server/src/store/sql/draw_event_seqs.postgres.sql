SELECT nextval('event_seq') FROM generate_series(1, $1)
