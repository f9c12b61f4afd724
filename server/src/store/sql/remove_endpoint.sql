DELETE FROM endpoints WHERE key = $1
