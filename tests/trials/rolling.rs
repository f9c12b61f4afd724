//! Nodes that are replaced one by one behind one address, as every release does: nobody notices.

use std::time::Duration;

use gatepost_tests::{Database, Proxy, World};

use crate::{
    evidence, form,
    load::{Load, Manner, tenant},
    receivers::Receivers,
    watching::Watching,
};

const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// The client has one address, as that of a balancer or a name of several nodes: a connection that ends is made again to one that
/// still answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_publish_and_sends_nothing_twice() {
    let Some(database) = Database::postgres("rolling::a_rolling_restart").await else { return };
    let mut world = World::on(&database).await;
    let mut second = world.server.join().await;
    let balancer = Proxy::to([world.server.address(), second.address()]).await;
    let receivers = Receivers::of(&world.tenant).await;
    let key = world.server.key().to_owned();
    let watching = Watching::start(tenant(&balancer.url(), &key, Manner::Blunt)).await;
    // Each has a connection of its own, so that both nodes have some of the load.
    let clients: Vec<_> = (0..2).map(|_| tenant(&balancer.url(), &key, Manner::Default)).collect();
    let load = Load::start(&clients, Duration::from_millis(form(40, 10)));
    let tally = receivers.tally();
    let rounds = form(3, 20);
    for _ in 0..rounds {
        for node in [&mut world.server, &mut second] {
            tally.until(tally.total() + 150, LONG_ENOUGH).await;
            let status = node.stop().await;
            assert!(status.success(), "{status:?}");
            node.restart().await;
        }
    }
    tally.until(tally.total() + 150, LONG_ENOUGH).await;
    let ledger = load.stop().await;
    let failures = evidence::kinds(&ledger);
    let figures =
        evidence::check("rolling restart", &tenant(&balancer.url(), &key, Manner::Default), &ledger, &receivers, &watching).await;
    println!("  {rounds} rounds of two nodes; callers got {failures:?}");
    assert!(failures.is_empty(), "no publish fails: {failures:?}");
    assert_eq!(figures.repeated, 0, "nothing is sent twice: {figures:?}");
}
