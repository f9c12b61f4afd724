INSERT INTO nodes (epoch, node, state, start_time, end_time, adopted_seq) VALUES ($1, $2, 1, $3, NULL, 0)
