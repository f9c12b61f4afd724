//! A bad endpoint hurts only itself: not the latency of others, not their slots, and memory only up to its own bounds.
//!
//! What it costs in milliseconds the benchmark measures; here nothing waits for anything bad, and memory stays where it was.

use std::time::{Duration, Instant};

use futures::future::join_all;
use gatepost_client::{
    Receipt,
    v1::{AttemptClass, delivery::State},
};
use gatepost_tests::{
    Answer, DEADLINE, Database, Received, Receiver, World, on_both_databases,
    world::{event, seconds, waits},
};

on_both_databases!(
    thirty_bad_endpoints_of_a_hundred_cost_the_others_nothing,
    a_pile_behind_a_paused_endpoint_costs_others_nothing_and_drains_in_bounded_memory,
);

/// Endpoints of each kind of bad receiver.
const BAD: usize = 10;
/// What healthy endpoints want: ten of them each.
const GOOD: [&str; 7] = [
    "user.created",
    "user.activated",
    "user.suspended",
    "user.reactivated",
    "user.rehired",
    "user.deleted",
    "credential.change_required",
];
/// What the process may grow by, in MiB: far below what unbounded queues would take, and above what an allocator keeps.
const GROWTH: f64 = 64.0;

async fn thirty_bad_endpoints_of_a_hundred_cost_the_others_nothing(database: Database) {
    let world = World::on(&database).await;
    let hanging = Receiver::answering(|_, _| Answer::hang()).await;
    let dripping = Receiver::answering(|_, _| Answer::drip(Duration::from_millis(100))).await;
    let failing = Receiver::answering(|_, _| Answer::status(500)).await;
    let healthy = Receiver::ok().await;
    for (kind, receiver) in [("hanging", &hanging), ("dripping", &dripping), ("failing", &failing)] {
        for number in 0..BAD {
            let id = format!("{kind}-{number}");
            world
                .endpoint(&id, &receiver.url(), |endpoint| {
                    endpoint.attempt_timeout = seconds(60);
                    endpoint.retry_policy = waits(&[1; 50]);
                    endpoint.event_types = vec!["session.*".into()];
                    endpoint.max_in_flight = 5;
                })
                .await;
        }
    }
    for number in 0..100 - 3 * BAD {
        let types = vec![GOOD[number % GOOD.len()].to_owned(), "session.*".into()];
        world.endpoint(&format!("healthy-{number}"), &healthy.url(), |endpoint| endpoint.event_types = types).await;
    }
    // So many that the slots of the bad ones are all taken, and more waits behind them.
    let bad = world.publish_many("session.revoked", 20).await;
    hanging.wait_for(5 * BAD).await;
    dripping.wait_for(5 * BAD).await;
    failing.wait_for(BAD).await;
    let bad: Vec<&str> = bad.iter().map(Receipt::event_id).collect();
    healthy.wait_until("every event at every healthy endpoint", DEADLINE, |all| all.len() >= bad.len() * (100 - 3 * BAD)).await;
    let before = world.server.memory_mib();

    let mut latencies = Vec::new();
    for number in 0..140 {
        let begun = Instant::now();
        let receipt = world.publish(GOOD[number % GOOD.len()]).await;
        let endpoints = (100 - 3 * BAD) / GOOD.len();
        let its = |request: &&Received| request.id() == receipt.event_id();
        let wanted = |all: &[Received]| all.iter().filter(its).count() >= endpoints;
        let received = healthy.wait_until("an event at every healthy endpoint that wants it", DEADLINE, wanted).await;
        // Of all of them the last.
        let arrived = received.iter().rev().find(its).expect("a request");
        latencies.push(arrived.arrived.duration_since(begun));
    }
    latencies.sort_unstable();
    // Far below any timeout or wait of the others; a loaded machine is allowed to be slow.
    assert!(latencies[126] < Duration::from_millis(500), "{latencies:?}");
    let slots = (hanging.count(), dripping.count());
    assert_eq!(slots, (5 * BAD, 5 * BAD), "a receiver that does not answer has no more than its own slots");
    let retrying = world.deliveries(r#"endpoint == "failing-0" && state == "RETRYING""#).await;
    assert!(
        retrying.iter().all(|delivery| delivery.last_class() == AttemptClass::ServerError && delivery.state() == State::Retrying)
    );
    assert!(!retrying.is_empty());
    let grown = world.server.memory_mib() - before;
    assert!(grown < GROWTH, "{grown} MiB more");
}

async fn a_pile_behind_a_paused_endpoint_costs_others_nothing_and_drains_in_bounded_memory(database: Database) {
    const PILE: usize = 4_000;
    const CALLERS: usize = 4;
    let world = World::on(&database).await;
    let (pile, other) = (Receiver::ok().await, Receiver::ok().await);
    world.endpoint("pile", &pile.url(), |endpoint| endpoint.event_types = vec!["session.*".into()]).await;
    world.endpoint("other", &other.url(), |endpoint| endpoint.event_types = vec!["user.*".into()]).await;
    world.delivered(&world.publish("session.revoked").await).await;
    let reaches_other = async || {
        let receipt = world.publish("user.created").await;
        other.wait_for_ids(DEADLINE, [receipt.event_id()]).await;
    };
    reaches_other().await;
    world.tenant.pause_endpoint("pile").await.expect("the endpoint");
    let before = world.server.memory_mib();
    let callers = (0..CALLERS).map(async |_| {
        for _ in 0..PILE / CALLERS / 500 {
            let results = world.tenant.publish_batch((0..500).map(|_| event("session.revoked"))).await;
            results.into_iter().for_each(|result| drop(result.expect("a receipt")));
        }
    });
    join_all(callers).await;
    reaches_other().await;
    assert_eq!(pile.count(), 1, "a paused endpoint gets nothing");

    world.tenant.resume_endpoint("pile").await.expect("the endpoint");
    let mut largest = 0f64;
    let draining = async {
        let patience = DEADLINE * 4;
        pile.wait_until("the pile to drain", patience, |received| received.len() > PILE).await;
    };
    let beside = async {
        // New work of another endpoint goes in between all the while.
        while pile.count() <= PILE {
            reaches_other().await;
            largest = largest.max(world.server.memory_mib());
        }
    };
    futures::future::join(draining, beside).await;
    assert!(largest - before < GROWTH, "{before} MiB before, {largest} MiB while it drained");
    assert_eq!(pile.count(), PILE + 1, "each once");
}
