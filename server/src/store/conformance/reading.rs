//! Reading events, deliveries and attempts: each once, newest first, in pages that end.

use std::time::Duration;

use super::fixture::*;
use super::on_both;
use crate::domain::delivery::{Next, State};
use crate::domain::endpoint;
use crate::domain::event::Published;
use crate::store::claims::Want;
use crate::store::deliveries::{DeliveryQuery, DeliveryRecord};
use crate::store::endpoints::{EndpointRecord, PausedReason, Wanted};
use crate::store::events::EventQuery;
use crate::store::page::Page;
use crate::store::{Epoch, Error, Store};

on_both!(
    an_event_is_read_as_it_was_published,
    events_are_listed_newest_first_without_payloads,
    events_are_listed_within_a_time_range,
    deliveries_are_listed_in_pages_that_hold_each_once,
    deliveries_are_found_by_state_endpoint_and_event,
    trouble_is_found_behind_thousands_of_good_deliveries,
    trouble_of_many_endpoints_is_merged_in_order,
    dead_letters_of_a_deleted_endpoint_are_still_found,
    a_delivery_of_a_paused_endpoint_is_held,
    attempts_are_listed_in_pages,
);

async fn an_event_is_read_as_it_was_published(db: Fixture) {
    db.siem().await;
    let sent_event = sent(
        "acme",
        Published {
            event_id: "evt_1".to_owned(),
            subject: "user/7".to_owned(),
            tags: [("source".to_owned(), "hr".to_owned())].into(),
            occurred: Some((1_700_000_000, 5_000_000)),
            ..published("u1")
        },
    );
    publish(&db.store, vec![sent_event.clone()]).await;
    let read = db.store.get_event("acme", "evt_1").await.unwrap();
    assert_eq!((&read.data[..], read.subject.as_str(), read.delivery_count), (&sent_event.data[..], "user/7", 1));
    assert_eq!((read.event_type.as_str(), read.txn.as_str(), read.tags["source"].as_str()), ("user.created", "evt_1", "hr"));
    assert_eq!(read.occurred_time.millis(), 1_700_000_000_005);
    db.tenant("beta").await;
    for (tenant, id) in [("acme", "evt_2"), ("beta", "evt_1"), ("nobody", "evt_1")] {
        assert!(matches!(db.store.get_event(tenant, id).await, Err(Error::NotFound)), "{tenant} {id}");
    }
}

async fn events_are_listed_newest_first_without_payloads(db: Fixture) {
    db.siem().await;
    db.tenant("beta").await;
    for index in 0..10 {
        publish(&db.store, vec![event("acme", &format!("evt_{index}")), event("beta", &format!("other_{index}"))]).await;
    }
    let (mut page, mut found) = (Page::first(3), Vec::new());
    loop {
        let listed = db.store.list_events("acme", &page, &EventQuery::default(), |_| true).await.unwrap();
        assert!(listed.items.len() <= 3 && listed.items.iter().all(|event| event.data.is_empty()));
        found.extend(listed.items.into_iter().map(|event| event.id));
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(found, (0..10).rev().map(|index| format!("evt_{index}")).collect::<Vec<_>>());
    let one = db.store.list_events("acme", &Page::first(9), &EventQuery::default(), |event| event.id == "evt_4").await.unwrap();
    assert_eq!((one.items.len(), one.next), (1, None));
    let bad = Page { after: Some(vec![1, 2]), size: 1 };
    assert!(matches!(db.store.list_events("acme", &bad, &EventQuery::default(), |_| true).await, Err(Error::BadPosition)));
}

async fn events_are_listed_within_a_time_range(db: Fixture) {
    db.siem().await;
    let mut times = Vec::new();
    for index in 0..6 {
        times.push(db.store.now());
        publish(&db.store, vec![event("acme", &format!("evt_{index}"))]).await;
        db.advance(60);
    }
    let slack = Duration::from_secs(30);
    let query = EventQuery { from: Some(times[2].minus(slack)), until: Some(times[4].minus(slack)) };
    let listed = db.store.list_events("acme", &Page::first(9), &query, |_| true).await.unwrap();
    assert_eq!(listed.items.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["evt_3", "evt_2"]);
    let query = DeliveryQuery { from: query.from, until: query.until, ..DeliveryQuery::default() };
    let listed = db.store.list_deliveries("acme", &Page::first(9), &query, |_| true).await.unwrap();
    assert_eq!(listed.items.iter().map(|delivery| delivery.event_id.as_str()).collect::<Vec<_>>(), ["evt_3", "evt_2"]);
}

/// Every page of a list, joined.
async fn all(store: &Store, size: u32, query: &DeliveryQuery) -> Vec<DeliveryRecord> {
    let (mut page, mut found) = (Page::first(size), Vec::new());
    for _ in 0..1_000 {
        let listed = store.list_deliveries("acme", &page, query, |_| true).await.unwrap();
        assert!(listed.items.len() <= size as usize);
        found.extend(listed.items);
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
    panic!("the list does not end")
}

async fn deliveries_are_listed_in_pages_that_hold_each_once(db: Fixture) {
    db.siem().await;
    db.endpoint("acme", "lake").await;
    db.endpoint("acme", "mail").await;
    for index in 0..7 {
        publish(&db.store, vec![event("acme", &format!("evt_{index}"))]).await;
    }
    for size in [1, 2, 4, 20, 21, 22] {
        let keys: Vec<_> = all(&db.store, size, &DeliveryQuery::default()).await.iter().map(|delivery| delivery.key).collect();
        assert_eq!(keys.len(), 21, "pages of {size}");
        assert!(
            keys.is_sorted_by(|one, two| one.event_seq > two.event_seq || one != two && one.event_seq == two.event_seq),
            "{keys:?}"
        );
        let mut each = keys.clone();
        each.sort();
        each.dedup();
        assert_eq!(each.len(), 21, "pages of {size}");
    }
    db.tenant("beta").await;
    assert!(db.store.list_deliveries("beta", &Page::first(5), &DeliveryQuery::default(), |_| true).await.unwrap().items.is_empty());
}

/// Events 0 to 8 for `siem` and `lake`; those of `siem` end in turn as succeeded, dead and retrying.
async fn mixed(db: &Fixture) -> (std::sync::Arc<Epoch>, EndpointRecord) {
    let (epoch, siem) = db.siem().await;
    db.endpoint("acme", "lake").await;
    publish(&db.store, (0..9).map(|index| event("acme", &format!("evt_{index}"))).collect()).await;
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 9 }];
    let claimed = db.store.claim(&epoch, &want).await.unwrap();
    let due = db.store.now().plus(Duration::from_secs(60));
    let next = [Next::Succeeded, Next::Dead, Next::Retry { due }];
    let outcomes: Vec<_> =
        claimed.iter().zip(next.into_iter().cycle()).map(|(claimed, next)| of_claimed(claimed, &epoch, next)).collect();
    db.store.record(&epoch, &outcomes).await.unwrap();
    (epoch, siem)
}

async fn deliveries_are_found_by_state_endpoint_and_event(db: Fixture) {
    mixed(&db).await;
    let found = async |states: &[State], endpoint: Option<&str>, event: Option<&str>| {
        let query = DeliveryQuery {
            states: states.to_vec(),
            endpoint_id: endpoint.map(str::to_owned),
            event_id: event.map(str::to_owned),
            ..DeliveryQuery::default()
        };
        let found = all(&db.store, 2, &query).await;
        found.iter().map(|delivery| format!("{}/{}", delivery.event_id, delivery.endpoint_id)).collect::<Vec<_>>()
    };
    assert_eq!(found(&[State::Succeeded], None, None).await, ["evt_6/siem", "evt_3/siem", "evt_0/siem"]);
    assert_eq!(found(&[State::Dead], None, None).await, ["evt_7/siem", "evt_4/siem", "evt_1/siem"]);
    assert_eq!(found(&[State::Dead], Some("siem"), None).await, ["evt_7/siem", "evt_4/siem", "evt_1/siem"]);
    assert_eq!(found(&[State::Dead, State::Retrying], Some("siem"), None).await.len(), 6);
    assert!(found(&[State::Dead], Some("lake"), None).await.is_empty());
    assert!(found(&[State::Dead], Some("nobody"), None).await.is_empty());
    assert_eq!(found(&[State::Pending], None, None).await.len(), 9);
    assert_eq!(found(&[], Some("siem"), None).await.len(), 9);
    let mut both = found(&[], None, Some("evt_4")).await;
    both.sort();
    assert_eq!(both, ["evt_4/lake", "evt_4/siem"]);
    assert_eq!(found(&[State::Dead], None, Some("evt_4")).await, ["evt_4/siem"]);
    assert!(found(&[], None, Some("evt_99")).await.is_empty());
}

async fn trouble_is_found_behind_thousands_of_good_deliveries(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let dead = publish_fresh(&db.store, event("acme", "evt_dead")).await;
    db.store.record(&epoch, &[of_fresh(&dead, Next::Dead)]).await.unwrap();
    for batch in 0..5 {
        let hands = Hands::with_room(10_000);
        let events = (0..500).map(|index| event("acme", &format!("evt_{batch}_{index}"))).collect();
        publish_to(&db.store, Some(&hands), events).await.unwrap();
        let mut fresh = hands.take();
        fresh.sort_by_key(|fresh| fresh.key);
        let outcomes: Vec<_> = fresh.iter().map(|fresh| of_fresh(fresh, Next::Succeeded)).collect();
        db.store.record(&epoch, &outcomes).await.unwrap();
    }
    let query = DeliveryQuery { states: vec![State::Dead], endpoint_id: Some("siem".to_owned()), ..DeliveryQuery::default() };
    let listed = db.store.list_deliveries("acme", &Page::first(5), &query, |_| true).await.unwrap();
    assert_eq!((listed.items.len(), listed.items[0].key, listed.next), (1, key(dead.key.event_seq, &siem), None));
    // A walk over everything is bounded, says where it got to, and ends.
    let walk = DeliveryQuery { endpoint_id: Some("nobody".to_owned()), ..DeliveryQuery::default() };
    let first = db.store.list_deliveries("acme", &Page::first(5), &walk, |_| true).await.unwrap();
    assert!(first.items.is_empty() && first.next.is_some());
    assert!(all(&db.store, 5, &walk).await.is_empty());
    assert_eq!(all(&db.store, 1_000, &DeliveryQuery::default()).await.len(), 2_501);
}

async fn trouble_of_many_endpoints_is_merged_in_order(db: Fixture) {
    let (epoch, _) = db.siem().await;
    for id in ["b", "c", "d"] {
        db.endpoint("acme", id).await;
    }
    for batch in 0..4 {
        let hands = Hands::with_room(10_000);
        let events = (0..400).map(|index| event("acme", &format!("evt_{batch}_{index}"))).collect();
        publish_to(&db.store, Some(&hands), events).await.unwrap();
        let mut fresh = hands.take();
        fresh.sort_by_key(|fresh| fresh.key);
        // `d` has little trouble, `siem` has the most: its stream ends first.
        let next = |fresh: &crate::store::publish::Fresh| match (&*fresh.endpoint.id, fresh.key.event_seq % 5) {
            ("siem", _) | ("b" | "c", 0) => Next::Dead,
            ("d", _) if fresh.key.event_seq % 100 != 0 => Next::Succeeded,
            _ => Next::Retry { due: fresh.event.create_time },
        };
        let outcomes: Vec<_> = fresh.iter().map(|fresh| of_fresh(fresh, next(fresh))).collect();
        for outcomes in outcomes.chunks(512) {
            db.store.record(&epoch, outcomes).await.unwrap();
        }
    }
    let everything = all(&db.store, 1_000, &DeliveryQuery::default()).await;
    for states in [vec![State::Dead], vec![State::Retrying], vec![State::Dead, State::Retrying]] {
        let query = DeliveryQuery { states: states.clone(), ..DeliveryQuery::default() };
        let expected: Vec<_> = everything.iter().filter(|delivery| states.contains(&delivery.state)).cloned().collect();
        for size in [7, 1_000] {
            assert_eq!(all(&db.store, size, &query).await, expected, "{states:?} in pages of {size}");
        }
    }
}

async fn dead_letters_of_a_deleted_endpoint_are_still_found(db: Fixture) {
    mixed(&db).await;
    db.store.delete_endpoint("acme", "siem", None).await.unwrap();
    let query = DeliveryQuery { states: vec![State::Dead], ..DeliveryQuery::default() };
    let dead = all(&db.store, 2, &query).await;
    assert_eq!(dead.iter().map(|delivery| delivery.event_id.as_str()).collect::<Vec<_>>(), ["evt_7", "evt_4", "evt_1"]);
    assert!(dead.iter().all(|delivery| delivery.endpoint_state.is_none()));
}

async fn a_delivery_of_a_paused_endpoint_is_held(db: Fixture) {
    mixed(&db).await;
    db.store.set_endpoint_state("acme", "siem", Wanted::Pause(PausedReason::Manual)).await.unwrap();
    let found = all(&db.store, 50, &DeliveryQuery::default()).await;
    for delivery in &found {
        let unfinished = matches!(delivery.state, State::Pending | State::Retrying);
        assert_eq!(delivery.is_held(), unfinished && delivery.endpoint_id == "siem", "{delivery:?}");
    }
    assert_eq!(found.iter().filter(|delivery| delivery.endpoint_state == Some(endpoint::State::Paused)).count(), 9);
}

async fn attempts_are_listed_in_pages(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    publish(&db.store, vec![event("acme", "evt_1")]).await;
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 1 }];
    let delivery = key(db.number("SELECT MAX(seq) FROM events").await, &siem);
    assert!(db.store.list_attempts("acme", delivery, &Page::first(2)).await.unwrap().items.is_empty(), "none was made");
    for _ in 0..5 {
        let claimed = db.store.claim(&epoch, &want).await.unwrap().pop().unwrap();
        let due = db.store.now();
        db.store.record(&epoch, &[of_claimed(&claimed, &epoch, Next::Retry { due })]).await.unwrap();
    }
    let (mut page, mut numbers) = (Page::first(2), Vec::new());
    loop {
        let listed = db.store.list_attempts("acme", delivery, &page).await.unwrap();
        numbers.extend(listed.items.iter().map(|attempt| attempt.number));
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}
