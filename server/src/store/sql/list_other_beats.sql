SELECT b.epoch, b.beat FROM nodes n JOIN beats b ON b.epoch = n.epoch WHERE n.state = 1 AND n.epoch <> $1
