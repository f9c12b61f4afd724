-- Closed: adopted whole. Watchers no longer need it once its journal is gone.
DELETE FROM nodes WHERE epoch = $1 AND state = 3 AND end_time < $2 AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.epoch = $1)
