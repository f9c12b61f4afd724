//! A bad endpoint hurts only itself.

use std::time::{Duration, Instant};

use gatepost_client::v1::{AttemptClass, delivery::State};
use gatepost_tests::{
    Answer, DEADLINE, Database, Receiver, World, on_both_databases,
    world::{seconds, waits},
};

on_both_databases!(hanging_dripping_and_failing_endpoints_cost_the_others_nothing);

async fn hanging_dripping_and_failing_endpoints_cost_the_others_nothing(database: Database) {
    let world = World::on(&database).await;
    let hanging = Receiver::answering(|_, _| Answer::hang()).await;
    let dripping = Receiver::answering(|_, _| Answer::drip(Duration::from_millis(100))).await;
    let failing = Receiver::answering(|_, _| Answer::status(500)).await;
    let healthy = Receiver::ok().await;
    for (id, receiver) in [("hanging", &hanging), ("dripping", &dripping), ("failing", &failing)] {
        world
            .endpoint(id, &receiver.url(), |endpoint| {
                endpoint.attempt_timeout = seconds(60);
                endpoint.retry_policy = waits(&[1; 50]);
                endpoint.event_types = vec!["bad.*".into()];
                endpoint.max_in_flight = 5;
            })
            .await;
    }
    world.endpoint("healthy", &healthy.url(), |endpoint| endpoint.event_types = vec!["good.*".into(), "bad.*".into()]).await;

    let bad = world.publish_many("bad.news", 200).await;
    hanging.wait_for(5).await;
    dripping.wait_for(5).await;
    failing.wait_for(5).await;
    healthy.wait_for_ids(DEADLINE, bad.iter().map(gatepost_client::Receipt::event_id)).await;
    let mut latencies = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        let receipt = world.publish("good.news").await;
        let received = healthy.wait_for_ids(DEADLINE, [receipt.event_id()]).await;
        latencies.push(received.last().expect("a request").arrived.duration_since(begun));
    }
    latencies.sort_unstable();
    // Far below any timeout or wait of the others; a loaded machine is allowed to be slow.
    assert!(latencies[90] < Duration::from_millis(500), "{latencies:?}");
    assert_eq!((hanging.count(), dripping.count()), (5, 5), "a hanging receiver has no more than its own slots");
    let retrying = world.deliveries(r#"endpoint == "failing" && state == "RETRYING""#).await;
    assert!(
        retrying.iter().all(|delivery| delivery.last_class() == AttemptClass::ServerError && delivery.state() == State::Retrying)
    );
    assert!(!retrying.is_empty());
}
