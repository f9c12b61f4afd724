//! API keys: found fast, ended at once.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::fixture::*;
use super::{on_both, on_postgres};
use crate::domain::caller::{ApiKey, Scope};
use crate::store::keys::{KeyRecord, NewKey};
use crate::store::page::Page;
use crate::store::{Error, Store};

on_both!(
    a_key_is_made_and_found,
    a_revoked_key_is_known_at_once,
    a_key_made_after_it_was_looked_for_is_found,
    keys_are_listed_newest_first_and_only_visible_ones,
    a_use_is_written_once_a_minute,
    a_root_key_is_made_once,
    a_hash_is_replaced_only_by_whoever_checked_it,
);
on_postgres!(another_node_knows_of_a_revocation_within_a_second);

fn new_key(id: &str) -> NewKey {
    NewKey {
        id: id.to_owned(),
        display_name: "ci".to_owned(),
        hash: "a:hash".to_owned(),
        scopes: ["publish", "tenants:acme"].map(|scope| Scope::parse(scope).unwrap()).into(),
        expire_time: None,
    }
}

async fn make(store: &Store, id: &str) -> KeyRecord {
    done(store.create_key(new_key(id), None).await.unwrap())
}

async fn a_key_is_made_and_found(db: Fixture) {
    assert!(!db.store.any_key_exists().await.unwrap());
    let expire_time = Some(db.store.now().plus(Duration::from_secs(60)));
    let made = done(db.store.create_key(NewKey { expire_time, ..new_key("key_1") }, None).await.unwrap());
    assert_eq!(*db.store.find_key("key_1").await.unwrap().unwrap(), made);
    assert_eq!((made.scopes, made.expire_time), (new_key("").scopes, expire_time));
    assert!(db.store.any_key_exists().await.unwrap());
    assert_eq!(db.store.find_key("key_2").await.unwrap(), None);
    assert!(matches!(db.store.create_key(new_key("key_1"), None).await, Err(Error::AlreadyExists)));
    let found = db.store.find_key("key_1").await.unwrap().unwrap();
    assert!(found.is_valid(db.store.now()));
    db.advance(61);
    assert!(!found.is_valid(db.store.now()));
}

async fn a_revoked_key_is_known_at_once(db: Fixture) {
    make(&db.store, "key_1").await;
    assert!(db.store.find_key("key_1").await.unwrap().unwrap().is_valid(db.store.now()));
    let lookups = futures::future::join_all((0..50).map(|_| db.store.find_key("key_1")));
    let (revoked, _) = tokio::join!(db.store.revoke_key("key_1"), lookups);
    let revoked = revoked.unwrap();
    assert!(!db.store.find_key("key_1").await.unwrap().unwrap().is_valid(db.store.now()));
    db.advance(5);
    assert_eq!(db.store.revoke_key("key_1").await.unwrap(), revoked, "a repeat changes nothing");
    assert!(!db.store.any_key_exists().await.unwrap());
    assert!(matches!(db.store.revoke_key("key_2").await, Err(Error::NotFound)));
}

async fn a_key_made_after_it_was_looked_for_is_found(db: Fixture) {
    assert_eq!(db.store.find_key("key_1").await.unwrap(), None);
    make(&db.store, "key_1").await;
    assert!(db.store.find_key("key_1").await.unwrap().is_some());
}

async fn another_node_knows_of_a_revocation_within_a_second(db: Fixture) {
    make(&db.store, "key_1").await;
    let other = db.another().await;
    assert!(other.find_key("key_1").await.unwrap().unwrap().revoke_time.is_none());
    db.store.revoke_key("key_1").await.unwrap();
    assert!(other.find_key("key_1").await.unwrap().unwrap().revoke_time.is_none(), "it is remembered for a second");
    // Opening calls meanwhile does not make it live longer.
    let seen = other.find_key("key_1").await.unwrap().unwrap();
    other.touch_key(&seen).await.unwrap();
    db.clock.advance(Duration::from_millis(1_001));
    assert!(other.find_key("key_1").await.unwrap().unwrap().revoke_time.is_some());
}

async fn keys_are_listed_newest_first_and_only_visible_ones(db: Fixture) {
    for id in ["key_1", "key_2", "key_4", "key_3"] {
        make(&db.store, id).await;
        db.advance(u64::from(id != "key_4"));
    }
    let ids = |keys: &[KeyRecord]| keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>();
    let mut page = Page::first(3);
    let first = db.store.list_keys(&page, |_| true).await.unwrap();
    page.after = first.next;
    let second = db.store.list_keys(&page, |_| true).await.unwrap();
    let all = [ids(&first.items), ids(&second.items)].concat();
    // Of two of one millisecond the larger id comes first.
    assert!(all == ["key_3", "key_4", "key_2", "key_1"] || all == ["key_4", "key_3", "key_2", "key_1"], "{all:?}");
    assert_eq!((first.items.len(), second.next), (3, None));
    let visible = db.store.list_keys(&Page::first(9), |key| key.id == "key_2").await.unwrap();
    assert_eq!(ids(&visible.items), ["key_2"]);
    let bad = Page { after: Some(b"nonsense".to_vec()), size: 1 };
    assert!(matches!(db.store.list_keys(&bad, |_| true).await, Err(Error::BadPosition)));
}

async fn a_use_is_written_once_a_minute(db: Fixture) {
    make(&db.store, "key_1").await;
    let used = async || {
        let key = db.store.find_key("key_1").await.unwrap().unwrap();
        db.store.touch_key(&key).await.unwrap();
        db.number("SELECT last_use_time FROM api_keys").await
    };
    let first = used().await;
    db.advance(30);
    assert_eq!(used().await, first);
    db.advance(31);
    assert!(used().await > first);
}

async fn a_root_key_is_made_once(db: Fixture) {
    let key = ApiKey::generate(uuid::Uuid::from_u128(7), &[9; 32]);
    for _ in 0..2 {
        db.store.ensure_root_key(&key).await.unwrap();
    }
    let found = db.store.find_key(&key.key_id).await.unwrap().unwrap();
    assert_eq!(found.scopes.iter().map(Scope::to_string).collect::<Vec<_>>(), ["admin", "tenants:*"]);
    assert_eq!(db.store.key_ring().check_api_key(&key.key_id, key.secret.expose_secret(), &found.hash), Ok(true));
    db.store.revoke_key(&key.key_id).await.unwrap();
    db.store.ensure_root_key(&key).await.unwrap();
    assert!(!db.store.any_key_exists().await.unwrap(), "what was revoked stays so");
}

async fn a_hash_is_replaced_only_by_whoever_checked_it(db: Fixture) {
    make(&db.store, "key_1").await;
    db.store.rehash_key("key_1", "a:other", "b:new").await.unwrap();
    assert_eq!(db.store.find_key("key_1").await.unwrap().unwrap().hash, "a:hash");
    db.store.rehash_key("key_1", "a:hash", "b:new").await.unwrap();
    assert_eq!(db.store.find_key("key_1").await.unwrap().unwrap().hash, "b:new");
}
