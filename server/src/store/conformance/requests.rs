//! Request ids: one change and one answer, whatever is repeated.

use std::time::Duration;

use super::fixture::*;
use super::on_both;
use crate::domain::event::Published;
use crate::store::Error;
use crate::store::endpoints::EndpointRecord;
use crate::store::requests::{Answer, Effect, KEPT};
use crate::store::tenants::NewTenant;

on_both!(
    a_repeat_gets_the_first_answer,
    repeats_at_once_make_one_change,
    the_same_id_for_another_request_is_refused,
    an_error_is_not_remembered,
    an_id_belongs_to_its_tenant_and_method,
    what_is_a_day_old_is_forgotten,
);

fn create(db: &Fixture, id: &str, request: &str, hash: u8) -> impl Future<Output = Result<Answer<EndpointRecord>, Error>> {
    let (once, new) = (once("acme", "CreateEndpoint", request, hash), new_endpoint("acme", id));
    async move { db.store.create_endpoint(new, 100, Effect::Apply, once).await }
}

fn replayed<R: std::fmt::Debug>(answer: Answer<R>) -> String {
    match answer {
        Answer::Replayed(bytes) => String::from_utf8(bytes).unwrap(),
        Answer::Done(record) => panic!("made again: {record:?}"),
    }
}

async fn a_repeat_gets_the_first_answer(db: Fixture) {
    db.siem().await;
    let made = done(create(&db, "x", "r1", 1).await.unwrap());
    let version = db.number("SELECT settings_version FROM tenants").await;
    assert_eq!(replayed(create(&db, "x", "r1", 1).await.unwrap()), format!("{made:?}"));
    assert_eq!(db.number("SELECT settings_version FROM tenants").await, version);
    let rotate = || {
        let once = once("acme", "RotateEndpointSecret", "r2", 1);
        async { db.store.rotate_secret("acme", "x", &secret(2), Duration::from_secs(60), once).await }
    };
    done(rotate().await.unwrap());
    replayed(rotate().await.unwrap());
    assert_eq!(db.store.get_endpoint("acme", "x").await.unwrap().secrets.len(), 2);
    let tenant = || {
        let new = NewTenant { id: "beta".to_owned(), display_name: String::new() };
        db.store.create_tenant(new, once("", "CreateTenant", "r3", 1))
    };
    done(tenant().await.unwrap());
    assert!(replayed(tenant().await.unwrap()).contains("beta"));
}

async fn repeats_at_once_make_one_change(db: Fixture) {
    db.siem().await;
    db.open_connections().await;
    let answers = futures::future::join_all((0..8).map(|_| create(&db, "x", "r1", 1))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Answer::Done(_))).count(), 1);
    assert_eq!(db.number("SELECT COUNT(*) FROM endpoints").await, 2);
    assert_eq!(db.number("SELECT COUNT(*) FROM requests").await, 1);
}

async fn the_same_id_for_another_request_is_refused(db: Fixture) {
    db.siem().await;
    create(&db, "x", "r1", 1).await.unwrap();
    assert!(matches!(create(&db, "y", "r1", 2).await, Err(Error::IdempotencyMismatch)));
    assert_eq!(db.number("SELECT COUNT(*) FROM endpoints").await, 2);
}

async fn an_error_is_not_remembered(db: Fixture) {
    db.siem().await;
    assert!(matches!(create(&db, "siem", "r1", 1).await, Err(Error::AlreadyExists)));
    assert_eq!(db.number("SELECT COUNT(*) FROM requests").await, 0);
    db.store.delete_endpoint("acme", "siem", None).await.unwrap();
    done(create(&db, "siem", "r1", 1).await.unwrap());
}

async fn an_id_belongs_to_its_tenant_and_method(db: Fixture) {
    db.siem().await;
    db.tenant("beta").await;
    done(create(&db, "x", "r1", 1).await.unwrap());
    let other = once("beta", "CreateEndpoint", "r1", 2);
    done(db.store.create_endpoint(new_endpoint("beta", "x"), 100, Effect::Apply, other).await.unwrap());
    let rotate = once("acme", "RotateEndpointSecret", "r1", 3);
    done(db.store.rotate_secret("acme", "x", &secret(2), Duration::ZERO, rotate).await.unwrap());
}

async fn what_is_a_day_old_is_forgotten(db: Fixture) {
    db.siem().await;
    let publish_once = || {
        let request_id = "00000000-0000-4000-8000-000000000001".to_owned();
        publish(&db.store, vec![sent("acme", Published { request_id, ..published("u1") })])
    };
    create(&db, "x", "r1", 1).await.unwrap();
    publish_once().await;
    db.clock.advance(KEPT - Duration::from_secs(5));
    steps(async || db.store.expire_requests_step().await).await;
    replayed(create(&db, "x", "r1", 1).await.unwrap());
    assert!(accepted(&publish_once().await[0]).duplicate);
    db.advance(10);
    steps(async || db.store.expire_requests_step().await).await;
    assert!(matches!(create(&db, "x", "r1", 1).await, Err(Error::AlreadyExists)), "it is a new request now");
    assert!(!accepted(&publish_once().await[0]).duplicate);
    assert_eq!(db.number("SELECT COUNT(*) FROM event_keys WHERE kind = 1").await, 2, "event ids are kept with their events");
}
