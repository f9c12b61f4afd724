SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM event_seq),
  (SELECT COUNT(*) - 1 FROM pg_inherits WHERE inhparent = to_regclass('events'))
