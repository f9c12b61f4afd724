//! What goes for good: deleted tenants, and the partitions that retention will drop.

use super::fixture::*;
use super::{on_both, on_postgres};
use crate::domain::delivery::Next;
use crate::store::health::HealthDelta;

on_both!(nothing_of_a_deleted_tenant_is_left_and_others_keep_all, a_tenant_is_not_buried_while_something_may_still_come);
on_postgres!(partitions_are_made_ahead_by_whichever_node, partitions_hold_what_is_inserted);

/// Every table with rows of tenants.
const TABLES: [(&str, &str); 12] = [
    ("events", "SELECT COUNT(*) FROM events"),
    ("event_keys", "SELECT COUNT(*) FROM event_keys"),
    ("deliveries", "SELECT COUNT(*) FROM deliveries"),
    ("backlog", "SELECT COUNT(*) FROM backlog"),
    ("attempts", "SELECT COUNT(*) FROM attempts"),
    ("journal", "SELECT COUNT(*) FROM journal"),
    ("requests", "SELECT COUNT(*) FROM requests"),
    ("endpoints", "SELECT COUNT(*) FROM endpoints"),
    ("endpoint_secrets", "SELECT COUNT(*) FROM endpoint_secrets"),
    ("endpoint_health", "SELECT COUNT(*) FROM endpoint_health"),
    ("endpoint_minutes", "SELECT COUNT(*) FROM endpoint_minutes"),
    ("data_keys", "SELECT COUNT(*) FROM data_keys WHERE tenant <> ''"),
];

async fn counts(db: &Fixture) -> Vec<(&'static str, i64)> {
    let mut counts = Vec::new();
    for (table, sql) in TABLES {
        counts.push((table, db.number(sql).await));
    }
    counts
}

async fn fill(db: &Fixture, tenant: &str) {
    let epoch = db.store.epoch().unwrap();
    db.tenant(tenant).await;
    let endpoint = db.endpoint(tenant, "siem").await;
    let once = once(tenant, "CreateEndpoint", "r1", 1);
    let new = new_endpoint(tenant, "lake");
    db.store.create_endpoint(new, 10, crate::store::requests::Effect::Apply, once).await.unwrap();
    for batch in 0..2 {
        let hands = Hands::with_room(10);
        let events = (0..800).map(|index| event(tenant, &format!("evt_{batch}_{index}"))).collect();
        publish_to(&db.store, Some(&hands), events).await.unwrap();
        let mut fresh = hands.take();
        fresh.sort_by_key(|fresh| fresh.key);
        let outcomes: Vec<_> = fresh.iter().map(|fresh| of_fresh(fresh, Next::Dead)).collect();
        db.store.record(&epoch, &outcomes).await.unwrap();
    }
    let mut delta = HealthDelta::new(endpoint.endpoint.key);
    delta.note(true, 5, db.store.now());
    db.store.flush_health(&[delta]).await.unwrap();
}

async fn nothing_of_a_deleted_tenant_is_left_and_others_keep_all(db: Fixture) {
    db.join().await;
    fill(&db, "acme").await;
    let one = counts(&db).await;
    assert!(one.iter().all(|(_, count)| *count > 0), "{one:?}");
    fill(&db, "beta").await;
    db.store.delete_tenant("beta", None).await.unwrap();
    db.advance(121);
    let steps = steps(async || db.store.remove_deleted_step().await).await;
    assert!((4..=8).contains(&steps), "{steps} bounded steps for 3,200 deliveries");
    assert_eq!(counts(&db).await, one);
    assert_eq!(db.number("SELECT COUNT(*) FROM tenants WHERE state = 3 AND display_name = ''").await, 1);
}

async fn a_tenant_is_not_buried_while_something_may_still_come(db: Fixture) {
    db.siem().await;
    publish(&db.store, vec![event("acme", "evt_1")]).await;
    db.store.delete_tenant("acme", None).await.unwrap();
    steps(async || db.store.remove_deleted_step().await).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM events").await, 0);
    assert!(db.store.get_tenant("acme").await.unwrap().deleting);
    // As a publish that had read the tenant as active before it was deleted, and commits only now.
    let late = "INSERT INTO event_keys (tenant, kind, id, event_seq, event_id, hash, delivery_count, skipped_count, create_time)
        VALUES ('acme', 1, 'late', 1, 'late', '', 0, 0, 0)";
    execute(&db.store, late, &[]).await;
    db.advance(121);
    steps(async || db.store.remove_deleted_step().await).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM event_keys").await, 0);
    assert_eq!(db.number("SELECT state FROM tenants").await, 3);
}

async fn partitions_are_made_ahead_by_whichever_node(db: Fixture) {
    let partitions =
        "SELECT COUNT(*) FROM pg_inherits WHERE inhparent IN ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass)";
    let other = db.another().await;
    db.store.ensure_partitions().await.unwrap();
    assert_eq!(db.number(partitions).await, 6, "the first and the default one of each");
    for (drawn, expected) in [(4_999_999_i64, 6), (5_000_001, 9), (5_000_002, 9), (15_000_001, 12)] {
        db.number(if drawn == 4_999_999 {
            "SELECT setval('event_seq', 4999999)"
        } else if drawn == 5_000_001 {
            "SELECT setval('event_seq', 5000001)"
        } else if drawn == 5_000_002 {
            "SELECT setval('event_seq', 5000002)"
        } else {
            "SELECT setval('event_seq', 15000001)"
        })
        .await;
        let (one, two) = tokio::join!(db.store.ensure_partitions(), other.ensure_partitions());
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        assert_eq!(db.number(partitions).await, expected, "after {drawn}");
    }
}

async fn partitions_hold_what_is_inserted(db: Fixture) {
    let (epoch, _) = db.siem().await;
    db.number("SELECT setval('event_seq', 9999998)").await;
    db.store.ensure_partitions().await.unwrap();
    for index in 0..4 {
        let fresh = publish_fresh(&db.store, event("acme", &format!("evt_{index}"))).await;
        let due = db.store.now();
        db.store.record(&epoch, &[of_fresh(&fresh, Next::Retry { due })]).await.unwrap();
    }
    for (sql, expected) in [
        ("SELECT COUNT(*) FROM events_p0", 1),
        ("SELECT COUNT(*) FROM events_p1", 3),
        ("SELECT COUNT(*) FROM deliveries_p1", 3),
        ("SELECT COUNT(*) FROM attempts_p1", 3),
        ("SELECT COUNT(*) FROM events_rest", 0),
        ("SELECT COUNT(*) FROM pg_class WHERE relname = 'deliveries_p1' AND 'fillfactor=60' = ANY (reloptions)", 1),
        ("SELECT COUNT(*) FROM pg_index WHERE indrelid = 'events_p1'::regclass", 2),
    ] {
        assert_eq!(db.number(sql).await, expected, "{sql}");
    }
}
