//! The activity log: the example of the event catalogue, section 8, and one row for each rule.

use serde_json::{Value, json};

use super::*;
use crate::domain::format::tests::{envelope, read};

fn event(event_type: &str, data: &str) -> Value {
    read(&render(&envelope(event_type, data)))["event"].clone()
}

#[test]
fn the_example_is_rendered() {
    let mut example: Value = serde_json::from_str(include_str!("../examples/siem.json")).expect("JSON");
    let data = r#"{"grant": {"id": "grt_5", "generation": 1, "state": "active"}, "user": {"id": "usr_1", "email": "jane@acme.test"},
 "application": {"app_id": "impersonator", "instance_id": "prod"}, "permissions": [{"id": "perm_9", "label": "Impersonate"}],
 "confirmed_by": "webhook", "confirmed_at": "2026-11-25T09:20:00.000Z", "actor": {"type": "receiver"}, "reason": "approved",
 "success_message": "Access enabled", "access_length_seconds": 7200, "access_request_id": "req_99", "request_comment": "INC-4211",
 "request_task_url": "https://access.acme.test/tasks/99"}"#;
    let timestamp = crate::domain::Time::parse_rfc3339("2026-11-25T09:20:00Z").expect("a time");
    let envelope = Envelope { timestamp, ..envelope("access.granted", data) };
    let body = render(&envelope);
    // The example shows a hash and not the body that it is of.
    example["event"]["event_hash"] = read(&body)["event"]["event_hash"].clone();
    assert_eq!(read(&body), example);
    assert!(!String::from_utf8_lossy(&body).replace("Access enabled", "").replace("Confirmed live", "").contains(' '));
}

#[test]
fn the_hash_is_of_the_standard_body() {
    // `printf '%s' '{"id":"evt_01",…,"data":{}}' | sha512sum`
    let expected = concat!(
        "bd5fe1e9371621630fdfb10248d0eaf5d9dba30bd714e4e3f8c27fbb6538cdf2",
        "c38bc9fc4e244e1b6a753f8931e508ac3fab106405ec1113e7bb80a054afde48"
    );
    assert_eq!(event("user.created", "{}")["event_hash"], expected);
}

#[test]
fn each_event_has_its_name() {
    let table = [
        ("access.granted", r#"{"confirmed_by":"webhook"}"#, "APP_STORE_INLINE_WEBHOOK_PROVISIONING_FOR_ACCESS_REQUEST"),
        ("access.granted", r#"{"confirmed_by":"callback"}"#, "APP_STORE_INLINE_WEBHOOK_PROVISIONING_FOR_ACCESS_REQUEST"),
        ("access.granted", r#"{"confirmed_by":"manual"}"#, "APP_STORE_MANUAL_CONFIRM_PROVISIONING_FOR_ACCESS_REQUEST"),
        ("access.granted", "{}", "APP_STORE_INLINE_WEBHOOK_PROVISIONING_FOR_ACCESS_REQUEST"),
        ("access.revoked", r#"{"confirmed_by":"manual"}"#, "APP_STORE_MANUAL_CONFIRM_DEPROVISIONING_FOR_ACCESS_REQUEST"),
        ("access.revoked", r#"{"confirmed_by":"webhook"}"#, "ACCESS_REVOKED"),
        (
            "access.cancelled",
            r#"{"previous_state":"manual_provisioning"}"#,
            "APP_STORE_MANUAL_DENY_PROVISIONING_FOR_ACCESS_REQUEST",
        ),
        ("access.cancelled", r#"{"previous_state":"provisioning"}"#, "ACCESS_CANCELLED"),
        ("access_request.validation_failed", "{}", "APP_STORE_INLINE_WEBHOOK_REQUEST_VALIDATION_FOR_ACCESS_REQUEST"),
        ("access_request.created", "{}", "APP_STORE_CREATE_ACCESS_REQUEST"),
        (
            "access_request.modified",
            r#"{"changes":[{"field":"access_length_seconds"}]}"#,
            "APP_STORE_EDIT_ACCESS_LENGTH_ON_REQUEST",
        ),
        (
            "access_request.modified",
            r#"{"changes":[{"field":"access_length"},{"field":"permissions"}]}"#,
            "APP_STORE_EDIT_PERMISSIONS_ON_REQUEST",
        ),
        ("access_request.modified", r#"{"changes":[{"field":"permissions"}]}"#, "APP_STORE_EDIT_PERMISSIONS_ON_REQUEST"),
        ("access_request.modified", r#"{"changes":[]}"#, "APP_STORE_EDIT_PERMISSIONS_ON_REQUEST"),
        ("access_request.modified", r#"{"changes":"x"}"#, "APP_STORE_EDIT_PERMISSIONS_ON_REQUEST"),
        ("access_request.approved", "{}", "ACCESS_REQUEST_APPROVED"),
        ("user.terminated", "{}", "USER_TERMINATED"),
        ("webhook.delivery_dead_lettered", "{}", "WEBHOOK_DELIVERY_DEAD_LETTERED"),
        ("acme.own.thing_2", "{}", "ACME_OWN_THING_2"),
    ];
    for (event_type, data, name) in table {
        assert_eq!(event(event_type, data)["event_type"], name, "{event_type} {data}");
    }
}

#[test]
fn outcomes_follow_the_ending_and_titles_the_meaning() {
    for (event_type, outcome, title) in [
        ("access.provisioning_failed", "FAILED", "Not provisioned"),
        ("access.deprovision_overdue", "FAILED", "Removal not confirmed in time"),
        ("webhook.delivery_dead_lettered", "FAILED", "Delivery gave up"),
        ("hook.invocation_failed", "FAILED", "Failure policy applied"),
        ("access_request.expired", "SUCCEEDED", "Ran out"),
        ("user.created", "SUCCEEDED", "Identity first seen"),
        ("acme.own_type", "SUCCEEDED", "Acme own type"),
        ("acme.import_failed", "FAILED", "Acme import failed"),
    ] {
        let event = event(event_type, "{}");
        assert_eq!((&event["outcome"], &event["event_type_user_friendly"]), (&json!(outcome), &json!(title)), "{event_type}");
    }
}

#[test]
fn the_actor_is_who_did_it_else_the_system() {
    let nobody = json!({"email": "", "given_name": "", "family_name": ""});
    for (actor, actor_type, actor_data) in [
        (
            r#"{"type":"user","id":"usr_1","email":"j@a","given_name":"J","family_name":"D"}"#,
            "USER",
            json!({"email": "j@a", "given_name": "J", "family_name": "D"}),
        ),
        (r#"{"type":"admin","email":7}"#, "ADMIN", nobody.clone()),
        (r#"{"type":"integration"}"#, "INTEGRATION", nobody.clone()),
        (r#"{"type":"system"}"#, "SYSTEM", nobody.clone()),
        (r#"{"type":"robot","email":"r@a"}"#, "SYSTEM", json!({"email": "r@a", "given_name": "", "family_name": ""})),
        ("null", "SYSTEM", nobody.clone()),
        (r#""jane""#, "SYSTEM", nobody),
    ] {
        let actor_of = event("user.updated", &format!(r#"{{"actor":{actor}}}"#))["actor"].clone();
        assert_eq!(actor_of, json!({"actor_type": actor_type, "actor_data": actor_data}), "{actor}");
    }
}

#[test]
fn each_metadata_key_has_its_source() {
    // Type, data, key, value; null where the data does not say.
    let table = [
        ("access.granted", r#"{"grant":{"duration_seconds":7200}}"#, "access_length", json!(120)),
        ("access.granted", r#"{"grant":{"duration_seconds":61}}"#, "access_length", json!(2)),
        ("access.granted", r#"{"grant":{"duration_seconds":null},"access_length_seconds":60}"#, "access_length", json!(null)),
        ("access.granted", r#"{"grant":{"duration_seconds":-60}}"#, "access_length", json!(null)),
        ("access.granted", r#"{"grant":{"duration_seconds":"60"}}"#, "access_length", json!(null)),
        ("access_request.created", r#"{"access_request":{"access_length_seconds":3600}}"#, "access_length", json!(60)),
        (
            "access_request.pre_approved",
            r#"{"access_request":{"access_length_seconds":3600},"granted_length_seconds":1800}"#,
            "access_length",
            json!(30),
        ),
        ("user.created", "{}", "access_length", json!(null)),
        (
            "access_request.created",
            r#"{"access_request":{"id":"req_1"}}"#,
            "appstore_request_metadata",
            json!({"id": "req_1", "task_url": null}),
        ),
        (
            "access_request.created",
            r#"{"access_request":{"task_url":"https://t"}}"#,
            "appstore_request_metadata",
            json!({"id": null, "task_url": "https://t"}),
        ),
        (
            "access.granted",
            r#"{"grant":{"access_request_id":"req_1"}}"#,
            "appstore_request_metadata",
            json!({"id": "req_1", "task_url": null}),
        ),
        ("access.granted", r#"{"grant":{"id":"grt_5"}}"#, "appstore_request_metadata", json!(null)),
        (
            "access_request.denied",
            r#"{"access_request":{"comment":"INC-1"},"comment":"no"}"#,
            "business_justification",
            json!("INC-1"),
        ),
        ("access_request.denied", r#"{"comment":"no"}"#, "business_justification", json!(null)),
        ("access.revoked", r#"{"confirmed_by":"webhook"}"#, "deprovisioned_through_direct_integration", json!(true)),
        ("access.revoked", r#"{"confirmed_by":"callback"}"#, "deprovisioned_through_direct_integration", json!(true)),
        ("access.revoked", r#"{"confirmed_by":"manual"}"#, "deprovisioned_through_direct_integration", json!(false)),
        ("account.deprovisioned", r#"{"confirmed_by":"external"}"#, "deprovisioned_through_direct_integration", json!(false)),
        ("access.granted", r#"{"confirmed_by":"webhook"}"#, "deprovisioned_through_direct_integration", json!(null)),
        ("access.provisioning_failed", r#"{"failure_class":"timeout"}"#, "error_message", json!("timeout")),
        ("access.provisioning_failed", r#"{"failure_class":"errored","code":"NO_SEAT"}"#, "error_message", json!("NO_SEAT")),
        ("access.deprovision_overdue", r#"{"last_failure_class":"dns"}"#, "error_message", json!("dns")),
        ("access_request.validation_failed", r#"{"code":"X","user_message":"Do it"}"#, "error_message", json!("Do it")),
        ("access_request.validation_failed", r#"{"user_message":{"de":"Tu es","en":"Do it"}}"#, "error_message", json!("Do it")),
        ("access_request.validation_failed", r#"{"user_message":{"de":"Tu es"}}"#, "error_message", json!("Tu es")),
        ("hook.invocation_completed", r#"{"code":"OK"}"#, "error_message", json!(null)),
        ("acme.thing", r#"{"error_message":"broken"}"#, "error_message", json!("broken")),
        ("acme.thing", r#"{"itsm_ticket_link":"https://i/1"}"#, "itsm_ticket_link", json!("https://i/1")),
        ("acme.thing", r#"{"itsm_ticket_link":{"url":"x"}}"#, "itsm_ticket_link", json!(null)),
        ("access.revoked", r#"{"grant":{"id":"grt_5"},"reason":"expired"}"#, "operation_trigger", json!("expired")),
        ("access.granted", r#"{"grant":{"id":"grt_5","reason":"approved"}}"#, "operation_trigger", json!("approved")),
        ("user.terminated", r#"{"reason":"involuntary"}"#, "operation_trigger", json!(null)),
        (
            "access.granted",
            r#"{"permissions":[{"id":"p1","label":"Read"},{"id":"p2"},{},"x"]}"#,
            "permissions",
            json!(["Read", "p2"]),
        ),
        ("access.granted", r#"{"permissions":[]}"#, "permissions", json!([])),
        ("permission.created", r#"{"permission":{"id":"p1","label":"Read"}}"#, "permissions", json!(["Read"])),
        ("access_request.created", r#"{"access_request":{"permissions":[{"label":"Read"}]}}"#, "permissions", json!(["Read"])),
        ("user.created", r#"{"permissions":{"label":"Read"}}"#, "permissions", json!(null)),
        ("access_request.pre_approved", r#"{"justification":"On call"}"#, "reason_for_preapproval", json!("On call")),
        ("acme.thing", r#"{"success_message":"Done"}"#, "success_message", json!("Done")),
    ];
    for (event_type, data, key, expected) in table {
        let metadata = event(event_type, data)["event_metadata"].clone();
        assert_eq!(metadata[key], expected, "{event_type} {data}");
        assert_eq!(metadata.as_object().map(serde_json::Map::len), Some(10));
    }
}

#[test]
fn targets_are_the_shared_objects_as_published() {
    let data = r#"{"grant": {"id": "g"}, "access_request": {"id": "r"}, "permission": { "id": "p", "n": 1.10 },
        "application": {"app_id": "a"}, "user": {"id": "u", "x": "\u00e9 y"}, "permissions": [{"id": "q"}],
         "account": {"id": "acc"}}"#;
    let body = render(&envelope("acme.thing", data));
    let expected = concat!(
        r#""targets":[{"target_type":"USER","target_data":{"id":"u","x":"\u00e9 y"}},"#,
        r#"{"target_type":"APPLICATION","target_data":{"app_id":"a"}},"#,
        r#"{"target_type":"PERMISSION","target_data":{"id":"p","n":1.10}},"#,
        r#"{"target_type":"ACCESS_REQUEST","target_data":{"id":"r"}},"#,
        r#"{"target_type":"GRANT","target_data":{"id":"g"}}]}}"#
    );
    assert!(body.ends_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&body));
    assert_eq!(event("acme.thing", r#"{"user":"jane","grant":[],"application":null}"#)["targets"], json!([]));
}
