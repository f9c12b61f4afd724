//! Brings the commits of other nodes from the journal into the ring, and knows which epochs may still write.
//!
//! The server runs one for as long as the [`Feed`](super::Feed) is used. On SQLite there is no other node: it only notes how time goes
//! on. It reads an epoch once more after it saw that it was over, and then never again: a commit must not get in behind that look.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cursor::Mark;
use super::ring::Ring;
use crate::domain::Time;
use crate::store::journal::EpochState;
use crate::store::{self, Dialect, Store};

/// Between two looks at other nodes' lanes.
const POLL: Duration = Duration::from_millis(100);
/// The same where there are none.
const POLL_ALONE: Duration = Duration::from_secs(1);
/// Rows read at a time.
const PAGE: i64 = 256;

/// Follows the journal of other nodes.
#[derive(Debug)]
pub struct Tailer {
    store: Store,
    ring: Arc<Ring>,
    /// Epochs below it are over and wholly read.
    floor: i64,
    /// Others that are.
    finished: BTreeSet<i64>,
}

impl Tailer {
    /// Sets the ring to the end of the journal.
    pub(super) async fn start(store: Store, ring: Arc<Ring>) -> Result<Self, store::Error> {
        let as_of = store.now();
        let epochs = store.journal_epochs().await?;
        let mut tailer = Self { store, ring, floor: floor(&epochs, |state| !state.open), finished: BTreeSet::new() };
        tailer.look(as_of, &epochs, None).await?;
        Ok(tailer)
    }

    /// Runs until it is stopped. A database that does not answer is asked again.
    pub async fn run(mut self, stop: CancellationToken) {
        let pause = if self.store.dialect() == Dialect::Sqlite { POLL_ALONE } else { POLL };
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.store.clock().pause(pause) => {}
            }
            let result = self.run_once().await;
            if let (Err(error), false) = (&result, failing) {
                tracing::warn!(error = error as &dyn std::error::Error, "the journal of other nodes cannot be read");
            }
            failing = result.is_err();
        }
    }

    /// One look at every epoch that may have written since the last one.
    ///
    /// # Errors
    /// [`store::Error::Unavailable`]: watchers hear late of other nodes, and nothing is lost.
    pub async fn run_once(&mut self) -> Result<(), store::Error> {
        let as_of = self.store.now();
        let epochs = self.store.journal_epochs().await?;
        // Rows of the own epoch come from memory. Once it is over a commit may be in the journal whose reply never came.
        let own = self.store.epoch().ok().map(|epoch| epoch.id);
        self.look(as_of, &epochs, own).await
    }

    async fn look(&mut self, as_of: Time, epochs: &[EpochState], own: Option<i64>) -> Result<(), store::Error> {
        for state in epochs.iter().filter(|state| state.epoch >= self.floor) {
            if self.finished.contains(&state.epoch) || (state.open && Some(state.epoch) == own) {
                continue;
            }
            self.follow(state.epoch).await?;
            // Invariant: it was over before it was read, so nothing can follow.
            if !state.open {
                self.finished.insert(state.epoch);
            }
        }
        self.floor = self.floor.max(floor(epochs, |state| state.epoch < self.floor || self.finished.contains(&state.epoch)));
        self.finished.retain(|epoch| *epoch >= self.floor);
        self.ring.advance(Mark { as_of, floor: self.floor });
        Ok(())
    }

    /// Brings an epoch's new commits into the ring. While nobody watches it only notes how far they are.
    async fn follow(&self, epoch: i64) -> Result<(), store::Error> {
        for (lane, head) in self.store.journal_heads(&[epoch]).await? {
            if self.ring.skip_to(lane, head) {
                continue;
            }
            let mut seq = self.ring.head(lane);
            while seq < head {
                let commits = self.store.tail_journal(lane, seq, PAGE).await?;
                let Some(last) = commits.last() else { break };
                seq = last.seq;
                self.ring.push(&commits);
            }
        }
        Ok(())
    }
}

/// The first epoch that is not done. Without any it is the next one: numbers become visible in their order.
fn floor(epochs: &[EpochState], done: impl Fn(&EpochState) -> bool) -> i64 {
    let next = epochs.last().map_or(0, |state| state.epoch + 1);
    epochs.iter().find(|state| !done(state)).map_or(next, |state| state.epoch)
}
