//! The same call again does nothing again: event ids, request ids, and what happens when they are used for something else.

use std::sync::Arc;

use futures::future::join_all;
use gatepost_client::{
    Error, NewEvent,
    v1::{self, CreateApiKeyRequest, CreateEndpointRequest, CreateTenantRequest, PublishEventRequest, RotateEndpointSecretRequest},
};
use gatepost_tests::{
    Database, Receiver, World, on_both_databases,
    world::{PERSON, event},
};

on_both_databases!(
    an_event_published_again_is_a_duplicate_with_the_first_answer,
    an_id_used_with_other_fields_is_refused,
    of_many_at_once_exactly_one_is_stored,
    a_request_id_repeats_the_first_answer_of_a_publish,
    a_request_id_repeats_what_was_created_with_its_secret,
);

async fn an_event_published_again_is_a_duplicate_with_the_first_answer(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let first = world.tenant.publish(event("user.created").id("hr-1").tag("a", "b")).await.expect("a receipt");
    assert!(!first.duplicate());
    world.delivered(&first).await;
    // What came later changes nothing in the first answer.
    let late = Receiver::ok().await;
    world.endpoint("late", &late.url(), |_| {}).await;
    for batch in [false, true] {
        let again = event("user.created").id("hr-1").tag("a", "b");
        let again = if batch { world.tenant.publish_batch([again]).await.remove(0) } else { world.tenant.publish(again).await };
        let again = again.expect("a receipt");
        assert!(again.duplicate());
        assert_eq!(again.response(), &v1::PublishEventResponse { duplicate: true, ..first.response().clone() });
    }
    assert_eq!(world.deliveries("").await.len(), 1);
    world.delivered(&world.publish("user.updated").await).await;
    assert_eq!((receiver.count(), late.count()), (2, 1));
}

async fn an_id_used_with_other_fields_is_refused(database: Database) {
    let world = World::on(&database).await;
    let base = || event("user.created").id("hr-1").subject("user/1").tag("a", "b");
    world.tenant.publish(base()).await.expect("a receipt");
    let bytes = r#"{"user": {"id": "usr_1", "email":"jane@acme.test"}}"#;
    for other in [
        base().tag("a", "c"),
        base().tag("c", "d"),
        base().subject("user/2"),
        base().occurred(std::time::SystemTime::now()),
        event("user.deleted").id("hr-1").subject("user/1").tag("a", "b"),
        NewEvent::new("user.created", bytes).id("hr-1").subject("user/1").tag("a", "b"),
    ] {
        let refused = world.tenant.publish(other.clone()).await.expect_err("other fields");
        assert!(matches!(&refused, Error::IdempotencyMismatch { id: Some(id), .. } if id == "hr-1"), "{other:?}: {refused:?}");
        let refused = world.tenant.publish_batch([other, event("user.created")]).await;
        assert!(matches!(refused[0], Err(Error::IdempotencyMismatch { .. })) && refused[1].is_ok(), "{refused:?}");
    }
    // Another tenant has ids of its own.
    let request = CreateTenantRequest { tenant_id: "globex".into(), ..Default::default() };
    world.client.create_tenant(request).await.expect("a tenant");
    assert!(!world.client.tenant("globex").publish(base().tag("c", "d")).await.expect("a receipt").duplicate());
}

async fn of_many_at_once_exactly_one_is_stored(database: Database) {
    let world = Arc::new(World::on(&database).await);
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    for round in 0..5 {
        let id = format!("hr-{round}");
        let tasks = (0..20).map(|_| {
            let (world, id) = (Arc::clone(&world), id.clone());
            tokio::spawn(async move { world.tenant.publish(event("user.created").id(id)).await })
        });
        let results = join_all(tasks).await.into_iter().map(|task| task.expect("no panic").expect("a receipt"));
        let receipts: Vec<_> = results.collect();
        assert_eq!(receipts.iter().filter(|receipt| !receipt.duplicate()).count(), 1);
        assert!(receipts.iter().all(|receipt| receipt.sequence() == receipts[0].sequence()), "one answer for all");
    }
    // And inside one batch.
    let results = world.tenant.publish_batch((0..20).map(|_| event("user.created").id("hr-batch"))).await;
    let duplicates: Vec<bool> = results.into_iter().map(|result| result.expect("a receipt").duplicate()).collect();
    assert_eq!(duplicates.iter().filter(|duplicate| !**duplicate).count(), 1, "{duplicates:?}");
    assert_eq!(world.deliveries("").await.len(), 6);
    world.delivered(&world.publish("user.updated").await).await;
    receiver.wait_for(7).await;
    assert_eq!(receiver.count(), 7);
}

async fn a_request_id_repeats_the_first_answer_of_a_publish(database: Database) {
    let world = World::on(&database).await;
    let publish = async |event_type: &str, request_id: &str| {
        let request = PublishEventRequest {
            parent: world.tenant.name().into(),
            r#type: event_type.into(),
            data: PERSON.into(),
            request_id: request_id.into(),
            ..Default::default()
        };
        world.client.event_service().publish_event(request).await.map(tonic::Response::into_inner).map_err(Error::from)
    };
    let id = uuid::Uuid::new_v4().to_string();
    let first = publish("user.created", &id).await.expect("an answer");
    assert!(first.event.starts_with("tenants/acme/events/evt_") && !first.duplicate, "{first:?}");
    let again = publish("user.created", &id).await.expect("the first answer");
    assert_eq!(again, v1::PublishEventResponse { duplicate: true, ..first.clone() });
    assert_eq!(publish("user.created", &id.to_uppercase()).await.expect("the same UUID").event, first.event);
    assert!(matches!(publish("user.deleted", &id).await, Err(Error::IdempotencyMismatch { .. })));
    let other = publish("user.created", &uuid::Uuid::new_v4().to_string()).await.expect("an answer");
    assert!(other.event != first.event && !other.duplicate);
    assert!(matches!(publish("user.created", "4711").await, Err(Error::InvalidArgument { .. })));
}

async fn a_request_id_repeats_what_was_created_with_its_secret(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let id = || uuid::Uuid::new_v4().to_string();

    let tenant = |name: &str, request_id: &str| CreateTenantRequest {
        tenant: Some(v1::Tenant { display_name: name.into(), ..Default::default() }),
        request_id: request_id.into(),
        ..Default::default()
    };
    let once = id();
    let first = world.client.create_tenant(tenant("Globex", &once)).await.expect("a tenant");
    assert_eq!(world.client.create_tenant(tenant("Globex", &once)).await.expect("the first answer"), first);
    assert!(matches!(world.client.create_tenant(tenant("Initech", &once)).await, Err(Error::IdempotencyMismatch { .. })));
    assert_ne!(world.client.create_tenant(tenant("Globex", &id())).await.expect("another").name, first.name);

    let endpoint = |types: &[&str], request_id: &str| CreateEndpointRequest {
        endpoint: Some(v1::Endpoint {
            url: receiver.url(),
            event_types: types.iter().map(|kind| (*kind).to_owned()).collect(),
            ..Default::default()
        }),
        request_id: request_id.into(),
        ..Default::default()
    };
    let once = id();
    let first = world.tenant.create_endpoint(endpoint(&[], &once)).await.expect("an endpoint");
    assert!(first.signing_secret.starts_with("whsec_"));
    assert_eq!(world.tenant.create_endpoint(endpoint(&[], &once)).await.expect("the first answer"), first);
    let other = world.tenant.create_endpoint(endpoint(&["user.*"], &once)).await;
    assert!(matches!(other, Err(Error::IdempotencyMismatch { .. })), "{other:?}");

    let key = |scope: &str, request_id: &str| CreateApiKeyRequest {
        api_key: Some(v1::ApiKey { scopes: vec![scope.into(), "tenants:acme".into()], ..Default::default() }),
        request_id: request_id.into(),
    };
    let once = id();
    let made = world.client.create_api_key(key("publish", &once)).await.expect("a key");
    assert_eq!(world.client.create_api_key(key("publish", &once)).await.expect("the first answer"), made);
    assert!(matches!(world.client.create_api_key(key("admin", &once)).await, Err(Error::IdempotencyMismatch { .. })));

    let rotate = async |secret: &str, request_id: &str| {
        let request = RotateEndpointSecretRequest {
            name: first.name.clone(),
            signing_secret: secret.into(),
            request_id: request_id.into(),
            ..Default::default()
        };
        let answer = world.client.endpoint_service().rotate_endpoint_secret(request).await;
        answer.map(tonic::Response::into_inner).map_err(Error::from)
    };
    let once = id();
    let rotated = rotate("", &once).await.expect("the endpoint");
    assert_eq!(rotate("", &once).await.expect("the first answer").signing_secret, rotated.signing_secret);
    let revealed = world.tenant.reveal_endpoint_secrets(&first.name).await.expect("the secrets");
    let secrets: Vec<&str> = revealed.iter().map(|secret| secret.signing_secret.as_str()).collect();
    assert_eq!(secrets, [&rotated.signing_secret, &first.signing_secret], "rotated once");
    let own = rotate("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &once).await;
    assert!(matches!(own, Err(Error::IdempotencyMismatch { .. })), "{own:?}");

    // An error is not remembered: the same id works once the request does.
    let once = id();
    assert!(world.tenant.create_endpoint(endpoint(&["not a type"], &once)).await.is_err());
    world.tenant.create_endpoint(endpoint(&["user.*"], &once)).await.expect("an endpoint");
}
