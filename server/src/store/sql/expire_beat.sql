DELETE FROM beats WHERE epoch = $1
  AND EXISTS (SELECT 1 FROM nodes WHERE nodes.epoch = $1 AND nodes.state = 3 AND nodes.end_time < $2)
  AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.epoch = $1)
