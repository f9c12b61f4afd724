//! A delivery that fails is tried again by its schedule, with the same body, and every attempt is on record.

use std::time::{Duration, SystemTime};

use gatepost_client::v1::{self, AttemptClass, delivery::State};
use gatepost_tests::{
    Answer, Database, Receiver, World, on_both_databases, until,
    world::{between, event, seconds, waits},
};

on_both_databases!(
    a_failed_delivery_is_tried_again_until_it_is_taken,
    jitter_only_lengthens_a_wait_by_a_fifth_at_most,
    retry_after_is_a_floor_under_the_schedule,
    a_429_holds_the_whole_endpoint,
    a_redirect_is_a_failure_and_never_followed,
    a_receiver_that_is_away_gets_its_delivery_when_it_is_back,
    an_answer_that_is_late_or_never_complete_is_a_timeout,
);

async fn a_failed_delivery_is_tried_again_until_it_is_taken(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|number, _| match number {
        0 => Answer::status(503).header("x-why", "deploying").body("later"),
        1 => Answer::status(500).body("oops"),
        _ => Answer::status(202).body("thanks"),
    })
    .await;
    let endpoint = world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[1, 1, 1])).await;
    let receipt = world.publish("user.terminated").await;
    let received = receiver.wait_for(3).await;
    let delivery = world.until(&receipt, State::Succeeded).await;
    assert_eq!((delivery.attempt_count, delivery.last_status), (3, 202), "{delivery:?}");
    assert_eq!((delivery.last_class(), delivery.next_attempt_time), (AttemptClass::Success, None));

    for (index, request) in received.iter().enumerate() {
        assert_eq!((request.id(), request.attempt() as usize), (receipt.event_id(), index + 1));
        assert_eq!(request.body, received[0].body, "every attempt sends the same bytes");
        assert_eq!(request.header("content-digest"), received[0].header("content-digest"));
        assert!(request.is_signed_with(&endpoint.signing_secret), "attempt {}", index + 1);
    }
    for pair in received.windows(2) {
        assert!(pair[1].arrived - pair[0].arrived >= Duration::from_secs(1), "a wait is never shortened");
    }

    let attempts = world.attempts(&delivery).await;
    let seen: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.class(), attempt.response_status)).collect();
    assert_eq!(seen, [(1, AttemptClass::ServerError, 503), (2, AttemptClass::ServerError, 500), (3, AttemptClass::Success, 202)]);
    assert_eq!(attempts[0].name, format!("{}/attempts/1", delivery.name));
    assert_eq!(attempts[0].response_headers.get("x-why").map(String::as_str), Some("deploying"));
    let bodies: Vec<&[u8]> = attempts.iter().map(|attempt| attempt.response_body.as_slice()).collect();
    assert_eq!(bodies, [&b"later"[..], b"oops", b"thanks"]);
    for attempt in &attempts {
        assert!(attempt.total_duration.is_some() && attempt.first_byte_duration.is_some(), "{attempt:?}");
    }
}

async fn jitter_only_lengthens_a_wait_by_a_fifth_at_most(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(500)).await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[100])).await;
    let mut lengths = Vec::new();
    for receipt in world.publish_many("user.updated", 20).await {
        lengths.push(first_wait(&world, &world.until(&receipt, State::Retrying).await).await);
    }
    for length in &lengths {
        assert!((Duration::from_secs(100)..=Duration::from_secs(120)).contains(length), "{lengths:?}");
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert!(lengths.len() > 1, "receivers are not met by herds: {lengths:?}");
}

async fn retry_after_is_a_floor_under_the_schedule(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, request| {
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(500));
        let answer = Answer::status(if request.id() == "other" { 500 } else { 503 });
        match request.id() {
            "seconds" | "other" => answer.header("retry-after", "300"),
            "date" => answer.header("retry-after", &later),
            "short" => answer.header("retry-after", "3"),
            "years" => answer.header("retry-after", "999999999"),
            _ => answer.header("retry-after", "soon"),
        }
    })
    .await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[100])).await;
    for (id, from, to) in [
        ("seconds", 300, 361),
        ("date", 498, 601),
        ("short", 100, 120),
        ("garbage", 100, 120),
        // It is heard with 429 and 503 only.
        ("other", 100, 120),
        // Nobody can stop a delivery for longer than a day.
        ("years", 86_400, 103_681),
    ] {
        let receipt = world.tenant.publish(event("user.created").id(id)).await.expect("a receipt");
        let wait = first_wait(&world, &world.until(&receipt, State::Retrying).await).await;
        assert!((Duration::from_secs(from)..=Duration::from_secs(to)).contains(&wait), "{id}: {wait:?}");
    }
}

async fn a_429_holds_the_whole_endpoint(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|number, _| match number {
        0 => Answer::status(429).header("retry-after", "2"),
        _ => Answer::status(200),
    })
    .await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[1])).await;
    let first = world.publish("user.updated").await;
    let refused = receiver.wait_for(1).await.remove(0);
    let delivery = world.until(&first, State::Retrying).await;
    assert_eq!((delivery.last_class(), delivery.last_status), (AttemptClass::Throttled, 429));
    until("the hold to be shown", async || {
        let health = world.tenant.get_endpoint("siem").await.expect("the endpoint").health.unwrap_or_default();
        if health.hold_until_time.is_some() { Ok(()) } else { Err(health) }
    })
    .await;
    let others = world.publish_many("user.created", 20).await;
    let received = receiver.wait_for(22).await;
    for request in &received[1..] {
        assert!(request.arrived - refused.arrived >= Duration::from_secs(2), "nothing is sent during the hold");
    }
    for receipt in others.iter().chain([&first]) {
        world.until(receipt, State::Succeeded).await;
    }
}

async fn a_redirect_is_a_failure_and_never_followed(database: Database) {
    let world = World::on(&database).await;
    let trap = Receiver::ok().await;
    let elsewhere = trap.url();
    let receiver = Receiver::answering(move |number, _| match number {
        0..5 => Answer::status([301, 302, 303, 307, 308][number]).header("location", &elsewhere),
        _ => Answer::status(200),
    })
    .await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[1, 1, 1, 1, 1])).await;
    let receipt = world.publish("user.updated").await;
    let delivery = world.until(&receipt, State::Succeeded).await;
    let attempts = world.attempts(&delivery).await;
    assert_eq!(attempts.len(), 6);
    assert!(attempts[..5].iter().all(|attempt| attempt.class() == AttemptClass::Redirect), "{attempts:?}");
    assert_eq!(attempts[1].response_status, 302);
    assert_eq!(trap.count(), 0);
}

async fn a_receiver_that_is_away_gets_its_delivery_when_it_is_back(database: Database) {
    let world = World::on(&database).await;
    let away = Receiver::ok().await;
    let (address, url) = (away.address(), away.url());
    drop(away);
    world.endpoint("siem", &url, |endpoint| endpoint.retry_policy = waits(&[1; 20])).await;
    let receipt = world.publish("user.updated").await;
    let delivery = world.until(&receipt, State::Retrying).await;
    assert_eq!((delivery.last_class(), delivery.last_status), (AttemptClass::Connect, 0));
    let back = Receiver::at(address).await;
    assert!(back.wait_for(1).await[0].attempt() > 1);
    world.until(&receipt, State::Succeeded).await;
}

async fn an_answer_that_is_late_or_never_complete_is_a_timeout(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, request| match request.id() {
        "hang" => Answer::hang(),
        "drip" => Answer::drip(Duration::from_millis(50)),
        "late" => Answer::status(200).after(Duration::from_secs(30)),
        _ => Answer::drop_connection(),
    })
    .await;
    world
        .endpoint("siem", &receiver.url(), |endpoint| {
            endpoint.retry_policy = waits(&[]);
            endpoint.attempt_timeout = seconds(1);
        })
        .await;
    let cases = [("hang", AttemptClass::Timeout), ("drip", AttemptClass::Timeout), ("late", AttemptClass::Timeout)];
    let mut receipts = Vec::new();
    for (id, class) in cases.into_iter().chain([("drop", AttemptClass::Connect)]) {
        receipts.push((world.tenant.publish(event("user.created").id(id)).await.expect("a receipt"), class));
    }
    for (receipt, class) in receipts {
        let id = receipt.event_id();
        let delivery = world.until(&receipt, State::Dead).await;
        assert_eq!(delivery.last_class(), class, "{id}: {delivery:?}");
        let attempts = world.attempts(&delivery).await;
        let took = Duration::try_from(attempts[0].total_duration.expect("a duration")).expect("not negative");
        match class {
            AttemptClass::Timeout => {
                assert!((Duration::from_secs(1)..Duration::from_secs(3)).contains(&took), "{id}: {took:?}");
            }
            _ => assert!(took < Duration::from_secs(1), "{id}: {took:?}"),
        }
    }
}

/// From the end of a delivery's only attempt to when the next is due.
async fn first_wait(world: &World, delivery: &v1::Delivery) -> Duration {
    let attempts = world.attempts(delivery).await;
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    between(attempts[0].end_time, delivery.next_attempt_time)
}
