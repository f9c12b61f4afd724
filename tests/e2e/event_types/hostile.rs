//! Schemas that were made to keep a server busy.

use std::{cell::Cell, time::Instant};

use super::*;

on_both_databases!(no_schema_and_no_payload_keep_the_server_from_others);

/// How long a call may take here, an honest one beside a hostile one too: a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// What memory may grow by, in MiB.
const ROOM: f64 = 96.0;

/// `$defs` in a row, each of which applies the next one twice.
fn doubling(keyword: &str, levels: usize) -> String {
    let level = |level: usize| {
        let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
        (format!("l{level}"), json!({ keyword: [next, next] }))
    };
    let mut defs: BTreeMap<String, Value> = (0..levels).map(level).collect();
    defs.insert(format!("l{levels}"), json!({"minProperties": 1}));
    json!({"$ref": "#/$defs/l0", "$defs": defs}).to_string()
}

fn nested(levels: usize) -> String {
    format!("{}true{}", r#"{"properties": {"a": "#.repeat(levels), "}}".repeat(levels))
}

/// Each with whether it may be registered at all; `None`: as the server likes.
fn schemas() -> Vec<(&'static str, String, Option<bool>)> {
    let list = |schema: &str| format!(r#"{{"properties": {{"items": {{"items": {schema}}}, "text": {schema}}}}}"#);
    vec![
        ("a schema of the network", r#"{"$ref": "https://127.0.0.1:1/schema.json"}"#.into(), Some(false)),
        ("a schema of another name", r#"{"$id": "https://example.com/a", "$ref": "b.json"}"#.into(), Some(false)),
        ("a file", r#"{"$ref": "file:///etc/passwd"}"#.into(), Some(false)),
        ("a reference to itself", r##"{"$ref": "#"}"##.into(), Some(false)),
        (
            "a circle",
            r##"{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}"##.into(),
            Some(false),
        ),
        ("2^40 allOf", doubling("allOf", 40), Some(false)),
        ("2^40 anyOf", doubling("anyOf", 40), Some(false)),
        ("2^40 oneOf", doubling("oneOf", 40), Some(false)),
        ("2^12 anyOf", doubling("anyOf", 12), None),
        ("2^6 oneOf", doubling("oneOf", 6), None),
        ("alternatives that all refuse", json!({"anyOf": vec![json!({"minProperties": 99_999}); 1500]}).to_string(), Some(true)),
        (
            "an alternative that names much",
            json!({"oneOf": [{"required": (0..3000).map(|number| format!("m{number}")).collect::<Vec<_>>()}, {"required": ["b"]}]})
                .to_string(),
            Some(true),
        ),
        ("a tree", r##"{"properties": {"items": {"items": {"$ref": "#"}}, "a": {"$ref": "#"}}}"##.into(), Some(true)),
        (
            "a tree of alternatives",
            r##"{"additionalProperties": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"type": "string"}]}}"##.into(),
            None,
        ),
        ("nested 33 deep", nested(17), Some(false)),
        ("nested 3000 deep", nested(1500), Some(false)),
        ("an expression that backtracks", list(r#"{"type": "string", "pattern": "^(a+)+$"}"#), Some(true)),
        ("another one", list(r#"{"type": "string", "pattern": "^(a|aa)*(b|a*)*$"}"#), None),
        ("a back reference", list(r#"{"type": "string", "pattern": "(a)\\1"}"#), Some(false)),
        ("a large repetition", list(r#"{"type": "string", "pattern": "((a{100}){100}){100}"}"#), Some(false)),
        ("many large repetitions", list(&format!(r#"{{"pattern": "{}"}}"#, "(x|y){900}".repeat(20))), Some(false)),
        ("no item twice", r#"{"properties": {"items": {"uniqueItems": true}}}"#.into(), None),
        ("a huge list of values", json!({"properties": {"text": {"enum": (0..9000).collect::<Vec<_>>()}}}).to_string(), None),
        (
            "what nothing evaluated",
            format!(
                r#"{{"unevaluatedProperties": false, "allOf": [{}]}}"#,
                vec![r#"{"unevaluatedProperties": true}"#; 30].join(",")
            ),
            Some(false),
        ),
        ("many subschemas", format!(r#"{{"allOf": [{}]}}"#, vec!["{}"; 9000].join(",")), Some(false)),
        ("a tiny multiple", list(r#"{"multipleOf": 1e-308}"#), None),
        ("a huge bound", list(r#"{"maxLength": 1e300, "minItems": 99999999999999999999999}"#), None),
        (
            "names",
            r#"{"propertyNames": {"pattern": "^(a+)+$"}, "patternProperties": {"^(.*)*x": false, "(.*a){9}": true}}"#.into(),
            None,
        ),
    ]
}

/// Payloads of nearly 256 KiB, each bad for something.
fn payloads() -> Vec<Value> {
    let deep = (0..60).fold(json!(1), |inner, _| json!({ "a": inner }));
    let wide: Vec<Value> = (0..4000).map(|number| json!(format!("{}{number}!", "a".repeat(40)))).collect();
    let names: serde_json::Map<String, Value> = (0..8000).map(|number| (format!("{}{number}", "a".repeat(16)), json!(1))).collect();
    vec![
        json!({"text": format!("{}!", "a".repeat(250_000))}),
        json!({ "items": wide }),
        json!({"items": vec![json!([]); 60_000]}),
        json!({ "a": deep }),
        Value::Object(names),
        json!({}),
    ]
}

async fn no_schema_and_no_payload_keep_the_server_from_others(database: Database) {
    let world = World::on(&database).await;
    let globex = globex(&world).await;
    globex.publish(event("user.created")).await.expect("a receipt");
    let payloads: Vec<String> = payloads().iter().map(Value::to_string).collect();
    assert!(payloads.iter().all(|payload| payload.len() < 256 * 1024));
    let before = world.server.memory_mib();
    // Which of them is being tried.
    let now = Cell::new("");
    let (mut slowest, mut largest) = ((Duration::ZERO, ""), (before, ""));
    let attack = async {
        for (number, (name, schema, expected)) in schemas().into_iter().enumerate() {
            now.set(name);
            let id = format!("order.nasty_{number}");
            let begun = Instant::now();
            let made = world.tenant.create_event_type(new_type(&id, &schema)).await;
            assert!(begun.elapsed() < PATIENCE, "{name} took {:?}", begun.elapsed());
            if let Err(error) = &made {
                assert_eq!(fields(error)[0], "event_type.schema", "{name}: {error:?}");
            }
            assert!(expected.is_none_or(|expected| made.is_ok() == expected), "{name}: {made:?}");
            if made.is_err() {
                continue;
            }
            for payload in &payloads {
                let begun = Instant::now();
                let result = world.tenant.publish(NewEvent::new(&*id, payload.clone())).await;
                assert!(begun.elapsed() < PATIENCE, "{name} took {:?}", begun.elapsed());
                if let Err(error) = result {
                    assert_eq!(error.reason(), Some("SCHEMA_VIOLATION"), "{name}: {error:?}");
                }
            }
            world.tenant.delete_event_type(&id).await.expect("it is deleted");
        }
    };
    let beside = async {
        loop {
            let begun = Instant::now();
            globex.publish(event("user.created")).await.expect("a receipt");
            if begun.elapsed() > slowest.0 {
                slowest = (begun.elapsed(), now.get());
            }
            let memory = world.server.memory_mib();
            if memory > largest.0 {
                largest = (memory, now.get());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = attack => {}
        () = beside => {}
    }
    assert!(slowest.0 < PATIENCE, "another tenant waited {slowest:?}");
    assert!(largest.0 - before < ROOM, "{before} MiB before, {largest:?} while it went on");
}
