//! Epochs: how a node gets ownership, proves each few seconds that it lives, and loses it as a whole when it does not.
//!
//! A node joins with a new epoch and beats. One whose beat stands still is declared lost by another in a single commit that is
//! conditional on that beat; from then on no commit of the lost epoch gets through, because each share-locks and checks its row
//! first. Its unfinished deliveries become due backlog in bounded steps, which any node may continue.

use std::sync::{Arc, PoisonError};

use super::db::{Arg, Db, Tx, sql};
use super::{Dialect, Epoch, Error, Store, at};

/// State of an epoch.
const ACTIVE: i64 = 1;
/// Its node died; deliveries are being adopted.
const LOST: i64 = 2;

/// Rows that one step of an adoption moves at most.
pub const ADOPTION_STEP: i64 = 1000;

/// An active epoch as another node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// The epoch.
    pub epoch: i64,
    /// Counts its beats.
    pub beat: i64,
}

/// What one beat found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulse {
    /// The epoch stands; these are the others.
    Alive(Vec<Beat>),
    /// It was taken.
    Lost,
}

impl Store {
    /// Starts a new epoch for this node. On SQLite, where no other process can live, every earlier epoch is lost at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn join(&self, node: &str) -> Result<Arc<Epoch>, Error> {
        let now = self.now();
        let previous = self.inner.epoch.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut tx = self.inner.db.begin().await?;
        if let Some(previous) = previous {
            // Ours, and over: what it still owned is adopted like anybody's.
            previous.over.cancel();
            tx.execute(sql!("leave"), &[Arg::Int(previous.id), at(now)]).await?;
        }
        // The counter's row lock makes epochs visible in the order of their numbers, which resume tokens rely on.
        let id = tx.fetch(sql!("next_epoch"), &[]).await?.first().ok_or(Error::NotFound)?.int(0)?;
        tx.execute(sql!("insert_node"), &[Arg::Int(id), Arg::Text(node), at(now)]).await?;
        self.inner.fresh.forget();
        tx.execute(sql!("insert_beat"), &[Arg::Int(id), Arg::Int(self.inner.fresh.low_water()), at(now)]).await?;
        if self.dialect() == Dialect::Sqlite {
            tx.execute(sql!("lose_all_other_nodes"), &[Arg::Int(id), at(now)]).await?;
        }
        tx.commit().await?;
        let epoch = Arc::new(Epoch::new(id));
        *self.inner.epoch.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&epoch));
        tracing::info!(epoch = id, node, "joined");
        Ok(epoch)
    }

    /// One beat: says that this node lives and how far its fresh work is done, and measures the database's clock.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: no beat was made; the node must stop sending once its last one is too old.
    pub async fn beat(&self, epoch: &Epoch) -> Result<Pulse, Error> {
        // Invariant: an epoch that this node gave up never beats again, as its mark may have passed what it dropped.
        if epoch.over.is_cancelled() {
            return Ok(Pulse::Lost);
        }
        let low_water = self.inner.fresh.low_water();
        let mut tx = self.inner.db.begin().await?;
        let alive = !tx.fetch(sql!("beat"), &[Arg::Int(epoch.id), Arg::Int(low_water), at(self.now())]).await?.is_empty();
        tx.commit().await?;
        if !alive {
            epoch.over.cancel();
            return Ok(Pulse::Lost);
        }
        self.measure_offset().await?;
        let rows = self.inner.db.fetch_engine(sql!("list_other_beats"), &[Arg::Int(epoch.id)]).await?;
        let others = rows.iter().map(|row| Ok(Beat { epoch: row.int(0)?, beat: row.int(1)? })).collect::<Result<_, Error>>()?;
        Ok(Pulse::Alive(others))
    }

    /// Takes an epoch whose beat still is what the observer last saw. False: it has beaten since, or is lost already.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn declare_lost(&self, seen: Beat) -> Result<bool, Error> {
        let mut tx = self.inner.db.begin().await?;
        let taken = tx.execute(sql!("declare_lost"), &[Arg::Int(seen.epoch), Arg::Int(seen.beat), at(self.now())]).await?;
        tx.commit().await?;
        Ok(taken > 0)
    }

    /// One bounded step of adopting what lost epochs left. True: there may be more.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing moved; repeat.
    pub async fn adopt_step(&self) -> Result<bool, Error> {
        let now = self.now();
        let mut tx = self.inner.db.begin().await?;
        let Some(lost) = tx.fetch_optional(sql!("lock_lost_node" by dialect), &[Arg::Int(LOST)]).await? else {
            return Ok(false);
        };
        let (epoch, from_seq) = (lost.int(0)?, lost.int(1)?);
        let step = Arg::Int(ADOPTION_STEP);
        let leases = tx.execute(sql!("adopt_leases"), &[Arg::Int(epoch), at(now), step]).await?;
        let fresh = tx.fetch(sql!("list_lost_fresh"), &[Arg::Int(epoch), Arg::Int(from_seq), step]).await?;
        let last = fresh.last().map(|row| row.int(0)).transpose()?;
        if let Some(last_seq) = last {
            // Both bounds at once: several deliveries of the last event may lie beyond this step, and are found by the next.
            tx.execute(sql!("adopt_fresh_backlog"), &[Arg::Int(epoch), Arg::Int(from_seq), Arg::Int(last_seq), at(now)]).await?;
            tx.execute(sql!("adopt_fresh_deliveries"), &[Arg::Int(epoch), Arg::Int(from_seq), Arg::Int(last_seq)]).await?;
            tx.execute(sql!("advance_adoption"), &[Arg::Int(epoch), Arg::Int(last_seq)]).await?;
        }
        let done = last.is_none() && leases == 0;
        if done {
            tx.execute(sql!("close_node"), &[Arg::Int(epoch), at(now)]).await?;
        }
        tx.commit().await?;
        if leases > 0 || last.is_some() {
            tracing::info!(epoch, leases, fresh = fresh.len(), "adopted deliveries of a lost node");
            self.inner.bells.backlog.notify_one();
        }
        Ok(true)
    }

    /// Ends this node's epoch in good order. Call when nothing is in flight; what is still owned is adopted by others at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: the others will find out by the missing beats.
    pub async fn leave(&self, epoch: &Epoch) -> Result<(), Error> {
        epoch.over.cancel();
        let mut tx = self.inner.db.begin().await?;
        tx.execute(sql!("leave"), &[Arg::Int(epoch.id), at(self.now())]).await?;
        tx.commit().await
    }
}

/// Every commit that moves a delivery calls this first: it holds the epoch's row until the commit.
///
/// Invariant: adoption updates that row, so no outcome and no fresh delivery gets in behind it.
pub(crate) async fn fence(tx: &mut Tx, epoch: &Epoch) -> Result<(), Error> {
    let row = tx.fetch_optional(sql!("fence" by dialect), &[Arg::Int(epoch.id)]).await?;
    match row.map(|row| row.int(0)).transpose()? {
        Some(ACTIVE) => Ok(()),
        _ => {
            epoch.over.cancel();
            Err(Error::EpochLost)
        }
    }
}

/// Reads the name of the database's contents, or gives it one.
pub(crate) async fn incarnation(db: &Db) -> Result<String, Error> {
    let mut tx = db.begin().await?;
    let fresh = uuid::Uuid::new_v4().simple().to_string();
    tx.execute(sql!("insert_incarnation"), &[Arg::Text(&fresh)]).await?;
    let rows = tx.fetch(sql!("get_incarnation"), &[]).await?;
    tx.commit().await?;
    rows.first().ok_or(Error::NotFound)?.text(0)
}
