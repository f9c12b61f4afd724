//! Every type of the catalogue arrives in every format as its standard says, judged by other people's parsers, and is the same on
//! every attempt.
//!
//! Types come from the catalogue itself, so that a new one is covered without anybody thinking of it: those that callers publish go
//! through a real server, those that only Gatepost publishes are rendered as its dispatcher does, and `webhook.*` happens for real
//! as well.

pub(crate) mod expected;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, OnceLock},
    time::{Duration, UNIX_EPOCH},
};

use futures::TryStreamExt;
use gatepost_client::{
    Error, NewEvent, Receipt,
    v1::{self, delivery::State, endpoint::Format, endpoint::SetFamily},
};
use gatepost_server::domain::{
    DeliveryKey, Time,
    catalogue::{self, EventType, Publisher, SetFamily as Family},
    event::Event,
    field_policy::{FieldPolicy, HashKey},
    format::{Format as Rendered, set::UserSubject},
    jose::jws::SigningKey,
    shape::{Occasion, SetSettings, Shape},
    site::Site,
};
use gatepost_tests::{
    Answer, Database, PUBLIC_BASE_URL, Received, Receiver, SCHEMA_BASE_URL, Settings, World, on_both_databases, until,
    world::{event, waits},
};
use serde_json::{Value, json};

use crate::judges::{self, AUDIENCE, last, token, tokens, uri};
use expected::Sent;

on_both_databases!(
    every_type_that_callers_publish_is_read_by_others_in_every_format,
    what_gatepost_tells_of_itself_is_read_by_others_in_every_format,
    no_text_of_a_publisher_breaks_a_header,
    every_attempt_sends_the_same_bytes_also_after_a_crash,
    a_415_is_a_dead_letter_at_once_where_cloudevents_says_so,
);

/// Endpoints that together get every event in every format, and every security event that its type has.
const ENDPOINTS: [(&str, Format); 7] = [
    ("standard", Format::Standard),
    ("structured", Format::CloudeventsStructured),
    ("binary", Format::CloudeventsBinary),
    ("siem", Format::LumosSiem),
    ("set", Format::Set),
    ("scim", Format::Set),
    ("own", Format::Set),
];

/// When all events of these tests happened: 2026-11-25T09:00:00.045Z.
const OCCURRED: Duration = Duration::from_millis(1_795_597_200_045);
const OCCURRED_TEXT: &str = "2026-11-25T09:00:00.045Z";

/// An endpoint with its receiver.
struct Target {
    id: &'static str,
    format: Format,
    secret: String,
    receiver: Receiver,
}

/// All of [`ENDPOINTS`], with what `change` sets.
async fn targets(world: &World, change: impl Fn(&mut v1::Endpoint)) -> Vec<Target> {
    let mut all = Vec::new();
    for (id, format) in ENDPOINTS {
        let receiver = if format == Format::Set { judges::token_receiver().await } else { Receiver::ok().await };
        let shape = |endpoint: &mut v1::Endpoint| {
            endpoint.format = format.into();
            if format == Format::Set {
                tokens(endpoint);
            }
            if id == "scim" {
                endpoint.set_families = vec![SetFamily::Scim.into()];
            }
            endpoint.set_own_types = id == "own";
            change(endpoint);
        };
        let secret = world.endpoint(id, &receiver.url(), shape).await.signing_secret;
        all.push(Target { id, format, secret, receiver });
    }
    all
}

/// The security events that a type becomes at one of the endpoints of format `SET`, in the order of the catalogue.
fn uris(known: &EventType, endpoint: &str) -> Vec<String> {
    let families: &[Family] =
        if endpoint == "scim" { &[Family::Scim, Family::Ssf] } else { &[Family::Caep, Family::Risc, Family::Ssf] };
    let picked: Vec<String> =
        known.set.iter().filter(|standard| families.contains(&standard.family)).map(|standard| standard.uri.clone()).collect();
    if picked.is_empty() && endpoint == "own" { vec![own_uri(known.name)] } else { picked }
}

fn own_uri(event_type: &str) -> String {
    format!("{SCHEMA_BASE_URL}/event-type/{event_type}")
}

/// The example of a type as a publisher might spell it: with members of its own, and what a parser that writes JSON again would
/// change.
fn odd(known: &EventType) -> String {
    format!("{{ \"x-odd\" : [1.10, 2.50e-1, \"Zo\\u00eb \u{1f600}\"],\t{}", known.example().trim_start_matches('{'))
}

/// What was published, from what the server says of it. `text`: the payload.
fn sent(event: &v1::Event, text: &str) -> Sent {
    let seconds = |time: Option<prost_types::Timestamp>| time.expect("a time").seconds;
    Sent {
        event_type: event.r#type.clone(),
        id: last(&event.name).to_owned(),
        subject: expected::subject(text),
        sequence: event.sequence,
        txn: last(&event.name).to_owned(),
        timestamp: rfc3339(event.occurred_time.expect("a time")),
        occurred: seconds(event.occurred_time),
        accepted: seconds(event.create_time),
        text: text.to_owned(),
    }
}

fn rfc3339(time: prost_types::Timestamp) -> String {
    let millis = time.seconds * 1000 + i64::from(time.nanos / 1_000_000);
    Time::from_millis(millis).rfc3339()
}

async fn every_type_that_callers_publish_is_read_by_others_in_every_format(database: Database) {
    let test = "every_type_that_callers_publish_is_read_by_others_in_every_format";
    let world = World::with(Settings::on(&database).named()).await;
    let targets = targets(&world, |_| {}).await;
    let published: Vec<(&EventType, String)> =
        catalogue::all().filter(|known| known.publisher == Publisher::Caller).map(|known| (known, odd(known))).collect();
    assert!(published.len() > 40);
    let events = published.iter().map(|(known, text)| NewEvent::new(known.name, text.clone()).occurred(UNIX_EPOCH + OCCURRED));
    let receipts: Vec<Receipt> =
        world.tenant.publish_batch(events).await.into_iter().map(|result| result.expect("a receipt")).collect();
    let mut stored: HashMap<String, v1::Event> = world
        .tenant
        .events("")
        .map_ok(|event| (last(&event.name).to_owned(), event))
        .try_collect()
        .await
        .expect("a list of events");
    let mut by_id = HashMap::new();
    for (receipt, (known, text)) in receipts.iter().zip(&published) {
        let event = stored.remove(receipt.event_id()).expect("it is stored");
        assert_eq!((event.r#type.as_str(), event.sequence), (known.name, receipt.sequence()));
        let sent = sent(&event, text);
        assert_eq!(sent.timestamp, OCCURRED_TEXT);
        assert_eq!(event.subject, sent.subject, "{}", known.name);
        let parts = ["set", "scim", "own"].map(|id| uris(known, id).len());
        let made = 4 + parts.iter().sum::<usize>();
        let skipped = parts.iter().filter(|count| **count == 0).count();
        let counts = (receipt.delivery_count() as usize, receipt.skipped_count() as usize);
        assert_eq!(counts, (made, skipped), "{}", known.name);
        by_id.insert(sent.id.clone(), (*known, sent));
    }

    let mut all = Vec::new();
    for target in &targets {
        let expected: usize = match target.format {
            Format::Set => published.iter().map(|(known, _)| uris(known, target.id).len()).sum(),
            _ => published.len(),
        };
        let requests = target.receiver.wait_for(expected).await;
        assert_eq!(requests.len(), expected, "{}", target.id);
        all.extend(requests.into_iter().map(|request| (target, request)));
    }
    let mut seen = BTreeSet::new();
    let mut lines = Vec::new();
    let mut claims = Vec::new();
    for (target, request) in &all {
        if target.format == Format::Set {
            let (_, found) = token(&request.body);
            let (known, sent) = &by_id[found["txn"].as_str().expect("a txn")];
            let uri = uri(&found).to_owned();
            assert!(uris(known, target.id).contains(&uri), "{} {uri}", known.name);
            assert!(seen.insert((known.name, target.id, uri.clone())), "each once: {} {uri}", known.name);
            claims.push((lines.len(), sent.claims(&uri, request.id(), target.id)));
            lines.push(judges::arrived(target.format, request, json!({"iss": judges::issuer(), "aud": AUDIENCE})));
            if uri == own_uri(known.name) {
                let body = base64_url(std::str::from_utf8(&request.body).expect("text").split('.').nth(1).expect("a payload"));
                assert!(body.ends_with(&format!("{{\"{uri}\":{}}}}}", sent.text)), "{body}");
            }
        } else {
            let (known, sent) = &by_id[request.id()];
            assert!(seen.insert((known.name, target.id, String::new())));
            as_published(target.format, request, sent);
            lines.push(judges::arrived(target.format, request, sent.read_as(target.format)));
        }
    }
    let keys = judges::key_set(&world, "acme").await;
    for read in judges::read(test, &lines, &keys).await {
        for (line, expected) in &claims {
            assert_eq!(&expected::sorted(read[*line].clone()), expected);
        }
    }
    judges::verify(test, all.iter().map(|(target, request)| (request, target.secret.as_str()))).await;
}

/// `data` is sent byte for byte, and headers are those of the format.
fn as_published(format: Format, request: &Received, sent: &Sent) {
    let body = String::from_utf8_lossy(&request.body);
    let names: BTreeSet<&str> =
        request.headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("ce-")).collect();
    match format {
        Format::Standard => assert_eq!(body, sent.standard()),
        Format::CloudeventsStructured => assert!(body.ends_with(&format!(",\"data\":{}}}", sent.text)), "{body}"),
        Format::CloudeventsBinary => assert_eq!(body, sent.text),
        _ => {}
    }
    let attributes =
        ["dataschema", "id", "partitionkey", "sequence", "source", "specversion", "subject", "tenant", "time", "txn", "type"];
    let expected: BTreeSet<String> = attributes.iter().map(|name| format!("ce-{name}")).collect();
    let expected: BTreeSet<&str> =
        if format == Format::CloudeventsBinary { expected.iter().map(String::as_str).collect() } else { BTreeSet::new() };
    assert_eq!(names, expected);
}

fn base64_url(text: &str) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("UTF-8")
}

/// Nobody can publish these, so they are rendered as the dispatcher renders them. Together with the test above this is every type.
#[tokio::test]
async fn every_type_that_gatepost_publishes_is_read_by_others_in_every_format() {
    let test = "every_type_that_gatepost_publishes_is_read_by_others_in_every_format";
    let random = ring::rand::SystemRandom::new();
    let signer = SigningKey::generate(&random).expect("a key");
    let (mut lines, mut claims) = (Vec::new(), Vec::new());
    for (number, known) in catalogue::all().filter(|known| known.publisher == Publisher::Gatepost).enumerate() {
        let text = odd(known);
        let sent = Sent {
            event_type: known.name.to_owned(),
            id: format!("evt_{number}"),
            subject: expected::subject(&text),
            sequence: number as i64 + 1,
            txn: "evt_cause".to_owned(),
            timestamp: OCCURRED_TEXT.to_owned(),
            occurred: OCCURRED.as_secs().cast_signed(),
            accepted: OCCURRED.as_secs().cast_signed() + 7,
            text,
        };
        let event = Event {
            seq: sent.sequence,
            tenant: "acme".into(),
            id: sent.id.as_str().into(),
            event_type: known.name.into(),
            subject: sent.subject.clone(),
            occurred_time: Time::from_millis(OCCURRED.as_millis() as i64),
            create_time: Time::from_millis(sent.accepted * 1000 + 999),
            txn: sent.txn.clone(),
            schema_version: 1,
            data: sent.text.clone().into(),
            standard: OnceLock::new(),
        };
        for format in Rendered::ALL {
            let shape = shape(format);
            let parts = shape.parts(known.name);
            assert!(!parts.is_empty(), "{} {format:?}", known.name);
            for part in parts.iter().copied() {
                let delivery_id = DeliveryKey { event_seq: event.seq, endpoint_key: 1, part }.to_string();
                let occasion =
                    Occasion { part, delivery_id: &delivery_id, endpoint_id: "ep_7", signer: Some(&signer), random: &random };
                let rendered = shape.render(&event, &occasion).expect("a body");
                let wire = Format::try_from(i32::from(format.code())).expect("a format");
                let expect = if wire == Format::Set {
                    assert_eq!(rendered.webhook_id, delivery_id);
                    let uri = uri(&token(&rendered.body).1).to_owned();
                    claims.push((lines.len(), sent.claims(&uri, &delivery_id, "ep_7")));
                    json!({"iss": judges::issuer(), "aud": AUDIENCE})
                } else {
                    assert_eq!(rendered.webhook_id, sent.id);
                    sent.read_as(wire)
                };
                let headers = rendered.headers.iter().map(|(name, value)| (*name, value.as_str()));
                let headers = headers.chain([("content-type", rendered.content_type)]);
                lines.push(judges::written(wire, known.name, headers, &rendered.body, expect));
            }
        }
    }
    for read in judges::read(test, &lines, &json!({"keys": [signer.public_jwk()]})).await {
        for (line, expected) in &claims {
            assert_eq!(&expected::sorted(read[*line].clone()), expected);
        }
    }
}

/// The settings of an endpoint that gets everything.
fn shape(format: Rendered) -> Shape {
    Shape {
        format,
        set: SetSettings {
            audience: vec![AUDIENCE.to_owned()],
            families: vec![Family::Caep, Family::Risc, Family::Scim],
            subject: UserSubject::IssSub,
            own_types: true,
        },
        field_policy: FieldPolicy::default(),
        hash_key: HashKey::new([7; 32]),
        transform: None,
        encryption: Vec::new(),
        site: Site { public_base_url: Some(PUBLIC_BASE_URL.to_owned()), schema_base_url: Some(SCHEMA_BASE_URL.to_owned()) }.into(),
        tenant: "acme".into(),
    }
}

async fn what_gatepost_tells_of_itself_is_read_by_others_in_every_format(database: Database) {
    let test = "what_gatepost_tells_of_itself_is_read_by_others_in_every_format";
    let world = World::with(Settings::on(&database).named()).await;
    let targets = targets(&world, |endpoint| endpoint.event_types = vec!["webhook.*".to_owned()]).await;
    let ill = Receiver::answering(|_, _| Answer::status(422)).await;
    world
        .endpoint("ill", &ill.url(), |endpoint| {
            endpoint.event_types = vec!["user.created".to_owned()];
            endpoint.permanent_statuses = vec![422];
        })
        .await;
    let cause = world.publish("user.created").await;
    world.until(&cause, State::Dead).await;
    world.tenant.disable_endpoint("ill").await.expect("the endpoint");
    world.tenant.enable_endpoint("ill").await.expect("the endpoint");
    let told = ["webhook.delivery_dead_lettered", "webhook.endpoint_disabled", "webhook.endpoint_recovered"];
    let events: Vec<v1::Event> = until("what Gatepost tells", async || {
        let events: Vec<v1::Event> = world.tenant.events("").try_collect().await.expect("a list of events");
        if events.len() == told.len() + 1 { Ok(events) } else { Err(events) }
    })
    .await;
    let mut by_id = HashMap::new();
    for listed in events.iter().filter(|listed| listed.r#type.starts_with("webhook.")) {
        let event = world.tenant.get_event(&listed.name).await.expect("the event");
        let mut sent = sent(&event, std::str::from_utf8(&event.data).expect("UTF-8"));
        assert_eq!(sent.subject, event.subject);
        if event.r#type == "webhook.delivery_dead_lettered" {
            sent.txn = cause.event_id().to_owned();
            let delivery = world.delivery(&cause).await;
            let expected = json!({
                "delivery_id": last(&delivery.name), "endpoint_id": "ill", "event_id": cause.event_id(), "event_type": "user.created",
                "attempt_count": 1, "failure_class": "client_error",
            });
            assert_eq!(sent.data(), expected);
        }
        assert_eq!(event.txn, sent.txn);
        by_id.insert(sent.id.clone(), sent);
    }
    let types: BTreeSet<&str> = by_id.values().map(|sent| sent.event_type.as_str()).collect();
    assert_eq!(types, BTreeSet::from(told));

    let (mut lines, mut claims, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for target in &targets {
        // None of them has a standard security event; only a ping has.
        let expected = if ["set", "scim"].contains(&target.id) { 0 } else { told.len() };
        target.receiver.wait_for(expected).await;
        let tested = world.tenant.test_endpoint(target.id).await.expect("an answer");
        assert!(tested.success, "{tested:?}");
        let requests = target.receiver.wait_for(expected + 1).await;
        assert_eq!(requests.len(), expected + 1, "{}", target.id);
        for request in requests {
            let expect = match (target.format, request.header("gatepost-event-type")) {
                (Format::Set, event_type) => {
                    let (_, found) = token(&request.body);
                    let uri = uri(&found).to_owned();
                    if event_type == "webhook.verification" {
                        assert_eq!(uri, "https://schemas.openid.net/secevent/ssf/event-type/verification");
                        assert_eq!(found["sub_id"], json!({"format": "opaque", "id": target.id}));
                        assert_eq!(found["events"][&uri], json!({"state": "ACTIVE"}));
                        assert_eq!(found["jti"], request.id());
                    } else {
                        // One of each type was told of.
                        let sent = by_id.values().find(|sent| sent.event_type == event_type).expect("an event");
                        claims.push((lines.len(), sent.claims(&uri, request.id(), target.id)));
                    }
                    json!({"iss": judges::issuer(), "aud": AUDIENCE})
                }
                (Format::Standard, "webhook.verification") => {
                    json!({"type": "webhook.verification", "subject": "tenant/acme", "data": {"endpoint_id": target.id, "state": "ACTIVE"}})
                }
                (Format::LumosSiem, "webhook.verification") => {
                    json!({"event_type": "WEBHOOK_VERIFICATION", "outcome": "SUCCEEDED"})
                }
                (_, "webhook.verification") => {
                    json!({"type": "webhook.verification", "data": {"endpoint_id": target.id, "state": "ACTIVE"}})
                }
                (format, _) => by_id[request.id()].read_as(format),
            };
            lines.push(judges::arrived(target.format, &request, expect));
            all.push((request, target.secret.as_str()));
        }
    }
    let keys = judges::key_set(&world, "acme").await;
    for read in judges::read(test, &lines, &keys).await {
        for (line, expected) in &claims {
            assert_eq!(&expected::sorted(read[*line].clone()), expected);
        }
    }
    judges::verify(test, all.iter().map(|(request, secret)| (request, *secret))).await;
}

async fn no_text_of_a_publisher_breaks_a_header(database: Database) {
    let test = "no_text_of_a_publisher_breaks_a_header";
    // Without addresses of its own a server names no schema.
    let world = World::on(&database).await;
    let (binary, structured) = (Receiver::ok().await, Receiver::ok().await);
    world.endpoint("binary", &binary.url(), |endpoint| endpoint.format = Format::CloudeventsBinary.into()).await;
    world.endpoint("structured", &structured.url(), |endpoint| endpoint.format = Format::CloudeventsStructured.into()).await;
    let long = format!("user/{}", "\u{1f600}".repeat(251));
    let subjects = [
        "user/a b",
        " user/ ",
        "user/\"quoted\"",
        "user/100%",
        "user/%41%0d%0ax-evil: 1",
        "user/Zo\u{eb} \u{1f600}",
        "user/\u{2028}\u{feff}\u{202e}",
        "user/a,b;c=d\\e'f<g>",
        "user/",
        "nobody",
        &long,
    ];
    let mut expected = BTreeMap::new();
    for subject in subjects {
        let receipt = world.tenant.publish(event("user.created").subject(subject)).await.expect(subject);
        let key = subject.split_once('/').map(|(_, id)| id).filter(|id| !id.is_empty()).unwrap_or(subject);
        expected.insert(receipt.event_id().to_owned(), json!({"subject": subject, "partitionkey": key, "tenant": "acme"}));
    }
    // A text from the payload is no subject when it could not be one.
    for id in ["a\\r\\nx-evil: 1", "a\\u0000", "a\\u0085b", "\\u007f"] {
        let data = format!("{{\"user\": {{\"id\": \"{id}\"}}}}");
        let receipt = world.tenant.publish(NewEvent::new("user.created", data)).await.expect(id);
        expected.insert(receipt.event_id().to_owned(), json!({"subject": "tenant/acme", "partitionkey": "acme"}));
    }
    for subject in ["user/a\r\nx-evil: 1", "user/\n", "user/\t", "user/\0", "user/\u{7f}", "user/\u{85}", &"x".repeat(257)] {
        let refused = world.tenant.publish(event("user.created").subject(subject)).await.expect_err(subject);
        let fields: Vec<&str> = refused.field_violations().iter().map(|bad| bad.field.as_str()).collect();
        assert!(matches!(refused, Error::InvalidArgument { .. }) && fields == ["subject"], "{refused:?}");
    }
    let mut lines = Vec::new();
    for (format, receiver) in [(Format::CloudeventsBinary, &binary), (Format::CloudeventsStructured, &structured)] {
        let requests = receiver.wait_for_ids(gatepost_tests::DEADLINE, expected.keys().map(String::as_str)).await;
        assert_eq!(requests.len(), expected.len());
        for request in requests {
            assert!(!request.headers.contains_key("x-evil") && !request.headers.contains_key("ce-dataschema"));
            for (name, value) in request.headers.iter().filter(|(name, _)| name.as_str().starts_with("ce-")) {
                let kept = |byte: &u8| (0x21..=0x7e).contains(byte) && *byte != b'"';
                assert!(value.as_bytes().iter().all(kept), "{name}: {value:?}");
            }
            if format == Format::CloudeventsStructured {
                assert!(request.json().get("dataschema").is_none());
            }
            lines.push(judges::arrived(format, &request, expected[request.id()].clone()));
        }
    }
    judges::read(test, &lines, &Value::Null).await;
}

async fn every_attempt_sends_the_same_bytes_also_after_a_crash(database: Database) {
    let mut world = World::with(Settings::on(&database).named()).await;
    let mut receivers: Vec<Receiver> = Vec::new();
    let targets = targets(&world, |endpoint| endpoint.retry_policy = waits(&[1, 1, 1, 1, 1])).await;
    let policy = v1::FieldPolicy {
        rules: vec![v1::field_policy::Rule { pointer: "/user/email".to_owned(), action: v1::field_policy::Action::Hash.into() }],
        ..Default::default()
    };
    for (id, transform) in [("policy", ""), ("transform", r#"{"text": {{ "Left: " ~ data.user.email }}}"#)] {
        let receiver = Receiver::ok().await;
        world
            .endpoint(id, &receiver.url(), |endpoint| {
                endpoint.retry_policy = waits(&[1, 1, 1, 1, 1]);
                endpoint.field_policy = Some(policy.clone());
                endpoint.transform = transform.to_owned();
            })
            .await;
        receivers.push(receiver);
    }
    receivers.extend(targets.into_iter().map(|target| target.receiver));
    for receiver in &receivers {
        // Two failures for each id, whatever a crash leaves of the count of attempts.
        let seen = Mutex::new(HashMap::<String, usize>::new());
        receiver.answer(move |_, request| {
            let mut seen = seen.lock().expect("nobody panics there");
            let count = seen.entry(request.id().to_owned()).or_default();
            *count += 1;
            Answer::status(if *count < 3 { 500 } else { 202 })
        });
    }
    let receipt = world.publish("user.terminated").await;
    // Five formats, policy and template, two tokens, one SCIM token, two at the endpoint of own types.
    assert_eq!(receipt.delivery_count(), 4 + 2 + 2 + 1 + 2);
    for receiver in &receivers {
        receiver.wait_for(1).await;
    }
    world.server.kill().await;
    world.server.restart().await;
    let deliveries = world.delivered(&receipt).await;
    assert_eq!(deliveries.len(), 11);
    for receiver in &receivers {
        let mut by_id = BTreeMap::<String, Vec<Received>>::new();
        for request in receiver.received() {
            by_id.entry(request.id().to_owned()).or_default().push(request);
        }
        for (id, requests) in by_id {
            assert!(requests.len() >= 3, "{id} came {} times", requests.len());
            for request in &requests {
                assert_eq!(request.body, requests[0].body, "{id}");
                assert_eq!(lasting(request), lasting(&requests[0]), "{id}");
            }
        }
    }
}

/// The headers that do not change from attempt to attempt.
fn lasting(request: &Received) -> http::HeaderMap {
    let mut headers = request.headers.clone();
    for changing in ["webhook-timestamp", "webhook-signature", "gatepost-attempt"] {
        headers.remove(changing);
    }
    headers
}

async fn a_415_is_a_dead_letter_at_once_where_cloudevents_says_so(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(415)).await;
    for (id, format) in &ENDPOINTS[..4] {
        world
            .endpoint(id, &receiver.url(), |endpoint| {
                endpoint.format = (*format).into();
                endpoint.retry_policy = waits(&[600]);
            })
            .await;
    }
    let receipt = world.publish("user.created").await;
    let ended = until("four attempts", async || {
        let deliveries = world.deliveries(&format!("event == \"{}\"", receipt.event_id())).await;
        if deliveries.iter().all(|delivery| delivery.attempt_count == 1) { Ok(deliveries) } else { Err(deliveries) }
    })
    .await;
    let states: BTreeMap<&str, State> = ended.iter().map(|delivery| (last(&delivery.endpoint), delivery.state())).collect();
    let expected = [("binary", State::Dead), ("siem", State::Retrying), ("standard", State::Retrying), ("structured", State::Dead)];
    assert_eq!(states, BTreeMap::from(expected));
}
