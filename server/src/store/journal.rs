//! The journal: one row per commit and tenant, numbered without gaps inside its lane, so that a watcher can never skip a change.
//!
//! A lane belongs to one epoch and is held by one transaction at a time, from before its number is taken until its commit is known.
//! So numbers inside a lane are commit order. After its commit a node's own rows go to the [`Listener`] from memory; rows of other
//! nodes are read from the table.

mod control;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{Mutex, MutexGuard};

use super::bulk::{Bulk, Column};
use super::db::{Arg, Tx, sql};
use super::{Epoch, Error, Store, time};
use crate::domain::Time;
use crate::domain::change::Changes;

/// One committed row of the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which lane.
    pub lane: LaneId,
    /// Its number in the lane, from 1.
    pub seq: i64,
    /// Whose changes.
    pub tenant: Arc<str>,
    /// When the commit was begun.
    pub time: Time,
    /// What changed.
    pub changes: Arc<Changes>,
}

/// A lane: one sequence of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    /// The epoch that writes it.
    pub epoch: i64,
    /// Which of its lanes: 0 publishes, 1 records, the rest control.
    pub number: i16,
}

/// Lanes of an epoch; `journal_heads.sql` names each.
pub const LANES: i16 = 6;
/// Rows are kept this much longer than the retention says. A resume token's time is that of its node's last look at the journal, and
/// commits that it does not cover may have begun a little before.
pub const REMOVAL_MARGIN: Duration = Duration::from_secs(3600);
const PUBLISH: i16 = 0;
const RECORD: i16 = 1;
const CONTROL: i16 = 2;
/// Rows that one step of retention removes at most.
const EXPIRE_STEP: i64 = 1_000;

/// Rows of one commit, one a tenant, at most.
const CATCH_UP: i64 = 1_000;

/// Hears of every commit of this node's lanes, in each lane's order. Must not block.
pub trait Listener: Send + Sync {
    /// These rows are committed.
    fn committed(&self, entries: &[Entry]);
}

/// An epoch as watchers must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochState {
    /// Its number.
    pub epoch: i64,
    /// Whether more may be written to its lanes.
    pub open: bool,
}

#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: Vec<Mutex<Position>>,
    turn: AtomicUsize,
}

#[derive(Debug, Default)]
struct Position {
    epoch: i64,
    last_seq: i64,
    last_time: i64,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { lanes: (0..LANES).map(|_| Mutex::default()).collect(), turn: AtomicUsize::new(0) }
    }
}

/// What watchers must see of a commit: the changes of each tenant.
pub(crate) type Written = Vec<(Arc<str>, Arc<Changes>)>;

/// A lane that is held. Its number is used up only by [`Held::committed`].
pub(crate) struct Held<'a> {
    position: MutexGuard<'a, Position>,
    id: LaneId,
    /// The number of the commit to come.
    pub(crate) seq: i64,
    /// Its time: never before that of the lane's commit before it.
    pub(crate) time: Time,
}

impl Lanes {
    async fn hold(&self, number: i16, epoch: &Epoch, now: Time) -> Held<'_> {
        // Lane numbers are constants below LANES.
        let mut position = self.lanes[usize::from(number.unsigned_abs())].lock().await;
        if position.epoch != epoch.id {
            *position = Position { epoch: epoch.id, last_seq: 0, last_time: 0 };
        }
        let id = LaneId { epoch: epoch.id, number };
        let seq = position.last_seq + 1;
        let time = Time::from_millis(now.millis().max(position.last_time));
        Held { position, id, seq, time }
    }
}

impl Store {
    pub(crate) async fn hold_publish_lane(&self, epoch: &Epoch) -> Held<'_> {
        self.inner.lanes.hold(PUBLISH, epoch, self.now()).await
    }

    pub(crate) async fn hold_record_lane(&self, epoch: &Epoch) -> Held<'_> {
        self.inner.lanes.hold(RECORD, epoch, self.now()).await
    }

    pub(crate) async fn hold_control_lane(&self, epoch: &Epoch) -> Held<'_> {
        let controls = usize::from((LANES - CONTROL).unsigned_abs());
        let turn = self.inner.lanes.turn.fetch_add(1, Ordering::Relaxed) % controls;
        let number = CONTROL + i16::try_from(turn).unwrap_or(0);
        self.inner.lanes.hold(number, epoch, self.now()).await
    }

    /// Every epoch whose journal may still hold rows, oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn journal_epochs(&self) -> Result<Vec<EpochState>, Error> {
        let rows = self.inner.db.fetch(sql!("list_epochs"), &[]).await?;
        rows.iter().map(|row| Ok(EpochState { epoch: row.int(0)?, open: row.int(1)? == 1 })).collect()
    }

    /// A tenant's rows of one lane after `seq`, not older than `since`, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::BadRow`].
    pub async fn read_journal(
        &self,
        tenant: &Arc<str>,
        lane: LaneId,
        after_seq: i64,
        since: Time,
        limit: i64,
    ) -> Result<Vec<Entry>, Error> {
        let args = [
            Arg::Text(tenant),
            Arg::Int(lane.epoch),
            Arg::Int(lane.number.into()),
            Arg::Int(after_seq),
            Arg::Int(since.millis()),
            Arg::Int(limit),
        ];
        let rows = self.inner.db.fetch(sql!("read_journal"), &args).await?;
        rows.iter().map(|row| entry(row, lane, Arc::clone(tenant), 0)).collect()
    }

    /// All tenants' rows of one lane after `seq`: what the tailer follows other nodes by. Always whole commits, so at most about
    /// `limit` rows, but at least one commit when there is one.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::BadRow`].
    pub async fn tail_journal(&self, lane: LaneId, after_seq: i64, limit: i64) -> Result<Vec<Entry>, Error> {
        let mut limit = limit.max(2);
        loop {
            let args = [Arg::Int(lane.epoch), Arg::Int(lane.number.into()), Arg::Int(after_seq), Arg::Int(limit)];
            let mut rows = self.inner.db.fetch(sql!("tail_journal"), &args).await?;
            if i64::try_from(rows.len()).unwrap_or(i64::MAX) >= limit {
                // The limit may have cut the last commit, which has a row for each of its tenants.
                let last = rows.last().map_or(Ok(0), |row| row.int(0))?;
                while rows.last().map(|row| row.int(0)).transpose()? == Some(last) {
                    rows.pop();
                }
                if rows.is_empty() {
                    limit = limit.saturating_mul(4);
                    continue;
                }
            }
            return rows.iter().map(|row| entry(row, lane, row.text(3)?.into(), 0)).collect();
        }
    }

    /// The last number of each lane of these epochs; lanes without a row are missing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn journal_heads(&self, epochs: &[i64]) -> Result<HashMap<LaneId, i64>, Error> {
        let mut heads = HashMap::new();
        for &epoch in epochs {
            let rows = self.inner.db.fetch(sql!("journal_heads"), &[Arg::Int(epoch)]).await?;
            let Some(row) = rows.first() else { continue };
            for (column, number) in (0..LANES).enumerate() {
                if let Some(seq) = row.maybe_int(column)? {
                    heads.insert(LaneId { epoch, number }, seq);
                }
            }
        }
        Ok(heads)
    }

    /// Removes rows older than `before`, oldest first, and epochs that are over and have none left. True: there may be more.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn expire_journal_step(&self, before: Time) -> Result<bool, Error> {
        let mut more = false;
        for state in self.journal_epochs().await? {
            for number in 0..LANES {
                let lane = [Arg::Int(state.epoch), Arg::Int(number.into())];
                let mut tx = self.inner.db.begin().await?;
                let removed = tx
                    .execute(sql!("expire_journal"), &[lane[0], lane[1], Arg::Int(before.millis()), Arg::Int(EXPIRE_STEP)])
                    .await?;
                tx.commit().await?;
                more |= removed > 0;
            }
            if !state.open {
                let mut tx = self.inner.db.begin().await?;
                let args = [Arg::Int(state.epoch), Arg::Int(before.millis())];
                tx.execute(sql!("expire_beat"), &args).await?;
                tx.execute(sql!("expire_node"), &args).await?;
                tx.commit().await?;
            }
        }
        Ok(more)
    }

    /// When the oldest kept row was written; `None`: the journal is empty.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    #[cfg(test)]
    pub(crate) async fn journal_floor(&self) -> Result<Option<Time>, Error> {
        let rows = self.inner.db.fetch(sql!("journal_floor"), &[]).await?;
        Ok(rows.first().map(|row| row.int(0)).transpose()?.map(time))
    }
}

fn entry(row: &super::db::Row, lane: LaneId, tenant: Arc<str>, first: usize) -> Result<Entry, Error> {
    let seq = row.int(first)?;
    let changes = Changes::decode(row.bytes(first + 2)?.as_slice()).map_err(|error| Error::BadRow {
        table: "journal",
        row: format!("{}/{}/{seq}", lane.epoch, lane.number),
        problem: error.to_string(),
    })?;
    Ok(Entry { lane, seq, tenant, time: time(row.int(first + 1)?), changes: Arc::new(changes) })
}

impl Held<'_> {
    pub(crate) fn id(&self) -> LaneId {
        self.id
    }

    /// Writes the commit's rows. False: the row is there already, so an earlier try of this very commit got through.
    pub(crate) async fn append(&self, tx: &mut Tx, changes: &[(Arc<str>, Arc<Changes>)]) -> Result<bool, Error> {
        if changes.is_empty() {
            return Ok(true);
        }
        let count = changes.len();
        let rows = Bulk::new(vec![
            Column::Int(vec![self.id.epoch; count]),
            Column::Int(vec![self.id.number.into(); count]),
            Column::Int(vec![self.seq; count]),
            Column::Text(changes.iter().map(|(tenant, _)| tenant.to_string()).collect()),
            Column::Int(vec![self.time.millis(); count]),
            Column::Bytes(changes.iter().map(|(_, changes)| changes.encode_to_vec()).collect()),
        ]);
        Ok(!tx.bulk(sql!("insert_journal"), &[], &rows).await?.is_empty())
    }

    /// Reads what was committed under the number to come, tells the listener and goes on behind it.
    async fn catch_up(&mut self, store: &Store) -> Result<(), Error> {
        let entries = store.tail_journal(self.id, self.seq - 1, CATCH_UP).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        self.position.last_seq = last.seq;
        self.position.last_time = last.time.millis();
        self.seq = last.seq + 1;
        self.time = self.time.max(last.time);
        if let Some(listener) = store.inner.listener.get() {
            listener.committed(&entries);
        }
        Ok(())
    }

    /// The commit is known: uses its number up and tells the listener.
    pub(crate) fn committed(mut self, store: &Store, changes: Written) {
        self.use_up(store, changes);
    }

    fn use_up(&mut self, store: &Store, changes: Written) {
        if changes.is_empty() {
            return;
        }
        let (lane, seq, at) = (self.id, self.seq, self.time);
        self.position.last_seq = seq;
        self.position.last_time = at.millis();
        let entries: Vec<_> = changes.into_iter().map(|(tenant, changes)| Entry { lane, seq, tenant, time: at, changes }).collect();
        // Still under the lane's lock, so that the listener hears a lane's commits in their order.
        if let Some(listener) = store.inner.listener.get() {
            listener.committed(&entries);
        }
    }
}

#[cfg(test)]
impl Store {
    /// Commits changes on a control lane, as every transaction that moves deliveries does, without any delivery: for tests of what
    /// reads the journal. `held`: awaited while the lane is held and its number taken, before the commit.
    pub(crate) async fn journal_changes(
        &self,
        epoch: &Epoch,
        changes: Vec<(Arc<str>, Arc<Changes>)>,
        held: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let lane = self.hold_control_lane(epoch).await;
        // The one writer of SQLite must stay free for the other lanes.
        let sqlite = self.dialect() == super::Dialect::Sqlite;
        let mut waits = Some(held);
        if let Some(held) = waits.take_if(|_| sqlite) {
            held.await;
        }
        let mut tx = self.inner.db.begin().await?;
        super::nodes::fence(&mut tx, epoch).await?;
        lane.append(&mut tx, &changes).await?;
        if let Some(held) = waits {
            held.await;
        }
        tx.commit().await?;
        lane.committed(self, changes);
        Ok(())
    }
}
