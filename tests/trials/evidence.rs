//! What must be true after every trial, and the figures that it prints.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use futures::TryStreamExt;
use gatepost_client::{
    Error, Tenant,
    v1::{self, delivery::State},
};
use gatepost_tests::{until_within, world::event};

use crate::{
    load::{EVENT_TYPE, Ledger},
    receivers::{ENDPOINTS, Receivers, place},
    watching::Watching,
};

/// How long all that is unfinished may take when everything runs again: leases of 90 s are not among it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a trial came to.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) accepted: usize,
    pub(crate) unanswered: usize,
    pub(crate) deliveries: usize,
    pub(crate) repeated: usize,
}

/// The claims of every trial: no accepted event is missing at any endpoint; an event whose publish failed exists once at most, under
/// its own id, and a repeat finds it; every delivery has succeeded with as many attempts as its receiver saw; a watcher that kept its
/// token saw every change.
pub(crate) async fn check(name: &str, tenant: &Tenant, ledger: &Ledger, receivers: &Receivers, watching: &Watching) -> Figures {
    let (accepted, unanswered) = {
        let books = ledger.books();
        (books.accepted.clone(), books.unanswered.clone())
    };
    // What had no answer is sent again, and what had one as well: each finds the first, or is the first.
    let mut sequences = HashMap::new();
    for ids in [accepted.keys().collect::<Vec<_>>(), unanswered.iter().collect()] {
        for round in 0..2 {
            let results = tenant.publish_batch(ids.iter().map(|id| event(EVENT_TYPE).id(*id))).await;
            for (id, result) in ids.iter().zip(results) {
                let receipt = result.unwrap_or_else(|error| panic!("{id} cannot be sent again: {error:?}"));
                let before = sequences.insert((*id).clone(), receipt.sequence()).or(accepted.get(*id).copied());
                assert!(before.is_none_or(|before| before == receipt.sequence()), "{id} became another event");
                assert!(receipt.duplicate() || (round == 0 && !accepted.contains_key(*id)), "{id} was accepted and is gone");
            }
        }
    }
    let ids: HashSet<&str> = sequences.keys().map(String::as_str).collect();
    let missing = receivers.tally().until_delivered(ids.iter().copied(), PATIENCE).await;
    if let Some((endpoint, id)) = missing.first() {
        let filter = format!("event == \"{id}\" && endpoint == \"{}\"", ENDPOINTS[*endpoint].0);
        let found: Vec<v1::Delivery> = tenant.deliveries(filter).try_collect().await.expect("a list");
        panic!("{} deliveries are missing after {PATIENCE:?}, such as {found:?}", missing.len());
    }
    let expected = ids.len() * ENDPOINTS.len();
    let deliveries = until_within(PATIENCE, "every delivery to have succeeded", async || {
        let all = tenant.deliveries("").try_collect::<Vec<v1::Delivery>>().await.map_err(|error| error.to_string())?;
        let all: Vec<_> = all.into_iter().filter(|delivery| place(&delivery.endpoint).is_some()).collect();
        let open: Vec<_> = all.iter().filter(|delivery| delivery.state() != State::Succeeded).collect();
        match open.first() {
            Some(first) => Err(format!("{} are open, such as {first:?}", open.len())),
            None => Ok(all),
        }
    })
    .await;
    assert_eq!(deliveries.len(), expected, "each event has one delivery for each endpoint");
    watching.until_whole(expected, PATIENCE).await;
    let counts = receivers.tally().counts();
    for delivery in &deliveries {
        let place = place(&delivery.endpoint).expect("one of the endpoints");
        let id = delivery.event.rsplit('/').next().unwrap_or_default().to_owned();
        let answered = counts.delivered[&(place, id)];
        assert_eq!(delivery.attempt_count as u32, answered, "recorded as the receiver saw it: {delivery:?}");
        assert_eq!((delivery.state(), delivery.revision), (State::Succeeded, delivery.attempt_count + 1), "{delivery:?}");
    }
    assert!(counts.requests.keys().all(|(_, id, _)| ids.contains(id.as_str())), "nothing arrives that was not published");
    let figures =
        Figures { accepted: accepted.len(), unanswered: unanswered.len(), deliveries: expected, repeated: counts.repeated };
    println!(
        "{name}: {} accepted, {} unanswered, {} deliveries, {} sent twice ({:.2} %), {} watches resumed",
        figures.accepted,
        figures.unanswered,
        figures.deliveries,
        figures.repeated,
        figures.repeated as f64 * 100.0 / figures.deliveries as f64,
        watching.resumed(),
    );
    figures
}

/// Every failure by its kind, with how many there were.
pub(crate) fn kinds(ledger: &Ledger) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for failure in &ledger.books().failures {
        let kind = match failure {
            Error::Unavailable { retry_after, .. } => {
                let hint = if retry_after.is_some() { "with" } else { "without" };
                format!("UNAVAILABLE {} {hint} RetryInfo", failure.reason().unwrap_or("without a reason"))
            }
            Error::Transport { sent, .. } => format!("the connection {}", if *sent { "broke" } else { "could not be made" }),
            other => format!("{other:?}"),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// A database that is away is told in one way only.
pub(crate) fn only_unavailable(ledger: &Ledger) {
    let kinds = kinds(ledger);
    println!("  callers got {kinds:?}");
    // An event of several comes without details of its own, so without the time to wait.
    let known = ["UNAVAILABLE STORE_UNAVAILABLE with RetryInfo"];
    assert!(kinds.keys().all(|kind| known.contains(&kind.as_str())), "{kinds:?}");
}
