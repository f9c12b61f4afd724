//! Events that Gatepost publishes itself: written by the very commit whose move they tell of, so that neither is without the other.
//!
//! Called by transactions that hold a lane of the journal; what is returned goes into that lane. Their deliveries start in the backlog, as
//! such a commit has taken no room with the dispatcher. A failed delivery of one must publish no further event.

use std::sync::Arc;

use super::Ready;
use super::batch::{Item, Plan};
use super::write::{current_settings, draw_seqs, insert_keys, write_rows};
use crate::domain::Time;
use crate::domain::event::NewEvent;
use crate::domain::id::{self, Kind};
use crate::store::db::Tx;
use crate::store::journal::Written;
use crate::store::{Error, Store};

/// An event of Gatepost's own, without what every event has.
#[derive(Debug, Clone)]
pub(crate) struct OwnEvent {
    /// A type of the catalogue that Gatepost publishes.
    pub(crate) event_type: &'static str,
    /// Its payload, an object that satisfies the type's schema.
    pub(crate) data: serde_json::Value,
    /// `txn` of the event that caused it; `None`: nothing published did.
    pub(crate) txn: Option<String>,
}

/// Whether what becomes of a delivery of this type may publish a further event. Not when it told of Gatepost itself: endpoints that hear of
/// one another would go on for ever.
pub(crate) fn may_follow(event_type: &str) -> bool {
    !event_type.starts_with("webhook.")
}

impl Store {
    /// Writes events with their deliveries and tells what watchers must see. `except`: an endpoint that gets none of them.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Conflict`]. A tenant that is being removed gets none.
    pub(crate) async fn publish_own(
        &self,
        tx: &mut Tx,
        own: Vec<(Arc<str>, OwnEvent)>,
        now: Time,
        except: Option<i64>,
    ) -> Result<Written, Error> {
        let mut items = Vec::with_capacity(own.len());
        for (tenant, event) in own {
            match self.prepare_own(tenant, event).await {
                Ok(ready) => items.push(Item::new(ready)),
                Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let all: Vec<usize> = (0..items.len()).collect();
        let settings = current_settings(self, tx, &items, &all).await?;
        let candidates: Vec<usize> =
            all.into_iter().filter(|index| matches!(settings.get(&items[*index].ready.event.tenant), Some(Ok(_)))).collect();
        let seqs = draw_seqs(self, tx, &candidates).await?;
        let mut plan = Plan::default();
        for index in candidates {
            let ready = &items[index].ready;
            if let (Some(Ok(settings)), Some(seq)) = (settings.get(&ready.event.tenant), seqs.get(&index)) {
                match except.and_then(|key| settings.without(key)) {
                    Some(others) => plan.add(index, ready, *seq, now, &Arc::new(others), None),
                    None => plan.add(index, ready, *seq, now, settings, None),
                }
            }
        }
        insert_keys(tx, &items, &plan).await?;
        write_rows(tx, &items, &plan, None).await?;
        self.inner.metrics.filters_failed.inc_by(plan.filters_failed);
        Ok(plan.changes.into_iter().map(|(tenant, changes)| (tenant, Arc::new(changes))).collect())
    }

    async fn prepare_own(&self, tenant: Arc<str>, own: OwnEvent) -> Result<Ready, Error> {
        let id = id::make(Kind::Event, self.inner.clock.uuid());
        self.seal_event(NewEvent::own(tenant, id, own.event_type, own.data.to_string().into(), own.txn), None).await
    }
}
