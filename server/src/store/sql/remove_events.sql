WITH input (seq) AS (/*rows*/) DELETE FROM events WHERE seq IN (SELECT seq FROM input)
