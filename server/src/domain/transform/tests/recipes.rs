//! The recipes of `server/recipes`: each compiles, renders every event that it is for, and gives the body that its snapshot shows.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test recipes` writes them anew. `tests/oracles/recipes.py` holds them against the vendors' own
//! libraries.

use std::path::Path;

use super::*;
use crate::domain::catalogue;
use crate::domain::event_filter::EventFilter;

const RECIPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes");

/// Each recipe with the types whose bodies are kept.
const KEPT: [(&str, &[&str]); 5] = [
    ("slack", &["user.terminated", "access_request.created"]),
    ("jira", &["user.terminated", "access.manual_task_created"]),
    ("pagerduty", &["access.deprovision_overdue", "access.revoked", "credential.compromised"]),
    ("workato", &["access.granted", "user.department_changed"]),
    ("okta-workflows", &["user.terminated", "access.revoked"]),
];

fn recipe(name: &str) -> Transform {
    let text = std::fs::read_to_string(Path::new(RECIPES).join(format!("{name}.json.j2"))).unwrap();
    Transform::compile(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The `STANDARD` body of a type's example.
fn standard(name: &str, data: &str) -> serde_json::Value {
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let subject =
        data.pointer("/user/id").and_then(serde_json::Value::as_str).map_or("tenant/acme".to_owned(), |id| format!("user/{id}"));
    json!({
        "id": "evt_01", "type": name, "timestamp": "2026-11-25T09:00:00.000Z", "tenant": "acme", "subject": subject,
        "sequence": "00000000000000000042", "txn": "evt_01", "schema_version": 1, "data": data,
    })
}

#[test]
fn recipes_give_what_their_snapshots_show() {
    for (name, types) in KEPT {
        let recipe = recipe(name);
        for event_type in types {
            let event = catalogue::find(event_type).unwrap();
            let body = recipe
                .render(&standard(event_type, event.example()))
                .unwrap_or_else(|error| panic!("{name} {event_type}: {error}"));
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let path = Path::new(RECIPES).join(format!("snapshots/{name}.{event_type}.json"));
            if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
                std::fs::write(&path, format!("{body:#}\n")).unwrap();
            }
            let kept = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&kept).unwrap(), body, "{name} {event_type}");
        }
    }
}

#[test]
fn recipes_render_every_type_of_the_catalogue() {
    for (name, _) in KEPT {
        let recipe = recipe(name);
        for event in catalogue::all() {
            recipe.render(&standard(event.name, event.example())).unwrap_or_else(|error| panic!("{name} {}: {error}", event.name));
        }
    }
}

#[test]
fn filters_of_the_page_are_filters() {
    let page = std::fs::read_to_string(Path::new(RECIPES).join("README.md")).unwrap();
    let filters: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `filter` | `")?.strip_suffix("` |")).collect();
    assert_eq!(filters.len(), 2);
    for filter in filters {
        EventFilter::compile(&filter.replace("\\|", "|")).unwrap_or_else(|error| panic!("{filter}: {error}"));
    }
}

#[test]
fn the_page_lists_every_filter_and_test_of_templates() {
    let page = std::fs::read_to_string(Path::new(RECIPES).join("README.md")).unwrap();
    let listed = |begin: &str| {
        let text = page.split(begin).nth(1).unwrap().split('.').next().unwrap();
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    };
    for (begin, known) in [("- Filters:", true), ("- Tests:", false)] {
        for name in listed(begin) {
            assert!(if known { filters::gives(&name).is_some() } else { predicates::is_one(&name) }, "{name}");
        }
    }
    assert_eq!(listed("- Tests:").len(), predicates::NAMES.len());
    assert_eq!(listed("- Filters:").len(), 37);
}

#[test]
fn hostile_names_stay_in_their_places() {
    let name = "\"}], \"x\": [{\"<!channel> & \\ {{ 1 }} \u{1}\n";
    for (recipe_name, _) in KEPT {
        let event = standard(
            "user.terminated",
            &json!({"user": {"id": name, "given_name": name, "email": name}, "effective_at": name}).to_string(),
        );
        let body = recipe(recipe_name).render(&event).unwrap_or_else(|error| panic!("{recipe_name}: {error}"));
        let quiet = standard("user.terminated", r#"{"user":{"id":"a","given_name":"a","email":"a"},"effective_at":"a"}"#);
        let quiet: serde_json::Value = serde_json::from_slice(&recipe(recipe_name).render(&quiet).unwrap()).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(shape(&body), shape(&quiet), "{recipe_name}");
        if recipe_name == "slack" {
            assert!(!body["text"].as_str().unwrap().contains("<!channel>"));
        }
    }
}

/// A value without its texts.
fn shape(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::String(_) => json!(""),
        serde_json::Value::Array(items) => items.iter().map(shape).collect(),
        serde_json::Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        other => other.clone(),
    }
}
