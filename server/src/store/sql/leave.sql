-- Lost rather than closed: whoever runs next adopts what is left from the last beat on, which mostly is nothing.
UPDATE nodes SET state = 2, end_time = $2,
  adopted_seq = (SELECT low_water_seq FROM beats WHERE beats.epoch = nodes.epoch)
WHERE epoch = $1 AND state = 1
