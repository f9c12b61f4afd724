//! One commit through a control lane: held from before its number is taken until it is known whether it was made.

use std::sync::Arc;
use std::time::Duration;

use super::{Held, Written};
use crate::domain::Time;
use crate::domain::change::Changes;
use crate::domain::delivery::State;
use crate::store::db::Tx;
use crate::store::nodes::fence;
use crate::store::{Epoch, Error, Store};

/// Tries of a transaction that another one stood in the way of.
const TRIES: usize = 5;

/// A control lane that is held for one commit, over all of its tries.
pub(crate) struct Control<'a> {
    store: &'a Store,
    epoch: Arc<Epoch>,
    held: Held<'a>,
    tries: usize,
}

impl Store {
    /// Holds a control lane. Then, until [`Control::finish`] says that it is done: [`Control::begin`], write, finish.
    ///
    /// # Errors
    /// [`Error::EpochLost`].
    pub(crate) async fn control(&self) -> Result<Control<'_>, Error> {
        let epoch = self.epoch()?;
        let held = self.hold_control_lane(&epoch).await;
        Ok(Control { store: self, epoch, held, tries: 0 })
    }
}

impl Control<'_> {
    /// A transaction under the lane, and the time of its commit.
    ///
    /// # Errors
    /// [`Error::EpochLost`]; [`Error::Unavailable`].
    pub(crate) async fn begin(&mut self) -> Result<(Tx, Time), Error> {
        self.tries += 1;
        let mut tx = self.store.inner.db.begin().await?;
        fence(&mut tx, &self.epoch).await?;
        Ok((tx, self.held.time))
    }

    /// Tells the journal what was written and commits. `None`: nothing was committed, begin again.
    ///
    /// # Errors
    /// That of `written`; [`Error::EpochLost`]; [`Error::Unavailable`]: nothing was written, or a repeat does no harm.
    pub(crate) async fn finish<R>(&mut self, mut tx: Tx, written: Result<(R, Written), Error>) -> Result<Option<R>, Error> {
        let again = self.tries < TRIES;
        let (result, changes) = match written {
            Err(Error::Conflict(_)) if again => return Ok(None),
            written => written?,
        };
        if !self.held.append(&mut tx, &changes).await? {
            // Whoever held the lane before left it without learning that its commit got through.
            drop(tx);
            self.held.catch_up(self.store).await?;
            return Ok(None);
        }
        match tx.commit().await {
            Ok(()) => {}
            Err(Error::Conflict(_)) if again => return Ok(None),
            Err(Error::Unavailable(error)) if again && !changes.is_empty() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the outcome of a commit is unknown");
                if !self.got_through(&changes).await? {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
        let moved = changes.iter().flat_map(|(_, changes)| &changes.events).flat_map(|event| &event.deliveries);
        let cancelled = moved.filter(|delivery| delivery.state == i32::from(State::Cancelled.code())).count();
        (0..cancelled).for_each(|_| self.store.inner.metrics.delivery_ended(State::Cancelled));
        self.held.use_up(self.store, changes);
        Ok(Some(result))
    }

    /// Whether a commit whose outcome is unknown was made: its own journal rows, written again, wait for it and reveal it.
    async fn got_through(&self, changes: &[(Arc<str>, Arc<Changes>)]) -> Result<bool, Error> {
        loop {
            self.store.inner.clock.pause(Duration::from_millis(100)).await;
            if self.epoch.over.is_cancelled() {
                return Err(Error::EpochLost);
            }
            let probe = async {
                let mut tx = self.store.inner.db.begin().await?;
                self.held.append(&mut tx, changes).await
            };
            match probe.await {
                Ok(new) => return Ok(!new),
                Err(Error::Unavailable(_) | Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
