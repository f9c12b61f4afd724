//! What watchers may rely on, on both databases. Commits are made through the journal's lanes as every transaction makes them.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::domain::change::{Changes, DeliveryChange};
use crate::domain::change_filter::FIELDS;
use crate::domain::secret::KeyRing;
use crate::store::Epoch;
use crate::store::testing::{Database, on_both_databases};

mod crowd;
mod resume;

/// A deadline for what must happen.
const SOON: Duration = Duration::from_secs(20);

/// One node: store, epoch and feed.
struct Node {
    store: Store,
    epoch: Arc<Epoch>,
    feed: Feed,
    tailer: Tailer,
}

impl Node {
    async fn start(database: &Database, clock: &Clock, options: Options) -> Self {
        let store = database.open(clock.clone()).await;
        let epoch = store.join("test").await.unwrap();
        let (feed, tailer) = Feed::open(store.clone(), options).await.unwrap();
        Self { store, epoch, feed, tailer }
    }

    /// Commits one change for each number, as an event with that number.
    async fn commit(&self, tenant: &str, numbers: impl IntoIterator<Item = i64>) {
        self.store.journal_changes(&self.epoch, vec![(tenant.into(), changes(numbers))], ready(())).await.unwrap();
    }

    async fn watch(&self, start: Start) -> Watcher {
        self.feed.watch(request(start)).await.unwrap()
    }

    async fn stop(self) {
        self.store.leave(&self.epoch).await.unwrap();
        self.store.close().await;
    }
}

fn changes(numbers: impl IntoIterator<Item = i64>) -> Arc<Changes> {
    let mut changes = Changes::default();
    for number in numbers {
        let change = DeliveryChange { endpoint_key: 1, endpoint_id: "siem".to_owned(), state: 1, ..Default::default() };
        changes.push(number, &format!("evt_{number}"), "user.created", 0, change);
    }
    Arc::new(changes)
}

fn filter(text: &str) -> Filter {
    Filter::parse(text, FIELDS).unwrap()
}

fn request(start: Start) -> WatchRequest {
    WatchRequest { tenant: "acme".into(), filter: filter(""), start }
}

async fn next(watcher: &mut Watcher) -> Batch {
    tokio::time::timeout(SOON, watcher.next()).await.expect("a batch in time").unwrap()
}

fn numbers(batch: &Batch) -> Vec<i64> {
    batch.changes.iter().map(|change| change.event().seq).collect()
}

/// The next so many numbers, in order, with the last token; checkpoints are passed over.
async fn next_numbers(watcher: &mut Watcher, count: usize) -> (Vec<i64>, String) {
    let (mut seen, mut token) = (Vec::new(), String::new());
    let all = async {
        while seen.len() < count {
            let batch = watcher.next().await.unwrap();
            seen.extend(numbers(&batch));
            token = batch.token;
        }
    };
    let in_time = tokio::time::timeout(SOON, all).await;
    assert!(in_time.is_ok(), "{count} changes in time, not only {seen:?}");
    seen.sort_unstable();
    (seen, token)
}

/// What a token says.
fn opened(token: &str) -> WatchToken {
    let keys = KeyRing::parse(KeyRing::entry("test", &[7; 32]).expose_secret()).unwrap();
    WatchToken::open(token, &keys, "acme", "").unwrap()
}

on_both_databases!(
    a_watch_begins_with_a_checkpoint_and_shows_what_is_committed_after_it,
    only_what_the_filter_chooses_is_shown,
    a_large_commit_comes_in_parts_and_only_the_last_covers_it,
    a_quiet_watch_hears_heartbeats_that_move_its_token,
    a_stopped_feed_ends_its_watches_after_a_last_token,
    there_are_only_so_many_watchers,
);

async fn a_watch_begins_with_a_checkpoint_and_shows_what_is_committed_after_it(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    node.commit("acme", [1]).await;
    let mut watcher = node.watch(Start::Now).await;
    node.commit("other", [2]).await;
    node.commit("acme", [3, 4]).await;
    let first = next(&mut watcher).await;
    assert!(first.checkpoint && first.changes.is_empty());
    let second = next(&mut watcher).await;
    assert!(!second.checkpoint);
    assert_eq!(numbers(&second), [3, 4]);
    let change = &second.changes[1];
    assert_eq!((change.event().id.as_str(), change.delivery().endpoint_id.as_str()), ("evt_4", "siem"));
    assert_eq!((change.key().event_seq, change.key().endpoint_key), (4, 1));
}

async fn only_what_the_filter_chooses_is_shown(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    let chosen = filter(r#"event in ["evt_2", "tenants/acme/events/evt_4"]"#);
    let mut watcher = node.feed.watch(WatchRequest { filter: chosen.clone(), ..request(Start::Now) }).await.unwrap();
    let token = next(&mut watcher).await.token;
    node.commit("acme", [1, 2, 3]).await;
    node.commit("acme", [3]).await;
    node.commit("acme", [4]).await;
    assert_eq!(next_numbers(&mut watcher, 2).await.0, [2, 4]);
    let mut again = node.feed.watch(WatchRequest { filter: chosen, ..request(Start::Token(token)) }).await.unwrap();
    assert_eq!(next_numbers(&mut again, 2).await.0, [2, 4], "from the journal");
}

async fn a_large_commit_comes_in_parts_and_only_the_last_covers_it(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    for from_journal in [false, true] {
        let mut watcher = node.watch(Start::Now).await;
        let before = next(&mut watcher).await.token;
        node.commit("acme", 1..=1_200).await;
        if from_journal {
            watcher = node.watch(Start::Token(before.clone())).await;
            next(&mut watcher).await;
        }
        let mut parts = Vec::new();
        for _ in 0..3 {
            parts.push(next(&mut watcher).await);
        }
        assert_eq!(parts.iter().map(|part| part.changes.len()).collect::<Vec<_>>(), [500, 500, 200]);
        assert_eq!(opened(&parts[1].token).lanes, opened(&before).lanes, "the middle of a commit covers nothing of it");
        let mut resumed = node.watch(Start::Token(parts[1].token.clone())).await;
        assert_eq!(next_numbers(&mut resumed, 1_200).await.0, (1..=1_200).collect::<Vec<_>>());
        let mut resumed = node.watch(Start::Token(parts[2].token.clone())).await;
        node.commit("acme", [2_000]).await;
        assert_eq!(next_numbers(&mut resumed, 1).await.0, [2_000]);
        assert_eq!(next_numbers(&mut watcher, 1).await.0, [2_000]);
    }
}

async fn a_quiet_watch_hears_heartbeats_that_move_its_token(database: Database) {
    let manual = ManualClock::new(Time::from_millis(1_795_597_200_000));
    let mut node = Node::start(&database, &manual.clock(), Options::default()).await;
    let mut watcher = node.watch(Start::Now).await;
    let first = opened(&next(&mut watcher).await.token);
    node.commit("other", [1]).await;
    let (beat, ()) = tokio::join!(next(&mut watcher), async {
        manual.until_asleep(1).await;
        manual.advance(Duration::from_secs(14));
        node.tailer.run_once().await.unwrap();
        assert!(manual.sleeper_count() == 1, "not yet");
        manual.advance(Duration::from_secs(1));
    });
    assert!(beat.checkpoint && beat.changes.is_empty());
    let second = opened(&beat.token);
    assert_eq!(second.covered_until().since(first.covered_until()), Duration::from_secs(14));
    assert_eq!((first.lanes.len(), second.lanes.len()), (0, 1), "another tenant's commit is covered too");
}

async fn a_stopped_feed_ends_its_watches_after_a_last_token(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    let mut watcher = node.watch(Start::Now).await;
    next(&mut watcher).await;
    let (last, ()) = tokio::join!(next(&mut watcher), async { node.feed.stop() });
    assert!(last.checkpoint);
    assert!(matches!(watcher.next().await, Err(Error::ShuttingDown)));
    assert!(matches!(watcher.next().await, Err(Error::ShuttingDown)));
    assert!(matches!(node.feed.watch(request(Start::Now)).await, Err(Error::ShuttingDown)));
    opened(&last.token);
}

async fn there_are_only_so_many_watchers(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options { max_watchers: 1, ..Options::default() }).await;
    let watcher = node.watch(Start::Now).await;
    assert!(matches!(node.feed.watch(request(Start::Now)).await, Err(Error::TooManyWatchers { limit: 1 })));
    drop(watcher);
    assert_eq!(node.feed.watcher_count(), 0);
    node.watch(Start::Now).await;
}
