-- Nothing comes back when the epoch was taken.
UPDATE beats SET beat = beat + 1, low_water_seq = $2, beat_time = $3
WHERE epoch = $1 AND EXISTS (SELECT 1 FROM nodes WHERE nodes.epoch = $1 AND nodes.state = 1)
RETURNING beat
