//! Moves by people, and what a deleted endpoint leaves.

use std::time::Duration;

use super::fixture::*;
use super::on_both;
use crate::domain::delivery::{Next, State};
use crate::store::Error;
use crate::store::claims::Want;
use crate::store::page::Page;
use crate::store::requests::Answer;

on_both!(
    a_dead_delivery_is_sent_again_with_a_fresh_schedule,
    a_succeeded_delivery_is_sent_again_and_keeps_its_first_attempt,
    a_waiting_delivery_is_made_due_now,
    a_retry_of_one_request_happens_once,
    a_delivery_of_another_tenant_is_not_found,
    a_cancelled_delivery_stays_cancelled,
    what_a_deleted_endpoint_leaves_is_cancelled_in_steps,
    a_delivery_of_a_deleted_endpoint_is_not_sent_again,
);

async fn a_dead_delivery_is_sent_again_with_a_fresh_schedule(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    let delivery = done(db.store.retry_delivery("acme", fresh.key, None).await.unwrap());
    assert_eq!((delivery.state, delivery.revision, delivery.attempt_count), (State::Pending, 3, 1));
    assert!(delivery.due.is_some_and(|due| due <= db.store.now()));
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 1 }];
    let claimed = db.store.claim(&epoch, &want).await.unwrap().pop().unwrap();
    assert_eq!((claimed.attempt_count, claimed.schedule_attempts), (1, 0), "attempts go on counting, the schedule starts anew");
}

async fn a_succeeded_delivery_is_sent_again_and_keeps_its_first_attempt(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Succeeded)]).await.unwrap();
    let before = db.store.list_attempts("acme", fresh.key, &Page::first(10)).await.unwrap().items;
    db.store.retry_delivery("acme", fresh.key, None).await.unwrap();
    assert_eq!(db.store.list_attempts("acme", fresh.key, &Page::first(10)).await.unwrap().items, before);
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 1 }];
    let claimed = db.store.claim(&epoch, &want).await.unwrap().pop().unwrap();
    db.store.record(&epoch, &[of_claimed(&claimed, &epoch, Next::Succeeded)]).await.unwrap();
    let attempts = db.store.list_attempts("acme", fresh.key, &Page::first(10)).await.unwrap().items;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(attempts[0], before[0]);
}

async fn a_waiting_delivery_is_made_due_now(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    let due = db.store.now().plus(Duration::from_secs(3_600));
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Retry { due })]).await.unwrap();
    let delivery = done(db.store.retry_delivery("acme", fresh.key, None).await.unwrap());
    assert_eq!((delivery.state, delivery.revision), (State::Retrying, 2));
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 1 }];
    assert_eq!(db.store.claim(&epoch, &want).await.unwrap().len(), 1);
    // One that is on the wire is left alone.
    done(db.store.retry_delivery("acme", fresh.key, None).await.unwrap());
    assert!(db.store.claim(&epoch, &want).await.unwrap().is_empty());
}

async fn a_retry_of_one_request_happens_once(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    db.open_connections().await;
    let retry = |hash| db.store.retry_delivery("acme", fresh.key, once("acme", "RetryDelivery", "r1", hash));
    let (one, two) = tokio::join!(retry(1), retry(1));
    let answers = [one.unwrap(), two.unwrap()];
    let made = answers.iter().filter(|answer| matches!(answer, Answer::Done(_))).count();
    assert_eq!(made, 1);
    let Answer::Replayed(first) = retry(1).await.unwrap() else { panic!("it was made twice") };
    assert!(String::from_utf8(first).unwrap().contains("revision: 3"));
    assert!(matches!(retry(2).await, Err(Error::IdempotencyMismatch)));
    assert_eq!(db.store.get_delivery("acme", fresh.key).await.unwrap().revision, 3);
}

async fn a_delivery_of_another_tenant_is_not_found(db: Fixture) {
    db.siem().await;
    db.tenant("beta").await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    assert!(matches!(db.store.retry_delivery("beta", fresh.key, None).await, Err(Error::NotFound)));
    assert!(matches!(db.store.cancel_delivery("beta", fresh.key).await, Err(Error::NotFound)));
    assert!(matches!(db.store.get_delivery("beta", fresh.key).await, Err(Error::NotFound)));
    assert!(matches!(db.store.list_attempts("beta", fresh.key, &Page::first(1)).await, Err(Error::NotFound)));
}

async fn a_cancelled_delivery_stays_cancelled(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    let first = db.store.cancel_delivery("acme", fresh.key).await.unwrap();
    assert_eq!((first.state, first.revision, first.due), (State::Cancelled, 2, None));
    assert_eq!(db.store.cancel_delivery("acme", fresh.key).await.unwrap(), first);
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Succeeded)]).await.unwrap();
    assert_eq!(db.store.get_delivery("acme", fresh.key).await.unwrap(), first);
    // A person may still send it.
    assert_eq!(done(db.store.retry_delivery("acme", fresh.key, None).await.unwrap()).state, State::Pending);
}

async fn what_a_deleted_endpoint_leaves_is_cancelled_in_steps(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    db.endpoint("acme", "lake").await;
    let dead = publish_fresh(&db.store, event("acme", "evt_dead")).await;
    assert_eq!(dead.key.endpoint_key, siem.endpoint.key);
    db.store.record(&epoch, &[of_fresh(&dead, Next::Dead)]).await.unwrap();
    publish(&db.store, (0..600).map(|index| event("acme", &format!("evt_{index}"))).collect()).await;
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 1 }];
    let leased = db.store.claim(&epoch, &want).await.unwrap().pop().unwrap();
    db.store.delete_endpoint("acme", "siem", None).await.unwrap();
    let steps = steps(async || db.store.cancel_deleted_step().await).await;
    assert_eq!(steps, 2, "600 are more than one step");
    db.store.record(&epoch, &[of_claimed(&leased, &epoch, Next::Succeeded)]).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE state = 6 AND revision = 2").await, 600);
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog WHERE state = 1").await, 601, "the other endpoint's stay");
    assert_eq!(db.store.get_delivery("acme", dead.key).await.unwrap().state, State::Dead);
    let told: usize = {
        let mut told = 0;
        for (lane, _) in db.store.journal_heads(&[epoch.id]).await.unwrap().into_iter().filter(|(lane, _)| lane.number >= 2) {
            let entries = db.store.tail_journal(lane, 0, 1_000).await.unwrap();
            told += entries.iter().map(|entry| entry.changes.len()).sum::<usize>();
        }
        told
    };
    assert_eq!(told, 600);
}

async fn a_delivery_of_a_deleted_endpoint_is_not_sent_again(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    db.store.delete_endpoint("acme", "siem", None).await.unwrap();
    assert!(matches!(db.store.retry_delivery("acme", fresh.key, None).await, Err(Error::WrongState(5))));
    let delivery = db.store.get_delivery("acme", fresh.key).await.unwrap();
    assert_eq!((delivery.endpoint_id.as_str(), delivery.endpoint_state), ("siem", None));
}
