//! The publish transaction, and what to do when it fails half way: nothing may be lost, doubled or reported wrongly.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::batch::{self, EVENT, Item, LedgerKey, Plan, PlannedEvent, REQUEST};
use super::{Accepted, Committer, Replies, Verdict};
use crate::store::bulk::{Bulk, Column};
use crate::store::db::{Arg, Tx, sql};
use crate::store::journal::Held;
use crate::store::nodes::fence;
use crate::store::{Dialect, Epoch, Error, Store, TenantSettings, Ticket, tenants};

/// Tries of a transaction that another one stood in the way of.
const TRIES: usize = 5;

/// One commit in the making. Kept over its tries, so that a repeat after an unknown outcome writes the very same rows.
#[derive(Default)]
struct Commit {
    seqs: HashMap<usize, i64>,
    plan: Plan,
    ticket: Option<Arc<Ticket>>,
    /// The commit was sent and its outcome is not known.
    sent: bool,
}

impl Commit {
    /// What was planned was not written, so nothing fresh is open.
    fn abandon(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.settle(usize::MAX);
        }
    }
}

impl Committer {
    /// Commits all items, or none and an error. Items that the database refuses fail alone.
    pub(super) async fn commit_items(&self, items: &mut [Item], replies: &mut Replies) -> Result<(), Error> {
        match self.commit_once(items, replies).await {
            Err(Error::Data(error)) if items.len() == 1 => {
                tracing::error!(error = &error as &dyn std::error::Error, event = items[0].ready.event.id, "an event is refused");
                items[0].verdict = Some(Verdict::Refused);
                Ok(())
            }
            Err(Error::Data(_)) => {
                // One of them is poisoned: find it by halves.
                let (left, right) = items.split_at_mut(items.len() / 2);
                Box::pin(self.commit_items(left, replies)).await?;
                Box::pin(self.commit_items(right, replies)).await
            }
            result => result,
        }
    }

    async fn commit_once(&self, items: &mut [Item], replies: &mut Replies) -> Result<(), Error> {
        let epoch = self.store.epoch()?;
        let held = self.store.hold_publish_lane(&epoch).await;
        let roles = batch::roles(items);
        let mut commit = Commit::default();
        let mut tries = 0;
        loop {
            tries += 1;
            // A database that is silent for longer than this node is trusted keeps no caller waiting.
            let result = tokio::select! {
                result = Box::pin(self.try_commit(items, &roles.leaders, &mut commit, &epoch, &held)) => result,
                () = epoch.over.cancelled() => Err(Error::EpochLost),
            };
            match result {
                Ok(()) => break,
                Err(Error::Conflict(_)) if tries < TRIES && !commit.sent => commit.abandon(),
                // The commit was sent but not answered: only the database knows. Until it tells, this lane must not go on, and
                // the deliveries may be this node's.
                Err(error) if commit.sent && !matches!(error, Error::EpochLost) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, tries, "the outcome of a commit is unknown");
                    if tries > 1 {
                        answer_unavailable(replies);
                    }
                    if epoch.over.is_cancelled() {
                        return Err(Error::EpochLost);
                    }
                    self.store.clock().pause(Duration::from_millis(200)).await;
                }
                Err(error) => {
                    if !commit.sent {
                        commit.abandon();
                    }
                    return Err(error);
                }
            }
        }
        batch::follow(items, &roles.followers);
        let mut plan = commit.plan;
        self.store.inner.metrics.filters_failed.inc_by(plan.filters_failed);
        self.store.inner.metrics.events_published.inc_by(u64::try_from(plan.events.len()).unwrap_or(u64::MAX));
        let changes = std::mem::take(&mut plan.changes).into_iter().map(|(tenant, changes)| (tenant, Arc::new(changes)));
        held.committed(&self.store, changes.collect());
        if let Some(ticket) = commit.ticket {
            let waits = plan.deliveries.len() > plan.fresh_count();
            let fresh = plan.into_fresh(&epoch, &ticket);
            if let (Some(intake), false) = (&self.intake, fresh.is_empty()) {
                intake.deliver(fresh);
            }
            ticket.settle(1);
            if waits {
                self.store.bells().backlog.notify_one();
            }
        }
        Ok(())
    }

    async fn try_commit(
        &self,
        items: &mut [Item],
        leaders: &[usize],
        commit: &mut Commit,
        epoch: &Arc<Epoch>,
        held: &Held<'_>,
    ) -> Result<(), Error> {
        let mut tx = self.store.inner.db.begin().await?;
        fence(&mut tx, epoch).await?;
        let settings = current_settings(&self.store, &mut tx, items, leaders).await?;
        let candidates: Vec<usize> = leaders
            .iter()
            .copied()
            .filter(|&index| {
                let event = &items[index].ready.event;
                let refused = match settings.get(&event.tenant) {
                    Some(Ok(settings)) if settings.active => {
                        settings.types.find(&event.event_type, Some(event.schema_version)).err().map(Verdict::NoType)
                    }
                    Some(Err(Unreadable)) => Some(Verdict::Refused),
                    _ => Some(Verdict::NoTenant),
                };
                let takes = refused.is_none();
                if !takes && !commit.sent {
                    items[index].verdict = refused;
                }
                takes
            })
            .collect();
        if !commit.sent {
            commit.seqs = draw_seqs(&self.store, &mut tx, &candidates).await?;
        }
        if !commit.sent {
            commit.plan = Plan::default();
            for &index in &candidates {
                let ready = &items[index].ready;
                // Candidates have settings and a number.
                if let (Some(Ok(settings)), Some(seq)) = (settings.get(&ready.event.tenant), commit.seqs.get(&index)) {
                    commit.plan.add(index, ready, *seq, held.time, settings, self.intake.as_ref());
                }
            }
        }
        let known = self.claim_keys(&mut tx, items, commit).await?;
        if commit.sent && known.iter().any(|(index, existing)| commit.seqs.get(index) == Some(&existing.seq)) {
            // The first try got through: its rows are this commit's.
            return Ok(());
        }
        for (index, existing) in known {
            commit.plan.remove(index);
            items[index].verdict = Some(if existing.hash == items[index].ready.event.hash {
                Verdict::Accepted(Accepted {
                    event_id: existing.event_id,
                    seq: existing.seq,
                    delivery_count: existing.delivery_count,
                    skipped_count: existing.skipped_count,
                    duplicate: true,
                })
            } else {
                Verdict::Mismatch
            });
        }
        for (index, event, made, skipped) in &commit.plan.events {
            items[*index].verdict = Some(Verdict::Accepted(Accepted {
                event_id: event.id.to_string(),
                seq: event.seq,
                delivery_count: *made,
                skipped_count: *skipped,
                duplicate: false,
            }));
        }
        if commit.plan.events.is_empty() {
            return tx.commit().await;
        }
        if commit.ticket.is_none() {
            let (first, last) = commit.plan.seq_range();
            commit.ticket = Some(self.store.inner.fresh.open(first, last, commit.plan.fresh_count()));
        }
        write_rows(&mut tx, items, &commit.plan, Some(epoch)).await?;
        let changes: Vec<_> =
            commit.plan.changes.iter().map(|(tenant, changes)| (Arc::clone(tenant), Arc::new(changes.clone()))).collect();
        held.append(&mut tx, &changes).await?;
        // On SQLite a commit that fails is undone.
        commit.sent = self.store.dialect() == Dialect::Postgres;
        tx.commit().await
    }

    /// Writes the idempotency keys, in sorted order or two nodes deadlock. Returns what was there already.
    async fn claim_keys(&self, tx: &mut Tx, items: &[Item], commit: &Commit) -> Result<Vec<(usize, Existing)>, Error> {
        let mut known = Vec::new();
        for kind in [REQUEST, EVENT] {
            let mut rows: Vec<(LedgerKey<'_>, &PlannedEvent)> = Vec::new();
            for planned in &commit.plan.events {
                let item = &items[planned.0];
                let taken = known.iter().any(|(index, _)| *index == planned.0);
                // A repeat found by its request id must not leave a key for its fresh event id.
                let key = if kind == EVENT { event_key(item) } else { item.key() };
                if !taken && key.kind == kind {
                    rows.push((key, planned));
                }
            }
            rows.sort_unstable_by_key(|(key, _)| *key);
            let bulk = key_rows(items, &rows);
            let written: BTreeSet<i64> =
                tx.bulk(sql!("insert_event_keys"), &[], &bulk).await?.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?;
            let conflicts: Vec<_> = rows.iter().filter(|(_, planned)| !written.contains(&planned.1.seq)).collect();
            if conflicts.is_empty() {
                continue;
            }
            // The statement that met a conflict may not see the other's row yet; the next one does.
            let wanted = Bulk::new(vec![
                Column::Text(conflicts.iter().map(|(key, _)| key.tenant.to_owned()).collect()),
                Column::Text(conflicts.iter().map(|(key, _)| key.id.to_owned()).collect()),
                Column::Int(conflicts.iter().map(|(_, planned)| i64::try_from(planned.0).unwrap_or(0)).collect()),
            ]);
            for row in tx.bulk(sql!("list_event_keys"), &[Arg::Int(kind)], &wanted).await? {
                known.push((
                    row.num(0)?,
                    Existing {
                        seq: row.int(1)?,
                        event_id: row.text(2)?,
                        hash: row.bytes(3)?,
                        delivery_count: row.num(4)?,
                        skipped_count: row.num(5)?,
                    },
                ));
            }
        }
        Ok(known)
    }
}

struct Existing {
    seq: i64,
    event_id: String,
    hash: Vec<u8>,
    delivery_count: i32,
    skipped_count: i32,
}

impl Plan {
    fn remove(&mut self, index: usize) {
        let Some(position) = self.events.iter().position(|(item, ..)| *item == index) else { return };
        let (_, event, ..) = self.events.remove(position);
        self.deliveries.retain(|planned| planned.key.event_seq != event.seq);
        if let Some(changes) = self.changes.get_mut(&event.tenant) {
            changes.events.retain(|change| change.seq != event.seq);
            if changes.is_empty() {
                self.changes.remove(&event.tenant);
            }
        }
    }

    fn seq_range(&self) -> (i64, i64) {
        let seqs = self.events.iter().map(|(_, event, ..)| event.seq);
        (seqs.clone().min().unwrap_or(0), seqs.max().unwrap_or(0))
    }
}

/// A tenant's settings cannot be read: a defect, or what a later release wrote. The log says which.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unreadable;

/// The settings of the group's tenants, not older than this transaction sees them.
pub(super) async fn current_settings(
    store: &Store,
    tx: &mut Tx,
    items: &[Item],
    leaders: &[usize],
) -> Result<HashMap<Arc<str>, Result<Arc<TenantSettings>, Unreadable>>, Error> {
    let tenants: BTreeSet<Arc<str>> = leaders.iter().map(|&index| Arc::clone(&items[index].ready.event.tenant)).collect();
    let rows = Bulk::new(vec![Column::Text(tenants.iter().map(ToString::to_string).collect())]);
    let mut current = HashMap::with_capacity(tenants.len());
    for row in tx.bulk(sql!("list_settings_versions"), &[], &rows).await? {
        let (tenant, state, version): (Arc<str>, i64, i64) = (row.text(0)?.into(), row.int(1)?, row.int(2)?);
        if state != i64::from(tenants::ACTIVE) {
            continue;
        }
        let settings = match store.cached_settings(&tenant) {
            Some(cached) if cached.version >= version => Ok(cached),
            _ => match store.reload_settings(&tenant).await {
                Ok(settings) => Ok(settings),
                Err(error) if error.is_transient() => return Err(error),
                // One tenant's settings must not keep the others' events.
                Err(error) => {
                    tracing::error!(tenant = &*tenant, error = &error as &dyn std::error::Error, "settings cannot be read");
                    Err(Unreadable)
                }
            },
        };
        current.insert(tenant, settings);
    }
    Ok(current)
}

/// Event numbers, drawn while the group commits: so a publish that starts after another's reply gets a larger one.
pub(super) async fn draw_seqs(store: &Store, tx: &mut Tx, candidates: &[usize]) -> Result<HashMap<usize, i64>, Error> {
    if candidates.is_empty() {
        return Ok(HashMap::new());
    }
    let count = i64::try_from(candidates.len()).unwrap_or(i64::MAX);
    let rows = tx.fetch(sql!("draw_event_seqs" by dialect), &[Arg::Int(count)]).await?;
    let mut numbers = Vec::with_capacity(candidates.len());
    match store.dialect() {
        Dialect::Postgres => {
            for row in &rows {
                numbers.push(row.int(0)?);
            }
            // Another node may draw in between, but order inside the group must be that of its requests.
            numbers.sort_unstable();
        }
        Dialect::Sqlite => {
            let last = rows.first().ok_or(Error::NotFound)?.int(0)?;
            numbers.extend(last - count + 1..=last);
        }
    }
    Ok(candidates.iter().copied().zip(numbers).collect())
}

/// The keys of fresh ids, which nobody else has.
pub(super) async fn insert_keys(tx: &mut Tx, items: &[Item], plan: &Plan) -> Result<(), Error> {
    let mut rows: Vec<_> = plan.events.iter().map(|planned| (event_key(&items[planned.0]), planned)).collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    tx.bulk(sql!("insert_event_keys"), &[], &key_rows(items, &rows)).await?;
    Ok(())
}

fn event_key(item: &Item) -> LedgerKey<'_> {
    LedgerKey { tenant: &item.ready.event.tenant, kind: EVENT, id: &item.ready.event.id }
}

fn key_rows(items: &[Item], rows: &[(LedgerKey<'_>, &PlannedEvent)]) -> Bulk {
    Bulk::new(vec![
        Column::Text(rows.iter().map(|(key, _)| key.tenant.to_owned()).collect()),
        Column::Int(rows.iter().map(|(key, _)| key.kind).collect()),
        Column::Text(rows.iter().map(|(key, _)| key.id.to_owned()).collect()),
        Column::Int(rows.iter().map(|(_, planned)| planned.1.seq).collect()),
        Column::Text(rows.iter().map(|(_, planned)| planned.1.id.to_string()).collect()),
        Column::Bytes(rows.iter().map(|(_, planned)| items[planned.0].ready.event.hash.to_vec()).collect()),
        Column::Int(rows.iter().map(|(_, planned)| planned.2.into()).collect()),
        Column::Int(rows.iter().map(|(_, planned)| planned.3.into()).collect()),
        Column::Int(rows.iter().map(|(_, planned)| planned.1.create_time.millis()).collect()),
    ])
}

/// `epoch`: the owner of those that have room here.
pub(super) async fn write_rows(tx: &mut Tx, items: &[Item], plan: &Plan, epoch: Option<&Epoch>) -> Result<(), Error> {
    let events = &plan.events;
    let rows = Bulk::new(vec![
        Column::Int(events.iter().map(|(_, event, ..)| event.seq).collect()),
        Column::Text(events.iter().map(|(_, event, ..)| event.tenant.to_string()).collect()),
        Column::Text(events.iter().map(|(_, event, ..)| event.id.to_string()).collect()),
        Column::Text(events.iter().map(|(_, event, ..)| event.event_type.to_string()).collect()),
        Column::Text(events.iter().map(|(_, event, ..)| event.subject.clone()).collect()),
        Column::Bytes(events.iter().map(|(index, ..)| items[*index].ready.subject_hash.to_vec()).collect()),
        Column::Text(events.iter().map(|(index, ..)| items[*index].ready.event.tags.clone()).collect()),
        Column::Int(events.iter().map(|(_, event, ..)| event.occurred_time.millis()).collect()),
        Column::Int(events.iter().map(|(_, event, ..)| event.create_time.millis()).collect()),
        Column::Text(events.iter().map(|(_, event, ..)| event.txn.clone()).collect()),
        Column::Int(events.iter().map(|(_, event, ..)| event.schema_version.into()).collect()),
        Column::Int(events.iter().map(|(_, _, made, _)| (*made).into()).collect()),
        Column::Bytes(events.iter().map(|(index, ..)| items[*index].ready.sealed.clone()).collect()),
    ]);
    tx.bulk(sql!("insert_events"), &[], &rows).await?;
    let deliveries = &plan.deliveries;
    let rows = Bulk::new(vec![
        Column::Int(deliveries.iter().map(|planned| planned.key.event_seq).collect()),
        Column::Int(deliveries.iter().map(|planned| planned.key.endpoint_key).collect()),
        Column::Int(deliveries.iter().map(|planned| planned.key.part.into()).collect()),
        Column::Int(deliveries.iter().map(|planned| planned.event.create_time.millis()).collect()),
        Column::MaybeInt(deliveries.iter().map(|planned| planned.room.as_ref().and(epoch).map(|epoch| epoch.id)).collect()),
    ]);
    tx.bulk(sql!("insert_deliveries"), &[], &rows).await?;
    let waiting: Vec<_> = deliveries.iter().filter(|planned| planned.room.is_none()).collect();
    let rows = Bulk::new(vec![
        Column::Int(waiting.iter().map(|planned| planned.key.event_seq).collect()),
        Column::Int(waiting.iter().map(|planned| planned.key.endpoint_key).collect()),
        Column::Int(waiting.iter().map(|planned| planned.key.part.into()).collect()),
        Column::Int(waiting.iter().map(|planned| planned.event.create_time.millis()).collect()),
    ]);
    tx.bulk(sql!("insert_backlog"), &[], &rows).await?;
    Ok(())
}

/// Callers do not wait for a database that is away; what they repeat with the same ids finds the first answer.
fn answer_unavailable(replies: &mut Replies) {
    for slot in replies {
        if let Some((reply, _)) = slot.take() {
            let _ = reply.send(Err(Arc::new(Error::timed_out())));
        }
    }
}
