//! Endpoints: what is written is what is read, states move by rule, secrets turn over without a gap.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::fixture::*;
use super::on_both;
use crate::domain::endpoint::{State, parse_event_types, parse_header_changes};
use crate::domain::retry::RetryPolicy;
use crate::store::Error;
use crate::store::endpoints::{DisabledReason, EndpointChange, EndpointRecord, PausedReason, Wanted};
use crate::store::page::Page;
use crate::store::requests::Effect;

on_both!(
    what_is_written_is_read,
    a_change_touches_what_it_names,
    a_dry_run_leaves_nothing,
    an_id_is_free_again_after_deletion,
    a_tenant_has_a_limit_of_endpoints,
    states_move_by_rule_and_repeats_change_nothing,
    a_pause_writes_one_endpoint_and_no_delivery,
    a_receiver_that_is_gone_disables_its_endpoint_once,
    endpoints_are_listed_by_id_and_state,
    secrets_turn_over_without_a_gap,
    an_overlap_of_zero_drops_older_secrets_at_once,
    five_secrets_are_the_most,
    concurrent_changes_of_one_endpoint_all_happen,
);

fn ids(records: &[EndpointRecord]) -> Vec<&str> {
    records.iter().map(|record| &*record.endpoint.id).collect()
}

async fn what_is_written_is_read(db: Fixture) {
    db.join().await;
    db.tenant("acme").await;
    let mut new = new_endpoint("acme", "siem");
    let event_types = parse_event_types(&["user.*", "group.created"]).unwrap();
    let retry = RetryPolicy::Explicit { waits: vec![Duration::from_secs(7)] };
    let url: url::Url = "https://siem.acme.test/hook".parse().unwrap();
    new.fields = EndpointChange {
        url: Some(url.clone()),
        event_types: Some(event_types.clone()),
        headers: Some(parse_header_changes([("x-token", "a b"), ("x-id", "<{{webhook_id}}>")]).unwrap()),
        retry: Some(retry.clone()),
        description: Some("about \u{e9}".to_owned()),
        permanent_statuses: Some(vec![404, 422]),
        ..EndpointChange::default()
    };
    let made = create_endpoint(&db.store, new.clone()).await.unwrap();
    let read = db.store.get_endpoint("acme", "siem").await.unwrap();
    for record in [&made, &read] {
        let endpoint = &record.endpoint;
        assert_eq!((&*endpoint.id, &endpoint.url, &endpoint.event_types), ("siem", &url, &event_types));
        assert_eq!((&endpoint.retry, endpoint.attempt_timeout, endpoint.max_in_flight), (&retry, Duration::from_secs(15), 10));
        assert_eq!((&endpoint.permanent_statuses, endpoint.state), (&vec![404, 422], State::Active));
        let headers: Vec<_> =
            endpoint.headers.iter().map(|header| (header.name.to_string(), header.value().expose_secret().to_owned())).collect();
        let expected = [("x-id", "<{{webhook_id}}>"), ("x-token", "a b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers, expected);
        assert_eq!((record.description.as_str(), record.revision, record.disabled_reason), ("about \u{e9}", 1, None));
        assert_eq!(record.secrets[0].fingerprint, secret(1).fingerprint());
        assert_eq!(endpoint.signing_secrets(db.store.now()).collect::<Vec<_>>(), [&secret(1)]);
    }
    assert!(matches!(create_endpoint(&db.store, new).await, Err(Error::AlreadyExists)));
    assert!(matches!(create_endpoint(&db.store, new_endpoint("nobody", "siem")).await, Err(Error::NotFound)));
    assert!(matches!(db.store.get_endpoint("acme", "other").await, Err(Error::NotFound)));
}

async fn a_change_touches_what_it_names(db: Fixture) {
    let (_, siem) = db.siem().await;
    let change = EndpointChange {
        headers: Some(Vec::new()),
        max_in_flight: Some(3),
        permanent_statuses: Some(vec![418]),
        ..EndpointChange::default()
    };
    let changed = db.store.update_endpoint("acme", "siem", Some(1), change, Effect::Apply).await.unwrap();
    assert_eq!((changed.revision, changed.endpoint.max_in_flight, changed.endpoint.headers.len()), (2, 3, 0));
    assert_eq!((&changed.endpoint.permanent_statuses, &changed.endpoint.url), (&vec![418], &siem.endpoint.url));
    let read = db.store.get_endpoint("acme", "siem").await.unwrap();
    assert_eq!((read.revision, read.endpoint.max_in_flight, read.display_name), (2, 3, siem.display_name));
    let stale = db.store.update_endpoint("acme", "siem", Some(1), EndpointChange::default(), Effect::Apply).await;
    assert!(matches!(stale, Err(Error::EtagMismatch)));
    assert!(matches!(db.store.delete_endpoint("acme", "siem", Some(1)).await, Err(Error::EtagMismatch)));
    let settings = db.store.settings(&"acme".into()).await.unwrap();
    assert_eq!(settings.endpoints[0].max_in_flight, 3, "the cache has it at once");
}

async fn a_dry_run_leaves_nothing(db: Fixture) {
    db.siem().await;
    let version = db.number("SELECT settings_version FROM tenants").await;
    let made = done(db.store.create_endpoint(new_endpoint("acme", "x"), 100, Effect::DryRun, None).await.unwrap());
    assert_eq!(&*made.endpoint.id, "x");
    let taken = db.store.create_endpoint(new_endpoint("acme", "siem"), 100, Effect::DryRun, None).await;
    assert!(matches!(taken, Err(Error::AlreadyExists)));
    let change = EndpointChange { display_name: Some("new".to_owned()), ..EndpointChange::default() };
    let changed = db.store.update_endpoint("acme", "siem", None, change, Effect::DryRun).await.unwrap();
    assert_eq!((changed.display_name.as_str(), changed.revision), ("new", 2));
    assert_eq!(db.store.get_endpoint("acme", "siem").await.unwrap().revision, 1);
    assert!(matches!(db.store.get_endpoint("acme", "x").await, Err(Error::NotFound)));
    assert_eq!(db.number("SELECT settings_version FROM tenants").await, version);
}

async fn an_id_is_free_again_after_deletion(db: Fixture) {
    let (_, first) = db.siem().await;
    db.store.delete_endpoint("acme", "siem", Some(1)).await.unwrap();
    assert!(matches!(db.store.get_endpoint("acme", "siem").await, Err(Error::NotFound)));
    assert!(matches!(db.store.delete_endpoint("acme", "siem", None).await, Err(Error::NotFound)));
    assert_eq!(db.number("SELECT COUNT(*) FROM endpoint_secrets").await, 0, "its secrets are destroyed");
    let second = db.endpoint("acme", "siem").await;
    assert!(second.endpoint.key > first.endpoint.key);
}

async fn a_tenant_has_a_limit_of_endpoints(db: Fixture) {
    db.siem().await;
    db.open_connections().await;
    let make = |id: &'static str| db.store.create_endpoint(new_endpoint("acme", id), 3, Effect::Apply, None);
    let made = futures::future::join_all(["a", "b", "c", "d"].map(make)).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 2);
    let refused = made.into_iter().find_map(Result::err).unwrap();
    assert!(matches!(refused, Error::Limit { name: "endpoints_per_tenant", value: 3 }));
    db.store.delete_endpoint("acme", "siem", None).await.unwrap();
    assert!(make("e").await.is_ok(), "a deleted one does not count");
}

async fn states_move_by_rule_and_repeats_change_nothing(db: Fixture) {
    db.siem().await;
    let set = |wanted| db.store.set_endpoint_state("acme", "siem", wanted);
    let manual = Wanted::Disable(DisabledReason::Manual);
    // Move, the state after it, and the revision; `None`: refused.
    let table = [
        (Wanted::Resume, Some((State::Active, 1))),
        (Wanted::Enable, Some((State::Active, 1))),
        (Wanted::Pause(PausedReason::Manual), Some((State::Paused, 2))),
        (Wanted::Pause(PausedReason::Manual), Some((State::Paused, 2))),
        (Wanted::Enable, None),
        (Wanted::Resume, Some((State::Active, 3))),
        (Wanted::Pause(PausedReason::Manual), Some((State::Paused, 4))),
        (manual, Some((State::Disabled, 5))),
        (manual, Some((State::Disabled, 5))),
        (Wanted::Pause(PausedReason::Manual), None),
        (Wanted::Resume, None),
        (Wanted::Enable, Some((State::Active, 6))),
    ];
    for (number, (wanted, expected)) in table.into_iter().enumerate() {
        let before = db.store.get_endpoint("acme", "siem").await.unwrap();
        match (set(wanted).await, expected) {
            (Ok(record), Some((state, revision))) => {
                assert_eq!((record.endpoint.state, record.revision), (state, revision), "step {number}");
                assert_eq!(record.disabled_reason.is_some(), state == State::Disabled, "step {number}");
            }
            (Err(Error::WrongState(code)), None) => assert_eq!(code, before.endpoint.state.code(), "step {number}"),
            (result, _) => panic!("step {number}: {result:?}"),
        }
    }
    assert!(matches!(
        db.store.set_endpoint_state("acme", "other", Wanted::Pause(PausedReason::Manual)).await,
        Err(Error::NotFound)
    ));
}

async fn a_pause_writes_one_endpoint_and_no_delivery(db: Fixture) {
    db.siem().await;
    db.endpoint("acme", "lake").await;
    publish(&db.store, vec![event("acme", "evt_1")]).await;
    let bell = db.store.bells().backlog.notified();
    db.store.set_endpoint_state("acme", "siem", Wanted::Pause(PausedReason::Manual)).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM endpoints WHERE state = 2").await, 1);
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries WHERE revision <> 1").await, 0);
    bell.await;
    let bell = db.store.bells().backlog.notified();
    db.store.set_endpoint_state("acme", "siem", Wanted::Resume).await.unwrap();
    bell.await;
}

async fn a_receiver_that_is_gone_disables_its_endpoint_once(db: Fixture) {
    let (_, siem) = db.siem().await;
    assert!(db.store.disable_gone(siem.endpoint.key, "user.created").await.unwrap());
    let disabled = db.store.get_endpoint("acme", "siem").await.unwrap();
    assert_eq!((disabled.endpoint.state, disabled.disabled_reason), (State::Disabled, Some(DisabledReason::Gone)));
    assert!(!db.store.disable_gone(siem.endpoint.key, "user.created").await.unwrap());
    assert!(!db.store.disable_gone(9_999, "user.created").await.unwrap());
    db.store.delete_endpoint("acme", "siem", None).await.unwrap();
    assert!(!db.store.disable_gone(siem.endpoint.key, "user.created").await.unwrap());
}

async fn endpoints_are_listed_by_id_and_state(db: Fixture) {
    db.siem().await;
    for id in ["c", "a", "b"] {
        db.endpoint("acme", id).await;
    }
    db.store.set_endpoint_state("acme", "b", Wanted::Pause(PausedReason::Manual)).await.unwrap();
    db.store.delete_endpoint("acme", "c", None).await.unwrap();
    let mut page = Page::first(2);
    let first = db.store.list_endpoints("acme", &page, &State::ALL).await.unwrap();
    assert_eq!(ids(&first.items), ["a", "b"]);
    page.after = first.next;
    let second = db.store.list_endpoints("acme", &page, &State::ALL).await.unwrap();
    assert_eq!((ids(&second.items), second.next), (vec!["siem"], None));
    let paused = db.store.list_endpoints("acme", &Page::first(9), &[State::Paused]).await.unwrap();
    assert_eq!(ids(&paused.items), ["b"]);
    assert!(matches!(db.store.list_endpoints("nobody", &page, &State::ALL).await, Err(Error::NotFound)));
}

async fn secrets_turn_over_without_a_gap(db: Fixture) {
    db.siem().await;
    let overlap = Duration::from_secs(3_600);
    let rotated = done(db.store.rotate_secret("acme", "siem", &secret(2), overlap, None).await.unwrap());
    let fingerprints: Vec<_> = rotated.secrets.iter().map(|info| info.fingerprint.clone()).collect();
    assert_eq!(fingerprints, [secret(2).fingerprint(), secret(1).fingerprint()]);
    assert_eq!((rotated.secrets[0].expire_time, rotated.revision), (None, 2));
    let now = db.store.now();
    assert!(rotated.secrets[1].expire_time.is_some_and(|expire| expire <= now.plus(overlap) && expire > now));
    let signing = async || {
        let settings = db.store.settings(&"acme".into()).await.unwrap();
        settings.endpoints[0].signing_secrets(db.store.now()).cloned().collect::<Vec<_>>()
    };
    assert_eq!(signing().await, [secret(2), secret(1)]);
    db.advance(3_601);
    assert_eq!(signing().await, [secret(2)], "without a write");
    let revealed = db.store.reveal_secrets("acme", "siem").await.unwrap();
    assert_eq!(revealed.iter().map(|revealed| revealed.secret.clone()).collect::<Vec<_>>(), [secret(2)]);
    assert_eq!(revealed[0].info.fingerprint, secret(2).fingerprint());
}

async fn an_overlap_of_zero_drops_older_secrets_at_once(db: Fixture) {
    db.siem().await;
    db.store.rotate_secret("acme", "siem", &secret(2), Duration::from_secs(60), None).await.unwrap();
    let rotated = done(db.store.rotate_secret("acme", "siem", &secret(3), Duration::ZERO, None).await.unwrap());
    assert_eq!(rotated.secrets.len(), 1);
    assert_eq!(db.number("SELECT COUNT(*) FROM endpoint_secrets").await, 1);
    let next = done(db.store.rotate_secret("acme", "siem", &secret(4), Duration::from_secs(60), None).await.unwrap());
    assert_eq!(next.secrets.len(), 2);
}

async fn five_secrets_are_the_most(db: Fixture) {
    db.siem().await;
    let rotate = async |byte| db.store.rotate_secret("acme", "siem", &secret(byte), Duration::from_secs(60), None).await;
    for byte in 2..=5 {
        rotate(byte).await.unwrap();
    }
    assert!(matches!(rotate(6).await, Err(Error::Limit { value: 5, .. })));
    db.advance(61);
    let rotated = done(rotate(6).await.unwrap());
    assert_eq!(rotated.secrets.len(), 2, "those that ran out make room");
}

async fn concurrent_changes_of_one_endpoint_all_happen(db: Fixture) {
    db.siem().await;
    let rotations =
        (2..6).map(|byte| db.store.rotate_secret("acme", "siem", Box::leak(Box::new(secret(byte))), Duration::from_secs(60), None));
    let changes = (1..5).map(|count| {
        let change = EndpointChange { max_in_flight: Some(count), ..EndpointChange::default() };
        db.store.update_endpoint("acme", "siem", None, change, Effect::Apply)
    });
    let (rotated, changed) = tokio::join!(futures::future::join_all(rotations), futures::future::join_all(changes));
    assert!(rotated.iter().all(Result::is_ok) && changed.iter().all(Result::is_ok));
    let endpoint = db.store.get_endpoint("acme", "siem").await.unwrap();
    assert_eq!((endpoint.revision, endpoint.secrets.len()), (9, 5));
    let newest = endpoint.secrets.iter().filter(|secret| secret.expire_time.is_none()).count();
    assert_eq!(newest, 1);
}
