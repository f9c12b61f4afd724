//! Going on from a token or a time: after a restart, on another node, and when it is too late.

use super::*;

on_both_databases!(
    a_token_is_refused_for_another_tenant_or_filter,
    a_watch_goes_on_after_a_restart,
    a_slow_lane_is_never_skipped,
    a_watch_since_a_time_shows_what_was_committed_from_then_on,
    a_token_expires_with_the_retention_and_not_before,
    a_token_of_another_database_is_expired,
    a_watcher_far_behind_comes_home_through_the_journal,
    a_page_of_the_journal_may_hold_more_than_a_batch,
    the_journal_is_tailed_by_whole_commits,
);

async fn a_token_is_refused_for_another_tenant_or_filter(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    let token = next(&mut node.watch(Start::Now).await).await.token;
    let start = || Start::Token(token.clone());
    let other_tenant = WatchRequest { tenant: "other".into(), ..request(start()) };
    let other_filter = WatchRequest { filter: filter(r#"state == "DEAD""#), ..request(start()) };
    let damaged = request(Start::Token(format!("{token}A")));
    for refused in [other_tenant, other_filter, damaged, request(Start::Token("x".to_owned()))] {
        assert!(matches!(node.feed.watch(refused).await, Err(Error::InvalidToken(_))));
    }
    node.watch(start()).await;
}

async fn a_watch_goes_on_after_a_restart(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    let mut watcher = node.watch(Start::Now).await;
    node.commit("acme", [1, 2]).await;
    let (seen, token) = next_numbers(&mut watcher, 2).await;
    assert_eq!(seen, [1, 2]);
    node.commit("acme", [3]).await;
    node.commit("acme", [4]).await;
    drop(watcher);
    node.stop().await;

    let mut node = Node::start(&database, &Clock::system(), Options::default()).await;
    node.commit("acme", [5]).await;
    let mut watcher = node.watch(Start::Token(token)).await;
    node.commit("acme", [6]).await;
    let (seen, token) = next_numbers(&mut watcher, 4).await;
    assert_eq!(seen, [3, 4, 5, 6]);
    node.tailer.run_once().await.unwrap();
    assert!(opened(&token).lanes.iter().all(|lane| lane.epoch == node.epoch.id), "an epoch that is over and read is not named");
}

/// Two transactions: the first takes its place in the journal and is slow to commit, the second overtakes it.
async fn a_slow_lane_is_never_skipped(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    let mut watcher = node.watch(Start::Now).await;
    next(&mut watcher).await;
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let (holding, held) = tokio::sync::oneshot::channel::<()>();
    let slow = node.store.journal_changes(&node.epoch, vec![("acme".into(), changes([1]))], async move {
        holding.send(()).unwrap();
        gone.await.unwrap();
    });
    let overtake = async {
        held.await.unwrap();
        node.commit("acme", [2]).await;
        let (seen, token) = next_numbers(&mut watcher, 1).await;
        assert_eq!(seen, [2]);
        let late = node.watch(Start::Token(token.clone())).await;
        go.send(()).unwrap();
        (token, late)
    };
    let (committed, (token, mut late)) = tokio::join!(slow, overtake);
    committed.unwrap();
    for watcher in [&mut watcher, &mut late, &mut node.watch(Start::Token(token)).await] {
        assert_eq!(next_numbers(watcher, 1).await.0, [1]);
    }
}

async fn a_watch_since_a_time_shows_what_was_committed_from_then_on(database: Database) {
    let manual = ManualClock::new(Time::from_millis(1_795_597_200_000));
    let node = Node::start(&database, &manual.clock(), Options::default()).await;
    node.commit("acme", [1]).await;
    manual.advance(Duration::from_secs(60));
    let since = node.store.now();
    for number in 2..=5 {
        node.commit("acme", [number]).await;
    }
    let mut watcher = node.watch(Start::Since(since)).await;
    let first = next(&mut watcher).await;
    assert_eq!(next_numbers(&mut watcher, 4).await.0, [2, 3, 4, 5]);
    let mut resumed = node.watch(Start::Token(first.token)).await;
    assert_eq!(next_numbers(&mut resumed, 4).await.0, [2, 3, 4, 5], "a token taken on the way still knows the time");
    let too_old = since.minus(Options::default().retention + Duration::from_secs(1));
    assert!(matches!(node.feed.watch(request(Start::Since(too_old))).await, Err(Error::TokenExpired)));
    let mut future = node.watch(Start::Since(since.plus(Duration::from_secs(60)))).await;
    node.commit("acme", [6]).await;
    assert_eq!(next_numbers(&mut future, 1).await.0, [6], "a time to come means now");
}

async fn a_token_expires_with_the_retention_and_not_before(database: Database) {
    let manual = ManualClock::new(Time::from_millis(1_795_597_200_000));
    let mut node = Node::start(&database, &manual.clock(), Options::default()).await;
    node.commit("acme", [1]).await;
    node.tailer.run_once().await.unwrap();
    let token = next(&mut node.watch(Start::Now).await).await.token;
    node.commit("acme", [2]).await;
    manual.advance(Options::default().retention);
    node.commit("acme", [3]).await;
    let mut watcher = node.watch(Start::Token(token.clone())).await;
    assert_eq!(next_numbers(&mut watcher, 2).await.0, [2, 3], "as old as the retention: nothing is gone");
    manual.advance(Duration::from_millis(1));
    assert!(matches!(node.feed.watch(request(Start::Token(token))).await, Err(Error::TokenExpired)));
}

async fn a_token_of_another_database_is_expired(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    let mut token = opened(&next(&mut node.watch(Start::Now).await).await.token);
    token.incarnation = "before-the-restore".to_owned();
    let token = token.seal(node.store.key_ring(), "acme", "");
    assert!(matches!(node.feed.watch(request(Start::Token(token))).await, Err(Error::TokenExpired)));
}

async fn a_watcher_far_behind_comes_home_through_the_journal(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options { ring_entries: 2, ..Options::default() }).await;
    let mut watcher = node.watch(Start::Now).await;
    next(&mut watcher).await;
    for number in 1..=40 {
        node.commit("acme", [number]).await;
    }
    let mut resumed = node.watch(Start::Token(next(&mut node.watch(Start::Now).await).await.token)).await;
    assert_eq!(next_numbers(&mut watcher, 40).await.0, (1..=40).collect::<Vec<_>>());
    node.commit("acme", [41]).await;
    for watcher in [&mut watcher, &mut resumed] {
        assert_eq!(next_numbers(watcher, 1).await.0, [41], "each once");
    }
}

async fn a_page_of_the_journal_may_hold_more_than_a_batch(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    let token = next(&mut node.watch(Start::Now).await).await.token;
    for commit in 0..40 {
        node.commit("acme", commit * 60..(commit + 1) * 60).await;
    }
    let mut watcher = node.watch(Start::Token(token)).await;
    assert_eq!(next_numbers(&mut watcher, 2_400).await.0, (0..2_400).collect::<Vec<_>>());
}

async fn the_journal_is_tailed_by_whole_commits(database: Database) {
    let node = Node::start(&database, &Clock::system(), Options::default()).await;
    let tenants = |count: i64| (0..count).map(|tenant| (format!("tenant-{tenant}").into(), changes([tenant]))).collect::<Vec<_>>();
    for count in [1, 2, 9, 1] {
        // Control lanes take turns: those between are another lane's.
        node.store.journal_changes(&node.epoch, tenants(count), ready(())).await.unwrap();
        for _ in 1..4 {
            node.commit("other", [0]).await;
        }
    }
    let lane = *node.store.journal_heads(&[node.epoch.id]).await.unwrap().keys().min().unwrap();
    let tail = async |after, limit| {
        let rows = node.store.tail_journal(lane, after, limit).await.unwrap();
        rows.chunk_by(|one, next| one.seq == next.seq).map(|commit| (commit[0].seq, commit.len())).collect::<Vec<_>>()
    };
    assert_eq!(tail(0, 100).await, [(1, 1), (2, 2), (3, 9), (4, 1)]);
    assert_eq!(tail(0, 2).await, [(1, 1)]);
    assert_eq!(tail(0, 5).await, [(1, 1), (2, 2)]);
    assert_eq!(tail(2, 5).await, [(3, 9), (4, 1)], "one commit is larger than the limit");
    assert_eq!(tail(4, 5).await, []);
}

mod another_node {
    use super::*;

    mod its_commits_are_heard_and_its_end_is_noticed {
        crate::store::testing::on_postgres!(its_commits_are_heard_and_its_end_is_noticed);
    }

    async fn its_commits_are_heard_and_its_end_is_noticed(database: Database) {
        let clock = Clock::system();
        let other = Node::start(&database, &clock, Options::default()).await;
        other.commit("acme", [1]).await;
        let mut node = Node::start(&database, &clock, Options::default()).await;
        let mut watcher = node.watch(Start::Now).await;
        let first = opened(&next(&mut watcher).await.token);
        assert_eq!(first.floor, other.epoch.id);
        other.commit("acme", [2]).await;
        other.commit("other", [3]).await;
        other.store.leave(&other.epoch).await.unwrap();
        node.tailer.run_once().await.unwrap();
        let (seen, token) = next_numbers(&mut watcher, 1).await;
        assert_eq!(seen, [2]);
        assert_eq!(opened(&token).floor, node.epoch.id, "its epoch is over and wholly read");
        assert!(opened(&token).lanes.is_empty());

        // A node that starts later, with this one's tokens.
        let late = Node::start(&database, &clock, Options::default()).await;
        node.commit("acme", [4]).await;
        let mut watcher = late.watch(Start::Token(token)).await;
        late.commit("acme", [5]).await;
        assert_eq!(next_numbers(&mut watcher, 1).await.0, [5]);
        let mut late = late;
        late.tailer.run_once().await.unwrap();
        assert_eq!(next_numbers(&mut watcher, 1).await.0, [4]);
    }
}
