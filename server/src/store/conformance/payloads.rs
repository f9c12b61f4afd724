//! What shapes payloads: an endpoint's settings for them, event types of tenants, keys of tokens, and the events that Gatepost publishes
//! itself.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::*;
use super::{on_both, on_postgres};
use crate::domain::catalogue::{self, SetFamily};
use crate::domain::delivery::{Next, State};
use crate::domain::endpoint::parse_event_types;
use crate::domain::field_policy::{Action, DefaultAction, FieldPolicy, Rule};
use crate::domain::format::Format;
use crate::domain::format::set::UserSubject;
use crate::domain::jose::jwk::PublicKey;
use crate::domain::registered::TypeProblem;
use crate::store::Error;
use crate::store::endpoints::{DisabledReason, EndpointChange, PausedReason, ShapeChange, Wanted};
use crate::store::event_types::{EventTypeChange, NewEventType};
use crate::store::events::{EventQuery, EventRecord};
use crate::store::page::Page;
use crate::store::requests::Effect;
use crate::store::signing_keys::KEPT;

on_both!(
    a_shape_that_is_written_is_read,
    settings_that_do_not_go_together_are_refused_when_they_meet,
    a_filter_lets_through_what_it_is_true_for,
    a_type_has_versions_that_never_mean_two_schemas,
    a_type_is_known_to_publishers_and_gone_when_it_is_deleted,
    a_tenant_has_a_limit_of_types,
    a_dead_letter_and_its_event_are_one_commit,
    a_dead_letter_about_gatepost_tells_nothing_further,
    an_endpoint_that_is_disabled_and_enabled_tells_the_others,
    a_receiver_that_refuses_this_sender_pauses_its_endpoint,
    a_signing_key_is_made_once_and_signs_after_its_time,
);
on_postgres!(a_second_node_knows_new_types_when_it_asks);

/// Public keys of RFC 7748, section 6.1.
const KEYS: [&str; 2] = ["hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo", "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"];

fn key(x: &str) -> PublicKey {
    PublicKey::parse(&format!(r#"{{"kty":"OKP","crv":"X25519","x":"{x}"}}"#)).unwrap()
}

async fn a_shape_that_is_written_is_read(db: Fixture) {
    db.join().await;
    db.tenant("acme").await;
    let rule = Rule { pointer: "/user/email".to_owned(), action: Action::Hash };
    let policy = FieldPolicy::parse(DefaultAction::Omit, vec![rule]).unwrap();
    let shape = ShapeChange {
        format: Some(Format::CloudEventsBinary),
        field_policy: Some(policy.clone()),
        transform: Some("{{ payload }}".to_owned()),
        encryption: Some(vec![key(KEYS[0])]),
        set_audience: Some(vec!["https://rp.test".to_owned()]),
        set_families: Some(vec![SetFamily::Scim, SetFamily::Caep]),
        set_subject: Some(UserSubject::Email),
        set_own_types: Some(true),
    };
    let mut new = new_endpoint("acme", "siem");
    new.fields =
        EndpointChange { shape, hooks_only: Some(true), filter: Some("type == 'user.created'".to_owned()), ..new.fields.clone() };
    create_endpoint(&db.store, new).await.unwrap();
    let read = db.store.get_endpoint("acme", "siem").await.unwrap().endpoint;
    assert!(read.hooks_only && read.filter.as_ref().is_some_and(|filter| filter.text() == "type == 'user.created'"));
    let shape = &read.shape;
    assert_eq!((shape.format, &shape.field_policy), (Format::CloudEventsBinary, &policy));
    assert_eq!(shape.transform.as_ref().map(|transform| transform.text()).as_deref(), Some("{{ payload }}"));
    assert_eq!(
        (&*shape.set.audience, &*shape.set.families),
        (&["https://rp.test".to_owned()][..], &[SetFamily::Scim, SetFamily::Caep][..])
    );
    assert_eq!((shape.set.subject, shape.set.own_types), (UserSubject::Email, true));
    let first = shape.encryption[0].create_time;
    db.advance(60);
    // A key that stays keeps its time, a new one is newer; what is not named stays as it was.
    let keys = Some(vec![key(KEYS[1]), key(KEYS[0])]);
    let change = EndpointChange { shape: ShapeChange { encryption: keys, ..ShapeChange::default() }, ..EndpointChange::default() };
    let read = db.store.update_endpoint("acme", "siem", None, change, Effect::Apply).await.unwrap().endpoint;
    let times: Vec<_> = read.shape.encryption.iter().map(|key| key.create_time).collect();
    assert!(times[1] == first && times[0] > first, "{times:?}");
    assert_eq!((read.shape.field_policy, read.shape.format), (policy, Format::CloudEventsBinary));
    let none = ShapeChange {
        encryption: Some(Vec::new()),
        transform: Some(String::new()),
        field_policy: Some(FieldPolicy::default()),
        format: Some(Format::Standard),
        ..ShapeChange::default()
    };
    let change = EndpointChange { shape: none, ..EndpointChange::default() };
    let read = db.store.update_endpoint("acme", "siem", None, change, Effect::Apply).await.unwrap().endpoint;
    assert!(read.shape.is_plain());
}

async fn settings_that_do_not_go_together_are_refused_when_they_meet(db: Fixture) {
    db.siem().await;
    let change = |shape| EndpointChange { shape, ..EndpointChange::default() };
    let template = ShapeChange { transform: Some("{{ payload }}".to_owned()), ..ShapeChange::default() };
    db.store.update_endpoint("acme", "siem", None, change(template), Effect::Apply).await.unwrap();
    let tokens = ShapeChange { format: Some(Format::Set), ..ShapeChange::default() };
    for effect in [Effect::DryRun, Effect::Apply] {
        let refused = db.store.update_endpoint("acme", "siem", None, change(tokens.clone()), effect).await;
        let Err(Error::Fields(bad)) = refused else { panic!("{refused:?}") };
        let fields: Vec<_> = bad.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(fields, ["endpoint.set_audience", "endpoint.transform"]);
    }
    assert_eq!(db.store.get_endpoint("acme", "siem").await.unwrap().endpoint.shape.format, Format::Standard, "nothing of it stays");
}

async fn a_filter_lets_through_what_it_is_true_for(db: Fixture) {
    db.join().await;
    db.tenant("acme").await;
    for (id, filter) in [("all", ""), ("yes", "data.user.id == 'u1'"), ("no", "data.user.id == 'u2'"), ("fails", "data.absent > 1")]
    {
        let mut new = new_endpoint("acme", id);
        new.fields.filter = Some(filter.to_owned());
        create_endpoint(&db.store, new).await.unwrap();
    }
    let verdicts = publish(&db.store, vec![event("acme", "u1"), event("acme", "u2")]).await;
    let counts: Vec<_> = verdicts.iter().map(accepted).map(|found| (found.delivery_count, found.skipped_count)).collect();
    assert_eq!(counts, [(2, 2), (2, 2)]);
    let metrics = db.store.metrics();
    assert_eq!(metrics.filters_failed.get(), 2);
}

fn schema(members: &str, required: &str) -> String {
    format!(r#"{{"type":"object","properties":{{{members}}},"required":[{required}]}}"#)
}

fn new_type(name: &str, schema: String) -> NewEventType {
    let fields = EventTypeChange { schema: Some(schema), ..EventTypeChange::default() };
    NewEventType { tenant: "acme".to_owned(), name: name.to_owned(), fields }
}

async fn a_type_has_versions_that_never_mean_two_schemas(db: Fixture) {
    db.tenant("acme").await;
    let first = schema(r#""id":{"type":"string"}"#, r#""id""#);
    let made = done(db.store.create_event_type(new_type("ticket.opened", first.clone()), 10, Effect::Apply, None).await.unwrap());
    assert_eq!((made.schema_version, made.revision, made.schema.as_str()), (1, 1, first.as_str()));
    let again = db.store.create_event_type(new_type("ticket.opened", first.clone()), 10, Effect::Apply, None).await;
    assert!(matches!(again, Err(Error::AlreadyExists)));
    let update = async |schema: &str, effect| {
        let change = EventTypeChange { schema: Some(schema.to_owned()), ..EventTypeChange::default() };
        db.store.update_event_type("acme", "ticket.opened", None, change, effect).await.map(|record| record.schema_version)
    };
    let wider = schema(r#""id":{"type":"string"},"note":{"type":"string"}"#, r#""id""#);
    assert_eq!(update(&wider, Effect::Apply).await.unwrap(), 1, "an optional member more");
    let other = schema(r#""id":{"type":"integer"}"#, r#""id""#);
    assert_eq!(update(&other, Effect::DryRun).await.unwrap(), 2);
    assert_eq!(update(&other, Effect::Apply).await.unwrap(), 2);
    let versions = async |version| db.store.get_event_type("acme", "ticket.opened", version).await.map(|record| record.schema);
    assert_eq!((versions(None).await.unwrap(), versions(Some(1)).await.unwrap()), (other.clone(), wider));
    assert!(matches!(versions(Some(3)).await, Err(Error::NotFound)));
    let example = EventTypeChange { example: Some(r#"{"id":"text"}"#.to_owned()), ..EventTypeChange::default() };
    let Err(Error::Fields(bad)) = db.store.update_event_type("acme", "ticket.opened", None, example, Effect::Apply).await else {
        panic!("the example is none of the newest schema")
    };
    assert_eq!(bad[0].field, "event_type.example/id");
    let stale = db.store.update_event_type("acme", "ticket.opened", Some(1), EventTypeChange::default(), Effect::Apply).await;
    assert!(matches!(stale, Err(Error::EtagMismatch)));
    db.store.delete_event_type("acme", "ticket.opened", None).await.unwrap();
    assert!(matches!(versions(None).await, Err(Error::NotFound)));
    let anew = done(db.store.create_event_type(new_type("ticket.opened", first), 10, Effect::Apply, None).await.unwrap());
    assert_eq!(anew.schema_version, 3, "numbers go on");
    assert!(matches!(versions(Some(1)).await, Err(Error::NotFound)));
    let names: Vec<_> = db.store.list_event_types("acme").await.unwrap().into_iter().map(|record| record.name).collect();
    assert_eq!(names, ["ticket.opened"]);
}

async fn a_type_is_known_to_publishers_and_gone_when_it_is_deleted(db: Fixture) {
    db.tenant("acme").await;
    let tenant: Arc<str> = "acme".into();
    let (publisher, _committer) = crate::store::publish::channel(db.store.clone(), None, 1);
    let found = async |version| {
        let types = publisher.types(&tenant, "ticket.opened", version).await.unwrap();
        types.find("ticket.opened", (version != 0).then_some(version)).map(|known| known.version)
    };
    assert_eq!(found(0).await, Err(TypeProblem::Unknown));
    let schema = schema(r#""id":{}"#, "");
    db.store.create_event_type(new_type("ticket.opened", schema), 10, Effect::Apply, None).await.unwrap();
    assert_eq!((found(0).await, found(2).await), (Ok(1), Err(TypeProblem::Version { newest: 1 })));
    db.store.delete_event_type("acme", "ticket.opened", None).await.unwrap();
    assert_eq!(found(0).await, Err(TypeProblem::Unknown));
}

async fn a_second_node_knows_new_types_when_it_asks(db: Fixture) {
    db.tenant("acme").await;
    let other = db.another().await;
    let tenant: Arc<str> = "acme".into();
    let (publisher, _committer) = crate::store::publish::channel(other.clone(), None, 1);
    // It has looked before, so what it keeps is old.
    assert!(publisher.types(&tenant, "ticket.opened", 0).await.unwrap().find("ticket.opened", None).is_err());
    db.store.create_event_type(new_type("ticket.opened", schema("", "")), 10, Effect::Apply, None).await.unwrap();
    assert!(publisher.types(&tenant, "ticket.opened", 0).await.unwrap().find("ticket.opened", None).is_ok());
}

async fn a_tenant_has_a_limit_of_types(db: Fixture) {
    db.tenant("acme").await;
    for (name, taken) in [("ticket.opened", true), ("ticket.closed", true), ("ticket.lost", false)] {
        let made = db.store.create_event_type(new_type(name, schema("", "")), 2, Effect::Apply, None).await;
        assert_eq!(made.is_ok(), taken, "{name}: {made:?}");
    }
    db.store.delete_event_type("acme", "ticket.opened", None).await.unwrap();
    db.store.create_event_type(new_type("ticket.lost", schema("", "")), 2, Effect::Apply, None).await.unwrap();
}

/// An endpoint that hears of Gatepost itself.
async fn ops(db: &Fixture) -> i64 {
    let mut new = new_endpoint("acme", "ops");
    new.fields.event_types = Some(parse_event_types(&["webhook.*"]).unwrap());
    create_endpoint(&db.store, new).await.unwrap().endpoint.key
}

/// Type, payload and cause of the newest events, oldest first.
async fn told(db: &Fixture) -> Vec<(String, serde_json::Value, String)> {
    let about_us = |event: &EventRecord| event.event_type.starts_with("webhook.");
    let events = db.store.list_events("acme", &Page::first(50), &EventQuery::default(), about_us).await.unwrap();
    let mut told = Vec::new();
    for event in events.items.into_iter().rev() {
        let event = db.store.get_event("acme", &event.id).await.unwrap();
        let data: serde_json::Value = serde_json::from_slice(&event.data).unwrap();
        let known = catalogue::find(&event.event_type).unwrap().schema(event.schema_version).unwrap();
        assert_eq!(known.violations(&data, 20).len(), 0, "{data}");
        told.push((event.event_type, data, event.txn));
    }
    told
}

async fn a_dead_letter_and_its_event_are_one_commit(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let ops = ops(&db).await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    let told = told(&db).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (event_type, data, txn) = &told[0];
    assert_eq!((event_type.as_str(), txn.as_str()), ("webhook.delivery_dead_lettered", "evt_1"), "with the txn of its cause");
    let expected = serde_json::json!({
        "delivery_id": fresh.key.to_string(), "endpoint_id": "siem", "event_id": "evt_1", "event_type": "user.created",
        "attempt_count": 1, "failure_class": "server_error",
    });
    assert_eq!(*data, expected);
    let waiting = db.number("SELECT COUNT(*) FROM backlog WHERE state = 1").await;
    assert_eq!(waiting, 1, "a delivery to the one that named it waits in the backlog");
    assert_eq!(db.store.backlog_heads().await.unwrap()[0].endpoint_key, ops);
    // The same outcome again is nobody's any more: nothing is told twice.
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM events").await, 2);
}

async fn a_dead_letter_about_gatepost_tells_nothing_further(db: Fixture) {
    let (epoch, _) = db.siem().await;
    let ops = ops(&db).await;
    let fresh = publish_fresh(&db.store, event("acme", "evt_1")).await;
    db.store.record(&epoch, &[of_fresh(&fresh, Next::Dead)]).await.unwrap();
    let want = [crate::store::claims::Want { endpoint_key: ops, priority: 1, count: 5 }];
    let claimed = db.store.claim(&epoch, &want).await.unwrap();
    assert_eq!(claimed.len(), 1);
    db.store.record(&epoch, &[of_claimed(&claimed[0], &epoch, Next::Dead)]).await.unwrap();
    assert_eq!(db.store.get_delivery("acme", claimed[0].key).await.unwrap().state, State::Dead);
    assert_eq!(told(&db).await.len(), 1);
}

async fn an_endpoint_that_is_disabled_and_enabled_tells_the_others(db: Fixture) {
    db.siem().await;
    ops(&db).await;
    let disable = Wanted::Disable(DisabledReason::Manual);
    for wanted in [disable, disable, Wanted::Enable, Wanted::Enable] {
        db.store.set_endpoint_state("acme", "siem", wanted).await.unwrap();
    }
    let siem = db.store.get_endpoint("acme", "siem").await.unwrap();
    db.store.disable_gone(siem.endpoint.key, "user.created").await.unwrap();
    // It hears of others, not of itself.
    db.store.set_endpoint_state("acme", "ops", disable).await.unwrap();
    let told: Vec<_> = told(&db).await.into_iter().map(|(event_type, data, _)| (event_type, data.to_string())).collect();
    let expected = [
        ("webhook.endpoint_disabled", r#"{"endpoint_id":"siem","reason":"manual"}"#),
        ("webhook.endpoint_recovered", r#"{"endpoint_id":"siem"}"#),
        ("webhook.endpoint_disabled", r#"{"endpoint_id":"siem","reason":"gone"}"#),
        ("webhook.endpoint_disabled", r#"{"endpoint_id":"ops","reason":"manual"}"#),
    ];
    assert_eq!(told, expected.map(|(event_type, data)| (event_type.to_owned(), data.to_owned())));
    assert_eq!(db.number("SELECT COUNT(*) FROM deliveries").await, 3);
}

async fn a_receiver_that_refuses_this_sender_pauses_its_endpoint(db: Fixture) {
    let (_, siem) = db.siem().await;
    assert!(db.store.pause_refused(siem.endpoint.key).await.unwrap());
    let paused = db.store.get_endpoint("acme", "siem").await.unwrap();
    assert_eq!(paused.paused_reason, Some(PausedReason::Refused));
    assert!(!db.store.pause_refused(siem.endpoint.key).await.unwrap(), "it is paused already");
    db.store.set_endpoint_state("acme", "siem", Wanted::Resume).await.unwrap();
    assert_eq!(db.store.get_endpoint("acme", "siem").await.unwrap().paused_reason, None);
    db.store.set_endpoint_state("acme", "siem", Wanted::Disable(DisabledReason::Manual)).await.unwrap();
    assert!(!db.store.pause_refused(siem.endpoint.key).await.unwrap(), "nor one that is disabled");
    assert!(told(&db).await.iter().all(|(event_type, ..)| event_type == "webhook.endpoint_disabled"));
}

async fn a_signing_key_is_made_once_and_signs_after_its_time(db: Fixture) {
    db.tenant("acme").await;
    let tenant: Arc<str> = "acme".into();
    assert!(matches!(db.store.signing_key(&tenant).await, Err(Error::NotFound)));
    assert!(matches!(db.store.ensure_signing_key("nobody").await, Err(Error::NotFound)));
    let (one, two) = tokio::join!(db.store.ensure_signing_key("acme"), db.store.ensure_signing_key("acme"));
    assert!(one.is_ok() && two.is_ok());
    let first = db.store.signing_key(&tenant).await.unwrap().kid().to_owned();
    let kids = async || db.store.list_signing_keys("acme").await.unwrap().into_iter().map(|key| key.key_id).collect::<Vec<_>>();
    assert_eq!(kids().await, std::slice::from_ref(&first));
    let ahead = Duration::from_secs(3600);
    let second = done(db.store.rotate_signing_key("acme", ahead, once("acme", "RotateSigningKey", "r1", 1)).await.unwrap());
    assert!(second.public_jwk.contains(r#""use":"sig""#) && !second.public_jwk.contains(r#""d":"#));
    assert_eq!(kids().await, [second.key_id.clone(), first.clone()], "published at once");
    assert_eq!(db.store.signing_key(&tenant).await.unwrap().kid(), first, "before it signs");
    db.advance(3601);
    assert_eq!(db.store.signing_key(&tenant).await.unwrap().kid(), second.key_id);
    db.advance(KEPT.as_secs() - 2);
    assert_eq!(kids().await.len(), 2, "what the old one signed can be verified");
    db.advance(3);
    assert_eq!(kids().await, std::slice::from_ref(&second.key_id));
    assert!(db.store.expire_signing_keys_step().await.unwrap());
    assert_eq!(db.number("SELECT COUNT(*) FROM signing_keys").await, 1);
    let third = done(db.store.rotate_signing_key("acme", Duration::ZERO, None).await.unwrap());
    assert_eq!(db.store.signing_key(&tenant).await.unwrap().kid(), third.key_id);
    assert_eq!(third.number, 3, "numbers are never used again");
}
