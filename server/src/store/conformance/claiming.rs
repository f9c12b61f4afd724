//! Taking due work: for free slots only, oldest first, and each row by one node.

use std::collections::BTreeSet;
use std::time::Duration;

use super::fixture::*;
use super::{on_both, on_postgres};
use crate::domain::delivery::Next;
use crate::store::Error;
use crate::store::claims::{LEASE, Want};
use crate::store::endpoints::{PausedReason, Wanted};
use crate::store::health::HealthDelta;

on_both!(
    a_claim_takes_the_oldest_and_no_more_than_wanted,
    the_heads_are_endpoints_that_may_be_sent_to,
    a_lease_that_ends_comes_up_again_and_counts_as_a_loss,
    what_is_given_back_is_due_when_it_says,
    a_spilled_delivery_is_backlog_from_then_on,
    a_lost_epoch_claims_nothing,
    concurrent_claims_never_give_one_row_twice,
);
on_postgres!(two_nodes_share_a_backlog);

fn want(endpoint_key: i64, count: u32) -> Want {
    Want { endpoint_key, priority: 1, count }
}

async fn a_claim_takes_the_oldest_and_no_more_than_wanted(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let mut ids = Vec::new();
    for index in 0..10 {
        let id = format!("evt_{index}");
        publish(&db.store, vec![event("acme", &id)]).await;
        ids.push(id);
        db.advance(1);
    }
    let mut taken = Vec::new();
    for (count, got) in [(3, 3), (4, 4), (5, 3), (1, 0)] {
        let claimed = db.store.claim(&epoch, &[want(siem.endpoint.key, count)]).await.unwrap();
        assert_eq!(claimed.len(), got);
        taken.extend(claimed.iter().map(|claimed| claimed.event.id.to_string()));
    }
    assert_eq!(taken, ids);
}

async fn the_heads_are_endpoints_that_may_be_sent_to(db: Fixture) {
    let (_, siem) = db.siem().await;
    let (paused, held) = (db.endpoint("acme", "paused").await, db.endpoint("acme", "held").await);
    db.endpoint("acme", "deleted").await;
    publish(&db.store, vec![event("acme", "evt_1"), event("acme", "evt_2")]).await;
    let due = db.store.now();
    db.store.set_endpoint_state("acme", "paused", Wanted::Pause(PausedReason::Manual)).await.unwrap();
    db.store.delete_endpoint("acme", "deleted", None).await.unwrap();
    let until = due.plus(Duration::from_secs(60));
    let delta = HealthDelta { hold_until: Some(until), ..HealthDelta::new(held.endpoint.key) };
    db.store.flush_health(&[delta]).await.unwrap();
    let heads = db.store.backlog_heads().await.unwrap();
    let found: Vec<_> = heads.iter().map(|head| (head.endpoint_key, head.priority, &*head.tenant)).collect();
    assert_eq!(found, [(siem.endpoint.key, 1, "acme"), (held.endpoint.key, 1, "acme")]);
    assert!(heads[0].due <= due && heads[1].due == until, "{heads:?}");
    db.store.set_endpoint_state("acme", "paused", Wanted::Resume).await.unwrap();
    let heads = db.store.backlog_heads().await.unwrap();
    assert!(heads.iter().any(|head| head.endpoint_key == paused.endpoint.key));
}

async fn a_lease_that_ends_comes_up_again_and_counts_as_a_loss(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    publish(&db.store, vec![event("acme", "evt_1")]).await;
    let wants = [want(siem.endpoint.key, 5)];
    assert_eq!(db.store.claim(&epoch, &wants).await.unwrap().len(), 1);
    db.clock.advance(LEASE - Duration::from_secs(1));
    assert!(db.store.claim(&epoch, &wants).await.unwrap().is_empty(), "the lease holds");
    db.advance(2);
    assert_eq!(db.store.claim(&epoch, &wants).await.unwrap().len(), 1);
    assert_eq!(db.number("SELECT loss_count FROM backlog").await, 1);
}

async fn what_is_given_back_is_due_when_it_says(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    publish(&db.store, vec![event("acme", "evt_1"), event("acme", "evt_2")]).await;
    let wants = [want(siem.endpoint.key, 5)];
    let claimed = db.store.claim(&epoch, &wants).await.unwrap();
    let due = db.store.now().plus(Duration::from_secs(10));
    // A token that is not the lease's own gives nothing back.
    let back = [(claimed[0].key, claimed[0].token), (claimed[1].key, claimed[1].token + 1)];
    db.store.release(&epoch, &back, due).await.unwrap();
    db.advance(11);
    let again = db.store.claim(&epoch, &wants).await.unwrap();
    assert_eq!(again.iter().map(|claimed| claimed.key).collect::<Vec<_>>(), [claimed[0].key]);
    assert_eq!(db.number("SELECT SUM(loss_count) FROM backlog").await, 0, "nothing was sent");
}

async fn a_spilled_delivery_is_backlog_from_then_on(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.spill(&epoch, &[(fresh.key, fresh.ticket.clone())]).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE owner_epoch IS NULL AND revision = 1").await, 1);
    let claimed = db.store.claim(&epoch, &[want(siem.endpoint.key, 5)]).await.unwrap();
    assert_eq!((claimed.len(), claimed[0].attempt_count), (1, 0));
    // The outcome of somebody who still held it as fresh is dropped.
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE state = 1").await, 1);
}

async fn a_lost_epoch_claims_nothing(db: Fixture) {
    let (lost, siem) = db.siem().await;
    publish(&db.store, vec![event("acme", "evt_1")]).await;
    db.join().await;
    let refused = db.store.claim(&lost, &[want(siem.endpoint.key, 1)]).await;
    assert!(matches!(refused, Err(Error::EpochLost)));
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog WHERE lease_epoch IS NOT NULL").await, 0);
}

async fn concurrent_claims_never_give_one_row_twice(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    publish(&db.store, (0..100).map(|index| event("acme", &format!("evt_{index}"))).collect()).await;
    let wants = [want(siem.endpoint.key, 7)];
    let claims = futures::future::join_all((0..20).map(|_| db.store.claim(&epoch, &wants))).await;
    let taken: Vec<_> = claims.into_iter().flat_map(Result::unwrap).map(|claimed| claimed.key).collect();
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), taken.len());
    let rest = db.store.claim(&epoch, &[want(siem.endpoint.key, 100)]).await.unwrap();
    assert_eq!(taken.len() + rest.len(), 100);
}

async fn two_nodes_share_a_backlog(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let other = db.another().await;
    let second = other.join("two").await.unwrap();
    publish(&db.store, (0..100).map(|index| event("acme", &format!("evt_{index}"))).collect()).await;
    let wants = [want(siem.endpoint.key, 10)];
    let claim_all = async |store: &crate::store::Store, epoch: &crate::store::Epoch| {
        let mut keys = Vec::new();
        // A claim that finds every row taken by the other returns none: it tries again until nothing is due.
        while let claimed = store.claim(epoch, &wants).await.unwrap()
            && (!claimed.is_empty() || number(store, "SELECT COUNT(*) FROM backlog WHERE lease_epoch IS NULL").await > 0)
        {
            keys.extend(claimed.into_iter().map(|claimed| claimed.key));
        }
        keys
    };
    let (one, two) = tokio::join!(claim_all(&db.store, &epoch), claim_all(&other, &second));
    let all: BTreeSet<_> = one.iter().chain(&two).collect();
    assert_eq!((all.len(), one.len() + two.len()), (100, 100));
}
