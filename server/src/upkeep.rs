//! What must be done every now and then: beats, lost nodes, settings of other nodes, retention. Each a small, bounded step.
//!
//! The beat is what this node's ownership rests on. It stops trusting itself before any other may take over: 10 s after it *sent*
//! its last beat that succeeded its epoch is over, in-flight attempts are aborted, and a new epoch begins. Another node declares an
//! epoch lost only after its beat has stood still for 15 s of the observer's own monotonic clock, while the observer's beats succeed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Instant;
use crate::domain::Time;
use crate::store::journal::REMOVAL_MARGIN;
use crate::store::nodes::{Beat, Pulse};
use crate::store::{Dialect, Epoch, Error, Store};

/// How often a node beats.
const BEAT: Duration = Duration::from_secs(3);
/// How long a node trusts a beat, counted from when it was sent.
const TRUST: Duration = Duration::from_secs(10);
/// How long the answer to a beat is waited for: several beats, each on another connection, fit into [`TRUST`].
const ANSWER: Duration = Duration::from_secs(3);
/// How often the trust is looked at while a beat is under way.
const LOOK: Duration = Duration::from_millis(250);
/// How long a beat stands still before its epoch is declared lost.
///
/// Invariant: longer than [`TRUST`] and the time to abort what is in flight.
const LOST_AFTER: Duration = Duration::from_secs(15);
/// How often settings that other nodes changed are looked for.
const FOLLOW: Duration = Duration::from_millis(500);
/// How often retention and removal look for work.
const TIDY: Duration = Duration::from_secs(30);
/// Steps of one kind in a row, so that none keeps the others waiting.
const STEPS: usize = 50;

/// Keeps this node's epoch: beats, judges the others, adopts what lost nodes left.
#[derive(Debug)]
pub struct Keeper {
    store: Store,
    node: String,
    /// Beats of others, and since when each stands still.
    seen: HashMap<i64, (i64, Instant)>,
}

impl Keeper {
    /// A keeper for a node that has joined under this name.
    pub fn new(store: Store, node: String) -> Self {
        Self { store, node, seen: HashMap::new() }
    }

    /// Beats until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let store = self.store.clone();
        if let Ok(epoch) = store.epoch() {
            self.trust(&epoch, store.clock().instant());
        }
        loop {
            let done = self.turn(&store).await;
            // While beats fail they are tried more often: trust runs out in seconds.
            let wait = if done { BEAT } else { Duration::from_millis(300) };
            tokio::select! {
                () = stop.cancelled() => return,
                () = store.clock().pause(wait) => {}
            }
            distrust(&store);
        }
    }

    /// One beat and what follows from it. The trust in the last beat runs out meanwhile, however long this takes.
    async fn turn(&mut self, store: &Store) -> bool {
        let mut turn = std::pin::pin!(self.beat_once(store.clock().instant()));
        loop {
            tokio::select! {
                biased;
                result = &mut turn => {
                    if let Err(error) = &result {
                        tracing::warn!(error = error as &dyn std::error::Error, "a beat failed");
                    }
                    return result.is_ok();
                }
                () = store.clock().pause(LOOK) => distrust(store),
            }
        }
    }

    /// One beat, and what follows from it.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: this node could not prove that it lives, or could not do what it owes to others.
    pub async fn beat_once(&mut self, now: Instant) -> Result<(), Error> {
        let epoch = match self.store.epoch() {
            Ok(epoch) => epoch,
            Err(_) => self.join(now).await?,
        };
        match tokio::time::timeout(ANSWER, self.store.beat(&epoch)).await {
            Err(_) => return Err(Error::timed_out()),
            Ok(Err(error)) => return Err(error),
            Ok(Ok(Pulse::Lost)) => {
                tracing::warn!(epoch = epoch.id, "this node's epoch was taken; starting a new one");
                self.join(now).await?;
            }
            Ok(Ok(Pulse::Alive(others))) => {
                self.trust(&epoch, now);
                self.judge(others, now).await?;
            }
        }
        self.adopt().await
    }

    /// A new epoch, trusted from when it was asked for.
    async fn join(&self, now: Instant) -> Result<Arc<Epoch>, Error> {
        let epoch = self.store.join(&self.node).await?;
        self.trust(&epoch, now);
        Ok(epoch)
    }

    /// `sent`: when the beat was that succeeded.
    fn trust(&self, epoch: &Epoch, sent: Instant) {
        // On SQLite nobody else can take over, and a database that is busy for a while is no reason to stop.
        if self.store.dialect() == Dialect::Postgres {
            epoch.trust_until(sent + TRUST);
        }
    }

    /// Declares those lost whose beat has stood still for too long.
    async fn judge(&mut self, others: Vec<Beat>, now: Instant) -> Result<(), Error> {
        self.seen.retain(|epoch, _| others.iter().any(|other| other.epoch == *epoch));
        for other in others {
            let (beat, since) = *self.seen.entry(other.epoch).or_insert((other.beat, now));
            if beat != other.beat {
                self.seen.insert(other.epoch, (other.beat, now));
            } else if now.duration_since(since) >= LOST_AFTER && self.store.declare_lost(other).await? {
                tracing::warn!(epoch = other.epoch, "a node is lost: its beat stood still");
                self.seen.remove(&other.epoch);
            }
        }
        Ok(())
    }

    /// In bounded steps, and no longer than the next beat may wait.
    async fn adopt(&self) -> Result<(), Error> {
        let begun = self.store.clock().instant();
        for _ in 0..STEPS {
            if !self.store.adopt_step().await? || self.store.clock().instant().duration_since(begun) >= BEAT {
                break;
            }
        }
        Ok(())
    }
}

/// Ends the epoch when its last beat is too old to be trusted.
fn distrust(store: &Store) {
    if let Ok(epoch) = store.epoch() {
        epoch.may_send(store.clock().instant());
    }
}

/// Joins before anything is published: every commit needs an epoch.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn join(store: &Store, node: &str) -> Result<Arc<Epoch>, Error> {
    let epoch = store.join(node).await?;
    // What an earlier life of this node left is due at once.
    while store.adopt_step().await? {}
    Ok(epoch)
}

/// Follows the settings that other nodes change, until `stop`. SQLite has no other nodes.
pub async fn follow_settings(store: Store, stop: CancellationToken) {
    let mut since = store.now().minus(Duration::from_secs(60));
    loop {
        if store.dialect() == Dialect::Postgres {
            match store.follow_settings(since).await {
                Ok(next) => since = next,
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "settings cannot be followed"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = store.clock().pause(FOLLOW) => {}
        }
    }
}

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Rows of the journal.
    pub journal: Duration,
}

/// Removes what has had its time and what deleted endpoints and tenants left, until `stop`.
pub async fn tidy(store: Store, retention: Retention, stop: CancellationToken) {
    loop {
        let removals = store.bells().removals.notified();
        if let Err(error) = tidy_once(&store, retention, store.now()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "upkeep failed; it goes on later");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = removals => {}
            () = store.clock().pause(TIDY) => {}
        }
    }
}

/// One round of every removal, each in bounded steps.
///
/// # Errors
/// [`Error::Unavailable`]: what was done is done, the rest comes with the next round.
pub async fn tidy_once(store: &Store, retention: Retention, now: Time) -> Result<(), Error> {
    store.ensure_partitions().await?;
    for _ in 0..STEPS {
        let mut more = store.cancel_deleted_step().await?;
        more |= store.remove_deleted_step().await?;
        more |= store.expire_requests_step().await?;
        more |= store.expire_minutes_step().await?;
        more |= store.expire_signing_keys_step().await?;
        more |= store.expire_journal_step(now.minus(retention.journal + REMOVAL_MARGIN)).await?;
        if !more {
            break;
        }
    }
    Ok(())
}
