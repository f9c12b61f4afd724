WITH input (seq) AS (/*rows*/) DELETE FROM attempts WHERE event_seq IN (SELECT seq FROM input)
