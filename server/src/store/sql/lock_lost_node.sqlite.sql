SELECT epoch, adopted_seq FROM nodes WHERE state = $1 ORDER BY epoch LIMIT 1
