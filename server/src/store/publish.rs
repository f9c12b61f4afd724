//! Accepting events: the one commit after which an event is kept.
//!
//! [`Publisher`] is what callers hold; [`Committer`] is the node's one task that writes, in groups: the next group is what arrived
//! while the last one committed. A commit holds the idempotency keys, the events, every delivery of their fan-out and the journal.
//! Deliveries whose endpoint has room here are born owned by this node's epoch and handed to [`Intake`] after the commit; all others
//! get a backlog row in the same commit. Nothing is replied before the commit is known.

mod batch;
pub(crate) mod own;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::fresh::Ticket;
use super::gather::gather;
use super::{Epoch, Error, Store, TenantSettings};
use crate::domain::endpoint::Endpoint;
use crate::domain::event::{Event, NewEvent};
use crate::domain::event_type::is_event_type;
use crate::domain::registered::{RegisteredTypes, TypeProblem};
use crate::domain::secret::{Place, Row as PlaceRow};
use crate::domain::{DeliveryKey, Time};

use batch::{Filtered, Item};

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is stored, now or before.
    Accepted(Accepted),
    /// Its id was used for another event.
    Mismatch,
    /// Its tenant does not exist or is being removed.
    NoTenant,
    /// Its type, or the version of its schema, was removed after it was checked, as another node may do.
    NoType(TypeProblem),
    /// The database refuses this very event; a defect.
    Refused,
}

/// The answer to a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The event's id.
    pub event_id: String,
    /// Its place in the order of acceptance.
    pub seq: i64,
    /// Deliveries made of it.
    pub delivery_count: i32,
    /// Endpoints that got none.
    pub skipped_count: i32,
    /// It was there before.
    pub duplicate: bool,
}

/// Takes fresh deliveries right after their commit: this node's dispatcher.
pub trait Intake: Send + Sync + 'static {
    /// Takes room for one delivery with a payload of this size. False: it must wait in the backlog.
    fn reserve(&self, endpoint: &Arc<Endpoint>, bytes: usize) -> bool;
    /// Gives room back.
    fn release(&self, endpoint_key: i64, bytes: usize);
    /// These are committed as owned by this node.
    fn deliver(&self, fresh: Vec<Fresh>);
}

/// Room taken for one delivery, given back when dropped.
pub struct Room {
    intake: Arc<dyn Intake>,
    endpoint_key: i64,
    bytes: usize,
}

impl Room {
    fn take(intake: &Arc<dyn Intake>, endpoint: &Arc<Endpoint>, bytes: usize) -> Option<Self> {
        intake.reserve(endpoint, bytes).then(|| Self { intake: Arc::clone(intake), endpoint_key: endpoint.key, bytes })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.intake.release(self.endpoint_key, self.bytes);
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("endpoint_key", &self.endpoint_key).finish_non_exhaustive()
    }
}

/// A delivery committed as owned by this node, not yet begun.
#[derive(Debug)]
pub struct Fresh {
    /// Its key.
    pub key: DeliveryKey,
    /// Its event.
    pub event: Arc<Event>,
    /// Its endpoint, as it was matched.
    pub endpoint: Arc<Endpoint>,
    /// The epoch that owns it.
    pub epoch: Arc<Epoch>,
    /// Holds the low-water mark back until its outcome is recorded.
    pub ticket: Arc<Ticket>,
    /// Its place in the dispatcher's queue.
    pub room: Room,
}

/// What callers publish through. A clone shares the queue.
#[derive(Debug, Clone)]
pub struct Publisher {
    store: Store,
    queue: mpsc::Sender<Submission>,
    /// Streams wait for room of their own, so that they never make a call fail.
    calls: Waiting,
    streams: Waiting,
}

/// Bytes of events that may wait for their commit.
#[derive(Debug, Clone)]
struct Waiting {
    free: Arc<Semaphore>,
    all: u32,
}

impl Waiting {
    fn room(all: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// What events take. What is larger than all of it waits alone.
    fn bytes(&self, events: &[NewEvent]) -> u32 {
        let bytes: usize = events.iter().map(|event| event.data.len() + EVENT_BYTES).sum();
        u32::try_from(bytes).unwrap_or(self.all).min(self.all)
    }
}

/// The task that commits. There is one a node.
pub struct Committer {
    store: Store,
    queue: mpsc::Receiver<Submission>,
    intake: Option<Arc<dyn Intake>>,
}

#[derive(Debug)]
struct Submission {
    events: Vec<Ready>,
    reply: oneshot::Sender<Result<Vec<Verdict>, Arc<Error>>>,
    /// Its bytes, until its commit is known.
    room: OwnedSemaphorePermit,
}

/// An event with what can be prepared outside the committer.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) event: NewEvent,
    pub(crate) sealed: Vec<u8>,
    pub(crate) subject_hash: [u8; 32],
    /// What endpoints' filters say of it; `None`: nobody was asked yet.
    pub(crate) filtered: Option<Filtered>,
}

/// Events of one commit.
const GROUP_EVENTS: usize = 512;
/// Payload bytes of one commit.
const GROUP_BYTES: usize = 4 << 20;
/// Deliveries of one commit.
const GROUP_DELIVERIES: usize = 5_000;

/// Bytes of events that wait for their commit on a node, so that no number of large ones fills its memory. Encrypted they are as many more.
const WAITING_BYTES: u32 = 128 << 20;
/// The same of streams, which wait for room where a call is refused.
const WAITING_STREAM_BYTES: u32 = 64 << 20;
/// What an event costs beside its payload.
const EVENT_BYTES: usize = 512;
/// Bytes that are encrypted before other tasks get their turn.
const TURN_BYTES: usize = 64 << 10;
/// What a filter counts for in that, which costs a few microseconds.
const FILTER_TURN_BYTES: usize = 1 << 10;

/// The two ends of a node's publishing. `capacity`: submissions that may wait; past it, or past [`WAITING_BYTES`], a publish is refused as
/// overloaded.
pub fn channel(store: Store, intake: Option<Arc<dyn Intake>>, capacity: usize) -> (Publisher, Committer) {
    channel_within(store, intake, capacity, [WAITING_BYTES, WAITING_STREAM_BYTES])
}

/// As [`channel`], with these bytes of calls and of streams.
pub(crate) fn channel_within(
    store: Store,
    intake: Option<Arc<dyn Intake>>,
    capacity: usize,
    bytes: [u32; 2],
) -> (Publisher, Committer) {
    let (queue, receiver) = mpsc::channel(capacity);
    let [calls, streams] = bytes.map(Waiting::room);
    (Publisher { store: store.clone(), queue, calls, streams }, Committer { store, queue: receiver, intake })
}

impl Publisher {
    /// Publishes events together; one verdict each, in the same order. Returns after the commit that holds them.
    ///
    /// # Errors
    /// [`Error::Overloaded`]: too much waits. [`Error::Unavailable`], [`Error::EpochLost`]: repeat with the same ids.
    /// [`Error::NotFound`]: no such tenant.
    pub async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<Verdict>, Arc<Error>> {
        let room = Arc::clone(&self.calls.free).try_acquire_many_owned(self.calls.bytes(&events)).map_err(|refused| {
            Arc::new(match refused {
                TryAcquireError::NoPermits => Error::Overloaded,
                TryAcquireError::Closed => Error::EpochLost,
            })
        })?;
        let events = self.prepare(events).await.map_err(Arc::new)?;
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Submission { events, reply, room }).map_err(|refused| {
            Arc::new(match refused {
                mpsc::error::TrySendError::Full(_) => Error::Overloaded,
                mpsc::error::TrySendError::Closed(_) => Error::EpochLost,
            })
        })?;
        // The committer answers every submission; one that it drops while it stops was not written.
        answer.await.unwrap_or_else(|_| Err(Arc::new(Error::EpochLost)))
    }

    /// As [`Publisher::publish`], but waits for room in the queue instead of refusing: for streams, which read on only as fast as
    /// is stored.
    ///
    /// # Errors
    /// As [`Publisher::publish`], without [`Error::Overloaded`]. The answer comes through the receiver.
    pub async fn submit(&self, events: Vec<NewEvent>) -> Result<oneshot::Receiver<Result<Vec<Verdict>, Arc<Error>>>, Arc<Error>> {
        let room = Arc::clone(&self.streams.free)
            .acquire_many_owned(self.streams.bytes(&events))
            .await
            .map_err(|_| Arc::new(Error::EpochLost))?;
        let events = self.prepare(events).await.map_err(Arc::new)?;
        let (reply, answer) = oneshot::channel();
        self.queue.send(Submission { events, reply, room }).await.map_err(|_| Arc::new(Error::EpochLost))?;
        Ok(answer)
    }

    /// The types that a tenant may publish beside the catalogue's: fresh enough to know one that was registered before this call.
    /// `version`: 0 means the newest.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn types(&self, tenant: &Arc<str>, event_type: &str, version: i32) -> Result<Arc<RegisteredTypes>, Error> {
        let known = |settings: &TenantSettings| {
            let found = settings.types.find(event_type, (version != 0).then_some(version));
            !matches!(found, Err(TypeProblem::Unknown | TypeProblem::Version { .. }))
        };
        let settings = match self.store.settings(tenant).await {
            Ok(settings) if known(&settings) || !is_event_type(event_type) => settings,
            Ok(_) => match self.store.fresh_settings(tenant).await {
                Err(Error::NotFound) => return Ok(Arc::default()),
                settings => settings?,
            },
            Err(Error::NotFound) => return Ok(Arc::default()),
            Err(error) => return Err(error),
        };
        Ok(Arc::clone(&settings.types))
    }

    /// Encrypts and asks filters in the caller's task, so that the one committer has less to do.
    async fn prepare(&self, events: Vec<NewEvent>) -> Result<Vec<Ready>, Error> {
        let mut ready = Vec::with_capacity(events.len());
        let mut turn = 0;
        for event in events {
            turn += event.data.len();
            if turn > TURN_BYTES {
                turn = 0;
                tokio::task::yield_now().await;
            }
            let filtered = match self.store.settings(&event.tenant).await {
                Ok(settings) => Some(Filtered::of(&settings, &event)),
                // The commit says so.
                Err(Error::NotFound) => None,
                Err(error) => return Err(error),
            };
            turn += filtered.as_ref().map_or(0, |filtered| filtered.asked * FILTER_TURN_BYTES);
            ready.push(self.store.seal_event(event, filtered).await?);
        }
        Ok(ready)
    }
}

impl Committer {
    /// Commits until every [`Publisher`] is gone, or `stop` and then what was waiting.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut waiting = Vec::with_capacity(GROUP_EVENTS);
        while gather(&mut self.queue, &mut waiting, GROUP_EVENTS, &stop).await {
            self.commit_waiting(&mut waiting).await;
        }
    }

    async fn commit_waiting(&self, waiting: &mut Vec<Submission>) {
        let mut group: Vec<Submission> = Vec::new();
        let mut size = Size::default();
        for submission in waiting.drain(..) {
            let more = self.size(&submission);
            // A submission that is larger than a group goes alone.
            if !group.is_empty() && size.with(more).is_over() {
                self.commit_group(std::mem::take(&mut group)).await;
                size = Size::default();
            }
            size = size.with(more);
            group.push(submission);
        }
        if !group.is_empty() {
            self.commit_group(group).await;
        }
    }

    async fn commit_group(&self, group: Vec<Submission>) {
        let mut replies = Vec::with_capacity(group.len());
        let mut items = Vec::new();
        let mut rooms = Vec::with_capacity(group.len());
        for submission in group {
            rooms.push(submission.room);
            replies.push(Some((submission.reply, items.len()..items.len() + submission.events.len())));
            items.extend(submission.events.into_iter().map(Item::new));
        }
        let written = self.commit_items(&mut items, &mut replies).await;
        let failed = written.err().map(Arc::new);
        if let Some(error) = &failed {
            tracing::warn!(error = &**error as &dyn std::error::Error, events = items.len(), "publish failed");
        }
        for (reply, range) in replies.into_iter().flatten() {
            let answer = match &failed {
                Some(error) => Err(Arc::clone(error)),
                None => Ok(items[range].iter().map(|item| item.verdict.clone().unwrap_or(Verdict::Refused)).collect()),
            };
            // A caller who left does not matter: what is committed is committed.
            let _ = reply.send(answer);
        }
    }

    fn size(&self, submission: &Submission) -> Size {
        let fan_out = |event: &NewEvent| self.store.cached_settings(&event.tenant).map_or(0, |settings| settings.fan_out());
        Size {
            events: submission.events.len(),
            bytes: submission.events.iter().map(|ready| ready.sealed.len()).sum(),
            deliveries: submission.events.iter().map(|ready| fan_out(&ready.event)).sum(),
        }
    }
}

type Replies = Vec<Option<(oneshot::Sender<Result<Vec<Verdict>, Arc<Error>>>, std::ops::Range<usize>)>>;

#[derive(Debug, Clone, Copy, Default)]
struct Size {
    events: usize,
    bytes: usize,
    deliveries: usize,
}

impl Size {
    fn with(self, other: Self) -> Self {
        Self { events: self.events + other.events, bytes: self.bytes + other.bytes, deliveries: self.deliveries + other.deliveries }
    }

    fn is_over(self) -> bool {
        self.events > GROUP_EVENTS || self.bytes > GROUP_BYTES || self.deliveries > GROUP_DELIVERIES
    }
}

impl Store {
    /// Seals an event for its row. `filtered`: what endpoints' filters say of it, if they were asked.
    async fn seal_event(&self, event: NewEvent, filtered: Option<Filtered>) -> Result<Ready, Error> {
        let key = self.data_key(&event.tenant).await?;
        let place = Place { tenant: &event.tenant, table: "events", row: PlaceRow::Text(&event.id), column: "payload" };
        let sealed = key.seal(&place, super::vault::nonce(), &event.data)?;
        let subject_hash = key.hash_subject(&event.subject);
        Ok(Ready { event, sealed, subject_hash, filtered })
    }
}

/// The event as deliveries carry it.
fn stored(ready: &Ready, seq: i64, accepted_at: Time) -> Event {
    let event = &ready.event;
    Event {
        seq,
        tenant: Arc::clone(&event.tenant),
        id: event.id.as_str().into(),
        event_type: event.event_type.as_str().into(),
        subject: event.subject.clone(),
        occurred_time: event.occurred_time.unwrap_or(accepted_at),
        create_time: accepted_at,
        txn: event.txn.clone().unwrap_or_else(|| event.id.clone()),
        schema_version: event.schema_version,
        data: Bytes::clone(&event.data),
        standard: std::sync::OnceLock::new(),
    }
}
