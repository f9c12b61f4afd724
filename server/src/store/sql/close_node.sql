UPDATE nodes SET state = 3, end_time = COALESCE(end_time, $2) WHERE epoch = $1
