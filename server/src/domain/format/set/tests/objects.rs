//! Event objects: one row for each type and URI of the catalogue, and what must not get into one.

use std::collections::BTreeSet;

use super::*;

const DEPARTMENT: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department";
const MANAGER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";

fn object(event_type: &str, ending: &str, data: &str) -> Value {
    let claims = token(event_type, ending, data, &options(&EVERY));
    claims["events"].as_object().and_then(|events| events.values().next()).expect("an event").clone()
}

/// A CAEP object with these members and the time.
fn caep(mut members: Value) -> Value {
    members["event_timestamp"] = 1_795_597_200.into();
    members
}

#[test]
fn each_type_has_its_event_object_for_each_uri() {
    let revoked = |event_type: &str| caep(json!({"reason_admin": {"en": event_type}}));
    let terminated = example_data(STANDARD);
    // Type, end of the URI, data, event object.
    let table = [
        (
            "user.created",
            "create:notice",
            r#"{"user":{"id":"usr_1","email":"j@a","given_name":"J","family_name":"D","phone_number":"+1","external_id":"E",
             "status":"staged","attributes":{"department":"x","role":"y","shoe_size":7,"email":"z"}}}"#,
            json!({"attributes": ["id", "emails", "name.givenName", "name.familyName", "phoneNumbers", "externalId",
             "status", DEPARTMENT, "title", "shoe_size"]}),
        ),
        ("user.created", "create:notice", r#"{"user":{"id":"usr_1","email":null,"attributes":[]}}"#, json!({"attributes": ["id"]})),
        (
            "user.updated",
            "patch:notice",
            r#"{"user":{"id":"usr_1"},"changes":[{"field":"manager"},{"field":"email","new":"x"},{"field":"manager"},
             {"field":"costCenter"},{"field":7},"x"]}"#,
            json!({"attributes": [MANAGER, "emails", "costCenter"]}),
        ),
        ("user.updated", "patch:notice", r#"{"user":{"id":"usr_1"},"changes":"x"}"#, json!({"attributes": []})),
        ("user.department_changed", "patch:notice", r#"{"new":"Sales"}"#, json!({"attributes": [DEPARTMENT]})),
        ("user.manager_changed", "patch:notice", r#"{"new":null}"#, json!({"attributes": [MANAGER]})),
        ("user.role_changed", "patch:notice", r#"{"new":"Lead"}"#, json!({"attributes": ["title"]})),
        ("group.member_added", "patch:notice", r#"{"group":{"id":"grp_1"}}"#, json!({"attributes": ["members"]})),
        ("group.member_removed", "patch:notice", r#"{"group":{"id":"grp_1"}}"#, json!({"attributes": ["members"]})),
        ("user.activated", "activate", r#"{"user":{"id":"usr_1"}}"#, json!({})),
        ("user.reactivated", "activate", r#"{"user":{"id":"usr_1"}}"#, json!({})),
        ("user.rehired", "activate", r#"{"user":{"id":"usr_1"}}"#, json!({})),
        ("user.suspended", "deactivate", r#"{"reason":"leave"}"#, json!({})),
        ("user.terminated", "deactivate", terminated.as_str(), json!({})),
        ("user.deleted", "delete", r#"{"user":{"id":"usr_1"}}"#, json!({})),
        ("user.activated", "account-enabled", r#"{"initiating_entity":"admin"}"#, json!({})),
        ("user.reactivated", "account-enabled", r#"{"reason_admin":{"en":"x"}}"#, json!({})),
        ("user.rehired", "account-enabled", "{}", json!({})),
        ("user.suspended", "account-disabled", r#"{"reason":"leave"}"#, json!({})),
        ("user.suspended", "account-disabled", r#"{"reason":"hijacking"}"#, json!({"reason": "hijacking"})),
        ("user.terminated", "account-disabled", terminated.as_str(), json!({})),
        ("account.suspended", "account-disabled", r#"{"reason":"bulk-account"}"#, json!({"reason": "bulk-account"})),
        ("account.deprovisioned", "account-disabled", r#"{"confirmed_by":"manual"}"#, json!({})),
        ("user.deleted", "account-purged", "{}", json!({})),
        ("user.identifier_changed", "identifier-changed", r#"{"old_value":"a","new_value":"b"}"#, json!({"new-value": "b"})),
        ("user.identifier_changed", "identifier-changed", r#"{"old_value":"a"}"#, json!({})),
        (
            "credential.compromised",
            "credential-compromise",
            r#"{"credential_type":"password","initiating_entity":"user"}"#,
            json!({"credential_type": "password", "event_timestamp": 1_795_597_200}),
        ),
        ("credential.change_required", "account-credential-change-required", r#"{"credential_type":"password"}"#, json!({})),
        ("user.suspended", "session-revoked", r#"{"reason":"leave"}"#, revoked("user.suspended")),
        (
            "user.terminated",
            "session-revoked",
            terminated.as_str(),
            caep(json!({"initiating_entity": "admin", "reason_admin": {"en": "user.terminated"}})),
        ),
        ("access.revoked", "session-revoked", r#"{"reason":"expired"}"#, revoked("access.revoked")),
        (
            "session.revoked",
            "session-revoked",
            r#"{"initiating_entity":"policy","reason_admin":{"en":"Landspeed","es-410":"Violación"},
             "reason_user":{"en":"Two regions"}}"#,
            caep(json!({"initiating_entity": "policy", "reason_admin": {"en": "Landspeed", "es-410": "Violación"},
                 "reason_user": {"en": "Two regions"}})),
        ),
        (
            "credential.changed",
            "credential-change",
            r#"{"credential_type":"fido2-roaming","change_type":"create","friendly_name":"Key","fido2_aaguid":"accced6a",
             "secret":"x"}"#,
            caep(json!({"credential_type": "fido2-roaming", "change_type": "create", "friendly_name": "Key",
                 "fido2_aaguid": "accced6a", "reason_admin": {"en": "credential.changed"}})),
        ),
        (
            "compliance.device_changed",
            "device-compliance-change",
            r#"{"previous_status":"compliant","current_status":"not_compliant"}"#,
            caep(json!({"previous_status": "compliant", "current_status": "not-compliant"})),
        ),
        (
            "session.established",
            "session-established",
            r#"{"acr":"AAL2","amr":["otp"],"fp_ua":"abb0"}"#,
            caep(json!({"acr": "AAL2", "amr": ["otp"], "fp_ua": "abb0"})),
        ),
        ("session.established", "session-established", r#"{"acr":2,"amr":["otp",7]}"#, caep(json!({}))),
        ("session.presented", "session-presented", r#"{"acr":"AAL2","ext_id":"1"}"#, caep(json!({"ext_id": "1"}))),
        (
            "risk.level_changed",
            "risk-level-change",
            r#"{"principal":"org_unit","principal_id":"o","current_level":"low","previous_level":"high","risk_reason":"breach"}"#,
            caep(json!({"principal": "ORG_UNIT", "current_level": "LOW", "previous_level": "HIGH", "risk_reason": "breach"})),
        ),
        (
            "assurance.level_changed",
            "assurance-level-change",
            r#"{"namespace":"NIST-AAL","current_level":"nist-aal2","previous_level":"nist-aal1","change_direction":"increase"}"#,
            caep(json!({"namespace": "NIST-AAL", "current_level": "nist-aal2", "previous_level": "nist-aal1",
                 "change_direction": "increase"})),
        ),
        ("webhook.verification", "verification", r#"{"endpoint_id":"ep_7","state":"VGhpcw"}"#, json!({"state": "VGhpcw"})),
    ];
    let mut tried = BTreeSet::new();
    for (event_type, ending, data, expected) in table {
        assert_eq!(object(event_type, ending, data), expected, "{event_type} {ending} {data}");
        let part = parts(event_type, &options(&EVERY)).into_iter().find(|part| part.uri.ends_with(ending)).expect("a part");
        tried.insert((event_type, part.number));
    }
    for known in catalogue::all() {
        for part in parts(known.name, &options(&EVERY)) {
            assert!(tried.contains(&(known.name, part.number)), "{} {} has no row", known.name, part.uri);
        }
    }
}

#[test]
fn a_wrong_type_is_absent_from_caep_objects() {
    for data in [
        r#"{"initiating_entity":"robot","reason_admin":"because","reason_user":["x"]}"#,
        r#"{"initiating_entity":7,"reason_admin":{},"reason_user":{"en":7}}"#,
        r#"{"initiating_entity":{"admin":1},"reason_admin":{"en":null},"reason_user":null}"#,
    ] {
        assert_eq!(
            object("session.revoked", "session-revoked", data),
            caep(json!({"reason_admin": {"en": "session.revoked"}})),
            "{data}"
        );
    }
    let data = r#"{"credential_type":7,"change_type":"rotate","friendly_name":null}"#;
    assert_eq!(
        object("credential.changed", "credential-change", data),
        caep(json!({"reason_admin": {"en": "credential.changed"}}))
    );
    let data = r#"{"previous_status":"not-compliant","current_status":true}"#;
    assert_eq!(object("compliance.device_changed", "device-compliance-change", data), caep(json!({})));
    let data = r#"{"principal":"USER","current_level":"extreme"}"#;
    assert_eq!(object("risk.level_changed", "risk-level-change", data), caep(json!({})));
}
