WITH input (seq) AS (/*rows*/) DELETE FROM deliveries WHERE event_seq IN (SELECT seq FROM input)
