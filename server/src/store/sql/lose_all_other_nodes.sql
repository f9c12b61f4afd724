UPDATE nodes SET state = 2, end_time = $2,
  adopted_seq = (SELECT low_water_seq FROM beats WHERE beats.epoch = nodes.epoch)
WHERE state = 1 AND epoch <> $1
