//! The journal: no gap that fills later, nobody's change missed, whole commits only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::fixture::*;
use super::on_both;
use crate::domain::delivery::{Next, State};
use crate::store::journal::{Entry, LANES, LaneId, Listener};
use crate::store::{Error, Store};

on_both!(
    every_move_is_in_the_journal_with_its_revision,
    numbers_of_a_lane_have_no_gap_under_concurrency,
    the_listener_hears_a_lanes_commits_in_order,
    a_page_of_the_journal_holds_whole_commits,
    a_tenant_reads_its_own_rows_only,
    a_lane_left_behind_by_a_dropped_call_catches_up,
    a_failed_commit_uses_no_number,
    old_rows_go_from_the_front,
    a_call_of_the_store_can_be_spawned,
);

/// Keeps what it hears.
#[derive(Default)]
struct Ear(Mutex<Vec<Entry>>);

impl Listener for Ear {
    fn committed(&self, entries: &[Entry]) {
        self.0.lock().unwrap().extend_from_slice(entries);
    }
}

impl Ear {
    fn numbers(&self) -> BTreeMap<LaneId, Vec<i64>> {
        let mut numbers: BTreeMap<LaneId, Vec<i64>> = BTreeMap::new();
        for entry in self.0.lock().unwrap().iter() {
            numbers.entry(entry.lane).or_default().push(entry.seq);
        }
        numbers
    }
}

async fn everything(store: &Store) -> Vec<Entry> {
    let mut entries = Vec::new();
    for state in store.journal_epochs().await.unwrap() {
        for number in 0..LANES {
            entries.extend(store.tail_journal(LaneId { epoch: state.epoch, number }, 0, 100_000).await.unwrap());
        }
    }
    entries
}

fn without_gap(numbers: &[i64]) -> bool {
    numbers.iter().zip(1..).all(|(number, expected)| *number == expected)
}

async fn every_move_is_in_the_journal_with_its_revision(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    db.store.retry_delivery("acme", fresh.key, None).await.unwrap();
    db.store.cancel_delivery("acme", fresh.key).await.unwrap();
    let mut moves: Vec<_> = everything(&db.store)
        .await
        .iter()
        .flat_map(|entry| entry.changes.events.clone())
        .flat_map(|event| {
            assert_eq!((event.id.as_str(), event.event_type.as_str()), ("evt_1", "user.created"));
            event.deliveries
        })
        .map(|change| (change.revision, change.state, change.attempt_count, change.endpoint_id))
        .collect();
    moves.sort();
    let code = |state: State| i32::from(state.code());
    let siem = || "siem".to_owned();
    let expected = [
        (1, code(State::Pending), 0, siem()),
        (2, code(State::Dead), 1, siem()),
        (3, code(State::Pending), 1, siem()),
        (4, code(State::Cancelled), 1, siem()),
    ];
    assert_eq!(moves, expected);
}

async fn numbers_of_a_lane_have_no_gap_under_concurrency(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let hands = Hands::with_room(1_000);
    publish_to(&db.store, Some(&hands), (0..40).map(|index| event("acme", &format!("evt_{index}"))).collect()).await.unwrap();
    let fresh = hands.take();
    let record = async {
        for fresh in &fresh[..20] {
            db.store.record(&epoch, &[of_fresh(fresh, Next::Dead)]).await.unwrap();
        }
    };
    let cancel = futures::future::join_all(fresh[20..].iter().map(|fresh| db.store.cancel_delivery("acme", fresh.key)));
    let publish = async {
        for index in 0..20 {
            publish(&db.store, vec![event("acme", &format!("more_{index}"))]).await;
        }
    };
    let ((), cancelled, ()) = tokio::join!(record, cancel, publish);
    assert!(cancelled.iter().all(Result::is_ok));
    let heads = db.store.journal_heads(&[epoch.id]).await.unwrap();
    assert_eq!(heads.len(), usize::try_from(LANES).unwrap());
    for (lane, head) in heads {
        let numbers: Vec<i64> = db.store.tail_journal(lane, 0, 1_000).await.unwrap().iter().map(|entry| entry.seq).collect();
        assert!(without_gap(&numbers) && numbers.last() == Some(&head), "{lane:?}: {numbers:?}");
    }
    assert_eq!(everything(&db.store).await.iter().map(|entry| entry.changes.len()).sum::<usize>(), 40 + 20 + 20 + 20);
}

async fn the_listener_hears_a_lanes_commits_in_order(db: Fixture) {
    let ear = Arc::new(Ear::default());
    db.store.set_listener(Arc::clone(&ear) as Arc<dyn Listener>);
    let (epoch, _) = db.siem().await;
    let hands = Hands::with_room(1_000);
    publish_to(&db.store, Some(&hands), (0..30).map(|index| event("acme", &format!("evt_{index}"))).collect()).await.unwrap();
    let fresh = hands.take();
    db.store.record(&epoch, &[of_fresh(&fresh[0], Next::Dead)]).await.unwrap();
    futures::future::join_all(fresh[1..].iter().map(|fresh| db.store.cancel_delivery("acme", fresh.key))).await;
    let heard = ear.numbers();
    assert_eq!(heard.len(), usize::try_from(LANES).unwrap());
    assert!(heard.values().all(|numbers| without_gap(numbers)), "{heard:?}");
    assert_eq!(ear.0.lock().unwrap().iter().map(|entry| entry.changes.len()).sum::<usize>(), 60);
}

async fn a_page_of_the_journal_holds_whole_commits(db: Fixture) {
    let (epoch, _) = db.siem().await;
    for tenant in ["beta", "gamma", "delta"] {
        db.tenant(tenant).await;
        db.endpoint(tenant, "siem").await;
    }
    for index in 0..4 {
        let events = ["acme", "beta", "gamma", "delta"].map(|tenant| event(tenant, &format!("evt_{index}")));
        publish(&db.store, events.into()).await;
    }
    let lane = LaneId { epoch: epoch.id, number: 0 };
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = db.store.tail_journal(lane, after, 6).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.seq;
        assert_eq!(page.len() % 4, 0, "a commit is read with all its tenants or not at all");
        seen.extend(page.into_iter().map(|entry| (entry.seq, entry.tenant)));
    }
    assert_eq!(seen.len(), 16);
}

async fn a_tenant_reads_its_own_rows_only(db: Fixture) {
    let (epoch, _) = db.siem().await;
    db.tenant("beta").await;
    db.endpoint("beta", "siem").await;
    publish(&db.store, vec![event("acme", "evt_1"), event("beta", "evt_2")]).await;
    let middle = db.store.now();
    db.advance(10);
    publish(&db.store, vec![event("beta", "evt_3")]).await;
    publish(&db.store, vec![event("beta", "evt_4")]).await;
    let lane = LaneId { epoch: epoch.id, number: 0 };
    let ids = async |after: i64, since, limit| {
        let entries = db.store.read_journal(&"beta".into(), lane, after, since, limit).await.unwrap();
        entries.iter().map(|entry| (entry.seq, entry.changes.events[0].id.clone())).collect::<Vec<_>>()
    };
    let [two, three, four] = [(1, "evt_2".to_owned()), (2, "evt_3".to_owned()), (3, "evt_4".to_owned())];
    let start = crate::domain::Time::from_millis(0);
    assert_eq!(ids(0, start, 10).await, [two, three.clone(), four.clone()]);
    assert_eq!(ids(1, start, 1).await, std::slice::from_ref(&three));
    assert_eq!(ids(0, middle.plus(std::time::Duration::from_secs(5)), 10).await, [three, four]);
    assert!(db.store.journal_floor().await.unwrap().unwrap() <= middle);
}

async fn a_lane_left_behind_by_a_dropped_call_catches_up(db: Fixture) {
    let ear = Arc::new(Ear::default());
    db.store.set_listener(Arc::clone(&ear) as Arc<dyn Listener>);
    let (epoch, _) = db.siem().await;
    let hands = Hands::with_room(1_000);
    publish_to(&db.store, Some(&hands), (0..8).map(|index| event("acme", &format!("evt_{index}"))).collect()).await.unwrap();
    let fresh = hands.take();
    for fresh in &fresh[..4] {
        db.store.cancel_delivery("acme", fresh.key).await.unwrap();
    }
    // As if the callers of a commit on each control lane had left before its answer: the row is there, its number is not used up.
    for number in 2..LANES {
        let copy = "INSERT INTO journal (epoch, lane, seq, tenant, commit_time, changes)
            SELECT epoch, lane, 2, tenant, commit_time, changes FROM journal WHERE epoch = $1 AND lane = $2 AND seq = 1";
        assert_eq!(
            execute(&db.store, copy, &[crate::store::db::Arg::Int(epoch.id), crate::store::db::Arg::Int(number.into())]).await,
            1
        );
    }
    for fresh in &fresh[4..] {
        db.store.cancel_delivery("acme", fresh.key).await.unwrap();
    }
    let heard = ear.numbers();
    for number in 2..LANES {
        assert_eq!(heard[&LaneId { epoch: epoch.id, number }], [1, 2, 3]);
    }
    assert_eq!(everything(&db.store).await.iter().filter(|entry| entry.lane.number >= 2).count(), 12);
}

async fn a_failed_commit_uses_no_number(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    for _ in 0..10 {
        let refused = db.store.cancel_delivery("acme", key(999, &siem)).await;
        assert!(matches!(refused, Err(Error::NotFound)));
    }
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Succeeded)]).await.unwrap();
    assert!(matches!(db.store.cancel_delivery("acme", fresh.key).await, Err(Error::WrongState(4))));
    let heads = db.store.journal_heads(&[epoch.id]).await.unwrap();
    assert_eq!(heads.into_values().collect::<Vec<_>>(), [1, 1], "one publish, one record");
}

async fn old_rows_go_from_the_front(db: Fixture) {
    let (first, _) = db.siem().await;
    for index in 0..3 {
        publish(&db.store, vec![event("acme", &format!("evt_{index}"))]).await;
        db.advance(100);
    }
    let second = db.join().await;
    steps(async || db.store.adopt_step().await).await;
    publish(&db.store, vec![event("acme", "evt_9")]).await;
    let before = db.store.now().minus(std::time::Duration::from_secs(150));
    steps(async || db.store.expire_journal_step(before).await).await;
    let lane = LaneId { epoch: first.id, number: 0 };
    let kept: Vec<i64> = db.store.tail_journal(lane, 0, 10).await.unwrap().iter().map(|entry| entry.seq).collect();
    assert_eq!(kept, [3]);
    assert_eq!(db.store.journal_epochs().await.unwrap().len(), 2, "an epoch with rows stays");
    db.advance(1_000);
    steps(async || db.store.expire_journal_step(db.store.now().plus(std::time::Duration::from_secs(1))).await).await;
    let left: Vec<i64> = db.store.journal_epochs().await.unwrap().iter().map(|state| state.epoch).collect();
    assert_eq!(left, [second.id]);
    assert_eq!(db.store.journal_floor().await.unwrap(), None);
}

async fn a_call_of_the_store_can_be_spawned(db: Fixture) {
    fn spawnable<T: Send>(_: &T) {}
    let (_, siem) = db.siem().await;
    spawnable(&db.store.retry_delivery("acme", key(1, &siem), None));
    spawnable(&db.store.cancel_delivery("acme", key(1, &siem)));
    spawnable(&db.store.cancel_deleted_step());
    spawnable(&db.store.rotate_secret("acme", "siem", &secret(2), std::time::Duration::ZERO, None));
    spawnable(&create_endpoint(&db.store, new_endpoint("acme", "x")));
}
