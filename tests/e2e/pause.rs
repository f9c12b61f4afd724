//! Holding deliveries back and letting them go: pause, resume, disable, enable; and what a change of an endpoint does to them.

use std::time::Duration;

use gatepost_client::{
    Error, Receipt,
    v1::{Endpoint, UpdateEndpointRequest, delivery::State, endpoint},
};
use gatepost_tests::{Answer, DEADLINE, Database, Receiver, World, on_both_databases, until, world::waits};

on_both_databases!(
    a_paused_endpoint_holds_its_backlog_and_drains_it_oldest_first,
    fresh_events_do_not_wait_for_a_backlog,
    a_disabled_endpoint_skips_new_events_and_keeps_its_backlog,
    a_new_url_is_used_by_every_attempt_that_begins_after_the_reply,
    while_secrets_overlap_every_request_is_signed_with_both,
    a_deleted_endpoint_gets_nothing_and_its_deliveries_are_cancelled,
);

const BACKLOG: usize = 500;

async fn a_paused_endpoint_holds_its_backlog_and_drains_it_oldest_first(database: Database) {
    let world = World::on(&database).await;
    let (receiver, other) = (Receiver::ok().await, Receiver::ok().await);
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.max_in_flight = 1).await;
    world.endpoint("other", &other.url(), |_| {}).await;
    let paused = world.tenant.pause_endpoint("siem").await.expect("the endpoint");
    assert_eq!(paused.state(), endpoint::State::Paused);
    assert_eq!(world.tenant.pause_endpoint("siem").await.expect("as it is").etag, paused.etag);

    let receipts = world.publish_many("user.updated", BACKLOG).await;
    other.wait_for_ids(DEADLINE, ids(&receipts)).await;
    let held = world.deliveries(r#"endpoint == "siem""#).await;
    assert_eq!(held.len(), BACKLOG);
    assert!(held.iter().all(|delivery| delivery.state() == State::Held && delivery.attempt_count == 0), "{:?}", held[0]);
    assert_eq!(world.deliveries(r#"endpoint == "siem" && state == "PENDING""#).await.len(), BACKLOG, "held ones are pending ones");
    let stats = world.tenant.endpoint_stats("siem", None).await.expect("stats");
    assert_eq!((stats.pending_count, stats.in_flight_count), (BACKLOG as i64, 0), "{stats:?}");
    assert!(stats.oldest_pending_time.is_some());
    assert_eq!(receiver.count(), 0, "what is paused gets nothing");

    let resumed = world.tenant.resume_endpoint("siem").await.expect("the endpoint");
    assert_eq!(resumed.state(), endpoint::State::Active);
    let received = receiver.wait_for_ids(DEADLINE, ids(&receipts)).await;
    let order: Vec<&str> = received.iter().map(|request| request.id()).collect();
    assert!(order == ids(&receipts).collect::<Vec<_>>(), "one at a time, each once, oldest first");
    until("the last one to be on record", async || {
        match world.deliveries(r#"endpoint == "siem" && state != "SUCCEEDED""#).await.len() {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
}

async fn fresh_events_do_not_wait_for_a_backlog(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(200).after(Duration::from_millis(5))).await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.max_in_flight = 1).await;
    world.tenant.pause_endpoint("siem").await.expect("the endpoint");
    let old = world.publish_many("user.updated", BACKLOG).await;
    world.tenant.resume_endpoint("siem").await.expect("the endpoint");
    receiver.wait_for(10).await;
    let fresh = world.publish_many("user.created", 5).await;
    let received = receiver.wait_for_ids(DEADLINE, ids(&old).chain(ids(&fresh))).await;
    let place = |receipt: &Receipt| received.iter().position(|request| request.id() == receipt.event_id());
    let last_old = old.iter().filter_map(place).max();
    for receipt in &fresh {
        assert!(
            place(receipt) < last_old,
            "a fresh event came at {:?} of {}, the backlog ended at {last_old:?}",
            place(receipt),
            received.len()
        );
    }
}

async fn a_disabled_endpoint_skips_new_events_and_keeps_its_backlog(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    world.tenant.pause_endpoint("siem").await.expect("the endpoint");
    let kept = world.publish_many("user.updated", 3).await;
    let disabled = world.tenant.disable_endpoint("siem").await.expect("the endpoint");
    assert_eq!((disabled.state(), disabled.disabled_reason()), (endpoint::State::Disabled, endpoint::DisabledReason::Manual));
    let skipped = world.publish("user.updated").await;
    assert_eq!((skipped.delivery_count(), skipped.skipped_count()), (0, 1));
    for receipt in &kept {
        assert_eq!(world.delivery(receipt).await.state(), State::Held);
    }
    for refused in [world.tenant.pause_endpoint("siem").await, world.tenant.resume_endpoint("siem").await] {
        assert!(matches!(&refused, Err(Error::WrongState { state: Some(state), .. }) if state == "DISABLED"), "{refused:?}");
    }
    assert_eq!(receiver.count(), 0);

    world.tenant.enable_endpoint("siem").await.expect("the endpoint");
    receiver.wait_for_ids(DEADLINE, ids(&kept)).await;
    for receipt in &kept {
        world.until(receipt, State::Succeeded).await;
    }
    assert_eq!(receiver.count(), 3, "what was skipped does not come later");
}

async fn a_new_url_is_used_by_every_attempt_that_begins_after_the_reply(database: Database) {
    let world = World::on(&database).await;
    let (old, new) = (Receiver::answering(|_, _| Answer::status(500)).await, Receiver::ok().await);
    world.endpoint("siem", &old.url(), |endpoint| endpoint.retry_policy = waits(&[1])).await;
    let waiting = world.publish("user.updated").await;
    world.until(&waiting, State::Retrying).await;
    let endpoint = Endpoint { name: "siem".into(), url: new.url(), ..Default::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["url".into()] });
    let request = UpdateEndpointRequest { endpoint: Some(endpoint), update_mask, validate_only: false };
    assert_eq!(world.tenant.update_endpoint(request).await.expect("the endpoint").url, new.url());
    let fresh = world.publish_many("user.created", 20).await;
    new.wait_for_ids(DEADLINE, ids(&fresh).chain([waiting.event_id()])).await;
    assert_eq!(old.count(), 1, "nothing goes to the old place after the reply");
}

async fn while_secrets_overlap_every_request_is_signed_with_both(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let old = world.endpoint("siem", &receiver.url(), |_| {}).await.signing_secret;
    let rotate = async |secret: Option<&str>, overlap: Duration| {
        let secret = secret.map(secrecy::SecretString::from);
        world.tenant.rotate_endpoint_secret("siem", secret, Some(overlap)).await.expect("the endpoint")
    };
    let arrives = async |count: usize| {
        world.publish("user.updated").await;
        receiver.wait_for(count).await.remove(count - 1)
    };

    let rotated = rotate(None, Duration::from_secs(3600)).await;
    let new = rotated.signing_secret;
    assert!(new.starts_with("whsec_") && new != old);
    assert_eq!(rotated.signing_secrets.len(), 2);
    assert!(rotated.signing_secrets[0].expire_time.is_none() && rotated.signing_secrets[1].expire_time.is_some());
    let request = arrives(1).await;
    assert!(request.is_signed_with(&new) && request.is_signed_with(&old));
    assert_eq!(request.header("webhook-signature").split(' ').count(), 2);

    // Your own secret, and the ones before it out of use at once.
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(rotate(Some(own), Duration::ZERO).await.signing_secrets.len(), 1);
    let request = arrives(2).await;
    assert!(request.is_signed_with(own) && !request.is_signed_with(&new) && !request.is_signed_with(&old));
    let revealed = world.tenant.reveal_endpoint_secrets("siem").await.expect("the secrets");
    assert_eq!(revealed.iter().map(|secret| secret.signing_secret.as_str()).collect::<Vec<_>>(), [own]);

    // An overlap ends by itself.
    let last = rotate(None, Duration::from_secs(2)).await.signing_secret;
    assert!(arrives(3).await.is_signed_with(own));
    let mut count = 3;
    until("the overlap to end", async || {
        count += 1;
        let request = arrives(count).await;
        assert!(request.is_signed_with(&last));
        if request.is_signed_with(own) { Err("still signed with both") } else { Ok(()) }
    })
    .await;
}

async fn a_deleted_endpoint_gets_nothing_and_its_deliveries_are_cancelled(database: Database) {
    let world = World::on(&database).await;
    let (receiver, other) = (Receiver::ok().await, Receiver::ok().await);
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    world.endpoint("other", &other.url(), |_| {}).await;
    world.tenant.pause_endpoint("siem").await.expect("the endpoint");
    let receipts = world.publish_many("user.updated", 50).await;
    world.tenant.delete_endpoint("siem").await.expect("it is deleted");
    assert!(matches!(world.tenant.get_endpoint("siem").await, Err(Error::NotFound { .. })));
    let after = world.publish("user.updated").await;
    assert_eq!((after.delivery_count(), after.skipped_count()), (1, 0), "as if it had never been");
    for receipt in &receipts {
        let filter = format!("event == \"{}\"", receipt.event_id());
        until("deliveries to the deleted endpoint to be cancelled", async || {
            let mut states: Vec<State> = world.deliveries(&filter).await.iter().map(|delivery| delivery.state()).collect();
            states.sort_unstable_by_key(|state| *state as i32);
            if states == [State::Succeeded, State::Cancelled] { Ok(()) } else { Err(states) }
        })
        .await;
    }
    assert_eq!(receiver.count(), 0);
}

fn ids(receipts: &[Receipt]) -> impl Iterator<Item = &str> {
    receipts.iter().map(Receipt::event_id)
}
