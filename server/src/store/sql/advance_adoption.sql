UPDATE nodes SET adopted_seq = $2 WHERE epoch = $1
