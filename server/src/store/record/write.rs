//! The transaction that records outcomes, and what is done when its own outcome is unknown.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Hold, Outcome, Timing};
use crate::domain::change::{Changes, DeliveryChange};
use crate::domain::delivery::{AttemptClass, Next, State};
use crate::domain::secret::{Place, Row as PlaceRow};
use crate::domain::{DeliveryKey, Time};
use crate::store::bulk::{Bulk, Column};
use crate::store::db::{Arg, Tx, sql};
use crate::store::journal::{Held, Written};
use crate::store::nodes::fence;
use crate::store::publish::own::{OwnEvent, may_follow};
use crate::store::{Dialect, Epoch, Error, Store, at};
use crate::telemetry::Metrics;

impl Store {
    /// Records outcomes of one epoch in one commit; in key order, one a delivery.
    ///
    /// # Errors
    /// [`Error::EpochLost`]: drop them. [`Error::Unavailable`]: repeat, a first try that got through is found.
    pub async fn record(&self, epoch: &Epoch, outcomes: &[Outcome]) -> Result<(), Error> {
        let held = self.hold_record_lane(epoch).await;
        let mut sent = false;
        loop {
            let result = tokio::select! {
                result = Box::pin(self.try_record(epoch, outcomes, &held, &mut sent)) => result,
                () = epoch.over.cancelled() => Err(Error::EpochLost),
            };
            match result {
                Ok((changes, lost)) => {
                    self.inner.metrics.leases_lost.inc_by(lost);
                    count(&self.inner.metrics, &changes);
                    let retries = outcomes.iter().any(|outcome| matches!(outcome.next, Next::Retry { .. }));
                    settle(outcomes);
                    held.committed(self, changes);
                    if retries || outcomes.iter().any(|outcome| outcome.next == Next::Dead) {
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
        held: &Held<'_>,
        sent: &mut bool,
    ) -> Result<(Written, u64), Error> {
        let mut tx = self.inner.db.begin().await?;
        fence(&mut tx, epoch).await?;
        let kept = fence_leases(&mut tx, epoch, outcomes).await?;
        let mine: Vec<&Outcome> = outcomes.iter().filter(|outcome| kept(outcome)).collect();
        let revisions = update_deliveries(&mut tx, epoch, &mine, held.time).await?;
        let moved: Vec<&Outcome> = mine.into_iter().filter(|outcome| revisions.contains_key(&outcome.key)).collect();
        if moved.is_empty() && *sent {
            // Nothing is this epoch's any more: the first try of this very commit got through. What it told is in the journal, and
            // the watchers of this node read it there.
            return Ok((self.reread_own(held).await?, 0));
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
        for (tenant, own) in self.publish_own(&mut tx, dead_letters(&moved), held.time, None).await? {
            changes.entry(tenant).or_default().events.extend(own.events.iter().cloned());
        }
        let changes: Vec<_> = changes.into_iter().map(|(tenant, changes)| (tenant, Arc::new(changes))).collect();
        held.append(&mut tx, &changes).await?;
        *sent = self.dialect() == Dialect::Postgres && !changes.is_empty();
        tx.commit().await?;
        Ok((changes, u64::try_from(outcomes.len() - moved.len()).unwrap_or(0)))
    }

    async fn reread_own(&self, held: &Held<'_>) -> Result<Written, Error> {
        let entries = self.tail_journal(held.id(), held.seq - 1, 1_000).await?;
        Ok(entries.into_iter().filter(|entry| entry.seq == held.seq).map(|entry| (entry.tenant, entry.changes)).collect())
    }

    /// An attempt gets a row, but for a first one that succeeded and of which there is no more to say: that lives in the delivery's row.
    async fn insert_attempts(&self, tx: &mut Tx, moved: &[&Outcome]) -> Result<(), Error> {
        let kept: Vec<_> = moved
            .iter()
            .filter(|outcome| outcome.number > 1 || outcome.next != Next::Succeeded || !outcome.detail.is_empty())
            .collect();
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
            Column::Text(kept.iter().map(|outcome| outcome.detail.clone()).collect()),
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

/// What the tenants of dead letters are told.
fn dead_letters(moved: &[&Outcome]) -> Vec<(Arc<str>, OwnEvent)> {
    let dead = moved.iter().filter(|outcome| outcome.next == Next::Dead && may_follow(&outcome.event.event_type));
    let told = dead.map(|outcome| {
        let data = serde_json::json!({
            "delivery_id": outcome.key.to_string(),
            "endpoint_id": &*outcome.endpoint_id,
            "event_id": &*outcome.event.id,
            "event_type": &*outcome.event.event_type,
            "attempt_count": outcome.number,
            "failure_class": outcome.class.name(),
        });
        let txn = Some(outcome.event.txn.clone());
        (Arc::clone(&outcome.event.tenant), OwnEvent { event_type: "webhook.delivery_dead_lettered", data, txn })
    });
    told.collect()
}

/// Counts what was recorded, from what watchers are told: so a commit is counted once, however often it was tried.
fn count(metrics: &Metrics, written: &Written) {
    let millis = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    for event in written.iter().flat_map(|(_, changes)| &changes.events) {
        for delivery in &event.deliveries {
            let state = i16::try_from(delivery.state).ok().and_then(State::from_code);
            let class = i16::try_from(delivery.last_class).ok().and_then(AttemptClass::from_code);
            let (Some(state), Some(class)) = (state, class) else { continue };
            metrics.attempt_recorded(class, state);
            metrics.delivery_ended(state);
            if state == State::Succeeded {
                metrics.succeeded(millis(delivery.time - event.create_time));
            }
        }
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
