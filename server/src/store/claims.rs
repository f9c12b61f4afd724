//! Taking due work from the backlog, endpoint by endpoint, under a lease.
//!
//! `due` is when anybody may next act on a row. A claim moves it to the lease's end, so that a row whose node died comes up again by
//! itself. A claim is for free slots only: what is claimed is sent at once, and never on a lease that ends before the attempt can.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::bulk::{Bulk, Column};
use super::db::{Arg, Row, sql};
use super::nodes::fence;
use super::{Dialect, Epoch, Error, Store, at, time};
use crate::domain::event::Event;
use crate::domain::secret::{Place, Row as PlaceRow};
use crate::domain::{DeliveryKey, Time};

/// A lease: the longest attempt and 30 s.
///
/// Invariant: nothing is sent on a lease that ends before the attempt can, and its outcome has time to be recorded.
pub const LEASE: Duration = Duration::from_secs(60 + 30);

/// An endpoint that has something in the backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The endpoint.
    pub endpoint_key: i64,
    /// Which priority.
    pub priority: i16,
    /// When its first row may be sent: its due time, or the end of a hold that the receiver asked for.
    pub due: Time,
    /// Whose endpoint it is.
    pub tenant: Arc<str>,
}

/// How much of an endpoint's backlog to take.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// The endpoint.
    pub endpoint_key: i64,
    /// Which priority.
    pub priority: i16,
    /// At most.
    pub count: u32,
}

/// A delivery taken from the backlog, with its event.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its key.
    pub key: DeliveryKey,
    /// Proves the right to record its outcome.
    pub token: i64,
    /// Attempts with a recorded outcome.
    pub attempt_count: i32,
    /// Those of them since the schedule began.
    pub schedule_attempts: i32,
    /// Its priority.
    pub priority: i16,
    /// Its event.
    pub event: Arc<Event>,
}

impl Store {
    /// The first due time of every active endpoint and priority that has any, by a skip scan: its cost is endpoints, not rows.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn backlog_heads(&self) -> Result<Vec<Head>, Error> {
        let rows = self.inner.db.fetch_engine(sql!("list_backlog_heads"), &[]).await?;
        rows.iter()
            .map(|row| {
                let due = row.int(2)?.max(row.maybe_int(4)?.unwrap_or(i64::MIN));
                Ok(Head { endpoint_key: row.int(0)?, priority: row.num(1)?, due: time(due), tenant: row.text(3)?.into() })
            })
            .collect()
    }

    /// Takes due rows, oldest due first, under a lease of [`LEASE`] for this epoch.
    ///
    /// # Errors
    /// [`Error::EpochLost`]; [`Error::Unavailable`]: nothing was taken, or it was given back.
    pub async fn claim(&self, epoch: &Epoch, wants: &[Want]) -> Result<Vec<Claimed>, Error> {
        let now = self.now();
        let until = now.plus(LEASE);
        let mut tx = self.inner.db.begin().await?;
        fence(&mut tx, epoch).await?;
        let lease = [at(now), Arg::Int(epoch.id), at(until)];
        let mut rows = Vec::new();
        match self.dialect() {
            Dialect::Postgres => {
                let bulk = Bulk::new(vec![
                    Column::Int(wants.iter().map(|want| want.endpoint_key).collect()),
                    Column::Int(wants.iter().map(|want| want.priority.into()).collect()),
                    Column::Int(wants.iter().map(|want| want.count.into()).collect()),
                ]);
                rows = tx.bulk(sql!("claim_backlog" by dialect), &lease, &bulk).await?;
            }
            Dialect::Sqlite => {
                for want in wants {
                    let [now, epoch, until] = lease;
                    let args = [
                        now,
                        epoch,
                        until,
                        Arg::Int(want.endpoint_key),
                        Arg::Int(want.priority.into()),
                        Arg::Int(want.count.into()),
                    ];
                    rows.extend(tx.fetch(sql!("claim_backlog" by dialect), &args).await?);
                }
            }
        }
        let mut seqs: Vec<i64> = rows.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?;
        seqs.sort_unstable();
        seqs.dedup();
        let events = tx.bulk(sql!("list_events_by_seq"), &[], &Bulk::new(vec![Column::Int(seqs)])).await?;
        if let Err(error) = tx.commit().await {
            self.give_back(epoch, &rows).await?;
            return Err(error);
        }
        let events = self.open_events(&events).await;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in &rows {
            let key = DeliveryKey { event_seq: row.int(0)?, endpoint_key: row.int(1)?, part: row.num(2)? };
            // An event that cannot be read is logged where it is read; its lease ends, and it is tried again.
            if let Some(event) = events.get(&key.event_seq) {
                claimed.push(Claimed {
                    key,
                    token: row.int(3)?,
                    attempt_count: row.num(4)?,
                    schedule_attempts: row.num(5)?,
                    priority: row.num(6)?,
                    event: Arc::clone(event),
                });
            }
        }
        // RETURNING has no order; the oldest event goes first.
        claimed.sort_unstable_by_key(|claimed| claimed.key);
        Ok(claimed)
    }

    /// A claim whose outcome is unknown: nobody here has what it may have taken, so it must not wait for the end of its lease.
    ///
    /// Invariant: before the next claim, which could take the same rows under the same token.
    async fn give_back(&self, epoch: &Epoch, rows: &[Row]) -> Result<(), Error> {
        let mut keys = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        for row in rows {
            for (column, values) in keys.iter_mut().enumerate() {
                values.push(row.int(column)?);
            }
        }
        let claimed = Bulk::new(keys[..3].iter().cloned().map(Column::Int).collect());
        let leases = Bulk::new(keys.into_iter().map(Column::Int).collect());
        while !epoch.over.is_cancelled() {
            let given_back = async {
                let mut tx = self.inner.db.begin().await?;
                fence(&mut tx, epoch).await?;
                tx.bulk(sql!("lock_claimed" by dialect), &[], &claimed).await?;
                tx.bulk(sql!("release_leases"), &[at(self.now()), Arg::Int(epoch.id)], &leases).await?;
                tx.commit().await
            };
            match given_back.await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_transient() => self.inner.clock.pause(Duration::from_millis(100)).await,
                Err(error) => return Err(error),
            }
        }
        Err(Error::EpochLost)
    }

    /// Events by number, with their payloads opened; one that cannot be read is logged and left out.
    async fn open_events(&self, rows: &[Row]) -> HashMap<i64, Arc<Event>> {
        let mut events = HashMap::with_capacity(rows.len());
        for row in rows {
            match self.open_event(row).await {
                Ok(event) => {
                    events.insert(event.seq, Arc::new(event));
                }
                Err(error) => {
                    let seq = row.int(0).ok();
                    tracing::error!(seq, error = &error as &dyn std::error::Error, "an event cannot be read");
                }
            }
        }
        events
    }

    /// Reads a row of `list_events_by_seq`.
    async fn open_event(&self, row: &Row) -> Result<Event, Error> {
        let (tenant, id) = (row.text(1)?, row.text(2)?);
        let place = Place { tenant: &tenant, table: "events", row: PlaceRow::Text(&id), column: "payload" };
        let data = self.open_sealed(&place, &row.bytes(9)?).await?;
        Ok(Event {
            seq: row.int(0)?,
            tenant: tenant.as_str().into(),
            id: id.as_str().into(),
            event_type: row.text(3)?.into(),
            subject: row.text(4)?,
            occurred_time: time(row.int(5)?),
            create_time: time(row.int(6)?),
            txn: row.text(7)?,
            schema_version: row.num(8)?,
            data: Bytes::from(data),
            standard: std::sync::OnceLock::new(),
        })
    }
}
