//! Other people's implementations agree with ours: signatures in Python and Node, the contract through reflection in Python and `buf`.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::TryStreamExt;
use gatepost_client::{
    NewEvent,
    v1::{self, delivery::State},
};
use gatepost_tests::{DEADLINE, Database, Program, Receiver, World, on_both_databases, oracle};
use serde_json::Value;
use standardwebhooks::Webhook;

on_both_databases!(a_python_client_publishes_and_watches_through_reflection, buf_curl_publishes_and_watches_through_reflection);

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[tokio::test]
async fn python_takes_good_signatures_and_refuses_bad_ones() {
    let test = "python_takes_good_signatures_and_refuses_bad_ones";
    let Some(good) = oracle::python(test, "verify.py", &[], &requests(SECRET)).await else { return };
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    assert_eq!(good.stdout, b"{\"verified\": 20, \"refused_when_changed\": 20}\n");
    let bad =
        oracle::python(test, "verify.py", &[], &requests("whsec_c29tZSBvdGhlciBzZWNyZXQgdGhhbiB0aGF0")).await.expect("as before");
    assert_eq!(bad.status.code(), Some(1));
}

#[tokio::test]
async fn node_takes_good_signatures_and_refuses_bad_ones() {
    let test = "node_takes_good_signatures_and_refuses_bad_ones";
    let Some(good) = oracle::node(test, "verify.mjs", &[], &requests(SECRET)).await else { return };
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    assert_eq!(good.stdout, b"{\"verified\":20,\"refused_when_changed\":20}\n");
    let bad =
        oracle::node(test, "verify.mjs", &[], &requests("whsec_c29tZSBvdGhlciBzZWNyZXQgdGhhbiB0aGF0")).await.expect("as before");
    assert_eq!(bad.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_verified_by_python_and_node() {
    const EVENTS: usize = 100;
    let test = "deliveries_are_verified_by_python_and_node";
    let database = Database::sqlite();
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let first = world.endpoint("siem", &receiver.url(), |_| {}).await.signing_secret;
    let data = |number: usize| {
        let fill = "x".repeat(number * 37);
        format!("{{ \"user\": {{\"id\":\"usr_{number}\"}},\t\"name\": \"Zo\u{eb} \u{1f600} \\u00e9\", \"fill\": \"{fill}\" }}")
    };
    let publish = async |numbers: std::ops::Range<usize>| {
        let results = world.tenant.publish_batch(numbers.map(|number| NewEvent::new("user.created", data(number)))).await;
        assert!(results.iter().all(Result::is_ok));
    };
    publish(0..EVENTS / 2).await;
    receiver.wait_for(EVENTS / 2).await;
    // Both secrets sign from here on, and a receiver with either takes it.
    let overlap = Some(Duration::from_secs(3600));
    let second = world.tenant.rotate_endpoint_secret("siem", None, overlap).await.expect("the endpoint").signing_secret;
    publish(EVENTS / 2..EVENTS).await;
    let received = receiver.wait_for(EVENTS).await;
    let line = |request: &gatepost_tests::Received, secret: &str| {
        let (id, timestamp) = (request.id(), request.header("webhook-timestamp"));
        let (signature, body) = (request.header("webhook-signature"), BASE64_STANDARD.encode(&request.body));
        serde_json::json!({"id": id, "timestamp": timestamp, "signature": signature, "secret": secret, "body_base64": body})
            .to_string()
    };
    let with_first = received.iter().map(|request| line(request, &first));
    let with_second = received[EVENTS / 2..].iter().map(|request| line(request, &second));
    let lines: Vec<String> = with_first.chain(with_second).collect();
    let expected = serde_json::json!({"verified": lines.len(), "refused_when_changed": lines.len()});
    let input = lines.join("\n");
    for output in [oracle::python(test, "verify.py", &[], &input).await, oracle::node(test, "verify.mjs", &[], &input).await] {
        let Some(output) = output else { continue };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).expect("JSON"), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_takes_every_schema_of_the_catalogue_and_its_example() {
    let test = "python_takes_every_schema_of_the_catalogue_and_its_example";
    // Its folder goes with it.
    let database = Database::sqlite();
    let world = World::on(&database).await;
    let types: Vec<_> = world.tenant.event_types("").try_collect().await.expect("a list");
    let line = |known: &v1::EventType| {
        let name = known.name.rsplit('/').next();
        serde_json::json!({"type": name, "schema": known.schema, "example": known.example}).to_string()
    };
    let lines: Vec<String> = types.iter().map(line).collect();
    let Some(output) = oracle::python(test, "schemas.py", &[], &lines.join("\n")).await else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((said["schemas"].as_u64(), said["examples"].as_u64()), (Some(types.len() as u64), Some(types.len() as u64)));
    assert!(said["refused_without_a_member"].as_u64() > Some(100), "{said}");
}

#[tokio::test]
async fn the_vendors_own_libraries_take_what_recipes_make() {
    let test = "the_vendors_own_libraries_take_what_recipes_make";
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/../server");
    let modules = oracle::modules();
    let arguments = [server, modules.to_str().expect("a path")];
    let Some(output) = oracle::python(test, "recipes.py", &arguments, "").await else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn a_python_client_publishes_and_watches_through_reflection(database: Database) {
    let test = "a_python_client_publishes_and_watches_through_reflection";
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let (url, target) = (world.server.url(), receiver.url());
    let arguments = [url.trim_start_matches("http://"), world.server.key(), "acme", &target, "20"];
    let Some(output) = oracle::python(test, "grpc_client.py", &arguments, "").await else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let events: BTreeSet<&str> = said["events"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let received = receiver.received();
    let arrived: BTreeSet<String> = received.iter().map(|request| format!("tenants/acme/events/{}", request.id())).collect();
    assert_eq!(arrived.iter().map(String::as_str).collect::<BTreeSet<_>>(), events);
    let secret = said["signing_secret"].as_str().expect("a secret");
    assert!(received.iter().all(|request| request.is_signed_with(secret)));
    assert!(received[0].json()["data"]["user"]["family_name"] == "Müller");
}

async fn buf_curl_publishes_and_watches_through_reflection(database: Database) {
    let test = "buf_curl_publishes_and_watches_through_reflection";
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let call = async |method: &str, request: Value| {
        let (url, request) = (format!("{}/gatepost.v1.{method}", world.server.url()), request.to_string());
        let key = format!("authorization: Bearer {}", world.server.key());
        let arguments = ["curl", "--protocol", "grpc", "--http2-prior-knowledge", "-H", &key, "-d", &request, &url];
        oracle::buf(test, &arguments).await
    };
    let watch = call("DeliveryService/WatchDeliveries", serde_json::json!({"parent": "tenants/acme"})).await;
    let Some(watch) = watch else { return };
    let watch = Program::start(watch);
    watch.output.with("checkpoint").await;
    let data = BASE64_STANDARD.encode(r#"{"user": {"id": "usr_buf"}}"#);
    let request = serde_json::json!({"parent": "tenants/acme", "eventId": "buf-1", "type": "user.created", "data": data});
    let publish = call("EventService/PublishEvent", request).await.expect("as before").output();
    let output = tokio::time::timeout(DEADLINE, publish).await.expect("it ends").expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (answer["event"].as_str(), answer["deliveryCount"].as_i64()),
        (Some("tenants/acme/events/buf-1"), Some(1)),
        "{answer}"
    );
    assert_eq!(receiver.wait_for(1).await[0].id(), "buf-1");
    watch.output.with("STATE_SUCCEEDED").await;
    let delivery = world.deliveries("").await.remove(0);
    assert_eq!(delivery.state(), State::Succeeded);
}

/// Twenty requests that claim to be signed with `SECRET` and are signed with `secret`.
fn requests(secret: &str) -> String {
    let signer = Webhook::new(secret).expect("a secret");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs().cast_signed();
    let line = |number: usize| {
        let (id, body) = (format!("evt_{number}"), format!("{{\"number\":{number},\"name\":\"Zoë\"}}"));
        let signature = signer.sign(&id, now, body.as_bytes()).expect("a signature");
        let body = BASE64_STANDARD.encode(body);
        serde_json::json!({"id": id, "timestamp": now.to_string(), "signature": signature, "secret": SECRET, "body_base64": body})
    };
    (0..20).map(|number| line(number).to_string() + "\n").collect()
}
