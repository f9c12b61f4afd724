//! [`Receipt`]: proof that an event is stored, and the wait until it is delivered.
//!
//! The wait joins a watch and a list, so that it misses no delivery whenever that finished. It stores nothing: a receipt dropped
//! changes nothing for the event.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt;

use crate::errors::Error;
use crate::tenant::Tenant;
use crate::v1::delivery::State;
use crate::v1::{Delivery, PublishEventResponse};

/// Proof that an event is stored.
#[derive(Debug, Clone)]
pub struct Receipt {
    tenant: Tenant,
    response: PublishEventResponse,
}

impl Receipt {
    pub(crate) fn new(tenant: Tenant, response: PublishEventResponse) -> Self {
        Self { tenant, response }
    }

    /// The event's id, as it goes out in `webhook-id`.
    pub fn event_id(&self) -> &str {
        self.event().rsplit('/').next().unwrap_or_default()
    }

    /// The event's name, `tenants/{tenant}/events/{event}`.
    pub fn event(&self) -> &str {
        &self.response.event
    }

    /// Deliveries made: one for each matching endpoint.
    pub fn delivery_count(&self) -> i32 {
        self.response.delivery_count
    }

    /// Endpoints that got none, because their types do not match or they are disabled.
    pub fn skipped_count(&self) -> i32 {
        self.response.skipped_count
    }

    /// The event had been stored before: published by somebody else, or by a first try whose answer was lost.
    pub fn duplicate(&self) -> bool {
        self.response.duplicate
    }

    /// The event's place in the order of acceptance.
    pub fn sequence(&self) -> i64 {
        self.response.sequence
    }

    /// The answer as it came.
    pub fn response(&self) -> &PublishEventResponse {
        &self.response
    }

    /// Waits until every delivery of the event has succeeded, and returns them.
    ///
    /// # Errors
    /// [`NotDelivered::Failed`] as soon as one is dead or cancelled, [`NotDelivered::Timeout`] when `timeout` passed before.
    pub async fn delivered(&self, timeout: Duration) -> Result<Vec<Delivery>, NotDelivered> {
        let mut known = BTreeMap::new();
        match tokio::time::timeout(timeout, Box::pin(self.follow(&mut known))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(NotDelivered::Call(error)),
            Err(_) => return Err(NotDelivered::Timeout { deliveries: known.into_values().collect() }),
        }
        let deliveries: Vec<Delivery> = known.into_values().collect();
        if deliveries.iter().any(has_failed) { Err(NotDelivered::Failed { deliveries }) } else { Ok(deliveries) }
    }

    /// Returns when all deliveries have succeeded or one has failed.
    async fn follow(&self, known: &mut BTreeMap<String, Delivery>) -> Result<(), Error> {
        if self.response.delivery_count == 0 {
            return Ok(());
        }
        let filter = format!("event == \"{}\"", self.event_id());
        // The watch begins before the list is read: a change between the two is in both, never in neither.
        let mut watch = self.tenant.watch().filter(&filter).start().await?;
        let mut list = self.tenant.deliveries(&filter);
        while let Some(delivery) = list.try_next().await? {
            note(known, delivery);
        }
        while !self.is_concluded(known) {
            let Some(item) = watch.try_next().await? else { return Err(Error::ended()) };
            item.changes.into_iter().filter_map(|change| change.delivery).for_each(|delivery| note(known, delivery));
        }
        Ok(())
    }

    fn is_concluded(&self, known: &BTreeMap<String, Delivery>) -> bool {
        let all = i32::try_from(known.len()).is_ok_and(|count| count >= self.response.delivery_count);
        known.values().any(has_failed) || (all && known.values().all(|delivery| delivery.state() == State::Succeeded))
    }
}

/// Changes may come in either order: the larger revision is the newer.
fn note(known: &mut BTreeMap<String, Delivery>, delivery: Delivery) {
    match known.get(&delivery.name) {
        Some(before) if before.revision > delivery.revision => {}
        _ => {
            known.insert(delivery.name.clone(), delivery);
        }
    }
}

fn has_failed(delivery: &Delivery) -> bool {
    matches!(delivery.state(), State::Dead | State::Cancelled)
}

/// Why [`Receipt::delivered`] did not see every delivery succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum NotDelivered {
    /// At least one delivery is dead or cancelled.
    #[error("{} of {} deliveries failed", deliveries.iter().filter(|delivery| has_failed(delivery)).count(), deliveries.len())]
    Failed {
        /// All deliveries that are known, as they were then.
        deliveries: Vec<Delivery>,
    },
    /// The time was up first.
    #[error("not all deliveries finished in time")]
    Timeout {
        /// All deliveries that are known, as they were then.
        deliveries: Vec<Delivery>,
    },
    /// The server could not be asked.
    #[error("cannot follow the deliveries")]
    Call(#[source] Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, event};
    use crate::v1::{Change, WatchDeliveriesResponse};
    use futures::StreamExt;

    #[test]
    fn an_older_change_never_replaces_a_newer_one() {
        let mut known = BTreeMap::new();
        let delivery = |revision, state: State| Delivery { name: "d".into(), revision, state: state.into(), ..Delivery::default() };
        note(&mut known, delivery(3, State::Succeeded));
        note(&mut known, delivery(2, State::Retrying));
        assert_eq!(known["d"].state(), State::Succeeded);
        note(&mut known, delivery(4, State::Pending));
        assert_eq!(known["d"].state(), State::Pending);
    }

    fn delivery(state: State, revision: i32) -> Delivery {
        Delivery { name: "tenants/acme/deliveries/dlv_1".into(), state: state.into(), revision, ..Delivery::default() }
    }

    fn changes(deliveries: Vec<Delivery>) -> Result<WatchDeliveriesResponse, tonic::Status> {
        let changes = deliveries.into_iter().map(|delivery| Change { delivery: Some(delivery) }).collect();
        Ok(WatchDeliveriesResponse { changes, resume_token: "t".into(), checkpoint: false })
    }

    #[tokio::test]
    async fn a_delivery_that_finished_before_the_watch_began_is_seen() {
        let fake = Fake::start();
        fake.script
            .watches
            .lock()
            .unwrap()
            .push_back(futures::stream::iter([changes(vec![])]).chain(futures::stream::pending()).boxed());
        *fake.script.deliveries.lock().unwrap() = vec![delivery(State::Succeeded, 2)];
        let receipt = fake.tenant().publish(event()).await.unwrap();
        assert_eq!(receipt.delivered(Duration::from_secs(20)).await.unwrap().len(), 1);
        let filter = fake.script.watched.lock().unwrap()[0].filter.clone();
        assert_eq!(filter, format!("event == \"{}\"", receipt.event_id()));
    }

    #[tokio::test]
    async fn a_delivery_that_finishes_later_is_seen_and_a_dead_one_is_an_error() {
        for (last, succeeds) in [(State::Succeeded, true), (State::Dead, false)] {
            let fake = Fake::start();
            fake.script.watches.lock().unwrap().push_back(
                futures::stream::iter([
                    changes(vec![]),
                    changes(vec![delivery(State::Retrying, 2)]),
                    changes(vec![delivery(last, 3)]),
                ])
                .chain(futures::stream::pending())
                .boxed(),
            );
            *fake.script.deliveries.lock().unwrap() = vec![delivery(State::Pending, 1)];
            let receipt = fake.tenant().publish(event()).await.unwrap();
            match receipt.delivered(Duration::from_secs(20)).await {
                Ok(deliveries) => assert!(succeeds && deliveries[0].revision == 3),
                Err(NotDelivered::Failed { deliveries }) => assert!(!succeeds && deliveries[0].state() == State::Dead),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn waiting_for_a_delivery_ends_with_its_time() {
        let fake = Fake::start();
        fake.script
            .watches
            .lock()
            .unwrap()
            .push_back(futures::stream::iter([changes(vec![])]).chain(futures::stream::pending()).boxed());
        *fake.script.deliveries.lock().unwrap() = vec![delivery(State::Pending, 1)];
        let receipt = fake.tenant().publish(event()).await.unwrap();
        let error = receipt.delivered(Duration::from_millis(200)).await.unwrap_err();
        assert!(matches!(&error, NotDelivered::Timeout { deliveries } if deliveries.len() == 1), "{error:?}");
    }
}
