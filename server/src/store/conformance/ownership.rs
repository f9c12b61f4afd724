//! Epochs: beats, loss and adoption. Nothing is sent by two nodes, and nothing is left behind.

use super::fixture::*;
use super::{on_both, on_postgres};
use crate::domain::delivery::Next;
use crate::store::claims::Want;
use crate::store::nodes::{Beat, Pulse};
use crate::store::{Error, Store};

on_both!(
    what_a_node_left_is_adopted_due_now,
    a_recorded_delivery_is_not_adopted,
    adoption_goes_in_bounded_steps,
    a_second_loss_in_a_row_waits,
    an_epoch_that_was_given_up_never_beats_again,
    the_beat_carries_the_oldest_open_batch,
);
on_postgres!(
    a_beat_that_moved_saves_a_node,
    a_lost_node_finds_out_and_its_commits_are_refused,
    adoption_waits_for_a_commit_of_the_lost_node,
    two_nodes_adopt_together,
    leaving_hands_everything_over_at_once,
    a_node_lives_in_database_time_whatever_its_clock_says,
);

async fn adopt(store: &Store) -> usize {
    steps(async || store.adopt_step().await).await
}

async fn what_a_node_left_is_adopted_due_now(db: Fixture) {
    let (_, siem) = db.siem().await;
    let hands = Hands::with_room(2);
    let events = vec![event("acme", "evt_1"), event("acme", "evt_2"), event("acme", "evt_3")];
    publish_to(&db.store, Some(&hands), events).await.unwrap();
    let lost = db.store.epoch().unwrap();
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 10 }];
    assert_eq!(db.store.claim(&lost, &want).await.unwrap().len(), 1);
    // The process starts anew.
    let epoch = db.join().await;
    assert!(lost.over.is_cancelled());
    adopt(&db.store).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE owner_epoch IS NOT NULL").await, 0);
    let claimed = db.store.claim(&epoch, &want).await.unwrap();
    assert_eq!(claimed.len(), 3, "two fresh ones and the lease");
    assert_eq!(db.number("SELECT MIN(loss_count) FROM backlog").await, 1);
}

async fn a_recorded_delivery_is_not_adopted(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Succeeded)]).await.unwrap();
    db.join().await;
    adopt(&db.store).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog").await, 0);
    assert_eq!(db.number("SELECT COUNT(*) FROM nodes WHERE state = 3").await, 1);
}

async fn adoption_goes_in_bounded_steps(db: Fixture) {
    db.siem().await;
    for id in ["two", "three", "four"] {
        db.endpoint("acme", id).await;
    }
    let hands = Hands::with_room(10_000);
    for batch in 0..3 {
        let events = (0..300).map(|index| event("acme", &format!("evt_{batch}_{index}"))).collect();
        publish_to(&db.store, Some(&hands), events).await.unwrap();
    }
    db.join().await;
    let steps = adopt(&db.store).await;
    assert!((4..=6).contains(&steps), "{steps} steps for 3,600 deliveries");
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog").await, 3_600);
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE owner_epoch IS NOT NULL").await, 0);
}

async fn a_second_loss_in_a_row_waits(db: Fixture) {
    let (_, siem) = db.siem().await;
    publish(&db.store, vec![event("acme", "evt_1")]).await;
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 10 }];
    let waits = [0, 30, 120, 600];
    for wait in waits {
        let epoch = db.store.epoch().unwrap();
        assert_eq!(db.store.claim(&epoch, &want).await.unwrap().len(), 1, "after {wait} s");
        db.join().await;
        adopt(&db.store).await;
        let epoch = db.store.epoch().unwrap();
        let next = waits[(waits.iter().position(|other| *other == wait).unwrap() + usize::from(wait != 0)).min(3)];
        if next > 0 && wait > 0 {
            assert!(db.store.claim(&epoch, &want).await.unwrap().is_empty(), "a loss after {wait} s waits");
        }
        db.advance(600);
    }
    assert_eq!(db.number("SELECT loss_count FROM backlog").await, 4);
}

async fn an_epoch_that_was_given_up_never_beats_again(db: Fixture) {
    let (epoch, _) = db.siem().await;
    assert!(matches!(db.store.beat(&epoch).await.unwrap(), Pulse::Alive(_)));
    epoch.over.cancel();
    assert_eq!(db.store.beat(&epoch).await.unwrap(), Pulse::Lost);
}

async fn the_beat_carries_the_oldest_open_batch(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let mut held = Vec::new();
    for index in 0..3 {
        held.push(publish_fresh(&db.store, event("acme", &format!("evt_{index}"))).await);
    }
    let low_water = async || {
        db.store.beat(&epoch).await.unwrap();
        db.number("SELECT MAX(low_water_seq) FROM beats").await
    };
    assert_eq!(low_water().await, held[0].key.event_seq);
    db.store.record(&epoch, &[of_fresh(&held[1], Next::Succeeded)]).await.unwrap();
    assert_eq!(low_water().await, held[0].key.event_seq, "the oldest is still open");
    db.store.record(&epoch, &[of_fresh(&held[0], Next::Succeeded)]).await.unwrap();
    assert_eq!(low_water().await, held[2].key.event_seq);
    db.store.spill(&epoch, &[(held[2].key, held[2].ticket.clone())]).await.unwrap();
    assert_eq!(low_water().await, held[2].key.event_seq + 1);
}

async fn a_beat_that_moved_saves_a_node(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let other = db.another().await;
    let watcher = other.join("two").await.unwrap();
    let Pulse::Alive(seen) = other.beat(&watcher).await.unwrap() else { panic!("the watcher lives") };
    db.store.beat(&epoch).await.unwrap();
    assert!(!other.declare_lost(seen[0]).await.unwrap(), "it has beaten since");
    let Pulse::Alive(seen) = other.beat(&watcher).await.unwrap() else { panic!("the watcher lives") };
    assert!(other.declare_lost(seen[0]).await.unwrap());
    assert!(!other.declare_lost(seen[0]).await.unwrap(), "it is lost already");
}

async fn a_lost_node_finds_out_and_its_commits_are_refused(db: Fixture) {
    let (lost, siem) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.beat(&lost).await.unwrap();
    let other = db.another().await;
    let epoch = other.join("two").await.unwrap();
    let Pulse::Alive(seen) = other.beat(&epoch).await.unwrap() else { panic!("the watcher lives") };
    assert!(other.declare_lost(seen[0]).await.unwrap());
    adopt(&other).await;
    // The lost node does not know yet.
    assert!(!lost.over.is_cancelled());
    let refused = db.store.record(&lost, &[of_fresh(&fresh, Next::Succeeded)]).await;
    assert!(matches!(refused, Err(Error::EpochLost)));
    assert!(lost.over.is_cancelled(), "and now it does");
    let refused = publish_to(&db.store, None, vec![event("acme", "evt_2")]).await;
    assert!(matches!(refused.unwrap_err().as_ref(), Error::EpochLost));
    assert_eq!(db.store.beat(&lost).await.unwrap(), Pulse::Lost);
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 10 }];
    assert_eq!(other.claim(&epoch, &want).await.unwrap().len(), 1, "the other node has it");
}

async fn adoption_waits_for_a_commit_of_the_lost_node(db: Fixture) {
    let (lost, _) = db.siem().await;
    let other = db.another().await;
    other.join("two").await.unwrap();
    let mut tx = db.store.inner.db.begin().await.unwrap();
    crate::store::nodes::fence(&mut tx, &lost).await.unwrap();
    let beat = Beat { epoch: lost.id, beat: 1 };
    let declaring = other.declare_lost(beat);
    tokio::pin!(declaring);
    let waited = tokio::time::timeout(std::time::Duration::from_millis(300), &mut declaring).await;
    assert!(waited.is_err(), "a commit of the epoch is under way");
    tx.commit().await.unwrap();
    assert!(declaring.await.unwrap());
}

async fn two_nodes_adopt_together(db: Fixture) {
    db.siem().await;
    let hands = Hands::with_room(10_000);
    for batch in 0..4 {
        let events = (0..500).map(|index| event("acme", &format!("evt_{batch}_{index}"))).collect();
        publish_to(&db.store, Some(&hands), events).await.unwrap();
    }
    let other = db.another().await;
    db.join().await;
    other.join("two").await.unwrap();
    tokio::join!(adopt(&db.store), adopt(&other));
    // One that found the other's lock stops early.
    adopt(&db.store).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog").await, 2_000);
    assert_eq!(db.number("SELECT COUNT(*) FROM backlog WHERE loss_count <> 1").await, 0);
}

async fn leaving_hands_everything_over_at_once(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    publish_fresh(&db.store, event("acme", "evt_1")).await;
    let other = db.another().await;
    let second = other.join("two").await.unwrap();
    db.store.leave(&epoch).await.unwrap();
    adopt(&other).await;
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 10 }];
    assert_eq!(other.claim(&second, &want).await.unwrap().len(), 1);
}

async fn a_node_lives_in_database_time_whatever_its_clock_says(db: Fixture) {
    let epoch = db.join().await;
    db.advance(86_400);
    let behind = async |store: &Store| {
        let now = number(store, "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)").await;
        (store.now().millis() - now).abs() / 1_000
    };
    assert!(behind(&db.another().await).await < 60, "a node that starts");
    assert!(behind(&db.store).await > 80_000, "one whose clock was stepped");
    db.store.beat(&epoch).await.unwrap();
    assert!(behind(&db.store).await < 60, "and after its next beat");
}
