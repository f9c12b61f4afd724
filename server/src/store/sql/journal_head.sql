SELECT MAX(seq) FROM journal WHERE epoch = $1 AND lane = $2
