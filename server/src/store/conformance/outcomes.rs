//! Recording what attempts came to: by right only, once, in one commit with the backlog and the journal.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::fixture::*;
use super::on_both;
use crate::domain::delivery::{AttemptClass, Next, State};
use crate::store::claims::Want;
use crate::store::page::Page;
use crate::store::{Error, record};

on_both!(
    a_first_success_lives_in_its_delivery,
    a_failure_is_retried_from_the_backlog,
    a_dead_letter_stays_in_the_backlog_without_a_due_time,
    a_claimed_delivery_that_succeeds_leaves_the_backlog,
    an_outcome_of_a_lost_epoch_is_dropped,
    an_outcome_of_a_cancelled_delivery_is_dropped,
    an_outcome_whose_lease_was_taken_is_dropped,
    outcomes_of_a_removed_event_change_nothing,
    a_group_of_outcomes_is_one_commit,
    the_loop_records_what_it_was_handed_before_the_stop,
);

async fn a_first_success_lives_in_its_delivery(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Succeeded)]).await.unwrap();
    let delivery = db.store.get_delivery("acme", fresh.key).await.unwrap();
    assert_eq!((delivery.state, delivery.revision, delivery.attempt_count), (State::Succeeded, 2, 1));
    assert_eq!((delivery.last_status, delivery.last_class, delivery.due), (200, Some(AttemptClass::Success), None));
    assert_eq!(db.number("SELECT COUNT(*) FROM attempts").await, 0);
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog").await, 0);
    let attempts = db.store.list_attempts("acme", fresh.key, &Page::first(10)).await.unwrap();
    assert_eq!((attempts.items.len(), attempts.items[0].number, attempts.items[0].total_ms), (1, 1, 42));
    assert_eq!((attempts.items[0].status, &attempts.items[0].answer), (200, &None));
}

async fn a_failure_is_retried_from_the_backlog(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    let due = db.store.now().plus(Duration::from_secs(5));
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Retry { due })]).await.unwrap();
    let delivery = db.store.get_delivery("acme", fresh.key).await.unwrap();
    assert_eq!((delivery.state, delivery.attempt_count, delivery.due), (State::Retrying, 1, Some(due)));
    let attempts = db.store.list_attempts("acme", fresh.key, &Page::first(10)).await.unwrap().items;
    assert_eq!((attempts[0].status, attempts[0].dns_ms, attempts[0].first_byte_ms), (503, Some(1), None));
    assert_eq!(attempts[0].answer.as_ref().unwrap().body, b"canary-answer");
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 5 }];
    assert!(db.store.claim(&epoch, &want).await.unwrap().is_empty(), "it is not due yet");
    db.advance(6);
    let claimed = db.store.claim(&epoch, &want).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].attempt_count, claimed[0].schedule_attempts), (1, 1, 1));
    assert_eq!((&*claimed[0].event.id, &claimed[0].event.data), ("evt_1", &fresh.event.data));
}

async fn a_dead_letter_stays_in_the_backlog_without_a_due_time(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    let delivery = db.store.get_delivery("acme", fresh.key).await.unwrap();
    assert_eq!((delivery.state, delivery.due), (State::Dead, None));
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog WHERE state = 5 AND due IS NULL").await, 1);
    db.advance(1_000_000);
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 5 }];
    assert!(db.store.claim(&epoch, &want).await.unwrap().is_empty());
    assert!(db.store.backlog_heads().await.unwrap().is_empty());
}

async fn a_claimed_delivery_that_succeeds_leaves_the_backlog(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    publish(&db.store, vec![event("acme", "evt_1")]).await;
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 5 }];
    let claimed = db.store.claim(&epoch, &want).await.unwrap().pop().unwrap();
    let due = db.store.now();
    db.store.record(&epoch, &[of_claimed(&claimed, &epoch, Next::Retry { due })]).await.unwrap();
    let again = db.store.claim(&epoch, &want).await.unwrap().pop().unwrap();
    assert_eq!((again.attempt_count, again.schedule_attempts), (1, 1));
    db.store.record(&epoch, &[of_claimed(&again, &epoch, Next::Succeeded)]).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog").await, 0);
    let delivery = db.store.get_delivery("acme", claimed.key).await.unwrap();
    assert_eq!((delivery.state, delivery.revision, delivery.attempt_count), (State::Succeeded, 3, 2));
    let attempts = db.store.list_attempts("acme", claimed.key, &Page::first(10)).await.unwrap().items;
    assert_eq!(attempts.iter().map(|attempt| (attempt.number, attempt.status)).collect::<Vec<_>>(), [(1, 503), (2, 200)]);
}

async fn an_outcome_of_a_lost_epoch_is_dropped(db: Fixture) {
    let (lost, _) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.join("one").await.unwrap();
    let refused = db.store.record(&lost, &[of_fresh(&fresh, Next::Succeeded)]).await;
    assert!(matches!(refused, Err(Error::EpochLost)));
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE state = 1 AND revision = 1").await, 1);
}

async fn an_outcome_of_a_cancelled_delivery_is_dropped(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    publish(&db.store, vec![event("acme", "evt_2")]).await;
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 5 }];
    let claimed = db.store.claim(&epoch, &want).await.unwrap().pop().unwrap();
    for key in [fresh.key, claimed.key] {
        db.store.cancel_delivery("acme", key).await.unwrap();
    }
    let due = db.store.now();
    let outcomes = [of_fresh(&fresh, Next::Retry { due }), of_claimed(&claimed, &epoch, Next::Succeeded)];
    db.store.record(&epoch, &outcomes).await.unwrap();
    for key in [fresh.key, claimed.key] {
        let delivery = db.store.get_delivery("acme", key).await.unwrap();
        assert_eq!((delivery.state, delivery.revision, delivery.attempt_count), (State::Cancelled, 2, 0));
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog").await, 0);
    assert_eq!(db.number("SELECT COUNT(*) FROM attempts").await, 0);
}

async fn an_outcome_whose_lease_was_taken_is_dropped(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    publish(&db.store, vec![event("acme", "evt_1")]).await;
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 5 }];
    let first = db.store.claim(&epoch, &want).await.unwrap().pop().unwrap();
    db.advance(91);
    let second = db.store.claim(&epoch, &want).await.unwrap().pop().unwrap();
    assert!(second.token > first.token);
    db.store.record(&epoch, &[of_claimed(&first, &epoch, Next::Dead)]).await.unwrap();
    assert_eq!(db.store.get_delivery("acme", first.key).await.unwrap().state, State::Pending);
    db.store.record(&epoch, &[of_claimed(&second, &epoch, Next::Succeeded)]).await.unwrap();
    assert_eq!(db.store.get_delivery("acme", first.key).await.unwrap().state, State::Succeeded);
}

async fn outcomes_of_a_removed_event_change_nothing(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.delete_tenant("acme", None).await.unwrap();
    steps(async || db.store.remove_deleted_step().await).await;
    let due = db.store.now();
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Retry { due })]).await.unwrap();
    for table in ["SELECT COUNT(*) FROM deliveries", "SELECT COUNT(*) FROM backlog", "SELECT COUNT(*) FROM attempts"] {
        assert_eq!(db.number(table).await, 0, "{table}");
    }
}

async fn a_group_of_outcomes_is_one_commit(db: Fixture) {
    let (epoch, _) = db.siem().await;
    db.endpoint("acme", "lake").await;
    let hands = Hands::with_room(600);
    let events = (0..300).map(|index| event("acme", &format!("evt_{index}"))).collect();
    publish_to(&db.store, Some(&hands), events).await.unwrap();
    let mut fresh = hands.take();
    fresh.sort_by_key(|fresh| fresh.key);
    let due = db.store.now();
    let next = [Next::Succeeded, Next::Dead, Next::Retry { due }];
    let outcomes: Vec<_> = fresh.iter().zip(next.into_iter().cycle()).map(|(fresh, next)| of_fresh(fresh, next)).collect();
    db.store.record(&epoch, &outcomes).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE state = 4").await, 200);
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog WHERE state = 5").await, 200);
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog WHERE state = 2").await, 200);
    assert_eq!(db.number("SELECT COUNT(*) FROM attempts").await, 400);
    assert_eq!(db.number("SELECT COUNT(*) FROM journal WHERE lane = 1").await, 1);
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE owner_epoch IS NOT NULL").await, 0);
}

async fn the_loop_records_what_it_was_handed_before_the_stop(db: Fixture) {
    let (_, _) = db.siem().await;
    let hands = Hands::with_room(5);
    publish_to(&db.store, Some(&hands), (0..5).map(|index| event("acme", &format!("evt_{index}"))).collect()).await.unwrap();
    let (recorder, recording) = record::channel(db.store.clone());
    for fresh in hands.take() {
        recorder.record(of_fresh(&fresh, Next::Succeeded)).await;
    }
    let stop = CancellationToken::new();
    stop.cancel();
    recording.run(stop, CancellationToken::new()).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE state = 4").await, 5);
}
