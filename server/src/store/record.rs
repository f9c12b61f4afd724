//! Recording what attempts came to, in groups: one fenced commit for deliveries, attempts, backlog and journal.
//!
//! The dispatcher hands outcomes to the [`Recorder`] and goes on. An outcome whose lease or epoch was taken, or whose delivery was
//! cancelled meanwhile, is dropped: somebody else has the delivery. Nothing that a watcher saw is ever taken back.

mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::gather::gather;
use super::{Epoch, Error, Store, Ticket};
use crate::domain::delivery::{AttemptClass, Next};
use crate::domain::event::Event;
use crate::domain::{DeliveryKey, Time};

/// By what right an outcome is recorded.
#[derive(Debug, Clone)]
pub enum Hold {
    /// The delivery was born owned by this epoch.
    Fresh(Arc<Ticket>),
    /// It was claimed from the backlog.
    Leased {
        /// The lease's token.
        token: i64,
    },
}

/// One attempt and what follows from it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The delivery.
    pub key: DeliveryKey,
    /// Its event.
    pub event: Arc<Event>,
    /// Id of its endpoint.
    pub endpoint_id: Arc<str>,
    /// The epoch that made the attempt.
    pub epoch: Arc<Epoch>,
    /// By what right.
    pub hold: Hold,
    /// The attempt's number, from 1.
    pub number: i32,
    /// Attempts of the present schedule, this one included.
    pub schedule_attempts: i32,
    /// The delivery's priority.
    pub priority: i16,
    /// How it ended.
    pub class: AttemptClass,
    /// Status of the answer; 0: none.
    pub status: u16,
    /// When it ended.
    pub end_time: Time,
    /// What follows.
    pub next: Next,
    /// How long it took.
    pub timing: Timing,
    /// The address dialled; empty: none.
    pub address: String,
    /// The receiver's answer, for an attempt that gets a row of its own.
    pub answer: Option<Answer>,
    /// What class and status do not say; empty: nothing.
    pub detail: String,
}

/// How long the parts of an attempt took, in ms.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Name lookup.
    pub dns_ms: Option<i32>,
    /// Lookup, connection and TLS.
    pub connect_ms: Option<i32>,
    /// To the first byte of the answer.
    pub first_byte_ms: Option<i32>,
    /// All of it.
    pub total_ms: i32,
}

/// What a receiver answered, as far as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Answer {
    /// Headers, as text.
    pub headers: BTreeMap<String, String>,
    /// First bytes of the body.
    #[serde(with = "base64_text")]
    pub body: Vec<u8>,
}

/// Hands outcomes to the recorder. Waits when too many are unrecorded, which bounds what a crash can send twice.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Outcome>,
}

/// The task that records. There is one a node.
#[derive(Debug)]
pub struct RecordLoop {
    store: Store,
    queue: mpsc::Receiver<Outcome>,
}

/// Outcomes of one commit, and those that may wait for the next. What is on the wire, in a commit or waiting for one is what a crash
/// can send twice, so both are no larger than a commit needs to be.
const GROUP: usize = 256;
const QUEUE: usize = 256;
/// Outcomes of one commit among which many are dead letters.
const DEAD: usize = 32;
/// A group gathers for this long, which costs a watcher little and saves most of the commits.
const WINDOW: Duration = Duration::from_millis(2);

/// The two ends of a node's recording.
pub fn channel(store: Store) -> (Recorder, RecordLoop) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Recorder { queue: sender }, RecordLoop { store, queue: receiver })
}

impl Recorder {
    /// Hands an outcome over.
    pub async fn record(&self, outcome: Outcome) {
        // The loop ends after every sender; an outcome that still comes too late is sent again by whoever adopts it.
        let _ = self.queue.send(outcome).await;
    }
}

impl RecordLoop {
    /// Records until `stop`, and then what was handed over before. `abort`: gives up what cannot be written.
    pub async fn run(mut self, stop: CancellationToken, abort: CancellationToken) {
        let mut group = Vec::with_capacity(GROUP);
        while gather(&mut self.queue, &mut group, GROUP, &stop).await {
            if group.len() < GROUP {
                self.store.clock().pause(WINDOW).await;
                while group.len() < GROUP
                    && let Ok(outcome) = self.queue.try_recv()
                {
                    group.push(outcome);
                }
            }
            self.record_until_known(std::mem::take(&mut group), &abort).await;
        }
    }

    async fn record_until_known(&self, mut group: Vec<Outcome>, abort: &CancellationToken) {
        group.sort_by_key(|outcome| outcome.key);
        // Outcomes of an epoch that is over are somebody else's by now.
        let before = group.len();
        group.retain(|outcome| !outcome.epoch.over.is_cancelled());
        self.count_lost(before - group.len());
        // Each dead letter is an event of its own beside its outcome, for every endpoint that asks for those.
        let dead = group.iter().filter(|outcome| outcome.next == Next::Dead).count();
        let mut groups = if dead > DEAD { group.chunks(DEAD).map(<[Outcome]>::to_vec).collect() } else { vec![group] };
        while let Some(mut group) = groups.pop() {
            let Some(first) = group.first() else { continue };
            let epoch = Arc::clone(&first.epoch);
            let later = group.extract_if(.., |outcome| outcome.epoch.id != epoch.id).collect();
            groups.push(later);
            match self.store.record(&epoch, &group).await {
                Ok(()) => {}
                Err(Error::EpochLost) => {
                    tracing::warn!(epoch = epoch.id, outcomes = group.len(), "outcomes dropped: the epoch is over");
                    self.count_lost(group.len());
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(error = &error as &dyn std::error::Error, outcomes = group.len(), "recording failed");
                    if epoch.over.is_cancelled() || abort.is_cancelled() {
                        self.count_lost(group.len());
                        continue;
                    }
                    groups.push(group);
                    tokio::select! {
                        () = self.store.clock().pause(Duration::from_millis(100)) => {}
                        () = abort.cancelled() => {}
                    }
                }
                // A defect in one of them: find it by halves, so that it keeps none of the others.
                Err(_) if group.len() > 1 => {
                    groups.push(group.split_off(group.len() / 2));
                    groups.push(group);
                }
                Err(error) => {
                    let delivery = group.first().map(|outcome| outcome.key.to_string());
                    tracing::error!(
                        delivery,
                        error = &error as &dyn std::error::Error,
                        "an outcome cannot be recorded; it is sent again when its lease or epoch ends"
                    );
                }
            }
        }
    }
}

impl RecordLoop {
    fn count_lost(&self, outcomes: usize) {
        self.store.metrics().leases_lost.inc_by(u64::try_from(outcomes).unwrap_or(u64::MAX));
    }
}

mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
