use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

fn example(event_type: &EventType) -> Value {
    serde_json::from_str(event_type.example()).unwrap()
}

fn schema_of(event_type: &EventType) -> Value {
    serde_json::from_str(&event_type.schema_document(1, None).unwrap()).unwrap()
}

/// What the schema of that type says about data, as `pointer message`.
fn violations(event_type: &EventType, data: &Value) -> Vec<String> {
    let found = event_type.schema(1).unwrap().violations(data, 20);
    found.into_iter().map(|violation| format!("{} {}", violation.pointer, violation.message)).collect()
}

fn about(name: &str, data: Value) -> Vec<String> {
    violations(find(name).unwrap(), &data)
}

#[test]
fn the_sources_are_read_in_their_order_and_every_type_is_found_by_name() {
    Catalogue::read().unwrap();
    assert_eq!(all().count(), 71);
    let firsts: Vec<_> =
        all().map(|known| known.name).filter(|name| name.ends_with("created") || name.ends_with("started")).collect();
    assert_eq!(
        firsts,
        [
            "user.created",
            "account.created",
            "access_request.created",
            "access.provisioning_started",
            "access.manual_task_created",
            "permission.created",
            "access_review.started"
        ]
    );
    for known in all() {
        assert!(std::ptr::eq(find(known.name).unwrap(), known), "{}", known.name);
        assert!(crate::domain::event_type::is_event_type(known.name), "{}", known.name);
        assert!(!known.meaning.is_empty() && !known.meaning.ends_with('.'), "{}", known.name);
    }
    assert!(find("user").is_none() && find("user.unknown").is_none() && find("").is_none());
}

#[test]
fn a_type_says_who_publishes_it_and_what_it_becomes() {
    let terminated = find("user.terminated").unwrap();
    assert_eq!(terminated.publisher, Publisher::Caller);
    let uris: Vec<_> = terminated.set.iter().map(|event| (event.family, event.uri.as_str())).collect();
    assert_eq!(
        uris,
        [
            (SetFamily::Risc, "https://schemas.openid.net/secevent/risc/event-type/account-disabled"),
            (SetFamily::Scim, "urn:ietf:params:scim:event:prov:deactivate"),
            (SetFamily::Caep, "https://schemas.openid.net/secevent/caep/event-type/session-revoked"),
        ]
    );
    assert_eq!(find("access.granted").unwrap().publisher, Publisher::Gatepost);
    assert_eq!(find("access.granted").unwrap().friendly(), "Confirmed live");
    let verification = find("webhook.verification").unwrap();
    assert_eq!(verification.set[0].uri, "https://schemas.openid.net/secevent/ssf/event-type/verification");
}

#[test]
fn the_first_segments_are_taken() {
    for segment in [
        "user",
        "account",
        "access_request",
        "access",
        "permission",
        "group",
        "access_review",
        "compliance",
        "credential",
        "session",
        "risk",
        "assurance",
        "hook",
        "binding",
        "webhook",
    ] {
        assert!(is_first_segment(segment) && is_built_in_family(&format!("{segment}.anything.new")), "{segment}");
    }
    for name in ["users.created", "acces.granted", "ticket.opened", "", "use.r", "hooks.updated"] {
        assert!(!is_built_in_family(name), "{name}");
    }
}

#[test]
fn every_example_satisfies_its_schema_and_shows_what_is_required() {
    for known in all() {
        assert_eq!(violations(known, &example(known)), [""; 0], "{}", known.name);
    }
}

#[test]
fn every_schema_stands_alone_and_names_itself() {
    for known in all() {
        let document: Value = serde_json::from_str(&known.schema_document(1, Some("https://schemas.acme.test")).unwrap()).unwrap();
        assert!(jsonschema::draft202012::meta::is_valid(&document), "{}", known.name);
        assert_eq!(document["$id"], format!("https://schemas.acme.test/events/{}/1.json", known.name));
        assert_eq!(document["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!((&document["title"], &document["type"]), (&json!(known.name), &json!("object")));
        assert_eq!(document["examples"], json!([example(known)]), "{}", known.name);
        let text = document.to_string();
        for (name, _) in document["$defs"].as_object().unwrap() {
            assert!(text.contains(&format!("\"#/$defs/{name}\"")), "{} does not use {name}", known.name);
        }
        assert!(schema_of(known).get("$id").is_none());
        for version in [i32::MIN, -1, 0, 2, i32::MAX] {
            assert!(known.schema_document(version, None).is_none() && known.schema(version).is_none());
        }
    }
}

#[test]
fn every_required_member_is_missed_by_its_pointer() {
    let mut tried = 0;
    for known in all() {
        for name in schema_of(known)["required"].as_array().unwrap() {
            let mut data = example(known);
            data.as_object_mut().unwrap().remove(name.as_str().unwrap()).unwrap();
            assert_eq!(violations(known, &data), [format!("/{} is required", name.as_str().unwrap())], "{}", known.name);
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried}");
}

#[test]
fn every_member_of_a_wrong_type_is_refused_by_its_pointer() {
    for known in all() {
        let document = schema_of(known);
        for (name, schema) in document["properties"].as_object().unwrap() {
            let mut data = example(known);
            // Neither a text nor an object, nor any number of these: wrong for every member of the catalogue.
            let wrong = if schema["type"] == "boolean" { json!(1) } else { json!(true) };
            data[name] = wrong;
            let found = violations(known, &data);
            assert_eq!(found.len(), 1, "{} {name} {found:?}", known.name);
            assert!(found[0].starts_with(&format!("/{name} must be ")), "{} {found:?}", known.name);
        }
    }
}

#[test]
fn members_that_nobody_listed_pass_everywhere() {
    for known in all() {
        let mut data = example(known);
        spread(&mut data);
        // Where a map of languages is, its names are languages.
        for texts in ["reason_admin", "reason_user", "user_message"] {
            data.as_object_mut().unwrap().remove(texts);
        }
        assert_eq!(violations(known, &data), [""; 0], "{}", known.name);
    }
}

/// Adds a member to every object.
fn spread(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(spread);
            members.insert("x_unlisted".to_owned(), json!({ "anything": [1, null] }));
        }
        Value::Array(items) => items.iter_mut().for_each(spread),
        _ => {}
    }
}

#[test]
fn names_say_types() {
    let base = || json!({ "user": { "id": "u1" }, "effective_at": "2026-11-25T09:00:00Z" });
    for (member, value, says) in [
        ("effective_at", json!("2026-11-25"), "/effective_at must be a time as in RFC 3339, such as 2026-11-25T09:00:00.000Z"),
        ("last_day", json!("2026-11-25T09:00:00Z"), "/last_day must be a date, such as 2026-11-25"),
        ("reason", json!("fired"), "/reason must be one of voluntary, involuntary, end_of_contract, other"),
        ("user", json!({ "email": "x" }), "/user/id is required"),
        ("user", json!({ "id": "u1", "status": "gone" }), "/user/status must be one of staged, active, suspended, inactive"),
        ("user", json!({ "id": "u1", "attributes": [] }), "/user/attributes must be an object"),
        ("manager", json!("u2"), "/manager must be an object"),
        ("actor", json!({ "type": "cat" }), "/actor/type must be one of user, admin, system, integration, receiver"),
        ("reason_admin", json!("leaver"), "/reason_admin must be an object"),
        ("reason_admin", json!({ "en": 1 }), "/reason_admin/en must be a string"),
        (
            "reason_user",
            json!({ "in English": "x" }),
            "/reason_user holds a member whose name must match `^[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8})*$`",
        ),
        ("initiating_entity", json!("cat"), "/initiating_entity must be one of admin, user, policy, system"),
    ] {
        let mut data = base();
        data[member] = value;
        assert_eq!(about("user.terminated", data), [says]);
    }
    let access = |member: &str, value: Value| {
        let known = find("access.deprovision_overdue").unwrap();
        let mut data = example(known);
        data[member] = value;
        violations(known, &data)
    };
    assert_eq!(access("overdue_seconds", json!(-1)), ["/overdue_seconds must be at least 0"]);
    assert_eq!(access("attempt_count", json!(1.5)), ["/attempt_count must be an integer"]);
    assert_eq!(access("permissions", json!([{ "id": "p" }, { "label": "x" }])), ["/permissions/1/id is required"]);
    assert_eq!(access("grant", json!({ "id": "g", "expires_at": null, "duration_seconds": null })), [""; 0]);
    assert_eq!(access("grant", json!({ "id": "g", "expires_at": 5 })), ["/grant/expires_at must be a string or null"]);
    assert_eq!(access("application", json!({ "instance_id": "prod" })), ["/application/app_id is required"]);
    assert_eq!(about("user.updated", json!({ "user": { "id": "u" }, "changes": [] })), ["/changes must hold at least 1 items"]);
    assert_eq!(
        about("user.updated", json!({ "user": { "id": "u" }, "changes": [{ "field": 1 }] })),
        ["/changes/0/field must be a string"]
    );
}

#[test]
fn alternatives_say_what_the_nearest_one_misses() {
    let manager = |new: Value| about("user.manager_changed", json!({ "user": { "id": "u1" }, "new": new }));
    assert_eq!(manager(json!(null)), [""; 0]);
    assert_eq!(manager(json!({ "email": "x" })), ["/new/id is required"]);
    assert_eq!(manager(json!(5)), ["/new must be an object or null"]);
    let message = |text: Value| {
        let known = find("access_request.validation_failed").unwrap();
        let mut data = example(known);
        data["user_message"] = text;
        violations(known, &data)
    };
    assert_eq!(message(json!("Name an incident.")), [""; 0]);
    assert_eq!(message(json!({ "en": 5 })), ["/user_message/en must be a string"]);
    assert_eq!(message(json!(5)), ["/user_message must be a string or an object"]);
}

#[test]
fn only_what_identifies_is_required_inside_shared_objects() {
    let required: Vec<_> = CATALOGUE
        .shared
        .types
        .iter()
        .flat_map(|(name, shared)| shared.members.iter().filter(|member| member.required).map(move |member| (*name, member.name)))
        .collect();
    assert_eq!(
        required,
        [
            ("User", "id"),
            ("Application", "app_id"),
            ("Permission", "id"),
            ("Ref", "id"),
            ("Account", "id"),
            ("Grant", "id"),
            ("Task", "id"),
        ]
    );
}

#[test]
fn a_source_that_says_something_twice_or_leaves_it_out_is_an_error() {
    let shared = source::shared().unwrap();
    let family = |types: &'static str| source::family(types, &shared).map(|_| ()).is_err();
    assert!(!family(r#"{"title":"","about":"","types":[{"name":"a.b","meaning":"m","by":"caller","example":{}}]}"#));
    assert!(family(r#"{"title":"","about":"","types":[{"name":"a.b","meaning":"m","by":"nobody","example":{}}]}"#));
    assert!(family(r#"{"title":"","about":"","types":[{"name":"a.b","meaning":"m","by":"caller","set":["caep"],"example":{}}]}"#));
    assert!(family(r#"{"title":"","about":"","types":[{"name":"a.b","meaning":"m","by":"caller","set":["x y"],"example":{}}]}"#));
    assert!(family(r#"{"title":"","about":"","members":{"a":"x","a":"y"},"types":[]}"#));
    assert!(family(
        r#"{"title":"","about":"","types":[{"name":"a.b","meaning":"m","by":"caller","members":{"x":{}},"example":{}}]}"#
    ));
    assert!(family(r#"{"title":"","about":"","types":[{"name":"a.b","meaning":"m","by":"caller","extra":1,"example":{}}]}"#));
}

/// With `GATEPOST_WRITE_CATALOGUE` set it writes the page instead.
#[test]
fn the_page_is_the_committed_one() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("catalogue/README.md");
    if std::env::var_os("GATEPOST_WRITE_CATALOGUE").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == page(), "run it with GATEPOST_WRITE_CATALOGUE=1");
}

#[test]
fn the_page_has_every_type_with_its_members() {
    let page = page();
    for known in all() {
        let section = page.split(&format!("### `{}`\n", known.name)).nth(1).unwrap().split("\n### ").next().unwrap();
        for name in schema_of(known)["required"].as_array().unwrap() {
            assert!(section.contains(&format!("| `{}` |", name.as_str().unwrap())), "{} {name}", known.name);
        }
        assert!(section.contains("```json\n{"), "{}", known.name);
    }
}
