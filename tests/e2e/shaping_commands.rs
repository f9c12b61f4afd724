//! The commands about what events hold and what receivers get of them: `event-types`, `trigger`, `explain`, `endpoints preview`, the flags of
//! endpoints about payloads, and signing keys.

use gatepost_tests::{Database, Receiver, Settings, World, on_both_databases, world::PERSON};
use serde_json::{Value, json};

use crate::shell::{Shell, said};

on_both_databases!(
    a_type_of_ones_own_is_registered_triggered_changed_and_removed,
    trigger_publishes_the_example_of_a_type_with_what_is_set_in_it,
    explain_says_for_every_endpoint_whether_and_why,
    a_preview_is_the_request_that_is_then_sent,
    every_setting_about_payloads_is_a_flag_and_can_be_taken_back,
    signing_keys_are_listed_and_replaced,
);

/// X25519, RFC 8037, appendix A.6.
const KEY: &str = r#"{"kty":"OKP","crv":"X25519","kid":"Bob","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}"#;

async fn a_type_of_ones_own_is_registered_triggered_changed_and_removed(database: Database) {
    let world = World::on(&database).await;
    let shell = Shell::of(&world);
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).expect("the file is written");
        format!("@{}", file.display())
    };
    let schema = r#"{"type": "object", "required": ["badge"], "properties": {"badge": {"type": "string"}}}"#;
    let (schema, example) = (write("schema.json", schema), write("example.json", r#"{"badge": "b-1"}"#));
    let create = ["event-types", "create", "acme.badge_printed", "--schema", &schema, "--description", "A badge was printed"];
    let tried = shell.json(&[&create[..], &["--dry-run"]].concat()).await;
    assert_eq!(tried["schemaVersion"], 1, "{tried}");
    shell.fails(&["event-types", "get", "acme.badge_printed"], 3).await;

    let made = shell.json(&create).await;
    assert_eq!((made["origin"].as_str(), made["schemaVersion"].as_i64()), (Some("ORIGIN_TENANT"), Some(1)), "{made}");
    let failure = shell.fails(&["trigger", "acme.badge_printed"], 1).await;
    assert!(failure.contains("has no example") && failure.contains("hint: "), "{failure}");
    shell.ok(&["event-types", "update", "acme.badge_printed", "--example", &example]).await;
    let event = shell.json(&["trigger", "acme.badge_printed", "--event-id", "b-1"]).await;
    assert_eq!(event["event"], "tenants/acme/events/b-1");
    assert_eq!(world.tenant.get_event("b-1").await.expect("the event").data, r#"{"badge": "b-1"}"#);

    let refused = shell.fails(&["publish", "acme.badge_printed", "-d", r#"{"badge": 1}"#], 1).await;
    assert!(refused.contains("SCHEMA_VIOLATION") && refused.contains("data/badge"), "{refused}");
    // Another schema is another version, and publishers may go on with the one before.
    let next = r#"{"type": "object", "required": ["printer"], "properties": {"printer": {"type": "string"}}}"#;
    let update = ["event-types", "update", "acme.badge_printed", "--schema", next, "--example", r#"{"printer": "p"}"#];
    assert_eq!(shell.json(&update).await["schemaVersion"], 2);
    shell.ok(&["publish", "acme.badge_printed", "-d", r#"{"badge": "b"}"#, "--schema-version", "1", "--event-id", "b-2"]).await;
    shell.fails(&["publish", "acme.badge_printed", "-d", r#"{"badge": "b"}"#], 1).await;
    let lines = folder.path().join("lines.jsonl");
    let line = r#"{"type":"acme.badge_printed","event_id":"b-3","data":{"badge":"b"},"schema_version":1}"#;
    std::fs::write(&lines, line).expect("the file is written");
    shell.ok(&["publish", "--jsonl", lines.to_str().expect("UTF-8")]).await;
    for id in ["b-1", "b-2", "b-3"] {
        assert_eq!(world.tenant.get_event(id).await.expect("the event").schema_version, 1, "{id}");
    }
    let first = shell.ok(&["event-types", "get", "acme.badge_printed", "--schema", "--schema-version", "1"]).await;
    assert!(first.contains("badge") && first.lines().count() > 5, "for people it has line breaks: {first}");

    let own = shell.json(&["event-types", "list", "--filter", r#"origin == "TENANT""#]).await;
    assert_eq!(own.as_array().map(Vec::len), Some(1), "{own}");
    let all = shell.ok(&["event-types", "list"]).await;
    for words in ["acme.badge_printed", "user.terminated", "access.granted", "Gatepost"] {
        assert!(all.contains(words), "{words} is not in {all}");
    }
    shell.fails(&["event-types", "delete", "acme.badge_printed"], 2).await;
    shell.ok(&["event-types", "delete", "acme.badge_printed", "--yes"]).await;
    shell.fails(&["event-types", "get", "acme.badge_printed"], 3).await;
    let taken = shell.fails(&["event-types", "create", "user.badge_printed", "--schema", "{}"], 1).await;
    assert!(taken.contains("event_type_id:"), "{taken}");
}

async fn trigger_publishes_the_example_of_a_type_with_what_is_set_in_it(database: Database) {
    let world = World::on(&database).await;
    let shell = Shell::of(&world);
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let example = shell.ok(&["event-types", "get", "user.terminated", "--example", "-o", "json"]).await;
    shell.ok(&["trigger", "user.terminated", "--event-id", "t-1"]).await;
    assert_eq!(world.tenant.get_event("t-1").await.expect("the event").data, example.trim_end());

    let set = ["--set", "data.user.id=usr_9", "--set", "data.user.attributes.level=7", "--set", "data.reason=voluntary"];
    let trigger = ["trigger", "user.terminated", "--event-id", "t-2", "--tag", "source=hr", "--wait"];
    let delivered = shell.json(&[&trigger[..], &set].concat()).await;
    assert_eq!(delivered[0]["state"], "STATE_SUCCEEDED", "{delivered}");
    let event = world.tenant.get_event("t-2").await.expect("the event");
    let data: Value = serde_json::from_slice(&event.data).expect("JSON");
    assert_eq!(
        (&data["user"]["id"], &data["user"]["attributes"]["level"], &data["reason"]),
        (&json!("usr_9"), &json!(7), &json!("voluntary"))
    );
    assert_eq!((event.subject.as_str(), event.tags["source"].as_str()), ("user/usr_9", "hr"));

    let refused = shell.fails(&["trigger", "user.terminated", "--set", "data.reason=boredom"], 1).await;
    assert!(refused.contains("SCHEMA_VIOLATION") && refused.contains("data/reason"), "{refused}");
    let reserved = shell.fails(&["trigger", "access.granted"], 1).await;
    assert!(reserved.contains("only Gatepost publishes access.granted") && reserved.contains("grant"), "{reserved}");
    shell.fails(&["trigger", "user.terminated", "--set", "user.id=x"], 2).await;
    shell.fails(&["trigger", "user.unheard_of"], 3).await;

    // Every type of the catalogue that callers publish has an example that is accepted.
    let types = shell.json(&["event-types", "list"]).await;
    let lines = types.as_array().expect("a list").iter().filter(|known| known["reserved"] != true).map(|known| {
        let (name, example) = (known["name"].as_str().expect("a name"), known["example"].as_str().expect("an example"));
        format!("{{\"type\":\"{}\",\"data\":{example}}}\n", name.rsplit('/').next().unwrap_or_default())
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("examples.jsonl");
    std::fs::write(&file, lines.collect::<String>()).expect("the file is written");
    shell.ok(&["publish", "--jsonl", file.to_str().expect("UTF-8")]).await;
}

async fn explain_says_for_every_endpoint_whether_and_why(database: Database) {
    let world = World::on(&database).await;
    let shell = Shell::of(&world);
    let url = Receiver::ok().await.url();
    for (id, flags) in [
        ("all", &[][..]),
        ("groups", &["--event-type", "group.*"]),
        ("hooks", &["--hooks-only"]),
        ("sales", &["--filter", r#"data.user.attributes.department == "Sales""#]),
        ("strict", &["--filter", r#"data.nothing == "x""#]),
    ] {
        shell.ok(&[&["endpoints", "create", &url, "--id", id], flags].concat()).await;
    }
    shell.ok(&["endpoints", "create", &url, "--id", "off"]).await;
    shell.ok(&["endpoints", "disable", "off"]).await;
    let data = r#"{"user": {"id": "usr_1", "attributes": {"department": "Finance"}}}"#;
    shell.ok(&["publish", "user.created", "-d", data, "--event-id", "e-1"]).await;

    let document = shell.json(&["explain", "e-1"]).await;
    let reasons: Vec<(&str, &str)> = document
        .as_array()
        .expect("a list")
        .iter()
        .map(|found| {
            let id = found["endpoint"].as_str().and_then(|name| name.rsplit('/').next()).expect("a name");
            (id, found["reason"].as_str().unwrap_or_default())
        })
        .collect();
    let expected = [
        ("all", ""),
        ("groups", "REASON_EVENT_TYPE"),
        ("hooks", "REASON_HOOKS_ONLY"),
        ("off", "REASON_DISABLED"),
        ("sales", "REASON_FILTER_FALSE"),
        ("strict", "REASON_FILTER_FAILED"),
    ];
    assert_eq!(reasons, expected, "{document}");
    assert!(document[0]["deliveries"][0].as_str().is_some_and(|name| name.contains("/deliveries/dlv_")), "{document}");

    let text = shell.ok(&["explain", "e-1"]).await;
    let table: Vec<&str> = text.lines().take(7).collect();
    assert!(table[0].starts_with("ENDPOINT") && table[1].contains("yes") && table[1].contains("dlv_"), "{text}");
    assert!(table[2..].iter().all(|row| row.contains(" no ")), "{text}");
    assert!(text.contains("\nthe filter of sales read\n  data.user.attributes.department = \"Finance\"\n"), "{text}");
    shell.fails(&["explain", "e-2"], 3).await;
}

async fn a_preview_is_the_request_that_is_then_sent(database: Database) {
    let world = World::on(&database).await;
    let shell = Shell::of(&world);
    let receiver = Receiver::ok().await;
    shell.ok(&["endpoints", "create", &receiver.url(), "--id", "siem", "--header", "x-key=s3cret", "--omit", "/user/email"]).await;
    shell.ok(&["publish", "user.created", "-d", PERSON, "--event-id", "e-1", "--wait"]).await;
    let sent = receiver.wait_for(1).await.remove(0);

    let body = shell.ok(&["endpoints", "preview", "siem", "e-1", "--body"]).await;
    assert_eq!(body.as_bytes(), sent.body, "byte for byte");
    assert!(body.contains("usr_1") && !body.contains("jane@acme.test"), "{body}");
    let text = shell.ok(&["endpoints", "preview", "siem", "e-1"]).await;
    let (head, shown) = text.split_once("\n\n").expect("a blank line");
    assert_eq!(serde_json::from_str::<Value>(shown).ok(), serde_json::from_str(&body).ok(), "{shown}");
    assert!(shown.lines().count() > 5 && head.contains("x-key: <hidden>") && !text.contains("s3cret"), "{text}");
    for name in ["content-type", "webhook-id", "gatepost-event-type", "content-digest"] {
        let value = sent.headers[name].to_str().expect("text");
        assert!(head.lines().any(|line| line == format!("{name}: {value}")), "{name}: {value} is not in {head}");
    }

    // Settings that are tried are not saved.
    let preview = |flags: &[&'static str]| ["endpoints", "preview", "siem", "e-1"].iter().chain(flags).copied().collect::<Vec<_>>();
    let binary = shell.ok(&preview(&["--format", "cloudevents-binary", "--no-field-policy"])).await;
    assert!(binary.contains("ce-type: user.created\n") && binary.contains("jane@acme.test"), "{binary}");
    let made = shell.ok(&preview(&["--transform", r#"{"text": {{ "Hello " ~ data.user.id }}}"#, "--body"])).await;
    assert_eq!(serde_json::from_str::<Value>(&made).expect("JSON"), json!({"text": "Hello usr_1"}));
    let sealed = shell.ok(&preview(&["--encryption-key", KEY])).await;
    assert!(sealed.contains("content-type: application/jose\n") && sealed.contains("# before encryption\n{"), "{sealed}");
    let nothing = shell.ok(&preview(&["--filter", r#"data.user.id == "usr_2""#])).await;
    assert!(nothing.starts_with("nothing would be sent to siem: its filter is false\n"), "{nothing}");
    assert!(nothing.contains("data.user.id = \"usr_1\""), "{nothing}");
    let failed = shell.run(&preview(&["--transform", "{{ nothing.at.all }}"])).await;
    assert_eq!(failed.status.code(), Some(1), "{}", said(&failed));
    let refused = shell.fails(&preview(&["--filter", "((", "--hash", "user"]), 1).await;
    assert!(refused.contains("endpoint.filter:") && refused.contains("endpoint.field_policy.rules[0].pointer:"), "{refused}");
    assert_eq!(shell.ok(&["endpoints", "preview", "siem", "e-1", "--body"]).await, body);
    let document = shell.json(&["endpoints", "preview", "siem", "e-1"]).await;
    assert_eq!(
        (&document["match"]["matched"], document["requests"].as_array().map(Vec::len)),
        (&json!(true), Some(1)),
        "{document}"
    );
    shell.fails(&["endpoints", "preview", "siem", "e-2"], 3).await;
    shell.fails(&["endpoints", "preview", "nothing", "e-1"], 3).await;
}

async fn every_setting_about_payloads_is_a_flag_and_can_be_taken_back(database: Database) {
    let world = World::on(&database).await;
    let shell = Shell::of(&world);
    let url = Receiver::ok().await.url();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("template");
    std::fs::write(&file, "{\"text\": {{ type }}}\n").expect("the file is written");
    let template = format!("@{}", file.display());
    let create = ["endpoints", "create", &url, "--id", "siem", "--filter", "has(data.user)", "--format", "lumos-siem"];
    let shape = ["--transform", &template, "--omit-others", "--keep", "/user", "--hash", "/user/email", "--encryption-key", KEY];
    let made = shell.json(&[&create[..], &shape].concat()).await;
    assert_eq!((&made["filter"], &made["format"]), (&json!("has(data.user)"), &json!("FORMAT_LUMOS_SIEM")), "{made}");
    assert_eq!(made["transform"], "{\"text\": {{ type }}}\n");
    let rules = json!([{"pointer": "/user/email", "action": "ACTION_HASH"}, {"pointer": "/user", "action": "ACTION_KEEP"}]);
    assert_eq!(made["fieldPolicy"], json!({"defaultAction": "ACTION_OMIT", "rules": rules}));
    assert_eq!(made["encryption"]["keys"][0]["keyId"], "Bob");
    let table = shell.ok(&["endpoints", "get", "siem"]).await;
    for words in ["has(data.user)", "LUMOS_SIEM", "hash /user/email", "omit all others", "{{ type }}", "Bob since "] {
        assert!(table.contains(words), "{words} is not in {table}");
    }

    // A policy is also a file, and takes the place of the one before.
    let policy = r#"{"rules": [{"pointer": "/user/email", "action": "ACTION_OMIT"}]}"#;
    let changed = shell.json(&["endpoints", "update", "siem", "--field-policy", policy]).await;
    assert_eq!(changed["fieldPolicy"]["rules"], json!([{"pointer": "/user/email", "action": "ACTION_OMIT"}]), "{changed}");
    let refused = shell.fails(&["endpoints", "update", "siem", "--set-audience", "https://rp.test", "--format", "set"], 1).await;
    assert!(refused.contains("endpoint.") && refused.contains("public_base_url"), "{refused}");
    let cleared = ["--no-filter", "--no-transform", "--no-field-policy", "--no-encryption", "--format", "standard", "--hooks-only"];
    let changed = shell.json(&[&["endpoints", "update", "siem"][..], &cleared].concat()).await;
    for field in ["filter", "transform", "fieldPolicy", "encryption"] {
        assert_eq!(changed[field], Value::Null, "{field}: {changed}");
    }
    assert_eq!((&changed["format"], &changed["hooksOnly"]), (&json!("FORMAT_STANDARD"), &json!(true)));
    assert_eq!(shell.json(&["endpoints", "update", "siem", "--hooks-only=false"]).await["hooksOnly"], Value::Null);
    let private = r#"{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08","d":"AA"}"#;
    shell.fails(&["endpoints", "update", "siem", "--encryption-key", private], 2).await;
}

async fn signing_keys_are_listed_and_replaced(database: Database) {
    let site = "https://gatepost.acme.test";
    let world = World::with(Settings::on(&database).set("GATEPOST_PUBLIC_BASE_URL", site)).await;
    let shell = Shell::of(&world);
    let receiver = Receiver::ok().await;
    assert_eq!(shell.json(&["tenants", "signing-keys", "list"]).await, json!([]));
    let create =
        ["endpoints", "create", &receiver.url(), "--id", "rp", "--format", "set", "--set-audience", "https://rp.acme.test"];
    shell.ok(&[&create[..], &["--set-family", "risc", "--set-family", "caep", "--set-subject", "email"]].concat()).await;
    let table = shell.ok(&["endpoints", "get", "rp"]).await;
    for words in ["SET", "https://rp.acme.test", "risc caep", "email"] {
        assert!(table.contains(words), "{words} is not in {table}");
    }
    let first = shell.json(&["tenants", "signing-keys", "list"]).await;
    assert_eq!(first.as_array().map(Vec::len), Some(1), "{first}");
    shell.ok(&["trigger", "user.suspended", "--event-id", "e-1", "--wait"]).await;

    // Two families have an event for it: two tokens, opened for people.
    let text = shell.ok(&["endpoints", "preview", "rp", "e-1"]).await;
    for words in ["# request 2 of 2\n", "content-type: application/secevent+jwt\n", "session-revoked", "account-disabled"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    let issuer = format!("\"iss\": \"{site}/tenants/acme\"");
    assert!(text.contains(&issuer) && text.contains(first[0]["keyId"].as_str().expect("a text")), "{text}");

    let next = shell.json(&["tenants", "signing-keys", "rotate", "--activate-after", "2h"]).await;
    let table = shell.ok(&["tenants", "signing-keys", "list"]).await;
    for key in [&first[0], &next] {
        assert!(table.contains(key["keyId"].as_str().expect("a text")), "{key} is not in {table}");
    }
    assert_ne!(first[0]["keyId"], next["keyId"]);
    shell.fails(&["tenants", "signing-keys", "rotate", "--activate-after", "8d"], 1).await;
}
