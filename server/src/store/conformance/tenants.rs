//! Tenants: made once, changed by whoever read them last, deleted for good.

use super::fixture::*;
use super::on_both;
use crate::store::Error;
use crate::store::page::Page;
use crate::store::tenants::NewTenant;

on_both!(
    a_tenant_is_made_changed_and_read,
    an_id_is_given_once,
    a_change_needs_the_current_etag,
    tenants_are_listed_by_id_and_only_visible_ones,
    a_deleted_tenant_is_shown_as_deleting_and_its_key_is_gone,
);

async fn a_tenant_is_made_changed_and_read(db: Fixture) {
    let new = NewTenant { id: "acme".to_owned(), display_name: "Acme".to_owned() };
    let made = done(db.store.create_tenant(new, None).await.unwrap());
    assert_eq!((made.id.as_str(), made.display_name.as_str(), made.deleting, made.revision), ("acme", "Acme", false, 1));
    assert_eq!(db.store.get_tenant("acme").await.unwrap(), made);
    db.advance(5);
    let changed = db.store.update_tenant("acme", Some(1), Some("Acme Ltd".to_owned())).await.unwrap();
    assert_eq!((changed.display_name.as_str(), changed.revision), ("Acme Ltd", 2));
    assert!(changed.update_time > made.update_time && changed.create_time == made.create_time);
    assert_eq!(db.store.get_tenant("acme").await.unwrap(), changed);
    assert!(matches!(db.store.get_tenant("other").await, Err(Error::NotFound)));
    assert!(matches!(db.store.update_tenant("other", None, None).await, Err(Error::NotFound)));
}

async fn an_id_is_given_once(db: Fixture) {
    db.tenant("acme").await;
    let again = || db.store.create_tenant(NewTenant { id: "acme".to_owned(), display_name: String::new() }, None);
    assert!(matches!(again().await, Err(Error::AlreadyExists)));
    db.store.delete_tenant("acme", None).await.unwrap();
    assert!(matches!(again().await, Err(Error::AlreadyExists)));
    db.advance(1_000);
    steps(async || db.store.remove_deleted_step().await).await;
    assert!(matches!(db.store.get_tenant("acme").await, Err(Error::NotFound)));
    assert!(matches!(again().await, Err(Error::AlreadyExists)), "nothing of it is left but the id");
}

async fn a_change_needs_the_current_etag(db: Fixture) {
    db.tenant("acme").await;
    assert!(matches!(db.store.update_tenant("acme", Some(2), None).await, Err(Error::EtagMismatch)));
    assert!(matches!(db.store.delete_tenant("acme", Some(2)).await, Err(Error::EtagMismatch)));
    db.open_connections().await;
    let changes = (0..8).map(|index| db.store.update_tenant("acme", Some(1), Some(index.to_string())));
    let changed = futures::future::join_all(changes).await;
    assert_eq!(changed.iter().filter(|result| result.is_ok()).count(), 1, "of many with one etag one wins");
}

async fn tenants_are_listed_by_id_and_only_visible_ones(db: Fixture) {
    for id in ["delta", "acme", "gamma", "beta"] {
        db.tenant(id).await;
    }
    let mut page = Page::first(3);
    let first = db.store.list_tenants(&page, None).await.unwrap();
    assert_eq!(first.items.iter().map(|tenant| tenant.id.as_str()).collect::<Vec<_>>(), ["acme", "beta", "delta"]);
    page.after = first.next;
    let second = db.store.list_tenants(&page, None).await.unwrap();
    assert_eq!((second.items.len(), second.items[0].id.as_str(), second.next), (1, "gamma", None));
    let visible = ["beta".to_owned(), "nobody".to_owned()];
    let seen = db.store.list_tenants(&Page::first(3), Some(&visible)).await.unwrap();
    assert_eq!((seen.items.len(), seen.items[0].id.as_str()), (1, "beta"));
    assert!(db.store.list_tenants(&Page::first(3), Some(&[])).await.unwrap().items.is_empty());
    let bad = Page { after: Some(vec![0xff]), size: 3 };
    assert!(matches!(db.store.list_tenants(&bad, None).await, Err(Error::BadPosition)));
}

async fn a_deleted_tenant_is_shown_as_deleting_and_its_key_is_gone(db: Fixture) {
    db.siem().await;
    let deleted = db.store.delete_tenant("acme", Some(1)).await.unwrap();
    assert!(deleted.deleting && deleted.revision == 2);
    assert_eq!(db.store.delete_tenant("acme", None).await.unwrap(), deleted, "a repeat changes nothing");
    assert_eq!(db.store.get_tenant("acme").await.unwrap(), deleted);
    assert!(matches!(db.store.update_tenant("acme", None, None).await, Err(Error::WrongState(2))));
    assert_eq!(db.number("SELECT COUNT(*) FROM data_keys WHERE tenant = 'acme'").await, 0);
    assert!(matches!(db.store.get_endpoint("acme", "siem").await, Err(Error::NotFound)));
    assert!(matches!(create_endpoint(&db.store, new_endpoint("acme", "x")).await, Err(Error::NotFound)));
    assert!(matches!(db.store.delete_endpoint("acme", "siem", None).await, Err(Error::NotFound)));
}
