-- Conditional on the beat that the observer saw standing still. Commits of the epoch hold its row, so this waits for them.
UPDATE nodes SET state = 2, end_time = $3,
  adopted_seq = (SELECT low_water_seq FROM beats WHERE beats.epoch = nodes.epoch)
WHERE epoch = $1 AND state = 1
  AND EXISTS (SELECT 1 FROM beats WHERE beats.epoch = $1 AND beats.beat = $2)
