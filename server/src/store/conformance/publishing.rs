//! Accepting events: what is kept, what repeats, and who gets it.

use std::pin::pin;

use tokio_util::sync::CancellationToken;

use super::fixture::*;
use super::{on_both, on_postgres};
use crate::domain::endpoint::parse_event_types;
use crate::domain::event::Published;
use crate::store::Error;
use crate::store::endpoints::{DisabledReason, PausedReason, Wanted};
use crate::store::publish::{self, Verdict};

on_both!(
    a_new_event_is_stored_with_every_delivery,
    a_repeat_gets_the_first_answer_and_another_event_of_its_id_is_refused,
    repeats_within_one_group_are_found,
    a_request_id_makes_a_repeat_without_an_event_id,
    an_unknown_tenant_and_a_deleted_one_accept_nothing,
    only_matching_endpoints_in_service_get_an_event,
    a_delivery_without_room_waits_in_the_backlog,
    concurrent_publishers_of_one_id_store_one_event,
    numbers_rise_with_each_reply,
    past_the_queue_a_publish_is_refused,
    past_the_bytes_that_may_wait_a_publish_is_refused_and_a_stream_waits,
    without_an_epoch_nothing_is_published,
    one_call_may_hold_more_than_a_group,
);
on_postgres!(two_nodes_that_publish_the_same_ids_store_each_once, an_event_that_the_database_refuses_fails_alone);

async fn a_new_event_is_stored_with_every_delivery(db: Fixture) {
    let (_, siem) = db.siem().await;
    db.endpoint("acme", "lake").await;
    let verdicts = publish(&db.store, vec![event("acme", "evt_1"), event("acme", "evt_2")]).await;
    let [first, second] = [accepted(&verdicts[0]), accepted(&verdicts[1])];
    assert_eq!((first.event_id.as_str(), first.delivery_count, first.skipped_count, first.duplicate), ("evt_1", 2, 0, false));
    assert!(second.seq > first.seq);
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE state = 1 AND revision = 1").await, 4);
    let delivery = db.store.get_delivery("acme", key(first.seq, &siem)).await.unwrap();
    assert_eq!((delivery.event_id.as_str(), delivery.endpoint_id.as_str(), delivery.attempt_count), ("evt_1", "siem", 0));
}

async fn a_repeat_gets_the_first_answer_and_another_event_of_its_id_is_refused(db: Fixture) {
    db.siem().await;
    let first = publish(&db.store, vec![event("acme", "evt_1")]).await;
    db.endpoint("acme", "later").await;
    let again = publish(&db.store, vec![event("acme", "evt_1")]).await;
    let mut expected = accepted(&first[0]).clone();
    expected.duplicate = true;
    assert_eq!(accepted(&again[0]), &expected, "the counts are those of the first answer");
    let other = sent("acme", Published { event_id: "evt_1".to_owned(), ..published("another") });
    assert_eq!(publish(&db.store, vec![other, event("acme", "evt_2")]).await[0], Verdict::Mismatch);
    assert_eq!(db.number("SELECT COUNT(*) FROM events").await, 2);
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries").await, 3);
}

async fn repeats_within_one_group_are_found(db: Fixture) {
    db.siem().await;
    let other = sent("acme", Published { event_id: "evt_1".to_owned(), ..published("another") });
    let verdicts = publish(&db.store, vec![event("acme", "evt_1"), event("acme", "evt_1"), other]).await;
    assert!(!accepted(&verdicts[0]).duplicate && accepted(&verdicts[1]).duplicate);
    assert_eq!(accepted(&verdicts[0]).seq, accepted(&verdicts[1]).seq);
    assert_eq!(verdicts[2], Verdict::Mismatch);
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries").await, 1);
}

async fn a_request_id_makes_a_repeat_without_an_event_id(db: Fixture) {
    db.siem().await;
    let request = || {
        let request_id = "00000000-0000-4000-8000-000000000001".to_owned();
        sent("acme", Published { request_id, ..published("u1") })
    };
    let first = publish(&db.store, vec![request()]).await;
    let again = publish(&db.store, vec![request(), request()]).await;
    for verdict in &again {
        assert_eq!(accepted(verdict).event_id, accepted(&first[0]).event_id);
        assert!(accepted(verdict).duplicate);
    }
    let other = sent("acme", Published { request_id: "00000000-0000-4000-8000-000000000001".to_owned(), ..published("u2") });
    assert_eq!(publish(&db.store, vec![other]).await, [Verdict::Mismatch]);
    assert_eq!(db.number("SELECT COUNT(*) FROM events").await, 1);
    assert_eq!(db.number("SELECT COUNT(*) FROM event_keys").await, 2, "one key for the request, one for the event");
}

async fn an_unknown_tenant_and_a_deleted_one_accept_nothing(db: Fixture) {
    db.siem().await;
    db.tenant("gone").await;
    let prepared = publish(&db.store, vec![event("gone", "evt_1")]).await;
    accepted(&prepared[0]);
    db.store.delete_tenant("gone", None).await.unwrap();
    for tenant in ["gone", "nobody"] {
        let refused = publish_to(&db.store, None, vec![event(tenant, "evt_2")]).await;
        assert!(matches!(refused.unwrap_err().as_ref(), Error::NotFound), "{tenant}");
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM events").await, 1);
}

async fn only_matching_endpoints_in_service_get_an_event(db: Fixture) {
    db.siem().await;
    let mut groups = new_endpoint("acme", "groups");
    groups.fields.event_types = Some(parse_event_types(&["group.*"]).unwrap());
    create_endpoint(&db.store, groups).await.unwrap();
    for (id, wanted) in [("paused", Wanted::Pause(PausedReason::Manual)), ("disabled", Wanted::Disable(DisabledReason::Manual))] {
        db.endpoint("acme", id).await;
        db.store.set_endpoint_state("acme", id, wanted).await.unwrap();
    }
    db.endpoint("acme", "deleted").await;
    db.store.delete_endpoint("acme", "deleted", None).await.unwrap();
    let hands = Hands::with_room(10);
    let verdicts = publish_to(&db.store, Some(&hands), vec![event("acme", "evt_1")]).await.unwrap();
    assert_eq!((accepted(&verdicts[0]).delivery_count, accepted(&verdicts[0]).skipped_count), (2, 2));
    let fresh = hands.take();
    assert_eq!(fresh.iter().map(|fresh| &*fresh.endpoint.id).collect::<Vec<_>>(), ["siem"]);
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog").await, 1, "the paused endpoint's delivery waits");
}

async fn a_delivery_without_room_waits_in_the_backlog(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let hands = Hands::with_room(1);
    let verdicts = publish_to(&db.store, Some(&hands), vec![event("acme", "evt_1"), event("acme", "evt_2")]).await.unwrap();
    let fresh = hands.take();
    assert_eq!((fresh.len(), hands.room()), (1, 0));
    assert_eq!(fresh[0].key, key(accepted(&verdicts[0]).seq, &siem));
    assert_eq!(fresh[0].epoch.id, epoch.id);
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE owner_epoch IS NOT NULL").await, 1);
    assert_eq!(db.number("SELECT event_seq FROM backlog").await, accepted(&verdicts[1]).seq);
    drop(fresh);
    assert_eq!(hands.room(), 1, "room comes back with the delivery");
    // A repeat takes no room.
    publish_to(&db.store, Some(&hands), vec![event("acme", "evt_1")]).await.unwrap();
    assert_eq!((hands.take().len(), hands.room()), (0, 1));
}

async fn concurrent_publishers_of_one_id_store_one_event(db: Fixture) {
    db.siem().await;
    let (publisher, committer) = publish::channel(db.store.clone(), None, 64);
    let publishing = async {
        let calls = (0..20).map(|_| publisher.publish(vec![event("acme", "evt_1"), event("acme", "evt_2")]));
        let verdicts = futures::future::join_all(calls).await;
        drop(publisher);
        verdicts
    };
    let (answers, ()) = tokio::join!(publishing, committer.run(CancellationToken::new()));
    let verdicts: Vec<Verdict> = answers.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(verdicts.iter().filter(|verdict| !accepted(verdict).duplicate).count(), 2);
    assert_eq!(db.number("SELECT COUNT(*) FROM events").await, 2);
}

async fn numbers_rise_with_each_reply(db: Fixture) {
    db.siem().await;
    let mut last = 0;
    for index in 0..20 {
        let verdicts = publish(&db.store, vec![event("acme", &format!("evt_{index}"))]).await;
        assert!(accepted(&verdicts[0]).seq > last);
        last = accepted(&verdicts[0]).seq;
    }
}

async fn past_the_queue_a_publish_is_refused(db: Fixture) {
    db.siem().await;
    let (publisher, committer) = publish::channel(db.store.clone(), None, 1);
    let waiting = publisher.submit(vec![event("acme", "evt_1")]).await.unwrap();
    let refused = publisher.publish(vec![event("acme", "evt_2")]).await;
    assert!(matches!(refused.unwrap_err().as_ref(), Error::Overloaded));
    drop(publisher);
    committer.run(CancellationToken::new()).await;
    assert!(!accepted(&waiting.await.unwrap().unwrap()[0]).duplicate, "what was taken in is committed");
}

async fn past_the_bytes_that_may_wait_a_publish_is_refused_and_a_stream_waits(db: Fixture) {
    db.siem().await;
    let (publisher, committer) = publish::channel_within(db.store.clone(), None, 100, [10_000, 10_000]);
    let large = |id: &str| {
        let data = format!(r#"{{"user":{{"id":"u1"}},"a":"{}"}}"#, "x".repeat(20_000));
        sent("acme", Published { event_id: id.to_owned(), data: data.into(), ..published("large") })
    };
    // What is larger than all that may wait is taken, alone.
    let first = publisher.submit(vec![large("stream")]).await.unwrap();
    let (mut second, mut call) =
        (pin!(publisher.submit(vec![event("acme", "later")])), pin!(publisher.publish(vec![large("call")])));
    assert!(futures::poll!(second.as_mut()).is_pending() && futures::poll!(call.as_mut()).is_pending());
    let refused = publisher.publish(vec![event("acme", "refused")]).await;
    assert!(matches!(refused.unwrap_err().as_ref(), Error::Overloaded));
    let publishing = async {
        assert_eq!(call.await.unwrap().len(), 1);
        assert_eq!(second.await.unwrap().await.unwrap().unwrap().len(), 1);
        assert_eq!(first.await.unwrap().unwrap().len(), 1);
        // What was committed has left its room.
        assert_eq!(publisher.publish(vec![event("acme", "after")]).await.unwrap().len(), 1);
    };
    let stop = CancellationToken::new();
    let publishing = async {
        publishing.await;
        stop.cancel();
    };
    tokio::join!(publishing, Box::pin(committer.run(stop.clone())));
}

async fn without_an_epoch_nothing_is_published(db: Fixture) {
    let (epoch, _) = db.siem().await;
    epoch.over.cancel();
    let refused = publish_to(&db.store, None, vec![event("acme", "evt_1")]).await;
    assert!(matches!(refused.unwrap_err().as_ref(), Error::EpochLost));
    assert_eq!(db.number("SELECT COUNT(*) FROM events").await, 0);
}

async fn one_call_may_hold_more_than_a_group(db: Fixture) {
    db.siem().await;
    let verdicts = publish(&db.store, (0..1_000).map(|index| event("acme", &format!("evt_{index}"))).collect()).await;
    let seqs: Vec<i64> = verdicts.iter().map(|verdict| accepted(verdict).seq).collect();
    assert!(seqs.is_sorted() && seqs.len() == 1_000, "numbers follow the order of the request");
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog").await, 1_000);
}

async fn an_event_that_the_database_refuses_fails_alone(db: Fixture) {
    db.siem().await;
    let mut events: Vec<_> = (0..5).map(|index| event("acme", &format!("evt_{index}"))).collect();
    // No check lets this through; PostgreSQL takes no NUL in a text.
    events[3].subject = "user/\0".to_owned();
    let verdicts = publish(&db.store, events).await;
    assert_eq!(verdicts[3], Verdict::Refused);
    assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted(_))).count(), 4);
    assert_eq!(db.number("SELECT COUNT(*) FROM events").await, 4);
    let epoch = db.store.epoch().unwrap();
    db.store.beat(&epoch).await.unwrap();
    let open = db.number("SELECT COUNT(*) FROM beats, events WHERE events.seq >= beats.low_water_seq").await;
    assert_eq!(open, 0, "nothing of the group holds the mark back");
}

async fn two_nodes_that_publish_the_same_ids_store_each_once(db: Fixture) {
    db.siem().await;
    let other = db.another().await;
    other.join("two").await.unwrap();
    let ids: Vec<String> = (0..50).map(|index| format!("evt_{index}")).collect();
    // Different orders: keys that were not written in one order would deadlock.
    let forward = || ids.iter().map(|id| event("acme", id)).collect();
    let backward = || ids.iter().rev().map(|id| event("acme", id)).collect();
    for _ in 0..4 {
        let (one, two) = tokio::join!(publish(&db.store, forward()), publish(&other, backward()));
        assert!(one.iter().chain(&two).all(|verdict| matches!(verdict, Verdict::Accepted(_))));
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM events").await, 50);
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries").await, 50);
}
