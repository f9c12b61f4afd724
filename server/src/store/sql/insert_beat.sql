INSERT INTO beats (epoch, beat, low_water_seq, beat_time) VALUES ($1, 1, $2, $3)
