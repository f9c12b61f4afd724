//! What a tenant may publish: the types of the catalogue and those that it registers, each held to its schema.
//!
//! Claims about the catalogue are made of every type that the server lists, and that list is held against the names written here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use gatepost_client::{
    Error, NewEvent, Receipt, Tenant,
    v1::{self, EventType, event_type::Origin},
};
use gatepost_tests::{
    Database, Receiver, Settings, World, on_both_databases,
    world::{PERSON, client, event},
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::metrics::get;

mod hostile;

on_both_databases!(
    every_type_of_the_catalogue_is_listed_with_a_schema_and_an_example,
    every_example_of_a_callers_type_publishes_and_no_reserved_type_does,
    every_required_member_of_every_type_is_asked_for,
    a_payload_that_fails_its_schema_is_told_by_pointers_with_all_other_bad_fields,
    members_that_no_schema_names_pass_through_byte_for_byte,
    a_registered_type_is_published_at_once_and_by_nobody_else,
    a_type_of_the_catalogues_families_cannot_be_registered_nor_one_of_it_changed,
    a_compatible_change_keeps_the_version_and_any_other_makes_the_next,
    a_deleted_type_cannot_be_published_and_goes_on_counting,
    every_bad_field_of_a_type_is_named,
    a_dry_run_writes_nothing_and_a_repeat_is_the_first_answer,
    types_and_schemas_have_limits,
    lists_of_types_are_cut_into_pages,
    schemas_of_the_catalogue_are_served_to_everybody,
);

/// What callers publish. Source: the event catalogue.
const CALLERS: &str = "
    user.created user.updated user.activated user.suspended user.reactivated user.termination_scheduled user.terminated user.rehired
    user.deleted user.identifier_changed user.department_changed user.manager_changed user.role_changed
    account.discovered account.created account.suspended account.deprovisioned account.orphaned
    access_request.created access_request.modified access_request.approved access_request.denied access_request.cancelled
    access_request.expired
    permission.created permission.updated permission.deleted group.member_added group.member_removed
    access_review.started access_review.decision_recorded access_review.completed
    compliance.sod_violation_detected compliance.sod_violation_resolved compliance.training_completed compliance.training_expired
    compliance.background_check_completed compliance.device_changed compliance.policy_violated
    credential.changed credential.compromised credential.change_required
    session.established session.presented session.revoked risk.level_changed assurance.level_changed";

/// What Gatepost alone publishes.
const RESERVED: &str = "
    access_request.validation_failed access_request.pre_approved
    access.provisioning_started access.granted access.provisioning_failed access.expiring access.extended access.expired
    access.revocation_requested access.revoked access.retained access.cancelled access.deprovision_overdue access.revocation_completed
    access.manual_task_created access.manual_task_completed
    hook.invocation_completed hook.invocation_failed hook.updated binding.updated
    webhook.endpoint_disabled webhook.endpoint_recovered webhook.delivery_dead_lettered webhook.verification";

const ORDER: &str = r#"{"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}"#;
/// What it holds and one that it need not.
const ORDER_WITH_NOTE: &str = r#"{"type": "object", "required": ["order_id"],
    "properties": {"order_id": {"type": "string"}, "note": {"type": "string"}}}"#;
/// Another one that it must hold.
const ORDER_WITH_AMOUNT: &str = r#"{"type": "object", "required": ["order_id", "amount"],
    "properties": {"order_id": {"type": "string"}, "note": {"type": "string"}, "amount": {"type": "integer"}}}"#;

fn names(of: &str) -> BTreeSet<&str> {
    of.split_whitespace().collect()
}

fn new_type(id: &str, schema: &str) -> v1::CreateEventTypeRequest {
    let event_type = EventType { schema: schema.into(), ..Default::default() };
    v1::CreateEventTypeRequest { event_type_id: id.into(), event_type: Some(event_type), ..Default::default() }
}

fn change(id: &str, schema: &str) -> v1::UpdateEventTypeRequest {
    let event_type = EventType { name: id.into(), schema: schema.into(), ..Default::default() };
    v1::UpdateEventTypeRequest { event_type: Some(event_type), ..Default::default() }
}

/// A second tenant.
async fn globex(world: &World) -> Tenant {
    let request = v1::CreateTenantRequest { tenant_id: "globex".into(), ..Default::default() };
    world.client.create_tenant(request).await.expect("a tenant");
    world.client.tenant("globex")
}

async fn list(tenant: &Tenant, filter: &str) -> Vec<EventType> {
    tenant.event_types(filter).try_collect().await.expect("a list of types")
}

fn id_of(event_type: &EventType) -> &str {
    event_type.name.rsplit('/').next().unwrap_or_default()
}

/// The bad fields, in order.
fn fields(error: &Error) -> Vec<&str> {
    let mut fields: Vec<&str> = error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// Publishes events in each of the three ways: one by one, in batches, in a stream. The results of each way, in order.
async fn every_way(tenant: &Tenant, events: &[NewEvent]) -> [(&'static str, Vec<Result<Receipt, Error>>); 3] {
    // Each way its own ids, or the second would be told the first one's answers.
    let again = || events.iter().map(|event| event.clone().id(format!("evt-{}", uuid::Uuid::new_v4())));
    let mut unary = Vec::new();
    for event in again() {
        unary.push(tenant.publish(event).await);
    }
    let batch = tenant.publish_batch(again()).await;
    let streamed: Vec<_> = tenant.publish_stream(stream::iter(again().collect::<Vec<_>>())).collect().await;
    assert_eq!((batch.len(), streamed.len()), (events.len(), events.len()));
    [("unary", unary), ("batch", batch), ("stream", streamed)]
}

/// Refused in each of the three ways, for this reason and because of these fields, in order.
async fn refused(tenant: &Tenant, event: NewEvent, reason: &str, bad: &[&str]) -> Error {
    let mut last = None;
    for (way, results) in every_way(tenant, &[event]).await {
        for result in results {
            let error = result.expect_err(way);
            assert_eq!((error.reason(), fields(&error)), (Some(reason), bad.to_vec()), "{way}: {error:?}");
            last.get_or_insert(error);
        }
    }
    last.expect("an error")
}

async fn every_type_of_the_catalogue_is_listed_with_a_schema_and_an_example(database: Database) {
    let world = World::with(Settings::on(&database).set("GATEPOST_SCHEMA_BASE_URL", "https://schemas.acme.test")).await;
    let listed = list(&world.tenant, "").await;
    let reserved: BTreeSet<&str> = listed.iter().filter(|listed| listed.reserved).map(id_of).collect();
    let callers: BTreeSet<&str> = listed.iter().filter(|listed| !listed.reserved).map(id_of).collect();
    assert_eq!(reserved, names(RESERVED));
    assert_eq!(callers, names(CALLERS));
    assert!(listed.is_sorted_by_key(|listed| listed.name.clone()), "by name");
    for listed in &listed {
        let id = id_of(listed);
        let schema: Value = serde_json::from_str(&listed.schema).expect("a schema is JSON");
        let example: Value = serde_json::from_str(&listed.example).expect("an example is JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{id}");
        assert_eq!(schema["$id"], format!("https://schemas.acme.test/events/{id}/1.json"));
        assert_eq!(schema["examples"], json!([example]), "{id}");
        assert!(schema["type"] == "object" && schema["additionalProperties"] == true, "{id}: {schema}");
        let required = schema["required"].as_array().expect("a list");
        assert!(required.iter().all(|name| example.get(name.as_str().expect("a name")).is_some()), "{id}: {example}");
        for member in ["actor", "initiating_entity", "reason_admin", "reason_user"] {
            assert!(schema["properties"].get(member).is_some(), "every `data` may hold {member}: {id}");
        }
        assert!(!listed.description.is_empty() && listed.etag.is_empty() && listed.create_time.is_none(), "{listed:?}");
        assert_eq!((listed.origin(), listed.schema_version), (Origin::BuiltIn, 1), "{id}");
        assert_eq!(&world.tenant.get_event_type(id, None).await.expect("the type"), listed);
        assert_eq!(&world.tenant.get_event_type(id, Some(1)).await.expect("the type"), listed);
        let other = world.tenant.get_event_type(id, Some(2)).await;
        assert!(matches!(other, Err(Error::NotFound { .. })), "{id}: {other:?}");
    }
    let terminated = world.tenant.get_event_type("user.terminated", None).await.expect("the type");
    let becomes = [
        "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
        "urn:ietf:params:scim:event:prov:deactivate",
        "https://schemas.openid.net/secevent/caep/event-type/session-revoked",
    ];
    assert_eq!(terminated.security_events, becomes);
}

async fn every_example_of_a_callers_type_publishes_and_no_reserved_type_does(database: Database) {
    let world = World::on(&database).await;
    let listed = list(&world.tenant, "").await;
    let (reserved, callers): (Vec<&EventType>, Vec<&EventType>) = listed.iter().partition(|listed| listed.reserved);
    let events = |types: &[&EventType]| -> Vec<NewEvent> {
        types.iter().map(|listed| NewEvent::new(id_of(listed), listed.example.clone())).collect()
    };
    for (way, results) in every_way(&world.tenant, &events(&callers)).await {
        for (listed, result) in callers.iter().zip(results) {
            result.unwrap_or_else(|error| panic!("{way}: the example of {}: {error:?}", listed.name));
        }
    }
    for (way, results) in every_way(&world.tenant, &events(&reserved)).await {
        for (listed, result) in reserved.iter().zip(results) {
            let error = result.expect_err(&listed.name);
            let why = (error.reason(), fields(&error));
            assert_eq!(why, (Some("RESERVED_EVENT_TYPE"), vec!["type"]), "{way}: {} {error:?}", listed.name);
            if way == "unary" {
                assert_eq!(error.answer().expect("an answer").metadata["type"], id_of(listed));
            }
        }
    }
    // The other bad fields of one are told too.
    let wrong = NewEvent::new("access.granted", "{").subject("a\nb");
    refused(&world.tenant, wrong, "RESERVED_EVENT_TYPE", &["data", "subject", "type"]).await;
    // One that nobody knows.
    for data in [PERSON, "{}"] {
        refused(&world.tenant, NewEvent::new("order.placed", data), "INVALID_FIELDS", &["type"]).await;
    }
    for version in [2, -1, i32::MAX] {
        let unknown = event("user.created").schema_version(version);
        refused(&world.tenant, unknown, "INVALID_FIELDS", &["schema_version"]).await;
    }
    world.tenant.publish(event("user.created").schema_version(1)).await.expect("a receipt");
}

async fn every_required_member_of_every_type_is_asked_for(database: Database) {
    let world = World::on(&database).await;
    let mut cases = Vec::new();
    for listed in list(&world.tenant, "").await.iter().filter(|listed| !listed.reserved) {
        let schema: Value = serde_json::from_str(&listed.schema).expect("a schema");
        let example: Value = serde_json::from_str(&listed.example).expect("an example");
        for member in required(&schema) {
            let mut data = example.clone();
            data.as_object_mut().expect("an object").remove(member);
            cases.push((NewEvent::new(id_of(listed), data.to_string()), format!("data/{member}")));
            // What a shared object must hold.
            let within = schema["properties"][member]["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
            for inner in within.map(|name| required(&schema["$defs"][name])).unwrap_or_default() {
                let mut data = example.clone();
                data[member].as_object_mut().expect("an object").remove(inner);
                cases.push((NewEvent::new(id_of(listed), data.to_string()), format!("data/{member}/{inner}")));
            }
        }
    }
    assert!(cases.len() > 130, "{}", cases.len());
    let results = world.tenant.publish_batch(cases.iter().map(|(event, _)| event.clone())).await;
    for ((event, field), result) in cases.iter().zip(results) {
        let error = result.expect_err(field);
        assert_eq!((error.reason(), fields(&error)), (Some("SCHEMA_VIOLATION"), vec![field.as_str()]), "{event:?}");
    }
}

fn required(schema: &Value) -> Vec<&str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

async fn a_payload_that_fails_its_schema_is_told_by_pointers_with_all_other_bad_fields(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let data = r#"{"user": {"email": 7, "status": "canary-status"}, "effective_at": "canary-time", "reason": "canary-reason",
        "actor": {"type": "robot"}, "reason_admin": {"en": 1}}"#;
    let wrong = NewEvent::new("user.terminated", data).subject("x".repeat(257)).tag("Upper", "x");
    let bad = [
        "data/actor/type",
        "data/effective_at",
        "data/reason",
        "data/reason_admin/en",
        "data/user/email",
        "data/user/id",
        "data/user/status",
        "subject",
        "tags",
    ];
    let error = refused(&world.tenant, wrong.clone(), "SCHEMA_VIOLATION", &bad).await;
    let metadata = &error.answer().expect("an answer").metadata;
    assert_eq!((metadata["type"].as_str(), metadata["schema_version"].as_str()), ("user.terminated", "1"));
    assert!(!format!("{error:?}").contains("canary"), "no value of a payload is told: {error:?}");
    // The events around it are stored.
    let around = [event("user.created"), wrong, event("user.deleted")];
    for (way, results) in every_way(&world.tenant, &around).await {
        let stored: Vec<bool> = results.iter().map(Result::is_ok).collect();
        assert_eq!(stored, [true, false, true], "{way}: {results:?}");
    }
    // An `at` is a time as in RFC 3339, a day is a date, a count has no sign, an enumeration holds what it holds.
    let user = r#""user": {"id": "u1"}"#;
    for (event_type, members, bad) in [
        ("user.created", r#""start_at": "2026-11-25""#, "data/start_at"),
        ("user.created", r#""start_at": "2026-02-30T09:00:00Z""#, "data/start_at"),
        ("user.created", r#""start_at": 1795597200"#, "data/start_at"),
        ("user.termination_scheduled", r#""effective_at": "2026-11-25T09:00:00Z", "last_day": "tomorrow""#, "data/last_day"),
        ("user.updated", r#""changes": []"#, "data/changes"),
        ("user.updated", r#""changes": [{"field": "a"}, {"field": 1}]"#, "data/changes/1/field"),
        ("user.identifier_changed", r#""identifier_type": "fax", "old_value": "1""#, "data/identifier_type"),
        ("user.manager_changed", r#""new": "u2""#, "data/new"),
    ] {
        let event = NewEvent::new(event_type, format!("{{{user}, {members}}}"));
        refused(&world.tenant, event, "SCHEMA_VIOLATION", &[bad]).await;
    }
    for (event_type, members) in [
        ("user.created", r#""start_at": "2026-11-25T09:00:00+02:00""#),
        ("user.manager_changed", r#""new": null"#),
        ("user.updated", r#""changes": [{"field": "a", "old": [1], "new": null}]"#),
    ] {
        world.tenant.publish(NewEvent::new(event_type, format!("{{{user}, {members}}}"))).await.expect(members);
    }
}

async fn members_that_no_schema_names_pass_through_byte_for_byte(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let data = "{ \"x-more\" : [1.10, 1e2, -0.0,\t12345678901234567890123] , \"user\":{\"shoe\\u002dsize\": 44.50, \"id\" :\"u1\", \
                \"attributes\": {\"a\": {\"b\": null}}},\n \"x-more\": \"again\", \"actor\": {\"type\": \"admin\", \"badge\": 7} }";
    for (way, results) in every_way(&world.tenant, &[NewEvent::new("user.created", data)]).await {
        for receipt in results {
            let receipt = receipt.expect(way);
            assert_eq!(world.tenant.get_event(receipt.event_id()).await.expect("the event").data, data, "{way}");
            let received = receiver.wait_for_ids(gatepost_tests::DEADLINE, [receipt.event_id()]).await;
            let request = received.iter().find(|request| request.id() == receipt.event_id()).expect("it came");
            assert!(String::from_utf8_lossy(&request.body).ends_with(&format!("\"data\":{data}}}")), "{way}: {request:?}");
        }
    }
}

async fn a_registered_type_is_published_at_once_and_by_nobody_else(database: Database) {
    let world = World::on(&database).await;
    let globex = globex(&world).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let placed = || NewEvent::new("order.placed", r#"{"order_id": "7"}"#);
    refused(&world.tenant, placed(), "INVALID_FIELDS", &["type"]).await;

    let mut request = new_type("order.placed", ORDER);
    if let Some(sent) = &mut request.event_type {
        sent.description = "Somebody bought something".into();
        sent.example = r#"{"order_id": "7"}"#.into();
    }
    let made = world.tenant.create_event_type(request.clone()).await.expect("a type");
    let expected = EventType {
        name: "tenants/acme/eventTypes/order.placed".into(),
        schema_version: 1,
        origin: Origin::Tenant.into(),
        create_time: made.create_time,
        update_time: made.update_time,
        etag: made.etag.clone(),
        ..request.event_type.clone().expect("a type")
    };
    assert_eq!(made, expected);
    assert!(made.create_time.is_some() && made.update_time.is_some() && !made.etag.is_empty(), "{made:?}");
    for (way, results) in every_way(&world.tenant, &[placed()]).await {
        for result in results {
            let receipt = result.expect(way);
            world.delivered(&receipt).await;
            assert_eq!(world.tenant.get_event(receipt.event_id()).await.expect("the event").schema_version, 1);
        }
    }
    assert_eq!(receiver.received()[0].json()["schema_version"], 1);
    refused(&world.tenant, NewEvent::new("order.placed", "{}"), "SCHEMA_VIOLATION", &["data/order_id"]).await;
    assert_eq!(world.tenant.get_event_type("order.placed", None).await.expect("the type"), made);
    assert_eq!(list(&world.tenant, r#"origin == "TENANT""#).await, [made]);
    let again = world.tenant.create_event_type(new_type("order.placed", ORDER)).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");

    // Whose it is not, cannot publish, see or change it, and may have its own of that name.
    refused(&globex, placed(), "INVALID_FIELDS", &["type"]).await;
    assert!(matches!(globex.get_event_type("order.placed", None).await, Err(Error::NotFound { .. })));
    assert!(matches!(globex.delete_event_type("order.placed").await, Err(Error::NotFound { .. })));
    assert!(list(&globex, r#"origin == "TENANT""#).await.is_empty());
    globex.create_event_type(new_type("order.placed", ORDER_WITH_AMOUNT)).await.expect("a type");
    refused(&globex, placed(), "SCHEMA_VIOLATION", &["data/amount"]).await;
    world.tenant.publish(placed()).await.expect("a receipt");
}

async fn a_type_of_the_catalogues_families_cannot_be_registered_nor_one_of_it_changed(database: Database) {
    let world = World::on(&database).await;
    let firsts = list(&world.tenant, "").await;
    let firsts: BTreeSet<&str> = firsts.iter().filter_map(|listed| id_of(listed).split('.').next()).collect();
    assert!(firsts.len() >= 15, "{firsts:?}");
    let taken = firsts.iter().map(|first| format!("{first}.of_our_own"));
    let nonsense =
        ["", "order", "Order.placed", "order.Placed", "order..placed", "order.placed.", ".order", "a.b.c.d.e.f.g", "a-b.c"];
    for id in taken.chain(nonsense.map(str::to_owned)).chain([format!("a.{}", "b".repeat(127))]) {
        let error = world.tenant.create_event_type(new_type(&id, ORDER)).await.expect_err(&id);
        assert_eq!(fields(&error), ["event_type_id"], "{id}: {error:?}");
    }
    // What only begins alike is free.
    for id in ["users.created", "use.r", "accessory.added", &format!("a.{}", "b".repeat(126)), "a.b.c.d.e.f"] {
        world.tenant.create_event_type(new_type(id, ORDER)).await.expect(id);
    }
    let before = world.tenant.get_event_type("user.created", None).await.expect("the type");
    let changed = world.tenant.update_event_type(change("user.created", ORDER)).await;
    assert!(matches!(changed, Err(Error::NotFound { .. })), "{changed:?}");
    assert!(matches!(world.tenant.delete_event_type("user.created").await, Err(Error::NotFound { .. })));
    assert_eq!(world.tenant.get_event_type("user.created", None).await.expect("the type"), before);
}

async fn a_compatible_change_keeps_the_version_and_any_other_makes_the_next(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let placed = |data: &str| NewEvent::new("order.placed", data.to_owned());
    let first = world.tenant.create_event_type(new_type("order.placed", ORDER)).await.expect("a type");
    world.tenant.publish(placed(r#"{"order_id": "1", "note": 7}"#)).await.expect("nothing is known of notes yet");

    let second = world.tenant.update_event_type(change("order.placed", ORDER_WITH_NOTE)).await.expect("the type");
    assert_eq!((second.schema_version, second.schema.as_str()), (1, ORDER_WITH_NOTE));
    assert!(second.etag != first.etag && second.create_time == first.create_time, "{second:?}");
    refused(&world.tenant, placed(r#"{"order_id": "1", "note": 7}"#), "SCHEMA_VIOLATION", &["data/note"]).await;
    let texts = EventType { name: "order.placed".into(), description: "More words".into(), ..Default::default() };
    let request = v1::UpdateEventTypeRequest { event_type: Some(texts), ..Default::default() };
    let third = world.tenant.update_event_type(request).await.expect("the type");
    assert_eq!((third.schema_version, third.schema.as_str(), third.description.as_str()), (1, ORDER_WITH_NOTE, "More words"));

    let fourth = world.tenant.update_event_type(change("order.placed", ORDER_WITH_AMOUNT)).await.expect("the type");
    assert_eq!((fourth.schema_version, fourth.schema.as_str()), (2, ORDER_WITH_AMOUNT));
    let old = placed(r#"{"order_id": "1"}"#);
    let error = refused(&world.tenant, old.clone(), "SCHEMA_VIOLATION", &["data/amount"]).await;
    assert_eq!(error.answer().expect("an answer").metadata["schema_version"], "2");
    let new = placed(r#"{"order_id": "1", "amount": 3}"#);
    for (event, version) in [(old.schema_version(1), 1), (new.clone(), 2), (new.clone().schema_version(2), 2)] {
        for (way, results) in every_way(&world.tenant, &[event]).await {
            for result in results {
                let receipt = result.expect(way);
                let stored = world.tenant.get_event(receipt.event_id()).await.expect("the event");
                assert_eq!(stored.schema_version, version, "{way}");
                let received = receiver.wait_for_ids(gatepost_tests::DEADLINE, [receipt.event_id()]).await;
                let request = received.iter().find(|request| request.id() == receipt.event_id()).expect("it came");
                assert_eq!(request.json()["schema_version"], version, "{way}");
            }
        }
    }
    refused(&world.tenant, new.schema_version(3), "INVALID_FIELDS", &["schema_version"]).await;
    let old = world.tenant.get_event_type("order.placed", Some(1)).await.expect("the type");
    assert_eq!((old.schema.as_str(), old.schema_version), (ORDER_WITH_NOTE, 1));
    assert!(matches!(world.tenant.get_event_type("order.placed", Some(3)).await, Err(Error::NotFound { .. })));

    // Whoever has read an older one is told so.
    for etag in [first.etag.as_str(), third.etag.as_str(), "nonsense"] {
        let sent = EventType { name: "order.placed".into(), description: "late".into(), etag: etag.into(), ..Default::default() };
        let late =
            world.tenant.update_event_type(v1::UpdateEventTypeRequest { event_type: Some(sent), ..Default::default() }).await;
        assert!(matches!(late, Err(Error::EtagMismatch { .. })), "{late:?}");
        let request = v1::DeleteEventTypeRequest { name: fourth.name.clone(), etag: etag.into() };
        let late = Error::from(world.client.event_type_service().delete_event_type(request).await.expect_err("another etag"));
        assert!(matches!(late, Error::EtagMismatch { .. }), "{late:?}");
    }
    let request = v1::DeleteEventTypeRequest { name: fourth.name.clone(), etag: fourth.etag.clone() };
    world.client.event_type_service().delete_event_type(request).await.expect("it is the current one");
}

async fn a_deleted_type_cannot_be_published_and_goes_on_counting(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let placed = || NewEvent::new("order.placed", r#"{"order_id": "7", "amount": 1}"#);
    world.tenant.create_event_type(new_type("order.placed", ORDER)).await.expect("a type");
    world.tenant.update_event_type(change("order.placed", ORDER_WITH_AMOUNT)).await.expect("the type");
    world.tenant.pause_endpoint("siem").await.expect("the endpoint");
    let before = world.tenant.publish(placed()).await.expect("a receipt");
    world.tenant.delete_event_type("order.placed").await.expect("it is deleted");
    for event in [placed(), placed().schema_version(1), placed().schema_version(2)] {
        refused(&world.tenant, event, "INVALID_FIELDS", &["type"]).await;
    }
    assert!(matches!(world.tenant.get_event_type("order.placed", None).await, Err(Error::NotFound { .. })));
    assert!(matches!(world.tenant.delete_event_type("order.placed").await, Err(Error::NotFound { .. })));
    assert!(matches!(world.tenant.update_event_type(change("order.placed", ORDER)).await, Err(Error::NotFound { .. })));
    assert!(list(&world.tenant, r#"origin == "TENANT""#).await.is_empty());
    // What was published stays, and arrives.
    world.tenant.resume_endpoint("siem").await.expect("the endpoint");
    world.delivered(&before).await;
    assert_eq!(receiver.received()[0].json()["schema_version"], 2);

    let again = world.tenant.create_event_type(new_type("order.placed", ORDER)).await.expect("a type");
    assert_eq!((again.schema_version, again.schema.as_str()), (3, ORDER), "a version never means two schemas");
    for version in [1, 2] {
        refused(&world.tenant, placed().schema_version(version), "INVALID_FIELDS", &["schema_version"]).await;
        assert!(matches!(world.tenant.get_event_type("order.placed", Some(version)).await, Err(Error::NotFound { .. })));
    }
    let receipt = world.tenant.publish(placed()).await.expect("a receipt");
    assert_eq!(world.tenant.get_event(receipt.event_id()).await.expect("the event").schema_version, 3);
}

async fn every_bad_field_of_a_type_is_named(database: Database) {
    let world = World::on(&database).await;
    let sent = EventType { schema: "[]".into(), description: "x".repeat(2001), ..Default::default() };
    let request = v1::CreateEventTypeRequest {
        event_type_id: "user.mine".into(),
        event_type: Some(sent),
        request_id: "4711".into(),
        ..Default::default()
    };
    let error = world.tenant.create_event_type(request).await.expect_err("everything is wrong");
    assert_eq!(fields(&error), ["event_type.description", "event_type.schema", "event_type_id", "request_id"]);
    for schema in [
        "",
        "{",
        "true",
        r#"{"type": "array"}"#,
        r#"{"type": "obj"}"#,
        r#"{"properties": 1}"#,
        r#"{"pattern": "("}"#,
        r##"{"$ref": "#/$defs/nowhere"}"##,
        r#"{"$schema": "http://json-schema.org/draft-07/schema#"}"#,
    ] {
        let error = world.tenant.create_event_type(new_type("order.placed", schema)).await.expect_err(schema);
        assert_eq!(fields(&error), ["event_type.schema"], "{schema}: {error:?}");
    }
    // An example is held to the schema that it stands beside, told by pointers.
    let with_example = |schema: &str, example: &str| {
        let mut request = new_type("order.placed", schema);
        request.event_type.as_mut().expect("a type").example = example.into();
        request
    };
    for (example, bad) in [
        (r#"{"order_id": 7}"#, &["event_type.example/order_id"][..]),
        ("{}", &["event_type.example/order_id"]),
        (r#"{"note": 1}"#, &["event_type.example/note", "event_type.example/order_id"]),
        ("nonsense", &["event_type.example"]),
        ("[]", &["event_type.example"]),
    ] {
        let error = world.tenant.create_event_type(with_example(ORDER_WITH_NOTE, example)).await.expect_err(example);
        assert_eq!(fields(&error), bad, "{example}: {error:?}");
    }
    world.tenant.create_event_type(with_example(ORDER, r#"{"order_id": "7"}"#)).await.expect("a type");
    let error = world.tenant.update_event_type(change("order.placed", ORDER_WITH_AMOUNT)).await.expect_err("the stored example");
    assert_eq!(fields(&error), ["event_type.example/amount"]);
    let update = async |sent: EventType, paths: &[&str]| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let event_type = Some(EventType { name: "order.placed".into(), ..sent });
        let update_mask = Some(prost_types::FieldMask { paths });
        world.tenant.update_event_type(v1::UpdateEventTypeRequest { event_type, update_mask, validate_only: false }).await
    };
    for (paths, bad) in [
        (&["reserved"][..], "update_mask"),
        (&["schema_version"], "update_mask"),
        (&["nonsense"], "update_mask"),
        (&["schema"], "event_type.schema"),
    ] {
        assert_eq!(fields(&update(EventType::default(), paths).await.expect_err(bad)), [bad], "{paths:?}");
    }
    let sent = EventType { schema: ORDER_WITH_AMOUNT.into(), ..Default::default() };
    let changed = update(sent, &["schema", "example"]).await.expect("the type");
    assert_eq!((changed.schema_version, changed.example.as_str()), (2, ""), "an example can be taken away");
}

async fn a_dry_run_writes_nothing_and_a_repeat_is_the_first_answer(database: Database) {
    let world = World::on(&database).await;
    let dry = |schema: &str| v1::CreateEventTypeRequest { validate_only: true, ..new_type("order.placed", schema) };
    let would = world.tenant.create_event_type(dry(ORDER)).await.expect("what would be");
    assert_eq!((would.name.as_str(), would.schema_version), ("tenants/acme/eventTypes/order.placed", 1));
    assert!(matches!(world.tenant.get_event_type("order.placed", None).await, Err(Error::NotFound { .. })));
    refused(&world.tenant, NewEvent::new("order.placed", r#"{"order_id": "7"}"#), "INVALID_FIELDS", &["type"]).await;
    assert_eq!(fields(&world.tenant.create_event_type(dry("[]")).await.expect_err("no schema")), ["event_type.schema"]);

    let request_id = uuid::Uuid::new_v4().to_string();
    let request = v1::CreateEventTypeRequest { request_id, ..new_type("order.placed", ORDER) };
    let made = world.tenant.create_event_type(request.clone()).await.expect("a type");
    assert!(matches!(world.tenant.create_event_type(dry(ORDER)).await, Err(Error::AlreadyExists { .. })));
    let update = v1::UpdateEventTypeRequest { validate_only: true, ..change("order.placed", ORDER_WITH_AMOUNT) };
    let would = world.tenant.update_event_type(update).await.expect("what would be");
    assert_eq!((would.schema_version, would.schema.as_str()), (2, ORDER_WITH_AMOUNT));
    assert_eq!(world.tenant.get_event_type("order.placed", None).await.expect("the type"), made);
    world.tenant.publish(NewEvent::new("order.placed", r#"{"order_id": "7"}"#)).await.expect("a receipt");

    world.tenant.update_event_type(change("order.placed", ORDER_WITH_AMOUNT)).await.expect("the type");
    assert_eq!(world.tenant.create_event_type(request.clone()).await.expect("the first answer"), made);
    let other = v1::CreateEventTypeRequest { request_id: request.request_id, ..new_type("order.placed", ORDER_WITH_NOTE) };
    let other = world.tenant.create_event_type(other).await;
    assert!(matches!(other, Err(Error::IdempotencyMismatch { .. })), "{other:?}");
}

async fn types_and_schemas_have_limits(database: Database) {
    let world = World::with(Settings::on(&database).set("GATEPOST_LIMITS__EVENT_TYPES_PER_TENANT", "3")).await;
    let padded = |length: usize| {
        let empty = r#"{"description": ""}"#.len();
        format!(r#"{{"description": "{}"}}"#, "x".repeat(length - empty))
    };
    let error = world.tenant.create_event_type(new_type("order.placed", &padded(64 * 1024 + 1))).await.expect_err("over 64 KiB");
    assert_eq!(fields(&error), ["event_type.schema"]);
    world.tenant.create_event_type(new_type("order.placed", &padded(64 * 1024))).await.expect("64 KiB");
    for id in ["order.shipped", "order.returned"] {
        world.tenant.create_event_type(new_type(id, ORDER)).await.expect(id);
    }
    let fourth = async |validate_only: bool| {
        let request = v1::CreateEventTypeRequest { validate_only, ..new_type("order.lost", ORDER) };
        world.tenant.create_event_type(request).await
    };
    for dry in [false, true] {
        let error = fourth(dry).await.expect_err("a fourth");
        let answer = error.answer().expect("an answer");
        let why = (error.reason(), answer.metadata["limit"].as_str(), answer.metadata["value"].as_str());
        assert_eq!(why, (Some("LIMIT_REACHED"), "event_types_per_tenant", "3"), "{error:?}");
    }
    // Another tenant has its own, and a deleted one makes room.
    globex(&world).await.create_event_type(new_type("order.lost", ORDER)).await.expect("a type");
    world.tenant.delete_event_type("order.shipped").await.expect("it is deleted");
    fourth(false).await.expect("a type");
}

async fn lists_of_types_are_cut_into_pages(database: Database) {
    let world = World::on(&database).await;
    for id in ["order.placed", "aaa.first", "zzz.last"] {
        world.tenant.create_event_type(new_type(id, ORDER)).await.expect(id);
    }
    let page = async |page_size: i32, page_token: &str, filter: &str| {
        let parent = "tenants/acme".to_owned();
        let request = v1::ListEventTypesRequest { parent, page_size, page_token: page_token.into(), filter: filter.into() };
        world.client.event_type_service().list_event_types(request).await.map(tonic::Response::into_inner).map_err(Error::from)
    };
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let answer = page(7, &token, "").await.expect("a page");
        assert!((1..=7).contains(&answer.event_types.len()));
        seen.extend(answer.event_types);
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, list(&world.tenant, "").await);
    let ids: Vec<&str> = seen.iter().map(id_of).collect();
    assert!(ids.is_sorted() && ids.len() == names(CALLERS).len() + names(RESERVED).len() + 3, "{ids:?}");
    assert_eq!((ids[0], ids[ids.len() - 1]), ("aaa.first", "zzz.last"));
    for (filter, count) in [
        (r#"origin == "TENANT""#, 3),
        (r#"origin == "BUILT_IN""#, ids.len() - 3),
        (r#"type == "user.terminated""#, 1),
        (r#"origin == "TENANT" && type != "order.placed""#, 2),
        (r#"type in ["user.created", "order.placed", "order.lost"]"#, 2),
    ] {
        assert_eq!(list(&world.tenant, filter).await.len(), count, "{filter}");
    }
    for filter in ["origin", r#"origin == "OURS""#, r#"name == "x""#] {
        assert_eq!(fields(&page(0, "", filter).await.expect_err(filter)), ["filter"]);
    }
    let token = page(1, "", "").await.expect("a page").next_page_token;
    assert_eq!(fields(&page(1, &token, r#"origin == "TENANT""#).await.expect_err("another filter's")), ["page_token"]);
}

async fn schemas_of_the_catalogue_are_served_to_everybody(database: Database) {
    let world = World::with(Settings::on(&database).set("GATEPOST_SCHEMA_BASE_URL", "https://schemas.acme.test")).await;
    world.tenant.create_event_type(new_type("order.placed", ORDER)).await.expect("a type");
    let url = world.server.url();
    for listed in list(&world.tenant, r#"origin == "BUILT_IN""#).await {
        let answer = get(&format!("{url}/events/{}/1.json", id_of(&listed))).await;
        assert_eq!((answer.status(), answer.body().as_ref()), (StatusCode::OK, listed.schema.as_bytes()), "{}", listed.name);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/schema+json");
    }
    for path in [
        "user.created/2.json",
        "user.created/0.json",
        "user.created/1",
        "user.created/one.json",
        "user.nonsense/1.json",
        // A tenant's own are its own business.
        "order.placed/1.json",
        "..%2f..%2fetc%2fpasswd/1.json",
    ] {
        assert_eq!(get(&format!("{url}/events/{path}")).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

/// What one node registers, changes and deletes holds at the other one with the reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_hold_at_every_node_from_the_reply_on() {
    let test = "event_types::types_hold_at_every_node_from_the_reply_on";
    let Some(database) = Database::postgres(test).await else { return };
    let world = World::on(&database).await;
    let second = world.server.join().await;
    let other = client(&second, second.key()).tenant("acme");
    // What it knows of the tenant is from before.
    other.publish(event("user.created")).await.expect("a receipt");
    for number in 0..10 {
        let id = format!("order.placed_{number}");
        let placed = |data: &str| NewEvent::new(&*id, data.to_owned());
        let old = placed(r#"{"order_id": "1"}"#);
        world.tenant.create_event_type(new_type(&id, ORDER)).await.expect("a type");
        other.publish(old.clone()).await.expect("it is registered");
        world.tenant.update_event_type(change(&id, ORDER_WITH_AMOUNT)).await.expect("the type");
        let new = placed(r#"{"order_id": "1", "amount": 2}"#).schema_version(2);
        let receipt = other.publish(new).await.expect("the version is there");
        assert_eq!(other.get_event(receipt.event_id()).await.expect("the event").schema_version, 2);
        world.tenant.delete_event_type(&id).await.expect("it is deleted");
        refused(&other, old.schema_version(1), "INVALID_FIELDS", &["type"]).await;
    }
}
