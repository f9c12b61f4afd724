SELECT epoch, state FROM nodes ORDER BY epoch
