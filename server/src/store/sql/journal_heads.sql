-- One look at the end of the index for each lane of an epoch, in one statement: idle nodes are asked this all the time.
SELECT
  (SELECT MAX(seq) FROM journal WHERE epoch = $1 AND lane = 0),
  (SELECT MAX(seq) FROM journal WHERE epoch = $1 AND lane = 1),
  (SELECT MAX(seq) FROM journal WHERE epoch = $1 AND lane = 2),
  (SELECT MAX(seq) FROM journal WHERE epoch = $1 AND lane = 3),
  (SELECT MAX(seq) FROM journal WHERE epoch = $1 AND lane = 4),
  (SELECT MAX(seq) FROM journal WHERE epoch = $1 AND lane = 5)
