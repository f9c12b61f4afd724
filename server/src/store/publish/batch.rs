//! A group of events on its way into one commit: which are new, which repeat one another, and what each becomes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Accepted, Fresh, Intake, Ready, Room, Verdict, stored};
use crate::domain::change::{Changes, DeliveryChange};
use crate::domain::delivery::State;
use crate::domain::endpoint;
use crate::domain::event::{Event, NewEvent};
use crate::domain::event_filter::Input;
use crate::domain::{DeliveryKey, Time};
use crate::store::{Epoch, TenantSettings, Ticket};

/// One event of a group.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) ready: Ready,
    pub(crate) verdict: Option<Verdict>,
}

impl Item {
    pub(crate) fn new(ready: Ready) -> Self {
        Self { ready, verdict: None }
    }

    /// Kind and id of the key that makes a repeat of it a duplicate.
    pub(crate) fn key(&self) -> LedgerKey<'_> {
        let event = &self.ready.event;
        match &event.request_id {
            Some(request_id) if !event.chosen_id => LedgerKey { tenant: &event.tenant, kind: REQUEST, id: request_id },
            _ => LedgerKey { tenant: &event.tenant, kind: EVENT, id: &event.id },
        }
    }
}

/// A row of the idempotency ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LedgerKey<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) kind: i64,
    pub(crate) id: &'a str,
}

/// Ledger kind of event ids.
pub(crate) const EVENT: i64 = 1;
/// Ledger kind of request ids, kept for a day.
pub(crate) const REQUEST: i64 = 2;

/// Indexes of the items that stand for themselves, and of those that repeat an earlier one of the same group.
pub(crate) struct Roles {
    pub(crate) leaders: Vec<usize>,
    pub(crate) followers: Vec<(usize, usize)>,
}

pub(crate) fn roles(items: &[Item]) -> Roles {
    let mut first = HashMap::new();
    let mut roles = Roles { leaders: Vec::new(), followers: Vec::new() };
    for (index, item) in items.iter().enumerate() {
        match first.entry(item.key()) {
            std::collections::hash_map::Entry::Occupied(leader) => roles.followers.push((index, *leader.get())),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(index);
                roles.leaders.push(index);
            }
        }
    }
    roles
}

/// Followers answer as a repeat of their leader would.
pub(crate) fn follow(items: &mut [Item], followers: &[(usize, usize)]) {
    for &(follower, leader) in followers {
        let same = items[follower].ready.event.hash == items[leader].ready.event.hash;
        items[follower].verdict = match (&items[leader].verdict, same) {
            (Some(Verdict::Accepted(accepted)), true) => Some(Verdict::Accepted(Accepted { duplicate: true, ..accepted.clone() })),
            (Some(Verdict::Accepted(_)), false) => Some(Verdict::Mismatch),
            (other, _) => other.clone(),
        };
    }
}

/// Index of the item, its event, deliveries made of it, endpoints skipped.
pub(crate) type PlannedEvent = (usize, Arc<Event>, i32, i32);

/// What filters say of an event.
#[derive(Debug, Clone)]
pub(crate) struct Filtered {
    /// By which settings: these very ones, as two readings of one version may differ.
    by: Arc<TenantSettings>,
    /// Keys of endpoints whose filter is not true for it, ascending.
    out: Vec<i64>,
    /// Filters that were asked.
    pub(crate) asked: usize,
    /// Those of them that failed.
    pub(crate) failed: u64,
}

impl Filtered {
    /// Asks every filter of an endpoint that would get the event otherwise. A filter that fails lets nothing through.
    pub(crate) fn of(settings: &Arc<TenantSettings>, event: &NewEvent) -> Self {
        let mut filtered = Self { by: Arc::clone(settings), out: Vec::new(), asked: 0, failed: 0 };
        let mut parsed = None;
        for endpoint in &settings.endpoints {
            let Some(filter) = &endpoint.filter else { continue };
            if endpoint.admits(&event.event_type).is_err() {
                continue;
            }
            let (data, tags) = parsed.get_or_insert_with(|| {
                let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap_or_default();
                let tags: BTreeMap<String, String> = serde_json::from_str(&event.tags).unwrap_or_default();
                (data, tags)
            });
            filtered.asked += 1;
            let input = Input { event_type: &event.event_type, tenant: &event.tenant, tags, data };
            match filter.evaluate(&input) {
                Ok(true) => {}
                Ok(false) => filtered.out.push(endpoint.key),
                Err(error) => {
                    filtered.failed += 1;
                    tracing::debug!(tenant = &*event.tenant, endpoint = &*endpoint.id, %error, "a filter failed");
                    filtered.out.push(endpoint.key);
                }
            }
        }
        filtered
    }

    fn lets(&self, endpoint_key: i64) -> bool {
        self.out.binary_search(&endpoint_key).is_err()
    }
}

/// What one commit will write, and hand over after it.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) events: Vec<PlannedEvent>,
    pub(crate) deliveries: Vec<Planned>,
    pub(crate) changes: BTreeMap<Arc<str>, Changes>,
    /// Filters that failed for its events.
    pub(crate) filters_failed: u64,
}

pub(crate) struct Planned {
    pub(crate) key: DeliveryKey,
    pub(crate) event: Arc<Event>,
    pub(crate) endpoint: Arc<endpoint::Endpoint>,
    /// Room in this node's queue; `None`: it goes to the backlog.
    pub(crate) room: Option<Room>,
}

impl Plan {
    /// Matches a new event with its tenant's endpoints.
    pub(crate) fn add(
        &mut self,
        index: usize,
        ready: &Ready,
        seq: i64,
        now: Time,
        settings: &Arc<TenantSettings>,
        intake: Option<&Arc<dyn Intake>>,
    ) {
        let event = Arc::new(stored(ready, seq, now));
        // Asked before, in the publisher's task, unless the settings have moved since.
        let asked = ready.filtered.as_ref().filter(|filtered| Arc::ptr_eq(&filtered.by, settings));
        let filtered = asked.map_or_else(|| Cow::Owned(Filtered::of(settings, &ready.event)), Cow::Borrowed);
        self.filters_failed += filtered.failed;
        let (mut made, mut skipped) = (0, 0);
        for endpoint in &settings.endpoints {
            let parts = match endpoint.admits(&event.event_type) {
                Ok(parts) if filtered.lets(endpoint.key) => parts,
                _ => {
                    skipped += 1;
                    continue;
                }
            };
            for part in parts.iter().copied() {
                made += 1;
                self.deliver(&event, endpoint, part, intake);
            }
        }
        self.events.push((index, event, made, skipped));
    }

    /// Adds one delivery.
    fn deliver(&mut self, event: &Arc<Event>, endpoint: &Arc<endpoint::Endpoint>, part: i16, intake: Option<&Arc<dyn Intake>>) {
        let (seq, now) = (event.seq, event.create_time);
        let key = DeliveryKey { event_seq: seq, endpoint_key: endpoint.key, part };
        let room = match (endpoint.state, intake) {
            (endpoint::State::Active, Some(intake)) => Room::take(intake, endpoint, event.data.len()),
            _ => None,
        };
        self.changes.entry(Arc::clone(&event.tenant)).or_default().push(
            seq,
            &event.id,
            &event.event_type,
            now.millis(),
            DeliveryChange {
                endpoint_key: endpoint.key,
                endpoint_id: endpoint.id.to_string(),
                part: part.into(),
                state: State::Pending.code().into(),
                revision: 1,
                due: Some(now.millis()),
                time: now.millis(),
                ..DeliveryChange::default()
            },
        );
        self.deliveries.push(Planned { key, event: Arc::clone(event), endpoint: Arc::clone(endpoint), room });
    }

    pub(crate) fn fresh_count(&self) -> usize {
        self.deliveries.iter().filter(|planned| planned.room.is_some()).count()
    }

    /// The commit is known: what the dispatcher gets.
    pub(crate) fn into_fresh(self, epoch: &Arc<Epoch>, ticket: &Arc<Ticket>) -> Vec<Fresh> {
        self.deliveries
            .into_iter()
            .filter_map(|planned| {
                planned.room.map(|room| Fresh {
                    key: planned.key,
                    event: planned.event,
                    endpoint: planned.endpoint,
                    epoch: Arc::clone(epoch),
                    ticket: Arc::clone(ticket),
                    room,
                })
            })
            .collect()
    }
}
