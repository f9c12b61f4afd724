//! Security event tokens as a receiver of RFC 8935 knows them: one delivery for each event that a standard has, a key set that
//! verifies them through every change of keys, and answers that mean what the standard says.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gatepost_client::{
    Error, NewEvent,
    v1::{
        self, AttemptClass, CreateEndpointRequest, ExplainEventRequest, ListSigningKeysRequest, RotateSigningKeyRequest,
        delivery::State,
        endpoint::{self, Format, PausedReason, SetFamily, SetSubject},
        endpoint_match::Reason,
    },
};
use gatepost_tests::{
    Answer, Database, PUBLIC_BASE_URL, Received, Receiver, SCHEMA_BASE_URL, Settings, World, on_both_databases, until, world::waits,
};
use serde_json::{Value, json};

use crate::judges::{self, AUDIENCE, key_set, last, token, token_receiver, tokens, uri};

on_both_databases!(
    an_event_becomes_one_token_for_each_security_event,
    a_ping_is_a_verification_token,
    an_answer_means_what_rfc_8935_says,
    a_refused_sender_is_paused_until_it_is_resumed,
    a_token_survives_a_crash_and_a_change_of_keys,
    a_new_key_is_published_before_it_signs,
    tokens_are_refused_where_they_cannot_be_made,
);

const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";

async fn world(database: &Database) -> World {
    World::with(Settings::on(database).named()).await
}

/// What judges must find in a token: who it is from and for.
fn parties() -> Value {
    json!({"iss": judges::issuer(), "aud": AUDIENCE})
}

async fn an_event_becomes_one_token_for_each_security_event(database: Database) {
    let test = "an_event_becomes_one_token_for_each_security_event";
    let world = world(&database).await;
    let (two, own, email) = (token_receiver().await, token_receiver().await, token_receiver().await);
    world.endpoint("two", &two.url(), tokens).await;
    world
        .endpoint("own", &own.url(), |endpoint| {
            tokens(endpoint);
            endpoint.set_own_types = true;
            endpoint.set_families = vec![SetFamily::Caep.into()];
        })
        .await;
    world
        .endpoint("email", &email.url(), |endpoint| {
            tokens(endpoint);
            endpoint.set_subject = SetSubject::Email.into();
            endpoint.set_families = vec![SetFamily::Risc.into()];
            endpoint.set_audience = vec![AUDIENCE.to_owned(), "https://other.acme.test".to_owned()];
        })
        .await;

    let receipt = world.publish("user.terminated").await;
    assert_eq!((receipt.delivery_count(), receipt.skipped_count()), (4, 0));
    let deliveries = world.delivered(&receipt).await;
    let of_two: BTreeSet<&str> =
        deliveries.iter().filter(|delivery| last(&delivery.endpoint) == "two").map(|delivery| last(&delivery.name)).collect();
    let requests = two.wait_for(2).await;
    let ids: BTreeSet<&str> = requests.iter().map(Received::id).collect();
    assert!(ids == of_two && ids.len() == 2 && ids.iter().all(|id| id.starts_with("dlv_")), "{ids:?} {of_two:?}");
    let uris: BTreeSet<String> = requests.iter().map(|request| uri(&token(&request.body).1).to_owned()).collect();
    assert_eq!(uris, BTreeSet::from([REVOKED.to_owned(), DISABLED.to_owned()]));
    let mut expect = parties();
    expect["txn"] = json!(receipt.event_id());
    let mut lines: Vec<Value> = Vec::new();
    for request in &requests {
        let (header, claims) = token(&request.body);
        assert_eq!(claims["jti"], request.id());
        assert_eq!(header["typ"], "secevent+jwt");
        assert_eq!(header.as_object().map(serde_json::Map::len), Some(3), "{header}");
        expect["jti"] = json!(request.id());
        lines.push(judges::arrived(Format::Set, request, expect.clone()));
    }

    // Several audiences are an array, and a user may be named by address.
    let request = email.wait_for(1).await.remove(0);
    let sub_id = json!({"format": "email", "email": "jane@acme.test"});
    let audience = [AUDIENCE, "https://other.acme.test"];
    lines.push(judges::arrived(Format::Set, &request, json!({"iss": judges::issuer(), "aud": audience, "sub_id": sub_id})));

    // No standard of the families chosen has it: only who wants Gatepost's own types gets one.
    let data = "{ \"user\": {\"id\":\"usr_1\"},\t\"n\": 1.10 }";
    let receipt = world.tenant.publish(NewEvent::new("user.created", data)).await.expect("a receipt");
    assert_eq!((receipt.delivery_count(), receipt.skipped_count()), (1, 2));
    let request = own.wait_for(2).await.remove(1);
    let own_uri = format!("{SCHEMA_BASE_URL}/event-type/user.created");
    let mut expect = parties();
    expect["events"] = json!({own_uri: serde_json::from_str::<Value>(data).expect("JSON")});
    lines.push(judges::arrived(Format::Set, &request, expect));
    let explain = ExplainEventRequest { name: receipt.event().to_owned(), ..Default::default() };
    let explained = world.client.event_service().explain_event(explain).await.expect("an answer").into_inner();
    let reasons: BTreeMap<&str, Reason> = explained.matches.iter().map(|found| (last(&found.endpoint), found.reason())).collect();
    let expected = [("two", Reason::NoSecurityEvent), ("own", Reason::Unspecified), ("email", Reason::NoSecurityEvent)];
    assert_eq!(reasons, BTreeMap::from(expected));
    assert_eq!((two.count(), email.count()), (2, 1));

    judges::read(test, &lines, &key_set(&world, "acme").await).await;
}

async fn a_ping_is_a_verification_token(database: Database) {
    let test = "a_ping_is_a_verification_token";
    let world = world(&database).await;
    let receiver = token_receiver().await;
    let secret = world.endpoint("rp", &receiver.url(), tokens).await.signing_secret;
    let tested = world.tenant.test_endpoint("rp").await.expect("an answer");
    assert!(tested.success && tested.attempt.expect("an attempt").detail.is_empty());
    let request = receiver.wait_for(1).await.remove(0);
    assert!(request.is_signed_with(&secret));
    let mut expect = parties();
    expect["jti"] = json!(request.id());
    expect["sub_id"] = json!({"format": "opaque", "id": "rp"});
    expect["events"] = json!({"https://schemas.openid.net/secevent/ssf/event-type/verification": {"state": "ACTIVE"}});
    judges::read(test, &[judges::arrived(Format::Set, &request, expect)], &key_set(&world, "acme").await).await;

    // The answers of tokens hold for it too, and it pauses nothing.
    for (status, body, success, detail) in
        [(200, "", true, "nonstandard_success"), (203, "", false, ""), (400, r#"{"err":"access_denied"}"#, false, "access_denied")]
    {
        receiver.answer(move |_, _| Answer::status(status).body(body));
        let tested = world.tenant.test_endpoint("rp").await.expect("an answer");
        assert_eq!((tested.success, tested.attempt.expect("an attempt").detail.as_str()), (success, detail), "{status} {body}");
    }
    assert_eq!(world.tenant.get_endpoint("rp").await.expect("the endpoint").state(), endpoint::State::Active);
}

/// What becomes of a delivery after its first answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeded,
    Dead,
    Retried,
}

async fn an_answer_means_what_rfc_8935_says(database: Database) {
    let world = world(&database).await;
    let long = format!("{{\"pad\":\"{}\",\"err\":\"invalid_request\"}}", "x".repeat(40_000));
    let table: &[(u16, &str, Fate, &str)] = &[
        (202, "", Fate::Succeeded, ""),
        (202, r#"{"err":"invalid_request"}"#, Fate::Succeeded, ""),
        (200, "", Fate::Succeeded, "nonstandard_success"),
        (201, "", Fate::Succeeded, "nonstandard_success"),
        (204, "", Fate::Succeeded, "nonstandard_success"),
        (206, "", Fate::Retried, ""),
        (400, r#"{"err":"invalid_request","description":"unreadable"}"#, Fate::Dead, "invalid_request"),
        (400, r#"{"err":"invalid_audience"}"#, Fate::Dead, "invalid_audience"),
        (400, r#"{"err":"invalid_issuer"}"#, Fate::Dead, "invalid_issuer"),
        (400, r#"{"err":"invalid_state"}"#, Fate::Dead, "invalid_state"),
        (400, r#"{"err":"invalid_key"}"#, Fate::Retried, "invalid_key"),
        (400, r#"{"err":"unheard_of"}"#, Fate::Retried, ""),
        (400, r#"{"err":["invalid_request"]}"#, Fate::Retried, ""),
        (400, r#"{"err":"invalid_request""#, Fate::Retried, ""),
        (400, "<html>invalid_request</html>", Fate::Retried, ""),
        (400, "\u{0}\u{1}", Fate::Retried, ""),
        (400, "", Fate::Retried, ""),
        (400, &long, Fate::Retried, ""),
        (401, r#"{"err":"invalid_request"}"#, Fate::Retried, ""),
        (500, r#"{"err":"invalid_request"}"#, Fate::Retried, ""),
    ];
    let answers: Vec<(u16, String)> = table.iter().map(|(status, body, ..)| (*status, (*body).to_owned())).collect();
    let receiver = Receiver::answering(move |_, request| {
        let (status, body) = &answers[request.path.rsplit('/').next().and_then(|row| row.parse::<usize>().ok()).expect("a row")];
        if request.attempt() > 1 { Answer::status(202) } else { Answer::status(*status).body(body.clone()) }
    })
    .await;
    for row in 0..table.len() {
        world
            .endpoint(&format!("row-{row}"), &format!("{}/{row}", receiver.url()), |endpoint| {
                tokens(endpoint);
                endpoint.retry_policy = waits(&[1]);
            })
            .await;
    }
    let receipt = world.publish("session.revoked").await;
    assert_eq!(receipt.delivery_count() as usize, table.len());
    let deliveries = until("all deliveries to end", async || {
        let deliveries = world.deliveries(&format!("event == \"{}\"", receipt.event_id())).await;
        let ended = |delivery: &v1::Delivery| matches!(delivery.state(), State::Succeeded | State::Dead);
        if deliveries.iter().all(ended) { Ok(deliveries) } else { Err(deliveries) }
    })
    .await;
    for delivery in deliveries {
        let row: usize = last(&delivery.endpoint).trim_start_matches("row-").parse().expect("a number");
        let (status, body, fate, detail) = table[row];
        let attempts = world.attempts(&delivery).await;
        let found = match (delivery.state(), attempts.len()) {
            (State::Succeeded, 1) => Fate::Succeeded,
            (State::Succeeded, 2) => Fate::Retried,
            (State::Dead, 1) => Fate::Dead,
            other => panic!("{status} {body}: {other:?}"),
        };
        let what = format!("{status} {}", &body[..body.len().min(60)]);
        assert_eq!((found, attempts[0].detail.as_str(), attempts[0].response_status), (fate, detail, i32::from(status)), "{what}");
        assert_eq!(attempts[0].class() == AttemptClass::Success, fate == Fate::Succeeded, "{what}");
        let endpoint = world.tenant.get_endpoint(&delivery.endpoint).await.expect("the endpoint");
        assert_eq!(endpoint.state(), endpoint::State::Active, "{what}");
    }
}

async fn a_refused_sender_is_paused_until_it_is_resumed(database: Database) {
    let world = world(&database).await;
    for err in ["authentication_failed", "access_denied"] {
        let receiver = Receiver::answering(move |_, _| Answer::status(400).body(format!("{{\"err\":\"{err}\"}}"))).await;
        let id = err.replace('_', "-");
        // Not even a retry that is not there ends the delivery.
        let no_retry = |endpoint: &mut v1::Endpoint| {
            tokens(endpoint);
            endpoint.retry_policy = waits(&[]);
        };
        world.endpoint(&id, &receiver.url(), no_retry).await;
        let receipt = world.publish("session.revoked").await;
        let mine = |deliveries: Vec<v1::Delivery>| deliveries.into_iter().find(|delivery| last(&delivery.endpoint) == id);
        let delivery = async || mine(world.deliveries(&format!("event == \"{}\"", receipt.event_id())).await).expect("a delivery");
        let held = until("an attempt on record", async || {
            let delivery = delivery().await;
            if delivery.attempt_count == 1 { Ok(delivery) } else { Err(delivery) }
        })
        .await;
        assert_eq!((held.state(), held.last_status), (State::Held, 400), "{held:?}");
        assert_eq!(world.attempts(&held).await[0].detail, err);
        let endpoint = world.tenant.get_endpoint(&id).await.expect("the endpoint");
        assert_eq!((endpoint.state(), endpoint.paused_reason()), (endpoint::State::Paused, PausedReason::Refused));
        let later = world.publish("session.revoked").await;
        assert_eq!(receiver.count(), 1, "nothing is sent to it while it is paused");

        receiver.answer(|_, _| Answer::status(202));
        let endpoint = world.tenant.resume_endpoint(&id).await.expect("the endpoint");
        assert_eq!((endpoint.state(), endpoint.paused_reason()), (endpoint::State::Active, PausedReason::Unspecified));
        let requests = receiver.wait_for(3).await;
        let again: Vec<&Received> = requests.iter().filter(|request| request.id() == last(&held.name)).collect();
        assert!(again.len() == 2 && again[0].body == again[1].body);
        until("the delivery to succeed", async || {
            let delivery = delivery().await;
            if delivery.state() == State::Succeeded { Ok(()) } else { Err(delivery) }
        })
        .await;
        assert!(mine(world.delivered(&later).await).is_some_and(|delivery| delivery.attempt_count == 1));
        let endpoint = world.tenant.pause_endpoint(&id).await.expect("the endpoint");
        assert_eq!(endpoint.paused_reason(), PausedReason::Manual);
        world.tenant.delete_endpoint(&id).await.expect("it goes");
    }
}

async fn rotate(world: &World, seconds: i64) -> v1::SigningKey {
    let request = RotateSigningKeyRequest {
        parent: "tenants/acme".to_owned(),
        activate_after_duration: gatepost_tests::world::seconds(seconds),
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    world.client.tenant_service().rotate_signing_key(request).await.expect("a key").into_inner()
}

fn key_id(request: &Received) -> String {
    token(&request.body).0["kid"].as_str().expect("a kid").to_owned()
}

async fn a_token_survives_a_crash_and_a_change_of_keys(database: Database) {
    let test = "a_token_survives_a_crash_and_a_change_of_keys";
    let mut world = world(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(500)).await;
    world
        .endpoint("rp", &receiver.url(), |endpoint| {
            tokens(endpoint);
            endpoint.retry_policy = waits(&[1, 1, 1, 1]);
        })
        .await;
    let before = key_set(&world, "acme").await;
    let receipt = world.publish("session.revoked").await;
    receiver.wait_for(1).await;
    world.server.kill().await;
    receiver.answer(|_, _| Answer::status(202));
    world.server.restart().await;
    let delivery = world.until(&receipt, State::Succeeded).await;
    let requests = receiver.received();
    assert!(requests.len() >= 2);
    assert!(requests.iter().all(|request| request.id() == last(&delivery.name) && request.body == requests[0].body));

    // The key that signed it is still published after a new one took over, and `kid` tells them apart.
    let rotated = rotate(&world, 0).await;
    let after = key_set(&world, "acme").await;
    assert_eq!((before["keys"].as_array().map(Vec::len), after["keys"].as_array().map(Vec::len)), (Some(1), Some(2)));
    world.delivered(&world.publish("session.revoked").await).await;
    let last = receiver.received().pop().expect("a request");
    assert_eq!(
        (key_id(&last), key_id(&requests[0])),
        (rotated.key_id.clone(), before["keys"][0]["kid"].as_str().expect("a kid").to_owned())
    );
    let [old, new] = [&requests[0], &last].map(|request| judges::arrived(Format::Set, request, parties()));
    let under = |token: &Value, keys: &Value| judges::under(token.clone(), keys);
    let mut reversed = after.clone();
    reversed["keys"].as_array_mut().expect("keys").reverse();
    let mut only_new = after.clone();
    only_new["keys"].as_array_mut().expect("keys").retain(|key| key["kid"] == rotated.key_id);
    // A key that is passed off under another's name verifies nothing.
    let mut forged = before.clone();
    forged["keys"][0]["kid"] = json!(rotated.key_id);
    let good = [under(&old, &after), under(&new, &after), under(&old, &reversed), under(&new, &reversed), under(&old, &before)];
    judges::read(test, &good, &Value::Null).await;
    judges::refused(test, &[under(&new, &before), under(&old, &only_new), under(&new, &forged)]).await;
}

async fn a_new_key_is_published_before_it_signs(database: Database) {
    let world = world(&database).await;
    assert_eq!(key_set(&world, "acme").await, json!({"keys": []}), "before its first endpoint of tokens a tenant has none");
    assert_eq!(key_set(&world, "nobody").await, json!({"keys": []}), "and nobody learns which tenants there are");
    let receiver = token_receiver().await;
    world.endpoint("rp", &receiver.url(), tokens).await;
    let first = key_set(&world, "acme").await["keys"][0].clone();
    let members: BTreeSet<&str> = first.as_object().expect("a key").keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["alg", "e", "kid", "kty", "n", "use"]), "no private half");
    assert_eq!((&first["alg"], &first["use"], &first["kty"]), (&json!("RS256"), &json!("sig"), &json!("RSA")));

    let second = rotate(&world, 3600).await;
    let published: Vec<Value> = key_set(&world, "acme").await["keys"].as_array().expect("keys").clone();
    assert_eq!(published.len(), 2);
    assert!(published.contains(&first) && published.contains(&serde_json::from_str(&second.public_jwk).expect("JSON")));
    world.delivered(&world.publish("session.revoked").await).await;
    assert_eq!(key_id(&receiver.wait_for(1).await[0]), first["kid"].as_str().expect("a kid"));

    let third = rotate(&world, 0).await;
    world.delivered(&world.publish("session.revoked").await).await;
    assert_eq!(key_id(&receiver.wait_for(2).await[1]), third.key_id);
    let request = ListSigningKeysRequest { parent: "tenants/acme".to_owned() };
    let listed = world.client.tenant_service().list_signing_keys(request).await.expect("keys").into_inner().signing_keys;
    let ids: Vec<&str> = listed.iter().map(|key| key.key_id.as_str()).collect();
    assert_eq!(ids, [&third.key_id, &second.key_id, first["kid"].as_str().expect("a kid")], "newest first");
    assert!(listed[0].expire_time.is_none() && listed[2].expire_time.is_some());
    // What one of them signed may be retried for days.
    let (made, goes) = (third.create_time.expect("a time").seconds, listed[2].expire_time.expect("a time").seconds);
    assert!(goes >= made + 7 * 86_400, "{listed:?}");
}

async fn tokens_are_refused_where_they_cannot_be_made(database: Database) {
    let bad_fields = async |world: &World, change: &dyn Fn(&mut v1::Endpoint)| -> Vec<String> {
        let mut endpoint =
            v1::Endpoint { url: "http://127.0.0.1:7999/".to_owned(), format: Format::Set.into(), ..Default::default() };
        change(&mut endpoint);
        let request = CreateEndpointRequest { endpoint: Some(endpoint), validate_only: true, ..Default::default() };
        match world.tenant.create_endpoint(request).await {
            Ok(_) => Vec::new(),
            Err(refused) => {
                assert!(matches!(refused, Error::InvalidArgument { .. }), "{refused:?}");
                let mut fields: Vec<String> = refused.field_violations().iter().map(|bad| bad.field.clone()).collect();
                fields.sort();
                fields
            }
        }
    };
    let everything = |endpoint: &mut v1::Endpoint| {
        endpoint.transform = "{}".to_owned();
        endpoint.set_own_types = true;
    };
    let mut world = World::on(&database).await;
    let all = ["endpoint.format", "endpoint.set_audience", "endpoint.set_own_types", "endpoint.transform"];
    assert_eq!(bad_fields(&world, &everything).await, all);
    assert_eq!(bad_fields(&world, &tokens).await, ["endpoint.format"]);
    assert_eq!(key_set(&world, "acme").await, json!({"keys": []}), "what was only checked made no key");

    // The settings of the server are what was missing.
    world.server.stop().await;
    let settings = Settings::on(&database).set("GATEPOST_PUBLIC_BASE_URL", PUBLIC_BASE_URL);
    let server = world.server.join_with(|_| settings).await;
    let client = gatepost_tests::world::client(&server, server.key());
    let world = World { tenant: client.tenant("acme"), client, server };
    assert_eq!(bad_fields(&world, &tokens).await, [""; 0]);
    assert_eq!(bad_fields(&world, &everything).await, all[1..]);
    let own = |endpoint: &mut v1::Endpoint| {
        tokens(endpoint);
        endpoint.set_own_types = true;
    };
    assert_eq!(bad_fields(&world, &own).await, ["endpoint.set_own_types"]);
    // Fields that were stored one by one do not go together either.
    let receiver = token_receiver().await;
    world.endpoint("rp", &receiver.url(), tokens).await;
    let transform = v1::Endpoint { name: "rp".to_owned(), transform: "{}".to_owned(), ..Default::default() };
    let update = v1::UpdateEndpointRequest { endpoint: Some(transform), ..Default::default() };
    let refused = world.tenant.update_endpoint(update).await.expect_err("not with tokens");
    assert_eq!(refused.field_violations().iter().map(|bad| bad.field.as_str()).collect::<Vec<_>>(), ["endpoint.transform"]);
    world.delivered(&world.publish("session.revoked").await).await;
    let found = receiver.wait_until("a token", Duration::from_secs(20), |received| !received.is_empty()).await;
    assert_eq!(token(&found[0].body).1["iss"], judges::issuer());
}
