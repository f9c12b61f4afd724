//! What is secret or personal is nowhere in clear: not in the database, not in the log of a server that tells everything.

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use gatepost_client::{
    NewEvent,
    v1::{self, CreateEndpointRequest, delivery::State},
};
use gatepost_tests::{Answer, Database, Receiver, Settings, World, on_both_databases, world::waits};

on_both_databases!(nothing_secret_is_stored_or_logged_in_clear);

async fn nothing_secret_is_stored_or_logged_in_clear(database: Database) {
    let world = World::with(Settings::on(&database).set("GATEPOST_LOG__FILTER", "debug")).await;
    let receiver = Receiver::answering(|number, _| {
        let answer = Answer::status(if number < 2 { 500 } else { 200 });
        answer.header("x-answer", "canary-answer-header").body("canary-answer-body")
    })
    .await;
    let raw_secret = b"canary-signing-secret-of-32-byte";
    let signing_secret = format!("whsec_{}", BASE64_STANDARD.encode(raw_secret));
    let id = uuid::Uuid::new_v4().to_string();
    let endpoint = v1::Endpoint {
        url: receiver.url(),
        headers: [("x-token".to_owned(), "canary-header-value".to_owned())].into(),
        signing_secret: signing_secret.clone(),
        retry_policy: waits(&[1, 1]),
        ..Default::default()
    };
    let request =
        CreateEndpointRequest { endpoint_id: "siem".into(), endpoint: Some(endpoint), request_id: id, ..Default::default() };
    world.tenant.create_endpoint(request).await.expect("an endpoint");
    let rotated = world.tenant.rotate_endpoint_secret("siem", None, None).await.expect("the endpoint").signing_secret;
    let key = world.key(&["publish", "tenants:acme"]).await.key;
    let data = r#"{"user": {"id": "usr_1", "email": "canary-payload@acme.test"}, "effective_at": "2026-11-25T09:00:00Z"}"#;
    let receipt = world.tenant.publish(NewEvent::new("user.terminated", data)).await.expect("a receipt");
    let delivery = world.until(&receipt, State::Succeeded).await;
    // A test and errors say things too.
    world.tenant.test_endpoint("siem").await.expect("an answer");
    world.tenant.publish(NewEvent::new("nonsense", data)).await.expect_err("no type");
    let wrong = format!("{}canarywrongkey", &key[..key.len() - "canarywrongkey".len()]);
    gatepost_tests::world::client(&world.server, &wrong).server_info().await.expect_err("a wrong key");
    world.tenant.create_endpoint(CreateEndpointRequest::default()).await.expect_err("no URL");

    // They are not lost, only not in clear.
    assert_eq!(world.tenant.get_event(receipt.event_id()).await.expect("the event").data, data);
    assert_eq!(world.attempts(&delivery).await[0].response_body, b"canary-answer-body");
    let revealed = world.tenant.reveal_endpoint_secrets("siem").await.expect("the secrets");
    assert!(revealed.iter().any(|secret| secret.signing_secret == signing_secret));

    let secret_part = |key: &str| key.rsplit('_').next().unwrap_or_default().as_bytes().to_vec();
    let canaries: Vec<(&str, Vec<u8>)> = vec![
        ("the payload", b"canary-payload".to_vec()),
        ("the signing secret", raw_secret.to_vec()),
        ("the signing secret as it is written", signing_secret.trim_start_matches("whsec_").into()),
        ("the rotated secret", rotated.trim_start_matches("whsec_").into()),
        ("the rotated secret's bytes", BASE64_STANDARD.decode(rotated.trim_start_matches("whsec_")).expect("base64")),
        ("the header value", b"canary-header-value".to_vec()),
        ("the receiver's body", b"canary-answer-body".to_vec()),
        ("the receiver's header", b"canary-answer-header".to_vec()),
        ("the API key", secret_part(&key)),
        ("the root key", secret_part(world.server.key())),
        ("the wrong key", secret_part(&wrong)),
    ];
    let stored = database.contents().await;
    let log = world.server.log().join("\n").into_bytes();
    // The search finds what is there.
    assert!(holds(&stored, b"user.terminated") && holds(&stored, receipt.event_id().as_bytes()));
    assert!(log.len() > 1000, "{}", String::from_utf8_lossy(&log));
    for (what, canary) in canaries {
        for (how, form) in forms(&canary) {
            assert!(!holds(&stored, &form), "{what} is stored {how}");
            assert!(!holds(&log, &form), "{what} is logged {how}");
        }
    }
}

/// What bytes look like where text is expected.
fn forms(bytes: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Base64 in the middle of a longer text has other letters at its ends.
    let inner = |text: String| text.as_bytes()[..bytes.len() / 3 * 4].to_vec();
    [
        ("as it is", bytes.to_vec()),
        ("in hexadecimal", hex.into_bytes()),
        ("in base64", inner(BASE64_STANDARD.encode(bytes))),
        ("in base64 for URLs", inner(BASE64_URL_SAFE_NO_PAD.encode(bytes))),
    ]
}

fn holds(all: &[u8], part: &[u8]) -> bool {
    assert!(part.len() >= 8, "too short to mean anything");
    all.windows(part.len()).any(|window| window == part)
}
