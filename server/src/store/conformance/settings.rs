//! The cache of settings: no event misses an endpoint made before it, whichever node made it.

use std::sync::Arc;

use super::fixture::*;
use super::{on_both, on_postgres};
use crate::store::Error;
use crate::store::endpoints::{PausedReason, Wanted};

on_both!(settings_are_read_once_and_anew_after_a_change, a_missing_tenant_has_no_settings);
on_postgres!(
    an_endpoint_made_on_another_node_gets_the_next_event,
    a_tenant_deleted_on_another_node_accepts_nothing,
    changes_of_another_node_are_followed,
);

async fn settings_are_read_once_and_anew_after_a_change(db: Fixture) {
    db.siem().await;
    let tenant: Arc<str> = "acme".into();
    let first = db.store.settings(&tenant).await.unwrap();
    assert!(Arc::ptr_eq(&first, &db.store.settings(&tenant).await.unwrap()));
    assert_eq!(first.endpoint(first.endpoints[0].key).map(|endpoint| endpoint.id.to_string()), Some("siem".to_owned()));
    db.endpoint("acme", "lake").await;
    let second = db.store.cached_settings("acme").unwrap();
    assert!(second.version > first.version);
    assert_eq!(second.endpoints.iter().map(|endpoint| &*endpoint.id).collect::<Vec<_>>(), ["siem", "lake"]);
    db.store.delete_endpoint("acme", "siem", None).await.unwrap();
    let third = db.store.cached_settings("acme").unwrap();
    assert_eq!((third.endpoints.len(), third.endpoint(first.endpoints[0].key).is_none()), (1, true));
}

async fn a_missing_tenant_has_no_settings(db: Fixture) {
    assert!(matches!(db.store.settings(&"nobody".into()).await, Err(Error::NotFound)));
    db.siem().await;
    db.store.delete_tenant("acme", None).await.unwrap();
    let settings = db.store.settings(&"acme".into()).await.unwrap();
    assert!(!settings.active && settings.endpoints.is_empty());
}

async fn an_endpoint_made_on_another_node_gets_the_next_event(db: Fixture) {
    db.siem().await;
    let other = db.another().await;
    other.join("two").await.unwrap();
    let count = async |id: &str| accepted(&publish(&other, vec![event("acme", id)]).await[0]).delivery_count;
    assert_eq!(count("evt_1").await, 1);
    db.endpoint("acme", "lake").await;
    assert_eq!(other.cached_settings("acme").unwrap().endpoints.len(), 1, "the other node has not heard of it");
    assert_eq!(count("evt_2").await, 2, "and finds out in the publish itself");
    db.store.delete_endpoint("acme", "siem", None).await.unwrap();
    assert_eq!(count("evt_3").await, 1);
}

async fn a_tenant_deleted_on_another_node_accepts_nothing(db: Fixture) {
    db.siem().await;
    let other = db.another().await;
    other.join("two").await.unwrap();
    publish(&other, vec![event("acme", "evt_1")]).await;
    db.store.delete_tenant("acme", None).await.unwrap();
    // The other node still has its settings and its key.
    assert_eq!(publish(&other, vec![event("acme", "evt_2")]).await, [crate::store::publish::Verdict::NoTenant]);
    other.follow_settings(other.now().minus(std::time::Duration::from_secs(60))).await.unwrap();
    let refused = publish_to(&other, None, vec![event("acme", "evt_3")]).await;
    assert!(matches!(refused.unwrap_err().as_ref(), Error::NotFound), "the key is forgotten");
}

async fn changes_of_another_node_are_followed(db: Fixture) {
    db.siem().await;
    let other = db.another().await;
    let settings = other.settings(&"acme".into()).await.unwrap();
    let since = other.follow_settings(other.now().minus(std::time::Duration::from_secs(60))).await.unwrap();
    assert!(Arc::ptr_eq(&settings, &other.cached_settings("acme").unwrap()), "nothing changed");
    db.store.set_endpoint_state("acme", "siem", Wanted::Pause(PausedReason::Manual)).await.unwrap();
    let bell = other.bells().settings.notified();
    let next = other.follow_settings(since).await.unwrap();
    bell.await;
    assert!(next >= since);
    assert_eq!(other.cached_settings("acme").unwrap().endpoints[0].state, crate::domain::endpoint::State::Paused);
}
