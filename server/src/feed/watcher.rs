//! One watch: what its stream sends next, from the ring where it can and from the journal where it must.
//!
//! The API makes one through [`Feed::watch`](super::Feed::watch) and asks for batches as fast as its client reads. Between two calls it
//! is a cursor and a place in the ring. Invariant: `covered`, of which tokens are made, moves past a commit only with the
//! batch that holds its last change, so a token never covers what was not sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::catch_up::CatchUp;
use super::cursor::Cursor;
use super::ring::Taken;
use super::{BATCH, Error, Shared};
use crate::clock::Instant;
use crate::domain::DeliveryKey;
use crate::domain::change::{Changes, DeliveryChange, EventChanges};
use crate::domain::change_filter::ChangeFilter;

/// A quiet watch hears at least this often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// What comes within this time of a batch goes into one batch together.
const PACKING: Duration = Duration::from_millis(10);

/// What a stream sends in one message.
#[derive(Debug)]
pub struct Batch {
    /// At most 500 changes, in commit order within each lane.
    pub changes: Vec<Change>,
    /// Covers all that was sent up to and with this batch. Of a commit that needs several batches only the last one covers it.
    pub token: String,
    /// Nothing changed, the token moved: the first batch, and each 15 s of quiet.
    pub checkpoint: bool,
}

/// A change of one delivery, with its event. Shares what was decoded once for all watchers.
#[derive(Debug, Clone)]
pub struct Change {
    commit: Arc<Changes>,
    event: usize,
    delivery: usize,
}

impl Change {
    /// The delivery's event.
    pub fn event(&self) -> &EventChanges {
        &self.commit.events[self.event]
    }

    /// The delivery as the change left it.
    pub fn delivery(&self) -> &DeliveryChange {
        &self.event().deliveries[self.delivery]
    }

    /// The delivery's key.
    pub fn key(&self) -> DeliveryKey {
        let delivery = self.delivery();
        let part = i16::try_from(delivery.part).unwrap_or(0);
        DeliveryKey { event_seq: self.event().seq, endpoint_key: delivery.endpoint_key, part }
    }
}

/// An open watch.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    tenant: Arc<str>,
    /// Canonical text of the filter: what tokens are bound to.
    filter: String,
    chosen: ChangeFilter,
    reads: Reads,
    /// Up to where it has read.
    read: Cursor,
    /// Changes that were read and not yet handed out.
    rest: VecDeque<Change>,
    /// Up to where everything was handed out.
    covered: Cursor,
    bell: watch::Receiver<()>,
    phase: Phase,
    last_batch: Instant,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Reads {
    /// From this place in the ring on.
    Ring(u64),
    /// The journal, up to where the ring ended when it began; the plan is made first.
    Journal(Option<CatchUp>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first checkpoint is due.
    New,
    Open,
    /// The last checkpoint was handed out.
    Ended,
}

impl Watcher {
    /// `from`: where to go on; `None`: now.
    pub(super) fn new(
        shared: Arc<Shared>,
        tenant: Arc<str>,
        filter: String,
        chosen: ChangeFilter,
        from: Option<Cursor>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        // Invariant: registered before the ring's end is read, so that every later commit of the tenant is kept.
        let bell = shared.ring.register(&tenant);
        let (reads, read) = match from {
            Some(cursor) => (Reads::Journal(None), cursor),
            None => {
                let end = shared.ring.end();
                (Reads::Ring(end.place), end.cursor())
            }
        };
        let last_batch = shared.store.clock().instant();
        let (covered, rest) = (read.clone(), VecDeque::new());
        Self { shared, tenant, filter, chosen, reads, read, rest, covered, bell, phase: Phase::New, last_batch, _permit: permit }
    }

    /// The next batch: changes as soon as there are some, a checkpoint at the beginning, after 15 s of quiet, and before the end.
    ///
    /// A call that is dropped loses nothing.
    ///
    /// # Errors
    /// [`Error::ShuttingDown`]: the feed was stopped; what the last batch's token covers was sent. [`Error::Store`]: the journal cannot
    /// be read; another call tries again.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        let (shared, clock) = (Arc::clone(&self.shared), self.shared.store.clock().clone());
        if self.phase == Phase::New {
            self.phase = Phase::Open;
            return Ok(self.batch());
        }
        loop {
            if shared.stop.is_cancelled() {
                if self.phase == Phase::Ended {
                    return Err(Error::ShuttingDown);
                }
                // What was read and not handed out stays uncovered.
                if self.rest.is_empty() {
                    self.covered = self.read.clone();
                }
                self.rest.clear();
                self.phase = Phase::Ended;
                return Ok(self.batch());
            }
            self.bell.borrow_and_update();
            let caught_up = self.read_on().await?;
            let quiet = clock.instant().duration_since(self.last_batch);
            if !self.rest.is_empty() || quiet >= HEARTBEAT {
                return Ok(self.batch());
            }
            if !caught_up {
                continue;
            }
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => {}
                Ok(()) = self.bell.changed() => clock.pause(PACKING.saturating_sub(quiet)).await,
                () = clock.sleep(HEARTBEAT.saturating_sub(quiet)) => {}
            }
        }
    }

    /// Hands out what was read, as far as it fits.
    fn batch(&mut self) -> Batch {
        let changes: Vec<Change> = self.rest.drain(..self.rest.len().min(BATCH)).collect();
        if self.rest.is_empty() && self.phase != Phase::Ended {
            self.covered = self.read.clone();
        }
        self.last_batch = self.shared.store.clock().instant();
        let token = self.covered.token(self.shared.store.incarnation());
        let token = token.seal(self.shared.store.key_ring(), &self.tenant, &self.filter);
        Batch { checkpoint: changes.is_empty(), changes, token }
    }

    /// Reads at most about a batch when nothing is left of the last one. True: there is nothing more for now.
    async fn read_on(&mut self) -> Result<bool, Error> {
        if !self.rest.is_empty() {
            return Ok(false);
        }
        let (commits, caught_up) = match &mut self.reads {
            Reads::Ring(place) => match self.shared.ring.take(&self.tenant, *place, BATCH, &mut self.read) {
                Taken::Overrun => {
                    self.reads = Reads::Journal(None);
                    return Ok(false);
                }
                Taken::Commits { commits, place: behind, end } => {
                    *place = behind;
                    (commits, end)
                }
            },
            Reads::Journal(plan) => {
                let catch_up = match plan {
                    Some(catch_up) => catch_up,
                    None => plan.insert(CatchUp::plan(&self.shared, &self.read).await?),
                };
                let commits = catch_up.step(&self.shared.store, &self.tenant, &mut self.read).await?;
                if let Some(place) = catch_up.done(&mut self.read) {
                    self.reads = Reads::Ring(place);
                }
                (commits, false)
            }
        };
        self.choose(commits);
        Ok(caught_up)
    }

    fn choose(&mut self, commits: Vec<Arc<Changes>>) {
        for commit in commits {
            for (event, changes) in commit.events.iter().enumerate() {
                let chosen = changes.deliveries.iter().enumerate().filter(|(_, delivery)| self.chosen.passes(changes, delivery));
                self.rest.extend(chosen.map(|(delivery, _)| Change { commit: Arc::clone(&commit), event, delivery }));
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.ring.unregister(&self.tenant);
    }
}
