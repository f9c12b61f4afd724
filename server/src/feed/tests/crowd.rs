//! Writers and watchers at once: whatever comes when, each watcher that resumes by its tokens sees every change.

use futures::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::tasks::{OnEnd, Supervisor};

const WRITERS: i64 = 4;
const COMMITS: i64 = 60;
const WATCHERS: u64 = 6;

on_both_databases!(every_watcher_sees_every_change_while_writers_and_watchers_come_and_go);

async fn every_watcher_sees_every_change_while_writers_and_watchers_come_and_go(database: Database) {
    let tiny = || Options { ring_entries: 5, ..Options::default() };
    let supervisor = Supervisor::new();
    let mut nodes = Vec::new();
    for _ in 0..if database.is_postgres() { 2 } else { 1 } {
        let Node { store, epoch, feed, tailer } = Node::start(&database, &Clock::system(), tiny()).await;
        supervisor.spawn("tailer", OnEnd::Ignore, tailer.run(supervisor.stop_token()));
        nodes.push((store, epoch, feed));
    }
    let feeds: Vec<&Feed> = nodes.iter().map(|(_, _, feed)| feed).collect();
    let mut tokens = Vec::new();
    for number in 0..WATCHERS {
        let feed = feeds[usize::try_from(number).unwrap() % feeds.len()];
        tokens.push(next(&mut feed.watch(request(Start::Now)).await.unwrap()).await.token);
    }
    let writers = nodes.iter().enumerate().flat_map(|(node, (store, epoch, _))| {
        (0..WRITERS).map(move |writer| write(store, epoch, (i64::try_from(node).unwrap() * WRITERS + writer) * COMMITS))
    });
    let expected: BTreeSet<i64> = (0..i64::try_from(nodes.len()).unwrap() * WRITERS * COMMITS).collect();
    let watchers = tokens.into_iter().zip(1..).map(|(token, seed)| follow(&feeds, token, seed, &expected));
    let all = async { tokio::join!(join_all(writers), join_all(watchers)) };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("every change is seen in time");
    let _ = supervisor.drain(SOON).await;
}

/// Commits numbers one by one, with others' changes in the same commits and between.
async fn write(store: &Store, epoch: &Epoch, first: i64) {
    let mut random = StdRng::seed_from_u64(first.unsigned_abs());
    for number in first..first + COMMITS {
        let mut rows = vec![("acme".into(), changes([number]))];
        if random.random_bool(0.5) {
            rows.push(("other".into(), changes([number])));
        }
        let yields = random.random_range(0..3);
        let held = async move {
            for _ in 0..yields {
                tokio::task::yield_now().await;
            }
        };
        store.journal_changes(epoch, rows, held).await.unwrap();
    }
}

/// Watches a few batches at a time, on any node, always from its last token, until everything was seen.
async fn follow(feeds: &[&Feed], mut token: String, seed: u64, expected: &BTreeSet<i64>) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut seen = BTreeSet::new();
    while seen != *expected {
        let feed = feeds[random.random_range(0..feeds.len())];
        let mut watcher = feed.watch(request(Start::Token(token.clone()))).await.unwrap();
        for _ in 0..random.random_range(1..6) {
            // A client that leaves in the middle of a call loses nothing either.
            let Ok(batch) = tokio::time::timeout(Duration::from_millis(50), watcher.next()).await else { break };
            let batch = batch.unwrap();
            seen.extend(numbers(&batch));
            token = batch.token;
        }
    }
}
