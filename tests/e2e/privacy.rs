//! What a receiver must not see it does not get, in any format and by no way around, and what is encrypted for it only it can read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use gatepost_client::{
    NewEvent, Receipt,
    v1::{
        self, AttemptClass, CreateEndpointRequest,
        delivery::State,
        encryption::Key,
        endpoint::{Format, SetFamily},
        field_policy::{Action, Rule},
    },
};
use gatepost_server::domain::field_policy::HashKey;
use gatepost_tests::{Answer, Database, Received, Receiver, Settings, World, on_both_databases, oracle, until, world::waits};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::judges::{self, AUDIENCE, Pair, last, token, tokens};

on_both_databases!(
    what_a_policy_withholds_is_nowhere,
    equal_values_have_equal_hashes_at_one_endpoint_alone,
    an_encrypted_body_is_read_by_its_receiver_alone,
    the_newest_key_encrypts_until_it_is_taken_back,
    a_key_that_is_none_is_refused_with_the_reason,
);

/// Every format, as endpoints have it.
const FORMATS: [(&str, Format); 5] = [
    ("standard", Format::Standard),
    ("structured", Format::CloudeventsStructured),
    ("binary", Format::CloudeventsBinary),
    ("siem", Format::LumosSiem),
    ("set", Format::Set),
];

/// Gives an endpoint a format; one of tokens gets every type.
fn shaped(format: Format) -> impl Fn(&mut v1::Endpoint) {
    move |endpoint| {
        if format == Format::Set {
            tokens(endpoint);
            endpoint.set_own_types = true;
            endpoint.set_families = [SetFamily::Caep, SetFamily::Risc, SetFamily::Scim].map(i32::from).to_vec();
        }
        endpoint.format = format.into();
    }
}

fn policy(default: Action, rules: &[(&str, Action)]) -> Option<v1::FieldPolicy> {
    let rule = |(pointer, action): &(&str, Action)| Rule { pointer: (*pointer).to_owned(), action: (*action).into() };
    Some(v1::FieldPolicy { default_action: default.into(), rules: rules.iter().map(rule).collect() })
}

/// Everything that a request says, with what is packed inside a token.
fn said(request: &Received) -> String {
    let mut said = format!("{} {:?}\n{}", request.path, request.headers, String::from_utf8_lossy(&request.body));
    if request.header("content-type") == "application/secevent+jwt" {
        let (header, claims) = token(&request.body);
        said += &format!("\n{header}{claims}");
    }
    said
}

/// Canaries are what begins with this.
const CANARY: &str = "canary-";

async fn what_a_policy_withholds_is_nowhere(database: Database) {
    let world = World::with(Settings::on(&database).named().set("GATEPOST_LOG__FILTER", "debug")).await;
    // What came is echoed, so that it would be in the attempt's record.
    let receiver = Receiver::answering(|_, request| {
        let answer = Answer::status(if request.attempt() == 1 { 503 } else { 202 });
        answer.header("x-echo", &request.header("ce-subject").replace('%', "~")).body(request.body.clone())
    })
    .await;
    let withheld = [
        ("/user/id", Action::Omit),
        ("/user/email", Action::Hash),
        ("/user/family_name", Action::Omit),
        ("/user/attributes/*", Action::Omit),
        ("/user/attributes/title", Action::Keep),
        ("/permissions/*/label", Action::Hash),
        ("/permissions/0", Action::Omit),
        ("/reason_admin", Action::Omit),
        ("/actor", Action::Hash),
        ("/old_value", Action::Omit),
        ("/principal_id", Action::Hash),
        ("/session/*", Action::Omit),
        ("/changes/*/old", Action::Omit),
        ("/changes/*/new", Action::Hash),
        ("/x-secret~1~0", Action::Omit),
    ];
    let kept = [("/user/attributes/title", Action::Keep), ("/changes/*/field", Action::Keep)];
    let mut ids = Vec::new();
    for (name, format) in FORMATS {
        let policies = [("clear", None), ("masked", policy(Action::Keep, &withheld)), ("only", policy(Action::Omit, &kept))];
        for (kind, policy) in policies {
            let id = format!("{kind}-{name}");
            let url = format!("{}/{id}", receiver.url());
            world
                .endpoint(&id, &url, |endpoint| {
                    shaped(format)(endpoint);
                    endpoint.field_policy = policy;
                    endpoint.retry_policy = waits(&[1]);
                })
                .await;
            ids.push(id);
        }
    }
    for (id, transform) in [("masked-transform", "{{ data | tojson }}"), ("masked-broken", r#"{"a": {{ data.user.email + 1 }}}"#)] {
        world
            .endpoint(id, &format!("{}/{id}", receiver.url()), |endpoint| {
                endpoint.transform = transform.to_owned();
                endpoint.field_policy = policy(Action::Keep, &withheld);
                endpoint.retry_policy = waits(&[1]);
            })
            .await;
        ids.push(id.to_owned());
    }
    // A filter may read everything, and tells nobody but who may read payloads.
    world.endpoint("filtered", &receiver.url(), |endpoint| endpoint.filter = "data.user.nothing == 1".to_owned()).await;

    let user = r#""user": {"id": "canary-id", "\u0065mail": "canary-email@acme.test", "family_name": "canary-first", "family_name": "canary-name",
        "attributes": {"title": "visible-title", "salary": "canary-salary", "deep": {"title": ["canary-deep"]}}}"#;
    let rest = r#""permissions": [{"id": "canary-perm"}, {"id": "perm_2", "label": "canary-label"}], "x-secret/~": "canary-pointer",
        "reason_admin": {"en": "canary-reason"}, "actor": {"type": "admin", "email": "canary-actor@acme.test"}"#;
    let events = [
        ("user.terminated", format!(r#"{{{user}, {rest}, "effective_at": "2026-11-25T09:00:00Z"}}"#)),
        (
            "user.identifier_changed",
            format!(r#"{{{user}, {rest}, "identifier_type": "email", "old_value": "canary-old@acme.test"}}"#),
        ),
        (
            "user.updated",
            format!(r#"{{{user}, {rest}, "changes": [{{"field": "visible-field", "old": "canary-old", "new": "canary-new"}}]}}"#),
        ),
        ("session.revoked", format!(r#"{{{user}, {rest}, "session": {{"id": "canary-session"}}}}"#)),
        (
            "risk.level_changed",
            format!(r#"{{{user}, {rest}, "principal": "user", "principal_id": "canary-principal", "current_level": "high"}}"#),
        ),
        ("compliance.policy_violated", format!(r#"{{{user}, {rest}, "policy": {{"id": "p"}}, "severity": "low"}}"#)),
    ];
    let mut receipts = Vec::new();
    for (event_type, data) in &events {
        receipts.push(world.tenant.publish(NewEvent::new(*event_type, data.clone())).await.expect(event_type));
    }
    let deliveries = settled(&world, &receipts).await;
    assert!(
        deliveries.iter().all(|delivery| (delivery.state() == State::Dead) == (last(&delivery.endpoint) == "masked-broken")),
        "{deliveries:#?}"
    );

    let mut heard = BTreeMap::<&str, String>::new();
    for request in &receiver.received() {
        let endpoint = last(&request.path).to_owned();
        let id = ids.iter().find(|id| **id == endpoint).expect("an endpoint");
        *heard.entry(id).or_default() += &said(request);
    }
    for delivery in &deliveries {
        let id = ids.iter().find(|id| **id == last(&delivery.endpoint)).expect("an endpoint");
        for attempt in world.attempts(delivery).await {
            let body = String::from_utf8_lossy(&attempt.response_body).into_owned();
            *heard.entry(id).or_default() += &format!("{:?} {body} {}", attempt.response_headers, attempt.detail);
        }
    }
    let mut leaks = Vec::new();
    for id in &ids {
        let heard = &heard[id.as_str()];
        if id.starts_with("clear") {
            assert!(heard.contains(CANARY), "the search finds what is there: {id}");
        } else {
            leaks.extend(leak(id, heard));
        }
    }
    for receipt in &receipts {
        for id in ids.iter().filter(|id| !id.starts_with("clear")) {
            let shown = judges::preview(&world, id, receipt).await;
            let bodies = shown.requests.iter().map(|request| String::from_utf8_lossy(&request.body).into_owned());
            let shown = bodies.chain([shown.render_error.clone()]).collect::<String>();
            assert!(!shown.is_empty());
            leaks.extend(leak(&format!("preview of {id}"), &shown));
        }
    }
    let log = world.server.log().join("\n");
    assert!(log.len() > 1000);
    leaks.extend(leak("log", &log));
    assert!(leaks.is_empty(), "{leaks:#?}");
    // What may be seen is there: the rest of what was withheld was not thrown away with it.
    assert!(heard["masked-standard"].contains("visible-title") && heard["masked-standard"].contains("perm_2"));
    assert!(heard["masked-standard"].contains("hmac-sha256:") && heard["masked-transform"].contains("hmac-sha256:"));
    assert!(heard["only-standard"].contains("visible-title") && !heard["only-standard"].contains("perm_2"));
    assert!(heard["only-set"].contains("visible-field"));
    assert!(heard["masked-broken"].contains("transform: "), "{}", heard["masked-broken"]);
    // A subject from the payload is the one of what is left of it.
    for request in receiver.received().iter().filter(|request| request.path.ends_with("masked-structured")) {
        assert_eq!(
            (request.json()["subject"].as_str(), request.json()["partitionkey"].as_str()),
            (Some("tenant/acme"), Some("acme"))
        );
    }
    // The hash of a body is that of one without it too: else it could be guessed.
    let of = |id: &str| {
        let is = |request: &Received| request.path.ends_with(id) && request.header("gatepost-event-type") == "user.terminated";
        receiver.received().into_iter().find(is).expect("a request")
    };
    let hash = |body: &[u8]| Sha512::digest(body).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(of("clear-siem").json()["event"]["event_hash"], hash(&of("clear-standard").body));
    assert_eq!(of("only-siem").json()["event"]["event_hash"], hash(&of("only-standard").body));

    // An event's row names its subject, so that it can be found; nothing else of a payload is stored in clear.
    let stored = String::from_utf8_lossy(&database.contents().await).into_owned();
    let names = stored.match_indices(CANARY).filter_map(|(at, _)| stored.get(at + CANARY.len()..at + CANARY.len() + 2));
    let clear: BTreeSet<&str> = names.filter(|name| name.chars().all(char::is_alphabetic)).collect();
    assert_eq!(clear, BTreeSet::from(["id"]));
}

/// Where the first canary is, with what stands around it.
fn leak(place: &str, text: &str) -> Option<String> {
    let at = text.find(CANARY)?;
    let around: String = text.get(at.saturating_sub(80)..).unwrap_or(text).chars().take(160).collect();
    Some(format!("{place}: {around}"))
}

/// All deliveries of these events, once they have ended.
async fn settled(world: &World, receipts: &[Receipt]) -> Vec<v1::Delivery> {
    let expected: usize = receipts.iter().map(|receipt| receipt.delivery_count() as usize).sum();
    until("all deliveries to end", async || {
        let deliveries = world.deliveries("").await;
        let ended = deliveries.iter().filter(|delivery| matches!(delivery.state(), State::Succeeded | State::Dead)).count();
        if ended == expected { Ok(deliveries) } else { Err((ended, expected)) }
    })
    .await
}

async fn equal_values_have_equal_hashes_at_one_endpoint_alone(database: Database) {
    let mut world = World::on(&database).await;
    let (one, other) = (Receiver::ok().await, Receiver::ok().await);
    for (id, receiver) in [("one", &one), ("other", &other)] {
        let rules = [("/user/email", Action::Hash), ("/user/phone_number", Action::Hash), ("/list/*", Action::Hash)];
        world.endpoint(id, &receiver.url(), |endpoint| endpoint.field_policy = policy(Action::Keep, &rules)).await;
    }
    let publish = async |world: &World, email: &str, list: &str| {
        let data = format!("{{\"user\": {{\"id\": \"usr_1\", \"email\": {email}, \"phone_number\": {email}}}, \"list\": {list}}}");
        let receipt = world.tenant.publish(NewEvent::new("user.created", data)).await.expect("a receipt");
        world.delivered(&receipt).await;
    };
    publish(&world, r#""jane@acme.test""#, r#"[1, 1.0, "1", true, null, {"b": 1, "a": [2]}, { "a" : [ 2 ], "b" : 1 }]"#).await;
    publish(&world, r#""max@acme.test""#, "[]").await;
    world.server.stop().await;
    world.server.restart().await;
    // Another spelling of the same text.
    publish(&world, r#""j\u0061ne@acme.test""#, "[1]").await;
    let data = |receiver: &Receiver| receiver.received().iter().map(|request| request.json()["data"].take()).collect::<Vec<_>>();
    let (one, other) = (data(&one), data(&other));
    let email = |data: &Value| data["user"]["email"].as_str().expect("a text").to_owned();
    for data in one.iter().chain(&other) {
        let hash = email(data);
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(hash.strip_prefix("hmac-sha256:").expect("the name of the function"));
        assert_eq!(bytes.expect("base64url").len(), 32);
        assert_eq!(data["user"]["phone_number"], hash.as_str(), "equal values are equal wherever they stand");
        // Nobody who can guess the value can check the guess.
        for guess in ["jane@acme.test", "\"jane@acme.test\"", "sjane@acme.test"] {
            assert!(!hash.ends_with(&BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(guess))));
        }
    }
    assert!(email(&one[0]) == email(&one[2]) && email(&one[0]) != email(&one[1]));
    let everywhere: BTreeSet<String> = one.iter().chain(&other).map(email).collect();
    assert_eq!(everywhere.len(), 4, "two values at two endpoints");
    let list = one[0]["list"].as_array().expect("a list");
    let kinds: BTreeSet<String> = list.iter().map(Value::to_string).collect();
    assert_eq!((list.len(), kinds.len()), (7, 6), "an object is the same however it is spelled, nothing else is");
    assert_eq!(list[5], list[6]);
    assert_eq!(one[2]["list"][0], list[0]);
}

/// The server's keys stay inside, so the function is compared under one of the test's.
#[tokio::test]
async fn python_computes_the_same_hashes() {
    let values = [
        r#""jane@acme.test""#,
        r#""Zo\u00eb \ud83d\ude00 \"\\\/""#,
        r#""""#,
        "0",
        "-0.10E+2",
        "12345678901234567890123",
        "true",
        "null",
        "{}",
        "[ ]",
        "{\"b\": [1.0, \"x\\u001f\\n\\/\"], \"a\": {\"\\u00e9\": null, \"z\": false},\t\"b\": 2, \"\u{1f600}\": 1, \"\\uffee\": 2}",
    ];
    let line = |value: &&str| {
        let expect = HashKey::new([9; 32]).hash(value).expect("a hash");
        json!({"key_base64": BASE64_STANDARD.encode([9; 32]), "value": value, "expect": expect}).to_string() + "\n"
    };
    let input: String = values.iter().map(line).collect();
    let Some(output) = oracle::python("python_computes_the_same_hashes", "field_hash.py", &[], &input).await else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(judges::json_lines(&output.stdout), [json!({"agreed": values.len()})]);
}

fn encrypted_for(keys: &[&Value]) -> Option<v1::Encryption> {
    Some(v1::Encryption { keys: keys.iter().map(|key| Key { jwk: key.to_string(), ..Default::default() }).collect() })
}

/// The header of a message, which is in clear.
fn header(message: &[u8]) -> Value {
    let first = message.split(|byte| *byte == b'.').next().unwrap_or_default();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(first).expect("base64url")).expect("JSON")
}

async fn an_encrypted_body_is_read_by_its_receiver_alone(database: Database) {
    let test = "an_encrypted_body_is_read_by_its_receiver_alone";
    let Some(pairs) = judges::pairs(test).await else { return };
    let world = World::with(Settings::on(&database).named()).await;
    let receiver = Receiver::answering(|_, request| Answer::status(if request.attempt() == 1 { 500 } else { 202 })).await;
    let formats = [
        ("standard", Format::Standard),
        ("structured", Format::CloudeventsStructured),
        ("set", Format::Set),
        ("binary", Format::CloudeventsBinary),
    ];
    let rules = [("/user/email", Action::Omit)];
    // Beside each of these, who gets the same in clear.
    for (name, format) in formats.iter().filter(|(name, _)| *name != "set") {
        let clear = |endpoint: &mut v1::Endpoint| {
            shaped(*format)(endpoint);
            endpoint.field_policy = policy(Action::Keep, &rules);
            endpoint.retry_policy = waits(&[1]);
        };
        world.endpoint(name, &format!("{}/{name}", receiver.url()), clear).await;
    }
    let mut sealed: HashMap<String, (&Pair, Format, v1::Endpoint)> = HashMap::new();
    for pair in pairs {
        for (name, format) in formats {
            // Binary mode only says something about headers: once is enough.
            if name == "binary" && pair.name != "jose-x25519" {
                continue;
            }
            let id = format!("{}-{name}", pair.name);
            let endpoint = world
                .endpoint(&id, &format!("{}/{id}", receiver.url()), |endpoint| {
                    shaped(format)(endpoint);
                    if format == Format::Set {
                        endpoint.set_families = vec![SetFamily::Caep.into()];
                    }
                    endpoint.field_policy = policy(Action::Keep, &rules);
                    endpoint.encryption = encrypted_for(&[&pair.public]);
                    endpoint.retry_policy = waits(&[1]);
                })
                .await;
            sealed.insert(id, (pair, format, endpoint));
        }
    }
    assert_eq!(sealed.len(), 9 * 3 + 1);
    let data = r#"{"user": {"id": "usr_1", "email": "canary-email@acme.test"}, "session": {"id": "Zo\u00eb \ud83d\ude00"}}"#;
    let receipt = world.tenant.publish(NewEvent::new("session.revoked", data)).await.expect("a receipt");
    assert_eq!(receipt.delivery_count() as usize, 3 + sealed.len());
    let deliveries = world.delivered(&receipt).await;
    let requests = receiver.received();
    assert_eq!(requests.len(), 2 * deliveries.len());

    let clear: HashMap<&str, &Received> = requests.iter().map(|request| (last(&request.path), request)).collect();
    let mut messages = Vec::new();
    let (mut plain_tokens, mut signed, mut bodies) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut previews = HashMap::new();
    for id in sealed.keys() {
        let shown = judges::preview(&world, id, &receipt).await.requests.remove(0);
        previews.insert(id.as_str(), (shown.body, shown.unencrypted_body));
    }
    for request in &requests {
        let Some((pair, format, endpoint)) = sealed.get(last(&request.path)) else { continue };
        let (shown, plain) = &previews[last(&request.path)];
        assert_eq!(request.header("content-type"), "application/jose");
        assert!(request.is_signed_with(&endpoint.signing_secret), "the signature is over what is sent");
        let digest = format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(&request.body)));
        assert_eq!(request.header("content-digest"), digest);
        assert!(bodies.insert(request.body.clone()) && shown[..] != request.body[..], "encrypted anew every time");
        let key = &endpoint.encryption.as_ref().expect("keys").keys[0];
        let head = header(&request.body);
        let alg = if pair.public["kty"] == "RSA" { "RSA-OAEP-256" } else { "ECDH-ES+A256KW" };
        let cty = match format {
            Format::Standard | Format::CloudeventsBinary => "json",
            Format::Set => "JWT",
            _ => "cloudevents+json",
        };
        assert_eq!((&head["alg"], &head["enc"], &head["cty"]), (&json!(alg), &json!("A256GCM"), &json!(cty)));
        assert_eq!(head["kid"], key.key_id);
        messages.push((&request.body[..], &pair.private, &plain[..]));
        signed.push((request, endpoint.signing_secret.as_str()));
        let inside = if *format == Format::Set { token(plain).1.to_string() } else { String::from_utf8_lossy(plain).into_owned() };
        assert!(!inside.contains(CANARY), "what is withheld is withheld from it too");
        // What is inside is what another endpoint gets in clear.
        match format {
            Format::Set => {
                assert_eq!(token(plain).1["jti"], request.id());
                let headers = [("content-type", "application/secevent+jwt"), ("accept", "application/json")];
                let expect = json!({"iss": judges::issuer(), "aud": AUDIENCE, "jti": request.id(), "txn": receipt.event_id()});
                plain_tokens.push(judges::written(Format::Set, "session.revoked", headers, plain, expect));
            }
            Format::Standard => assert_eq!(plain[..], clear["standard"].body[..]),
            Format::CloudeventsStructured => assert_eq!(plain[..], clear["structured"].body[..]),
            _ => {
                assert_eq!(plain[..], clear["binary"].body[..]);
                assert_eq!(request.header("ce-type"), "session.revoked");
            }
        }
    }
    assert_eq!(messages.len(), 2 * sealed.len());
    judges::decrypt(test, &messages).await;
    judges::verify(test, signed).await;
    judges::read(test, &plain_tokens, &judges::key_set(&world, "acme").await).await;
    let retried: Vec<&Received> = requests.iter().filter(|request| request.path.ends_with("jose-x25519-set")).collect();
    assert!(retried.len() == 2 && retried[0].id() == retried[1].id() && retried[0].body != retried[1].body);
}

async fn the_newest_key_encrypts_until_it_is_taken_back(database: Database) {
    let test = "the_newest_key_encrypts_until_it_is_taken_back";
    let Some(pairs) = judges::pairs(test).await else { return };
    let [old, new, third] = ["joserfc-p-256", "jose-x25519", "jwcrypto-x25519"].map(|name| judges::named(pairs, name));
    let mut world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let with = |keys: &[&Pair]| {
        let public: Vec<&Value> = keys.iter().map(|pair| &pair.public).collect();
        v1::Endpoint { name: "siem".to_owned(), encryption: encrypted_for(&public), ..Default::default() }
    };
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.encryption = with(&[old]).encryption).await;
    let mut messages = Vec::new();
    // In whatever order they are listed: the newest is the one that came last.
    let steps: [(&[&Pair], &Pair); 6] =
        [(&[old], old), (&[old, new], new), (&[new, old], new), (&[third, new, old], third), (&[old, new], new), (&[old], old)];
    let mut created = BTreeMap::new();
    for (step, (keys, expected)) in steps.into_iter().enumerate() {
        let update = v1::UpdateEndpointRequest { endpoint: Some(with(keys)), ..Default::default() };
        let answered = world.tenant.update_endpoint(update).await.expect("the endpoint").encryption.expect("keys").keys;
        assert_eq!(answered.len(), keys.len());
        for key in &answered {
            let jwk: Value = serde_json::from_str(&key.jwk).expect("JSON");
            assert!(jwk.get("d").is_none() && jwk["kid"] == key.key_id, "{jwk}");
            // A key keeps its time for as long as it is there.
            assert!(created.insert(key.key_id.clone(), key.create_time).is_none_or(|before| before == key.create_time));
        }
        if step == 2 {
            world.server.stop().await;
            world.server.restart().await;
        }
        let receipt = world.publish("user.created").await;
        let plain = judges::preview(&world, "siem", &receipt).await.requests.remove(0).unencrypted_body;
        let request = receiver.wait_for(step + 1).await.remove(step);
        let newest = answered.iter().find(|key| key.jwk.contains(expected.public["x"].as_str().expect("x"))).expect("the key");
        assert_eq!(header(&request.body)["kid"], newest.key_id, "step {step}");
        messages.push((request.body, expected, plain));
    }
    let lines: Vec<(&[u8], &Value, &[u8])> =
        messages.iter().map(|(body, pair, plain)| (&body[..], &pair.private, &plain[..])).collect();
    judges::decrypt(test, &lines).await;

    // Without a key it is sent as it is.
    let endpoint = v1::Endpoint { name: "siem".to_owned(), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["encryption".to_owned()] });
    let update = v1::UpdateEndpointRequest { endpoint: Some(endpoint), update_mask, ..Default::default() };
    assert_eq!(world.tenant.update_endpoint(update).await.expect("the endpoint").encryption, None);
    let receipt = world.publish("user.created").await;
    assert_eq!(receiver.wait_for(messages.len() + 1).await[messages.len()].json()["id"], receipt.event_id());
    let delivery = world.until(&receipt, State::Succeeded).await;
    assert_eq!(world.attempts(&delivery).await[0].class(), AttemptClass::Success);
}

async fn a_key_that_is_none_is_refused_with_the_reason(database: Database) {
    let test = "a_key_that_is_none_is_refused_with_the_reason";
    let world = World::with(Settings::on(&database).set("GATEPOST_LOG__FILTER", "debug")).await;
    let coordinate = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let rsa = |bytes: usize| coordinate(&[&[0xff_u8][..], &vec![0x55; bytes - 1]].concat());
    // A point of P-256. Source: RFC 7517, appendix A.1.
    let (x, y) = ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
    let p256 = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
    let with = |more: Value| {
        let mut key = p256.clone();
        key.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        key.to_string()
    };
    let mut cases = vec![
        (with(json!({"d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"})), "holds a private key; send the public half"),
        (json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ"}).to_string(), "holds a private key; send the public half"),
        (with(json!({"use": "sig"})), "`use` must be `enc` or absent"),
        (with(json!({"key_ops": ["verify"]})), "`key_ops` must name deriveKey or deriveBits, or be absent"),
        (with(json!({"alg": "ES256"})), "`alg` must be ECDH-ES+A256KW or ECDH-ES, or absent"),
        (with(json!({"crv": "P-384"})), "`crv` must be P-256"),
        (with(json!({"crv": "secp256k1"})), "`crv` must be P-256"),
        (with(json!({"x": y})), "`x` and `y` are not a point of the curve P-256"),
        (with(json!({"x": coordinate(&[0; 32]), "y": coordinate(&[0; 32])})), "`x` and `y` are not a point of the curve P-256"),
        (with(json!({"x": coordinate(&[1; 31])})), "`x` must be the base64url of 32 bytes, not of 31"),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string(), "`crv` must be X25519"),
        (json!({"kty": "OKP", "crv": "X25519", "x": coordinate(&[0; 32])}).to_string(), "`x` is a point of low order"),
        (json!({"kty": "RSA", "n": rsa(128), "e": "AQAB"}).to_string(), "the RSA modulus must have 2048 to 8192 bits, not 1024"),
        (json!({"kty": "RSA", "n": rsa(255), "e": "AQAB"}).to_string(), "the RSA modulus must have 2048 to 8192 bits, not 2040"),
        (
            json!({"kty": "RSA", "n": rsa(256), "e": "AQ"}).to_string(),
            "the RSA exponent must be odd, at least 3 and below 2^33; use 65537",
        ),
        (
            json!({"kty": "RSA", "n": rsa(256), "e": "AQAB", "alg": "RSA-OAEP"}).to_string(),
            "`alg` RSA-OAEP uses SHA-1: use RSA-OAEP-256",
        ),
        (json!({"kty": "RSA", "n": rsa(256), "e": "AQAB", "alg": "RSA1_5"}).to_string(), "`alg` must be RSA-OAEP-256, or absent"),
        (json!({"keys": [p256]}).to_string(), "is a set of keys: send one of its keys"),
        ("-----BEGIN PUBLIC KEY-----".to_owned(), "must be one JSON Web Key: a JSON object"),
        (String::new(), "must be one JSON Web Key: a JSON object"),
        ("[".repeat(5000), "must be one JSON Web Key: a JSON object"),
        (with(json!({"pad": "x".repeat(9000)})), "must be at most 8192 bytes, not "),
    ];
    // The private halves of those that libraries make.
    for pair in judges::pairs(test).await.unwrap_or_default() {
        cases.push((pair.private.to_string(), "holds a private key; send the public half"));
    }
    let create = async |keys: Vec<String>| {
        let keys = keys.into_iter().map(|jwk| Key { jwk, ..Default::default() }).collect();
        let endpoint = v1::Endpoint {
            url: "http://127.0.0.1:7999/".to_owned(),
            encryption: Some(v1::Encryption { keys }),
            ..Default::default()
        };
        let request = CreateEndpointRequest { endpoint: Some(endpoint), validate_only: true, ..Default::default() };
        world.tenant.create_endpoint(request).await
    };
    create(vec![p256.to_string()]).await.expect("a good key");
    for chunk in cases.chunks(4) {
        // A good one between them is not the one that is named.
        let mut keys: Vec<String> = chunk.iter().map(|(jwk, _)| jwk.clone()).collect();
        keys.insert(0, p256.to_string());
        let refused = create(keys).await.expect_err("bad keys");
        let found = refused.field_violations();
        assert_eq!(found.len(), chunk.len(), "{found:?}");
        for (index, ((jwk, reason), bad)) in chunk.iter().zip(found).enumerate() {
            assert_eq!(bad.field, format!("endpoint.encryption.keys[{}].jwk", index + 1));
            assert!(bad.description.starts_with(reason), "{jwk}: {}", bad.description);
        }
        let whole = format!("{refused:?}");
        for (jwk, _) in chunk {
            let key: Value = serde_json::from_str(jwk).unwrap_or_default();
            for secret in ["d", "p", "q", "k"].iter().filter_map(|name| key[name].as_str()) {
                assert!(!whole.contains(secret), "a private key is not repeated");
                assert!(!world.server.log().iter().any(|line| line.contains(secret)), "nor logged");
            }
        }
    }
    let refused = create(vec![p256.to_string(); 6]).await.expect_err("too many");
    assert_eq!(refused.field_violations()[0].field, "endpoint.encryption.keys");
}
