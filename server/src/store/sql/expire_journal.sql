-- The front of one lane, up to the first row that is young enough: numbers that stay have no gap before them.
DELETE FROM journal WHERE epoch = $1 AND lane = $2 AND commit_time < $3
  AND seq < COALESCE((SELECT MIN(j.seq) FROM journal j WHERE j.epoch = $1 AND j.lane = $2 AND j.commit_time >= $3), 9223372036854775807)
  AND seq <= (SELECT MIN(j.seq) FROM journal j WHERE j.epoch = $1 AND j.lane = $2) + $4
