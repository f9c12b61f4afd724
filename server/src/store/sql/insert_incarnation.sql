INSERT INTO meta (name, value) VALUES ('incarnation', $1) ON CONFLICT DO NOTHING
