UPDATE counters SET value = value + $1 WHERE name = 'event' RETURNING value
