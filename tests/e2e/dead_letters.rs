//! Deliveries that gave up, and what a person can do about them: retry, cancel.

use std::time::Duration;

use gatepost_client::{
    Error,
    v1::{AttemptClass, RetryDeliveryRequest, delivery::State, endpoint},
};
use gatepost_tests::{Answer, Database, Receiver, World, on_both_databases, until, world::waits};

on_both_databases!(
    a_delivery_whose_attempts_are_used_up_is_a_dead_letter,
    a_permanent_status_is_a_dead_letter_at_once,
    a_410_disables_the_endpoint_and_keeps_its_deliveries,
    a_dead_letter_retried_by_hand_is_sent_again_under_the_same_id,
    a_succeeded_delivery_can_be_sent_again,
    a_repeated_retry_sends_once,
    a_waiting_delivery_can_be_cancelled,
    a_cancel_wins_over_an_attempt_on_the_wire,
);

async fn a_delivery_whose_attempts_are_used_up_is_a_dead_letter(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(500)).await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[1])).await;
    let receipt = world.publish("user.terminated").await;
    let dead = world.until(&receipt, State::Dead).await;
    assert_eq!((dead.attempt_count, dead.last_status, dead.next_attempt_time), (2, 500, None), "{dead:?}");
    assert_eq!(world.deliveries(r#"state == "DEAD" && endpoint == "siem""#).await, [dead]);
    let stats = world.tenant.endpoint_stats("siem", None).await.expect("stats");
    assert_eq!((stats.dead_count, stats.pending_count, stats.retrying_count), (1, 0, 0), "{stats:?}");
    assert_eq!(receiver.count(), 2);
}

async fn a_permanent_status_is_a_dead_letter_at_once(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, request| match request.header("gatepost-event-type") {
        "user.created" => Answer::status(422).body("no such person"),
        _ => Answer::status(400),
    })
    .await;
    world
        .endpoint("siem", &receiver.url(), |endpoint| {
            endpoint.retry_policy = waits(&[600]);
            endpoint.permanent_statuses = vec![409, 422];
        })
        .await;
    let dead = world.until(&world.publish("user.created").await, State::Dead).await;
    assert_eq!((dead.attempt_count, dead.last_class()), (1, AttemptClass::ClientError), "{dead:?}");
    assert_eq!(world.attempts(&dead).await[0].response_body, b"no such person");
    // Receivers are often misconfigured for an hour: what is not named is tried again.
    world.until(&world.publish("user.updated").await, State::Retrying).await;
}

async fn a_410_disables_the_endpoint_and_keeps_its_deliveries(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(410)).await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[1, 1])).await;
    let receipt = world.publish("user.created").await;
    // The endpoint is disabled before the outcome is on record, so that nothing is sent in between.
    let held = world.until_delivery(&receipt, "an attempt on record", |delivery| delivery.attempt_count == 1).await;
    assert_eq!((held.state(), held.last_class()), (State::Held, AttemptClass::Gone), "{held:?}");
    let siem = world.tenant.get_endpoint("siem").await.expect("the endpoint");
    assert_eq!((siem.state(), siem.disabled_reason()), (endpoint::State::Disabled, endpoint::DisabledReason::Gone));
    let skipped = world.publish("user.updated").await;
    assert_eq!((skipped.delivery_count(), skipped.skipped_count()), (0, 1));
    assert_eq!(receiver.count(), 1);

    receiver.answer(|_, _| Answer::status(200));
    let siem = world.tenant.enable_endpoint("siem").await.expect("the endpoint");
    assert_eq!((siem.state(), siem.disabled_reason()), (endpoint::State::Active, endpoint::DisabledReason::Unspecified));
    world.until(&receipt, State::Succeeded).await;
    let received = receiver.received();
    assert_eq!(received.iter().map(|request| request.attempt()).collect::<Vec<_>>(), [1, 2]);
}

async fn a_dead_letter_retried_by_hand_is_sent_again_under_the_same_id(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(500)).await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[1])).await;
    let receipt = world.publish("user.terminated").await;
    let dead = world.until(&receipt, State::Dead).await;
    // The third request of this delivery fails too: its schedule has started anew.
    receiver.answer(|number, _| Answer::status(if number == 2 { 500 } else { 200 }));
    let again = world.tenant.retry_delivery(&dead.name).await.expect("the delivery");
    assert_eq!(again.state(), State::Pending, "{again:?}");
    assert!(again.revision > dead.revision);
    let delivery = world.until(&receipt, State::Succeeded).await;
    assert_eq!(delivery.attempt_count, 4, "attempts are counted on: {delivery:?}");
    let received = receiver.received();
    assert_eq!(received.iter().map(|request| request.attempt()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(received.iter().all(|request| request.id() == receipt.event_id() && request.body == received[0].body));
    assert_eq!(world.attempts(&delivery).await.len(), 4);
}

async fn a_succeeded_delivery_can_be_sent_again(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let receipt = world.publish("user.terminated").await;
    let first = world.delivered(&receipt).await.remove(0);
    world.tenant.retry_delivery(&first.name).await.expect("the delivery");
    let received = receiver.wait_for(2).await;
    assert_eq!((received[1].id(), received[1].attempt()), (receipt.event_id(), 2));
    let again = world.until_delivery(&receipt, "two attempts", |delivery| delivery.attempt_count == 2).await;
    assert_eq!(again.state(), State::Succeeded);
    let attempts = world.attempts(&again).await;
    let seen: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.class(), attempt.response_status)).collect();
    assert_eq!(seen, [(1, AttemptClass::Success, 200), (2, AttemptClass::Success, 200)]);
}

async fn a_repeated_retry_sends_once(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let receipt = world.publish("user.terminated").await;
    let first = world.delivered(&receipt).await.remove(0);
    let retry = async |name: &str, request_id: &str| {
        let request = RetryDeliveryRequest { name: name.to_owned(), request_id: request_id.to_owned() };
        world.client.delivery_service().retry_delivery(request).await.map(tonic::Response::into_inner).map_err(Error::from)
    };
    let id = uuid::Uuid::new_v4().to_string();
    let answer = retry(&first.name, &id).await.expect("the delivery");
    let settled = world.until_delivery(&receipt, "two attempts", |delivery| delivery.attempt_count == 2).await;
    assert_eq!(retry(&first.name, &id).await.expect("the first answer").name, answer.name);
    // A second sending would have moved it in the same commit.
    assert_eq!(world.delivery(&receipt).await.revision, settled.revision);
    assert_eq!(receiver.count(), 2);

    let other = world.delivered(&world.publish("user.created").await).await.remove(0);
    assert!(matches!(retry(&other.name, &id).await, Err(Error::IdempotencyMismatch { .. })));
    assert!(matches!(retry(&first.name, "not a uuid").await, Err(Error::InvalidArgument { .. })));
}

async fn a_waiting_delivery_can_be_cancelled(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|number, _| Answer::status(if number == 0 { 500 } else { 200 })).await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[600])).await;
    let receipt = world.publish("user.terminated").await;
    let waiting = world.until(&receipt, State::Retrying).await;
    let cancelled = world.tenant.cancel_delivery(&waiting.name).await.expect("the delivery");
    assert_eq!((cancelled.state(), cancelled.next_attempt_time), (State::Cancelled, None));
    assert_eq!(world.tenant.cancel_delivery(&waiting.name).await.expect("as it is").revision, cancelled.revision);
    let stats = world.tenant.endpoint_stats("siem", None).await.expect("stats");
    assert_eq!((stats.retrying_count, stats.oldest_pending_time), (0, None), "{stats:?}");

    // It can be taken up again, and a waiting one is made due now.
    world.tenant.retry_delivery(&waiting.name).await.expect("the delivery");
    let delivery = world.until(&receipt, State::Succeeded).await;
    let refused = world.tenant.cancel_delivery(&delivery.name).await.expect_err("it has arrived");
    assert!(matches!(&refused, Error::WrongState { state: Some(state), .. } if state == "SUCCEEDED"), "{refused:?}");
}

async fn a_cancel_wins_over_an_attempt_on_the_wire(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(200).after(Duration::from_millis(1500))).await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let receipt = world.publish("user.terminated").await;
    receiver.wait_for(1).await;
    let pending = world.delivery(&receipt).await;
    let cancelled = world.tenant.cancel_delivery(&pending.name).await.expect("the delivery");
    assert_eq!(cancelled.state(), State::Cancelled);
    until("the request to be over", async || {
        let stats = world.tenant.endpoint_stats("siem", None).await.expect("stats");
        if stats.in_flight_count == 0 { Ok(()) } else { Err(stats) }
    })
    .await;
    // What comes after it in the recorder's queue is recorded: so the outcome of the cancelled one was dropped before.
    world.delivered(&world.publish("user.created").await).await;
    let delivery = world.delivery(&receipt).await;
    assert_eq!((delivery.state(), delivery.revision), (State::Cancelled, cancelled.revision));
}
