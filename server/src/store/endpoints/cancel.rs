//! What a deleted endpoint leaves is cancelled, in bounded steps that any node may continue.
//!
//! Called by upkeep. It handles what is in the backlog; what is fresh on a node gets there when its dispatcher gives it back. Dead
//! letters stay dead: they are finished.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::change::{Changes, DeliveryChange};
use crate::domain::delivery::State;
use crate::domain::{DeliveryKey, Time};
use crate::store::bulk::{Bulk, Column};
use crate::store::db::{Arg, Row, Tx, sql};
use crate::store::journal::Written;
use crate::store::{Error, Store, at};

/// Deliveries that one step cancels at most.
const STEP: usize = 500;

impl Store {
    /// One bounded step of cancelling unfinished deliveries of deleted endpoints. One under a lease is cancelled too: its outcome is
    /// dropped. True: there may be more.
    ///
    /// # Errors
    /// [`Error::EpochLost`]; [`Error::Unavailable`]: repeat.
    pub async fn cancel_deleted_step(&self) -> Result<bool, Error> {
        let mut control = self.control().await?;
        loop {
            let (mut tx, now) = control.begin().await?;
            let written = cancel_some(&mut tx, now).await;
            if let Some(found) = control.finish(tx, written).await? {
                return Ok(found >= STEP);
            }
        }
    }
}

/// Returns how many it found, and the changes.
async fn cancel_some(tx: &mut Tx, now: Time) -> Result<(usize, Written), Error> {
    // Backlog before deliveries, the order in which everybody locks.
    let found = tx.fetch(sql!("lock_deleted_backlog" by dialect), &[Arg::Int(STEP as i64)]).await?;
    let endpoints: HashMap<i64, String> = found.iter().map(|row| Ok((row.int(1)?, row.text(3)?))).collect::<Result<_, Error>>()?;
    let mut keys = found.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    keys.sort_unstable();
    let rows = Bulk::new(vec![
        Column::Int(keys.iter().map(|key| key.event_seq).collect()),
        Column::Int(keys.iter().map(|key| key.endpoint_key).collect()),
        Column::Int(keys.iter().map(|key| key.part.into()).collect()),
    ]);
    tx.bulk(sql!("delete_backlog"), &[], &rows).await?;
    let mut moved = tx.bulk(sql!("cancel_deliveries"), &[at(now)], &rows).await?;
    // RETURNING has no order, and changes of one event stand together.
    moved.sort_by_cached_key(|row| key(row).ok());
    let mut seqs: Vec<i64> = keys.iter().map(|key| key.event_seq).collect();
    seqs.dedup();
    let mut events = HashMap::with_capacity(seqs.len());
    for row in tx.bulk(sql!("list_event_names"), &[], &Bulk::new(vec![Column::Int(seqs)])).await? {
        events.insert(row.int(0)?, row);
    }
    let mut changes: BTreeMap<Arc<str>, Changes> = BTreeMap::new();
    for row in &moved {
        let key = key(row)?;
        let (Some(event), Some(endpoint_id)) = (events.get(&key.event_seq), endpoints.get(&key.endpoint_key)) else { continue };
        let change = DeliveryChange {
            endpoint_key: key.endpoint_key,
            endpoint_id: endpoint_id.clone(),
            part: key.part.into(),
            state: State::Cancelled.code().into(),
            revision: row.num(3)?,
            attempt_count: row.num(4)?,
            last_status: row.num(5)?,
            last_class: row.num(6)?,
            due: None,
            time: now.millis(),
        };
        let (tenant, id, event_type) = (event.text(1)?, event.text(2)?, event.text(3)?);
        changes.entry(tenant.into()).or_default().push(key.event_seq, &id, &event_type, event.int(4)?, change);
    }
    Ok((found.len(), changes.into_iter().map(|(tenant, changes)| (tenant, Arc::new(changes))).collect()))
}

fn key(row: &Row) -> Result<DeliveryKey, Error> {
    Ok(DeliveryKey { event_seq: row.int(0)?, endpoint_key: row.int(1)?, part: row.num(2)? })
}
