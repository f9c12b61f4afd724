//! A server that is killed under load, again and again: what was accepted is delivered, and little is sent twice.

use std::time::{Duration, Instant};

use gatepost_tests::{Database, World, on_both_databases, until};

use crate::{
    evidence, form,
    load::{Load, Manner, tenant},
    receivers::{AT_RISK, Receivers},
    watching::Watching,
};

on_both_databases!(crashes_lose_nothing_that_was_accepted_and_repeat_little);

async fn crashes_lose_nothing_that_was_accepted_and_repeat_little(database: Database) {
    let kills = form(5, 50);
    // What a crash repeats does not grow with the life before it: a life of some seconds is long enough for the claim of one in a hundred.
    let requests_of_a_life = form(1_800, 8_000);
    let mut world = World::on(&database).await;
    let receivers = Receivers::of(&world.tenant).await;
    let tally = receivers.tally();
    let blunt = tenant(&world.server.url(), world.server.key(), Manner::Blunt);
    let watching = Watching::start(blunt.clone()).await;
    let load = Load::start(&[blunt], &receivers, Duration::from_millis(form(25, 5)));
    let mut recoveries = Vec::new();
    for kill in 0..kills {
        tally.until(tally.total() + requests_of_a_life, Duration::from_secs(60)).await;
        world.server.kill().await;
        let (killed, total) = (Instant::now(), tally.total());
        let (arrived, ()) = tokio::join!(tally.until(total + 1, Duration::from_secs(60)), world.server.restart());
        recoveries.push(arrived.duration_since(killed));
        // Or the next kill meets it on its way, and two kills have one return.
        until("the watcher to come back", async || if watching.resumed() > kill { Ok(()) } else { Err(watching.resumed()) }).await;
    }
    tally.until(tally.total() + requests_of_a_life / 4, Duration::from_secs(60)).await;
    let ledger = load.stop().await;
    let patient = tenant(&world.server.url(), world.server.key(), Manner::Default);
    let name = if database.is_postgres() { "crashes, PostgreSQL" } else { "crashes, SQLite" };
    let figures = evidence::check(name, &patient, &ledger, &receivers, &watching).await;
    recoveries.sort_unstable();
    println!(
        "  {kills} kills, {:.1} sent twice for each; first delivery after a kill: {:?} in the middle, {:?} at most; callers got {:?}",
        figures.repeated as f64 / kills as f64,
        recoveries[recoveries.len() / 2],
        recoveries[recoveries.len() - 1],
        evidence::kinds(&ledger),
    );
    assert!(watching.resumed() >= kills, "the watcher came back after every kill");
    assert!(figures.repeated <= kills * AT_RISK, "at most what was in flight is sent twice: {figures:?}");
    if requests_of_a_life > AT_RISK * 10 {
        assert!(figures.repeated * 100 < figures.deliveries, "less than one in a hundred is sent twice: {figures:?}");
    }
}
