DELETE FROM journal WHERE tenant = $1 AND (epoch, lane, seq, tenant) IN (SELECT epoch, lane, seq, tenant FROM journal WHERE tenant = $1 LIMIT $2)
