//! An accepted event arrives at every endpoint that wants it, once, signed, and byte for byte as it was published.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use gatepost_client::{NewEvent, receiver::Verifier, v1::delivery::State};
use gatepost_tests::{Database, Receiver, World, on_both_databases, world::event};
use sha2::{Digest, Sha256};

on_both_databases!(
    a_delivery_carries_exactly_the_headers_of_the_catalogue,
    a_body_is_the_envelope_around_the_published_bytes,
    an_event_goes_to_every_endpoint_that_wants_its_type,
    deliveries_to_one_receiver_share_connections,
);

/// As a publisher may write it: spaces, an escape, a number that a parser would change, a duplicate member.
const DATA: &str = "{ \"user\" : {\"id\":\"usr_1\",\"name\":\"Zo\\u00eb Mu\u{308}ller\"},\t\"score\":1.10,\n \"score\": 1e2 }";

async fn a_delivery_carries_exactly_the_headers_of_the_catalogue(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let endpoint = world
        .endpoint("siem", &receiver.url(), |endpoint| {
            endpoint.headers = [
                ("x-api-key".to_owned(), "k-1".to_owned()),
                ("authorization".to_owned(), "Bearer abc".to_owned()),
                ("idempotency-key".to_owned(), "gp-{{webhook_id}}-1".to_owned()),
            ]
            .into();
        })
        .await;
    let before = SystemTime::now();
    let receipt = world.tenant.publish(NewEvent::new("user.created", DATA).id("hr:4711")).await.expect("a receipt");
    let request = receiver.wait_for(1).await.remove(0);

    assert_eq!(request.path, "/webhooks");
    let names: BTreeSet<&str> = request.headers.keys().map(http::HeaderName::as_str).collect();
    let expected = BTreeSet::from([
        "authorization",
        "content-digest",
        "content-length",
        "content-type",
        "gatepost-attempt",
        "gatepost-event-type",
        "host",
        "idempotency-key",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-api-key",
    ]);
    // What an HTTP client adds and no receiver minds.
    assert_eq!(names.difference(&BTreeSet::from(["accept"])).copied().collect::<BTreeSet<_>>(), expected);
    let digest = format!("sha-256=:{}:", BASE64_STANDARD.encode(Sha256::digest(&request.body)));
    for (name, value) in [
        ("webhook-id", "hr:4711"),
        ("gatepost-event-type", "user.created"),
        ("gatepost-attempt", "1"),
        ("content-type", "application/json"),
        ("content-digest", digest.as_str()),
        ("x-api-key", "k-1"),
        ("authorization", "Bearer abc"),
        ("idempotency-key", "gp-hr:4711-1"),
        ("content-length", &request.body.len().to_string()),
        ("host", &receiver.address().to_string()),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    assert!(request.header("user-agent").starts_with("gatepost/"), "{:?}", request.headers);
    let sent = request.header("webhook-timestamp").parse::<u64>().expect("seconds since 1970");
    let second = Duration::from_secs(1);
    let sent = UNIX_EPOCH + Duration::from_secs(sent);
    assert!(before - second <= sent && sent <= SystemTime::now() + second, "{:?}", request.headers);

    // Somebody else's library, and ours.
    assert!(request.is_signed_with(&endpoint.signing_secret));
    let verifier = Verifier::new([&endpoint.signing_secret]).expect("a secret");
    assert_eq!(verifier.verify(&request.headers, &request.body).expect("a good signature").id, receipt.event_id());
    assert!(!request.is_signed_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
}

async fn a_body_is_the_envelope_around_the_published_bytes(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let occurred = UNIX_EPOCH + Duration::from_millis(1_795_597_200_045);
    let receipt = world.tenant.publish(NewEvent::new("user.created", DATA).occurred(occurred)).await.expect("a receipt");
    let (id, sequence) = (receipt.event_id(), receipt.sequence());
    let request = receiver.wait_for(1).await.remove(0);
    let expected = format!(
        "{{\"id\":\"{id}\",\"type\":\"user.created\",\"timestamp\":\"2026-11-25T09:00:00.045Z\",\"tenant\":\"acme\",\
         \"subject\":\"user/usr_1\",\"sequence\":\"{sequence:020}\",\"txn\":\"{id}\",\"schema_version\":1,\"data\":{DATA}}}"
    );
    assert_eq!(String::from_utf8_lossy(&request.body), expected);

    let stored = world.tenant.get_event(id).await.expect("the event");
    assert_eq!(stored.data, DATA);
    assert_eq!((stored.subject.as_str(), stored.sequence, stored.delivery_count), ("user/usr_1", sequence, 1));

    // A subject of the publisher's own wins, and without a time it is that of acceptance.
    let receipt = world.tenant.publish(NewEvent::new("user.created", DATA).subject("person/\"7\"")).await.expect("a receipt");
    let body = receiver.wait_for(2).await.remove(1).json();
    assert_eq!(body["subject"], "person/\"7\"");
    let accepted = world.tenant.get_event(receipt.event_id()).await.expect("the event").create_time.expect("a time");
    let millis = accepted.nanos / 1_000_000;
    assert!(body["timestamp"].as_str().expect("a time").ends_with(&format!(".{millis:03}Z")), "{body}");
}

async fn an_event_goes_to_every_endpoint_that_wants_its_type(database: Database) {
    let world = World::on(&database).await;
    let (exact, family, all, own) = (Receiver::ok().await, Receiver::ok().await, Receiver::ok().await, Receiver::ok().await);
    world.endpoint("exact", &exact.url(), |endpoint| endpoint.event_types = vec!["user.terminated".into()]).await;
    let families = ["user.*", "access.*", "group.member_added"].map(str::to_owned);
    world.endpoint("family", &family.url(), |endpoint| endpoint.event_types = families.into()).await;
    world.endpoint("all", &all.url(), |_| {}).await;
    world.endpoint("own", &own.url(), |endpoint| endpoint.event_types = vec!["webhook.*".into(), "hook.*".into()]).await;
    let mut arrivals = Vec::new();
    for (event_type, endpoints) in [
        ("user.terminated", &["all", "exact", "family"][..]),
        ("user.updated", &["all", "family"]),
        ("group.member_added", &["all", "family"]),
        // A family ends with its dot: this is none of `access.*`.
        ("access_request.cancelled", &["all"]),
    ] {
        let receipt = world.publish(event_type).await;
        let made = (receipt.delivery_count() as usize, receipt.skipped_count() as usize);
        assert_eq!(made, (endpoints.len(), 4 - endpoints.len()), "{event_type}");
        let delivered = world.delivered(&receipt).await;
        let mut reached: Vec<&str> = delivered.iter().filter_map(|delivery| delivery.endpoint.rsplit('/').next()).collect();
        reached.sort_unstable();
        assert_eq!(reached, endpoints, "{event_type}");
        for delivery in delivered {
            assert_eq!(
                (delivery.state(), delivery.attempt_count, delivery.last_status),
                (State::Succeeded, 1, 200),
                "{delivery:?}"
            );
            assert_eq!((delivery.event.as_str(), delivery.event_type.as_str()), (receipt.event(), event_type));
        }
        arrivals.extend(endpoints.iter().map(|endpoint| (*endpoint, event_type)));
    }
    // What is about Gatepost itself no caller can say.
    for event_type in ["webhook.endpoint_disabled", "hook.updated", "binding.updated"] {
        let refused = world.tenant.publish(event(event_type)).await.expect_err(event_type);
        assert_eq!(refused.reason(), Some("RESERVED_EVENT_TYPE"), "{event_type}: {refused:?}");
    }
    // What Gatepost says of itself goes to whoever names it, and to nobody else.
    world.endpoint("idle", &all.url(), |endpoint| endpoint.event_types = vec!["session.*".into()]).await;
    world.tenant.disable_endpoint("idle").await.expect("the endpoint");
    own.wait_for(1).await;
    assert_eq!(world.deliveries(r#"event_type == "webhook.endpoint_disabled""#).await.len(), 1);
    arrivals.push(("own", "webhook.endpoint_disabled"));
    for (name, receiver) in [("exact", &exact), ("family", &family), ("all", &all), ("own", &own)] {
        let expected: Vec<&str> = arrivals.iter().filter(|(endpoint, _)| *endpoint == name).map(|(_, kind)| *kind).collect();
        let received = receiver.received();
        let types: Vec<&str> = received.iter().map(|request| request.header("gatepost-event-type")).collect();
        assert_eq!(types, expected, "{name}");
    }
}

async fn deliveries_to_one_receiver_share_connections(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.max_in_flight = 4).await;
    let results = world.tenant.publish_batch((0..300).map(|_| event("user.updated"))).await;
    let ids: Vec<String> = results.into_iter().map(|result| result.expect("a receipt").event_id().to_owned()).collect();
    let received = receiver.wait_for_ids(gatepost_tests::DEADLINE, ids.iter().map(String::as_str)).await;
    assert_eq!(received.len(), ids.len(), "each arrives once");
    let connections: HashSet<_> = received.iter().map(|request| request.peer).collect();
    assert!(connections.len() <= 8, "{} connections for 300 requests, 4 at once", connections.len());
}
