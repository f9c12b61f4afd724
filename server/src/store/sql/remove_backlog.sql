WITH input (seq) AS (/*rows*/) DELETE FROM backlog WHERE event_seq IN (SELECT seq FROM input)
