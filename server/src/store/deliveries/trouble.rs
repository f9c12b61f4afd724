//! Deliveries in trouble, found through the backlog: a short scan where the table of deliveries is long.
//!
//! Each endpoint and state is a stream that an index has in order. A page merges the streams; of every stream a few rows are read, and
//! what lies beyond the end of a stream that has more is left to the next page.

use std::cmp::Ordering;

use crate::domain::delivery::State;
use crate::store::db::{Arg, Row, sql};
use crate::store::{Error, Store};

/// Rows of one stream at least, whatever the number of streams.
const LEAST: usize = 4;

type Key = [i64; 3];

impl Store {
    /// Rows of `list_trouble` after a position, newest event first, about `scan` of them, and whether more may follow.
    ///
    /// `states`: retrying or dead. `endpoint_id`: only of this endpoint; empty: of all of the tenant, deleted ones too.
    pub(super) async fn list_trouble(
        &self,
        tenant: &str,
        endpoint_id: &str,
        states: &[State],
        after: Key,
        scan: usize,
    ) -> Result<(Vec<Row>, bool), Error> {
        let endpoints = self.inner.db.fetch(sql!("list_troubled_endpoints"), &[Arg::Text(tenant), Arg::Text(endpoint_id)]).await?;
        let limit = (scan / (endpoints.len() * states.len()).max(1)).max(LEAST);
        let mut found: Vec<(Key, Row)> = Vec::new();
        let mut unread: Option<Key> = None;
        for endpoint in &endpoints {
            let endpoint_key = endpoint.int(0)?;
            for state in states {
                let rows = self.read_stream(endpoint_key, *state, after, limit).await?;
                let stream = rows.into_iter().map(|row| Ok((key(&row)?, row))).collect::<Result<Vec<_>, Error>>()?;
                if stream.len() >= limit {
                    unread = unread.max(stream.last().map(|(key, _)| *key));
                }
                found.extend(stream);
            }
        }
        // Behind the end of a stream that has more, rows of that stream would be missing in between.
        found.retain(|(key, _)| unread.is_none_or(|unread| *key >= unread));
        found.sort_unstable_by(|(one, _), (two, _)| two.cmp(one));
        Ok((found.into_iter().map(|(_, row)| row).collect(), unread.is_some()))
    }

    async fn read_stream(
        &self,
        endpoint_key: i64,
        state: State,
        [seq, after_key, part]: Key,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        // Of the position's own event the deliveries of smaller endpoint keys are still to come.
        let below_part = match endpoint_key.cmp(&after_key) {
            Ordering::Less => i64::MAX,
            Ordering::Equal => part,
            Ordering::Greater => i64::MIN,
        };
        let args = [
            Arg::Int(endpoint_key),
            Arg::Int(state.code().into()),
            Arg::Int(seq),
            Arg::Int(below_part),
            Arg::Int(i64::try_from(limit).unwrap_or(i64::MAX)),
        ];
        self.inner.db.fetch(sql!("list_trouble"), &args).await
    }
}

fn key(row: &Row) -> Result<Key, Error> {
    Ok([row.int(0)?, row.int(1)?, row.int(2)?])
}
