//! Figures of endpoints: added up over nodes and flushes, and forgotten after a day.

use std::time::Duration;

use super::fixture::*;
use super::on_both;
use crate::domain::delivery::Next;
use crate::store::claims::Want;
use crate::store::health::HealthDelta;

on_both!(
    figures_of_flushes_add_up,
    a_run_of_failures_ends_with_a_success,
    a_window_counts_its_own_minutes,
    the_backlog_is_counted_by_state,
    minutes_are_forgotten_after_a_day,
);

fn delta(endpoint_key: i64, attempts: &[(bool, i64)], now: crate::domain::Time) -> HealthDelta {
    let mut delta = HealthDelta::new(endpoint_key);
    for (succeeded, ms) in attempts {
        delta.note(*succeeded, *ms, now);
    }
    delta
}

async fn figures_of_flushes_add_up(db: Fixture) {
    let (_, siem) = db.siem().await;
    let (endpoint, now) = (siem.endpoint.key, db.store.now());
    let other = db.endpoint("acme", "lake").await.endpoint.key;
    db.store.flush_health(&[]).await.unwrap();
    db.store.flush_health(&[delta(endpoint, &[(true, 10), (false, 30)], now), delta(other, &[(true, 1)], now)]).await.unwrap();
    db.store.flush_health(&[delta(endpoint, &[(true, 20)], now)]).await.unwrap();
    let stats = db.store.endpoint_stats(endpoint, Duration::from_secs(3_600)).await.unwrap();
    assert_eq!((stats.succeeded_count, stats.failed_count, stats.total_ms, stats.max_ms), (2, 1, 60, 30));
    let health = db.store.get_endpoint("acme", "siem").await.unwrap().health;
    assert_eq!((health.last_success_time, health.last_failure_time, health.consecutive_failures), (Some(now), Some(now), 0));
}

async fn a_run_of_failures_ends_with_a_success(db: Fixture) {
    let (_, siem) = db.siem().await;
    let until = db.store.now().plus(Duration::from_secs(60));
    let mut seen = Vec::new();
    for attempts in [&[(false, 1), (false, 1)][..], &[(false, 1)], &[(true, 1), (false, 1)], &[(false, 1)], &[(true, 1)]] {
        let mut delta = delta(siem.endpoint.key, attempts, db.store.now());
        delta.hold_until = seen.is_empty().then_some(until);
        db.store.flush_health(&[delta]).await.unwrap();
        let health = db.store.get_endpoint("acme", "siem").await.unwrap().health;
        assert_eq!(health.hold_until, Some(until), "a hold stays until its end");
        seen.push(health.consecutive_failures);
    }
    assert_eq!(seen, [2, 3, 1, 2, 0]);
}

async fn a_window_counts_its_own_minutes(db: Fixture) {
    let (_, siem) = db.siem().await;
    let endpoint = siem.endpoint.key;
    for _ in 0..10 {
        db.store.flush_health(&[delta(endpoint, &[(true, 5)], db.store.now())]).await.unwrap();
        db.advance(60);
    }
    let count =
        async |minutes: u64| db.store.endpoint_stats(endpoint, Duration::from_secs(60 * minutes)).await.unwrap().succeeded_count;
    assert_eq!([count(600).await, count(5).await], [10, 4], "the present minute has none yet");
}

async fn the_backlog_is_counted_by_state(db: Fixture) {
    let (epoch, siem) = db.siem().await;
    let accepted_at = db.store.now();
    publish(&db.store, (0..9).map(|index| event("acme", &format!("evt_{index}"))).collect()).await;
    let want = [Want { endpoint_key: siem.endpoint.key, priority: 1, count: 6 }];
    let claimed = db.store.claim(&epoch, &want).await.unwrap();
    let due = db.store.now();
    let next = [Next::Succeeded, Next::Dead, Next::Retry { due }];
    let outcomes: Vec<_> =
        claimed.iter().zip(next.into_iter().cycle()).map(|(claimed, next)| of_claimed(claimed, &epoch, next)).collect();
    db.store.record(&epoch, &outcomes).await.unwrap();
    let stats = db.store.endpoint_stats(siem.endpoint.key, Duration::from_secs(60)).await.unwrap();
    assert_eq!((stats.pending_count, stats.retrying_count, stats.dead_count), (3, 2, 2));
    assert!(stats.oldest_pending.is_some_and(|oldest| oldest >= accepted_at && oldest <= db.store.now()));
    let none = db.store.endpoint_stats(9_999, Duration::from_secs(60)).await.unwrap();
    assert_eq!(none, crate::store::health::EndpointStats::default());
}

async fn minutes_are_forgotten_after_a_day(db: Fixture) {
    let (_, siem) = db.siem().await;
    db.store.flush_health(&[delta(siem.endpoint.key, &[(true, 5)], db.store.now())]).await.unwrap();
    db.advance(24 * 3_600);
    db.store.flush_health(&[delta(siem.endpoint.key, &[(true, 5)], db.store.now())]).await.unwrap();
    steps(async || db.store.expire_minutes_step().await).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM endpoint_minutes").await, 2);
    db.advance(2 * 3_600);
    steps(async || db.store.expire_minutes_step().await).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM endpoint_minutes").await, 1);
}
