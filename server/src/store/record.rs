//! Recording what attempts came to, in groups: one fenced commit for deliveries, attempts, backlog and journal.
//!
//! The dispatcher hands outcomes to the [`Recorder`] and goes on. An outcome whose lease or epoch was taken, or whose delivery was
//! cancelled meanwhile, is dropped: somebody else has the delivery. Nothing that a watcher saw is ever taken back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bulk::{Bulk, Column};
use super::db::{Arg, Tx, sql};
use super::nodes::fence;
use super::{Epoch, Error, Store, Ticket, at};
use crate::domain::change::{Changes, DeliveryChange};
use crate::domain::delivery::{AttemptClass, Next, State};
use crate::domain::event::Event;
use crate::domain::secret::{Place, Row as PlaceRow};
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

/// Outcomes of one commit.
const GROUP: usize = 512;
/// Outcomes that may wait to be recorded.
const QUEUE: usize = 2_048;
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
        loop {
            let got = tokio::select! {
                biased;
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
                got = self.queue.recv_many(&mut group, GROUP) => got,
            };
            if got == 0 {
                return;
            }
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
        group.retain(|outcome| !outcome.epoch.over.is_cancelled());
        let mut groups = vec![group];
        while let Some(mut group) = groups.pop() {
            let Some(first) = group.first() else { continue };
            let epoch = Arc::clone(&first.epoch);
            let later = group.extract_if(.., |outcome| outcome.epoch.id != epoch.id).collect();
            groups.push(later);
            match self.store.record(&epoch, &group).await {
                Ok(()) => {}
                Err(Error::EpochLost) => {
                    tracing::warn!(epoch = epoch.id, outcomes = group.len(), "outcomes dropped: the epoch is over");
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(error = &error as &dyn std::error::Error, outcomes = group.len(), "recording failed");
                    if epoch.over.is_cancelled() || abort.is_cancelled() {
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

impl Store {
    /// Records outcomes of one epoch in one commit; in key order, one a delivery.
    ///
    /// # Errors
    /// [`Error::EpochLost`]: drop them. [`Error::Unavailable`]: repeat, a first try that got through is found.
    pub async fn record(&self, epoch: &Epoch, outcomes: &[Outcome]) -> Result<(), Error> {
        let held = self.hold_record_lane(epoch).await;
        let mut sent = false;
        loop {
            match self.try_record(epoch, outcomes, &held, &mut sent).await {
                Ok(changes) => {
                    let retries = outcomes.iter().any(|outcome| matches!(outcome.next, Next::Retry { .. }));
                    settle(outcomes);
                    held.committed(self, changes);
                    if retries {
                        self.inner.bells.backlog.notify_one();
                    }
                    return Ok(());
                }
                Err(Error::Conflict(_)) => {}
                // Until the database tells, this lane must not go on: its number may be used.
                Err(error) if sent && !matches!(error, Error::EpochLost) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the outcome of a commit is unknown");
                    if epoch.over.is_cancelled() {
                        return Err(Error::EpochLost);
                    }
                    self.inner.clock.pause(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_record(
        &self,
        epoch: &Epoch,
        outcomes: &[Outcome],
        held: &super::journal::Held<'_>,
        sent: &mut bool,
    ) -> Result<Vec<(Arc<str>, Arc<Changes>)>, Error> {
        let mut tx = self.inner.db.begin().await?;
        fence(&mut tx, epoch).await?;
        let kept = fence_leases(&mut tx, epoch, outcomes).await?;
        let mine: Vec<&Outcome> = outcomes.iter().filter(|outcome| kept(outcome)).collect();
        let revisions = update_deliveries(&mut tx, epoch, &mine, held.time).await?;
        let moved: Vec<&Outcome> = mine.into_iter().filter(|outcome| revisions.contains_key(&outcome.key)).collect();
        if moved.is_empty() && *sent {
            // Nothing is this epoch's any more: the first try of this very commit got through. What it told is in the journal, and
            // the watchers of this node read it there.
            return self.reread_own(held).await;
        }
        move_backlog(&mut tx, &moved).await?;
        self.insert_attempts(&mut tx, &moved).await?;
        let mut changes: BTreeMap<Arc<str>, Changes> = BTreeMap::new();
        for outcome in &moved {
            let revision = revisions.get(&outcome.key).copied().unwrap_or_default();
            changes.entry(Arc::clone(&outcome.event.tenant)).or_default().push(
                outcome.key.event_seq,
                &outcome.event.id,
                &outcome.event.event_type,
                outcome.event.create_time.millis(),
                change(outcome, revision, held.time),
            );
        }
        let changes: Vec<_> = changes.into_iter().map(|(tenant, changes)| (tenant, Arc::new(changes))).collect();
        held.append(&mut tx, &changes).await?;
        *sent = self.dialect() == super::Dialect::Postgres && !changes.is_empty();
        tx.commit().await?;
        Ok(changes)
    }

    async fn reread_own(&self, held: &super::journal::Held<'_>) -> Result<Vec<(Arc<str>, Arc<Changes>)>, Error> {
        let entries = self.tail_journal(held.id(), held.seq - 1, 1_000).await?;
        Ok(entries.into_iter().filter(|entry| entry.seq == held.seq).map(|entry| (entry.tenant, entry.changes)).collect())
    }

    /// An attempt gets a row, but for a first one that succeeded: that lives in the delivery's row.
    async fn insert_attempts(&self, tx: &mut Tx, moved: &[&Outcome]) -> Result<(), Error> {
        let kept: Vec<_> = moved.iter().filter(|outcome| outcome.number > 1 || outcome.next != Next::Succeeded).collect();
        let mut answers = Vec::with_capacity(kept.len());
        for outcome in &kept {
            answers.push(self.seal_answer(&outcome.event.tenant, outcome.key, outcome.number, outcome.answer.as_ref()).await?);
        }
        let ints = |value: fn(&Outcome) -> i64| Column::Int(kept.iter().map(|outcome| value(outcome)).collect());
        let maybe = |value: fn(&Timing) -> Option<i32>| {
            Column::MaybeInt(kept.iter().map(|outcome| value(&outcome.timing).map(i64::from)).collect())
        };
        let rows = Bulk::new(vec![
            ints(|outcome| outcome.key.event_seq),
            ints(|outcome| outcome.key.endpoint_key),
            ints(|outcome| outcome.key.part.into()),
            ints(|outcome| outcome.number.into()),
            ints(|outcome| outcome.class.code().into()),
            ints(|outcome| outcome.status.into()),
            ints(|outcome| outcome.end_time.millis()),
            ints(|outcome| outcome.timing.total_ms.into()),
            maybe(|timing| timing.dns_ms),
            maybe(|timing| timing.connect_ms),
            maybe(|timing| timing.first_byte_ms),
            Column::Text(kept.iter().map(|outcome| outcome.address.clone()).collect()),
            Column::Bytes(answers),
        ]);
        tx.bulk(sql!("insert_attempts"), &[], &rows).await?;
        Ok(())
    }

    async fn seal_answer(&self, tenant: &str, key: DeliveryKey, number: i32, answer: Option<&Answer>) -> Result<Vec<u8>, Error> {
        let Some(answer) = answer else { return Ok(Vec::new()) };
        let row = format!("{key}/{number}");
        let place = Place { tenant, table: "attempts", row: PlaceRow::Text(&row), column: "response" };
        // Maps and bytes always serialise.
        let text = serde_json::to_vec(answer).unwrap_or_default();
        match self.seal(&place, &text).await {
            // A deleted tenant has no key any more; its outcomes are still recorded, without the answer.
            Err(Error::NotFound) => Ok(Vec::new()),
            sealed => sealed,
        }
    }

    /// Opens what an attempt's row keeps of the answer.
    pub(crate) async fn open_answer(
        &self,
        tenant: &str,
        key: DeliveryKey,
        number: i32,
        sealed: &[u8],
    ) -> Result<Option<Answer>, Error> {
        if sealed.is_empty() {
            return Ok(None);
        }
        let row = format!("{key}/{number}");
        let place = Place { tenant, table: "attempts", row: PlaceRow::Text(&row), column: "response" };
        let text = self.open_sealed(&place, sealed).await?;
        serde_json::from_slice(&text).map(Some).map_err(|error| Error::BadRow {
            table: "attempts",
            row,
            problem: error.to_string(),
        })
    }
}

/// Fresh deliveries whose outcome is committed, or was dropped because somebody cancelled them, hold the mark back no longer.
fn settle(outcomes: &[Outcome]) {
    for outcome in outcomes {
        if let Hold::Fresh(ticket) = &outcome.hold {
            ticket.settle(1);
        }
    }
}

/// Which outcomes still have their lease. Fresh ones are checked by the update itself.
async fn fence_leases(tx: &mut Tx, epoch: &Epoch, outcomes: &[Outcome]) -> Result<impl Fn(&Outcome) -> bool + use<>, Error> {
    let leased: Vec<(&Outcome, i64)> = outcomes
        .iter()
        .filter_map(|outcome| match outcome.hold {
            Hold::Leased { token } => Some((outcome, token)),
            Hold::Fresh(_) => None,
        })
        .collect();
    let rows = Bulk::new(vec![
        Column::Int(leased.iter().map(|(outcome, _)| outcome.key.event_seq).collect()),
        Column::Int(leased.iter().map(|(outcome, _)| outcome.key.endpoint_key).collect()),
        Column::Int(leased.iter().map(|(outcome, _)| outcome.key.part.into()).collect()),
        Column::Int(leased.iter().map(|(_, token)| *token).collect()),
    ]);
    let mut kept = HashSet::new();
    for row in tx.bulk(sql!("fence_leases" by dialect), &[Arg::Int(epoch.id)], &rows).await? {
        kept.insert(DeliveryKey { event_seq: row.int(0)?, endpoint_key: row.int(1)?, part: row.num(2)? });
    }
    if kept.len() < leased.len() {
        tracing::info!(
            dropped = leased.len() - kept.len(),
            "outcomes dropped: their lease was taken or the delivery was moved by hand"
        );
    }
    Ok(move |outcome: &Outcome| matches!(outcome.hold, Hold::Fresh(_)) || kept.contains(&outcome.key))
}

async fn update_deliveries(tx: &mut Tx, epoch: &Epoch, mine: &[&Outcome], now: Time) -> Result<HashMap<DeliveryKey, i32>, Error> {
    let ints = |value: fn(&Outcome) -> i64| Column::Int(mine.iter().map(|outcome| value(outcome)).collect());
    let rows = Bulk::new(vec![
        ints(|outcome| outcome.key.event_seq),
        ints(|outcome| outcome.key.endpoint_key),
        ints(|outcome| outcome.key.part.into()),
        ints(|outcome| outcome.next.state().code().into()),
        ints(|outcome| outcome.number.into()),
        ints(|outcome| outcome.class.code().into()),
        ints(|outcome| outcome.status.into()),
        ints(|outcome| outcome.timing.total_ms.into()),
        ints(|outcome| i64::from(matches!(outcome.hold, Hold::Leased { .. }))),
    ]);
    let mut revisions = HashMap::with_capacity(mine.len());
    for row in tx.bulk(sql!("record_deliveries"), &[at(now), Arg::Int(epoch.id)], &rows).await? {
        let key = DeliveryKey { event_seq: row.int(0)?, endpoint_key: row.int(1)?, part: row.num(2)? };
        revisions.insert(key, row.num(3)?);
    }
    Ok(revisions)
}

/// A delivery that succeeded leaves the backlog; one that did not is there from now on, dead letters without a due time.
async fn move_backlog(tx: &mut Tx, moved: &[&Outcome]) -> Result<(), Error> {
    let (done, waits): (Vec<&Outcome>, Vec<&Outcome>) = moved.iter().copied().partition(|outcome| outcome.next == Next::Succeeded);
    let done: Vec<_> = done.into_iter().filter(|outcome| matches!(outcome.hold, Hold::Leased { .. })).collect();
    let keys = Bulk::new(vec![
        Column::Int(done.iter().map(|outcome| outcome.key.event_seq).collect()),
        Column::Int(done.iter().map(|outcome| outcome.key.endpoint_key).collect()),
        Column::Int(done.iter().map(|outcome| outcome.key.part.into()).collect()),
    ]);
    tx.bulk(sql!("delete_backlog"), &[], &keys).await?;
    let due = |outcome: &&Outcome| match outcome.next {
        Next::Retry { due } => Some(due.millis()),
        _ => None,
    };
    let rows = Bulk::new(vec![
        Column::Int(waits.iter().map(|outcome| outcome.key.event_seq).collect()),
        Column::Int(waits.iter().map(|outcome| outcome.key.endpoint_key).collect()),
        Column::Int(waits.iter().map(|outcome| outcome.key.part.into()).collect()),
        Column::Int(waits.iter().map(|outcome| outcome.next.state().code().into()).collect()),
        Column::Int(waits.iter().map(|outcome| outcome.priority.into()).collect()),
        Column::MaybeInt(waits.iter().map(due).collect()),
        Column::Int(waits.iter().map(|outcome| outcome.number.into()).collect()),
        Column::Int(waits.iter().map(|outcome| outcome.schedule_attempts.into()).collect()),
    ]);
    tx.bulk(sql!("upsert_backlog"), &[], &rows).await?;
    Ok(())
}

fn change(outcome: &Outcome, revision: i32, now: Time) -> DeliveryChange {
    let state: State = outcome.next.state();
    DeliveryChange {
        endpoint_key: outcome.key.endpoint_key,
        endpoint_id: outcome.endpoint_id.to_string(),
        part: outcome.key.part.into(),
        state: state.code().into(),
        revision,
        attempt_count: outcome.number,
        last_status: outcome.status.into(),
        last_class: outcome.class.code().into(),
        due: match outcome.next {
            Next::Retry { due } => Some(due.millis()),
            _ => None,
        },
        time: now.millis(),
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
