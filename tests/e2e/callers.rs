//! Callers that lost their key lose their streams, callers without one are slowed down, and what is secret is never read back.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use gatepost_client::{
    Client, Error,
    v1::{self, Endpoint, delivery::State},
};
use gatepost_tests::{
    DEADLINE, Database, Receiver, Settings, World, on_both_databases, until,
    world::{client, event},
};

on_both_databases!(
    wrong_keys_are_told_to_wait_and_a_good_key_of_the_same_address_is_not,
    streams_end_with_their_key,
    header_values_are_written_and_never_read_back,
);

async fn wrong_keys_are_told_to_wait_and_a_good_key_of_the_same_address_is_not(database: Database) {
    let world = World::with(Settings::on(&database).set("GATEPOST_LIMITS__FAILED_AUTHENTICATIONS", "20")).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let (id, secret) = world.server.key().rsplit_once('_').expect("a key");
    let keys = [format!("{id}_{}", secret.chars().rev().collect::<String>()), format!("gp_key_{}_{secret}", "0".repeat(26))];
    let (mut refused, mut limited) = (0, Vec::new());
    for number in 0..60 {
        let wrong =
            Client::builder(world.server.url()).key(keys[number % 2].clone()).max_retries(0).connect_lazy().expect("a client");
        match wrong.server_info().await {
            Err(Error::Unauthenticated { .. }) => refused += 1,
            Err(error @ Error::ResourceExhausted { .. }) => limited.push(error),
            other => panic!("{other:?}"),
        }
        // In between, whoever has a key.
        if number % 10 == 0 {
            let begun = Instant::now();
            client(&world.server, world.server.key()).server_info().await.expect("an answer");
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    }
    assert!((20..40).contains(&refused), "{refused}");
    for error in &limited {
        assert_eq!(error.reason(), Some("RATE_LIMITED"));
        let Error::ResourceExhausted { retry_after, .. } = error else { panic!("{error:?}") };
        assert!(retry_after.is_some_and(|wait| wait > Duration::ZERO && wait <= Duration::from_secs(4)), "{error:?}");
    }
    let receipt = world.publish("user.created").await;
    world.until(&receipt, State::Succeeded).await;
    // Not for ever.
    until("the address to be forgiven", async || {
        let wrong = Client::builder(world.server.url()).key(keys[0].clone()).max_retries(0).connect_lazy().expect("a client");
        match wrong.server_info().await {
            Err(Error::Unauthenticated { .. }) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

async fn streams_end_with_their_key(database: Database) {
    let world = World::on(&database).await;
    // A revocation at one node ends streams at the others.
    let second = if database.is_postgres() { Some(world.server.join().await) } else { None };
    let server = second.as_ref().unwrap_or(&world.server);
    let now = world.client.server_info().await.expect("facts").now_time.expect("a time");
    let expiring = v1::ApiKey {
        scopes: ["deliveries.read", "publish", "tenants:acme"].map(str::to_owned).into(),
        expire_time: Some(prost_types::Timestamp { seconds: now.seconds + 5, ..now }),
        ..Default::default()
    };
    let request = v1::CreateApiKeyRequest { api_key: Some(expiring), ..Default::default() };
    let expiring = world.client.create_api_key(request).await.expect("a key");
    let revoked = world.key(&["deliveries.read", "publish", "tenants:acme"]).await;
    let lasting = world.key(&["deliveries.read", "publish", "tenants:acme"]).await;
    let streams = async |key: &str| {
        let tenant = client(server, key).tenant("acme");
        let mut watch = tenant.watch().start().await.expect("a watch");
        watch.try_next().await.expect("no error").expect("a checkpoint");
        let mut publish = tenant.publish_stream(stream::iter([event("user.created")]).chain(stream::pending()));
        publish.next().await.expect("an answer").expect("a receipt");
        (watch, publish)
    };
    let mut ends = [streams(&expiring.key).await, streams(&revoked.key).await];
    let (mut lasting, _publish) = streams(&lasting.key).await;
    world.client.revoke_api_key(&revoked.name).await.expect("it is revoked");
    for (watch, publish) in &mut ends {
        let watched = async {
            loop {
                match watch.try_next().await {
                    Ok(item) => drop(item.expect("a watch ends with an error")),
                    Err(error) => return error,
                }
            }
        };
        let error = tokio::time::timeout(DEADLINE, watched).await.expect("the watch ends");
        assert!(matches!(error, Error::Unauthenticated { .. }), "{error:?}");
        let ended = tokio::time::timeout(DEADLINE, publish.next()).await.expect("the publish stream ends");
        assert!(matches!(ended, Some(Err(Error::Unauthenticated { .. }))), "{ended:?}");
    }
    // Others go on.
    let receipt = world.publish("user.updated").await;
    assert!(!receipt.duplicate());
    world.endpoint("siem", &Receiver::ok().await.url(), |_| {}).await;
    let receipt = world.publish("user.updated").await;
    let seen = async {
        loop {
            let item = lasting.try_next().await.expect("no error").expect("a watch does not end");
            if item.changes.into_iter().filter_map(|change| change.delivery).any(|delivery| delivery.event == receipt.event()) {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.expect("a stream whose key is good goes on");
}

async fn header_values_are_written_and_never_read_back(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let headers = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let made = world
        .endpoint("siem", &receiver.url(), |endpoint| endpoint.headers = headers(&[("x-key", "canary"), ("x-old", "old")]))
        .await;
    let hidden = headers(&[("x-key", "<hidden>"), ("x-old", "<hidden>")]);
    let read = world.tenant.get_endpoint("siem").await.expect("the endpoint");
    let listed: Vec<Endpoint> = world.tenant.endpoints("").try_collect().await.expect("a list");
    for shown in [&made, &read, &listed[0]] {
        assert_eq!(shown.headers, hidden);
        assert!(!format!("{shown:?}").contains("canary"), "{shown:?}");
    }
    let update = async |endpoint: Endpoint, paths: &[&str]| {
        let update_mask = Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
        let request = v1::UpdateEndpointRequest { endpoint: Some(endpoint), update_mask, ..Default::default() };
        world.tenant.update_endpoint(request).await
    };
    let sent = async || {
        let before = receiver.count();
        world.publish("user.created").await;
        receiver.wait_for(before + 1).await.pop().expect("a request")
    };
    // What was read is sent back, with another name for people: everything is as it was.
    let back = Endpoint { display_name: "SIEM".into(), ..read };
    let changed = update(back, &["*"]).await.expect("the endpoint");
    assert_eq!((changed.display_name.as_str(), &changed.headers), ("SIEM", &hidden));
    let request = sent().await;
    assert_eq!((request.header("x-key"), request.header("x-old")), ("canary", "old"));
    // One is kept, one replaced, one taken away.
    let named = |pairs: &[(&str, &str)]| Endpoint { name: "siem".into(), headers: headers(pairs), ..Default::default() };
    update(named(&[("X-Key", "<hidden>"), ("x-new", "new")]), &["headers"]).await.expect("the endpoint");
    let request = sent().await;
    assert_eq!((request.header("x-key"), request.header("x-new")), ("canary", "new"));
    assert!(!request.headers.contains_key("x-old"));
    // There is nothing to keep.
    let refused = update(named(&[("x-key", "<hidden>"), ("x-other", "<hidden>")]), &["headers"]).await.expect_err("no such header");
    let Error::InvalidArgument { violations, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!((violations.len(), violations[0].field.as_str()), (1, "endpoint.headers"), "{refused:?}");
    assert!(violations[0].description.contains("x-other"), "{refused:?}");
    let endpoint = Endpoint { url: receiver.url(), headers: headers(&[("x-key", "<hidden>")]), ..Default::default() };
    let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), ..Default::default() };
    assert!(matches!(world.tenant.create_endpoint(request).await, Err(Error::InvalidArgument { .. })));
    assert_eq!(sent().await.header("x-key"), "canary", "what was refused changed nothing");
}
