-- Retention removes whole epochs from the front; the oldest row of the oldest lanes is the floor.
SELECT commit_time FROM journal ORDER BY epoch, lane, seq LIMIT 1
