//! A database that goes away under load: stopped as by a crash, frozen, cut off, or gone in the middle of a COMMIT.

use std::time::{Duration, Instant};

use gatepost_tests::{Cluster, Database, Fate, Proxy, Settings, World, until_within};

use crate::{
    clerk::Clerks,
    evidence, form,
    load::{Load, Manner, tenant},
    receivers::{AT_RISK, Receivers},
    watching::Watching,
};

/// Requests between two blows.
const BETWEEN: usize = 200;
const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// A server under load on a database, and everything that watches it.
struct Trial {
    world: World,
    receivers: Receivers,
    watching: Watching,
    load: Load,
}

impl Trial {
    async fn begin(settings: Settings) -> Self {
        let world = World::with(settings).await;
        let receivers = Receivers::of(&world.tenant).await;
        let blunt = tenant(&world.server.url(), world.server.key(), Manner::Blunt);
        let watching = Watching::start(blunt.clone()).await;
        let load = Load::start(&[blunt], Duration::from_millis(form(25, 5)));
        let trial = Self { world, receivers, watching, load };
        trial.work(BETWEEN).await;
        trial
    }

    /// Waits for so many more requests, and says how long the first of them took.
    async fn work(&self, requests: usize) -> Duration {
        let begun = Instant::now();
        let (tally, total) = (self.receivers.tally(), self.receivers.tally().total());
        let first = tally.until(total + 1, LONG_ENOUGH).await;
        tally.until(total + requests, LONG_ENOUGH).await;
        first.duration_since(begun)
    }

    /// Waits until so many more events were accepted, which only a database that answers can do.
    async fn accept(&self, events: usize) {
        let before = self.load.ledger().books().accepted.len();
        until_within(LONG_ENOUGH, "events to be accepted again", async || {
            let now = self.load.ledger().books().accepted.len();
            if now >= before + events { Ok(()) } else { Err(now - before) }
        })
        .await;
    }

    async fn end(self, name: &str) -> evidence::Figures {
        let ledger = self.load.stop().await;
        let patient = tenant(&self.world.server.url(), self.world.server.key(), Manner::Default);
        let figures = evidence::check(name, &patient, &ledger, &self.receivers, &self.watching).await;
        evidence::only_unavailable(&ledger);
        figures
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_stopped_at_once_under_load_loses_nothing_and_work_goes_on_by_itself() {
    let Some(mut cluster) = Cluster::start("postgres::a_postgres_that_is_stopped_at_once").await else { return };
    let trial = Trial::begin(Settings::on(&cluster.database())).await;
    let stops = form(2, 20);
    let mut recoveries = Vec::new();
    for _ in 0..stops {
        cluster.crash().await;
        cluster.restart().await;
        recoveries.push(trial.work(BETWEEN).await);
        trial.accept(50).await;
    }
    let figures = trial.end("PostgreSQL stopped").await;
    println!("  {stops} stops, first delivery after each start: {recoveries:?}");
    // What was sent is recorded as soon as the database is back; only a node that gave its epoch up meanwhile sends again.
    assert!(figures.repeated <= stops * AT_RISK, "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_freezes_under_load_loses_nothing_and_work_goes_on_by_itself() {
    let Some(cluster) = Cluster::start("postgres::a_postgres_that_freezes").await else { return };
    let trial = Trial::begin(Settings::on(&cluster.database())).await;
    for frozen in form(vec![5], vec![5, 12, 30]) {
        cluster.freeze();
        tokio::time::sleep(Duration::from_secs(frozen)).await;
        cluster.thaw();
        println!("  frozen for {frozen} s; first delivery {:?} after", trial.work(BETWEEN).await);
        trial.accept(50).await;
    }
    trial.end("PostgreSQL frozen").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_at_random_and_inside_a_commit_lose_and_double_nothing() {
    let Some(database) = Database::postgres("postgres::connections_cut_at_random").await else { return };
    let (proxy, through) = Proxy::before_database(database.url()).await;
    let trial = Trial::begin(Settings::on(&database).set("GATEPOST_DATABASE__URL", &through)).await;
    let patient = tenant(&trial.world.server.url(), trial.world.server.key(), Manner::Default);
    let clerks = Clerks::start(&trial.world, &patient).await;
    let rounds = form(8, 80);
    for round in 0..rounds {
        proxy.doom_commits([Fate::Unsent, Fate::Sent, Fate::Unanswered]);
        until_within(LONG_ENOUGH, "commits to meet their fate", async || if proxy.doomed() == 0 { Ok(()) } else { Err(()) }).await;
        for number in 0..4 {
            proxy.cut_one(round * 7 + number * 5);
            trial.work(20).await;
        }
        proxy.cut_all();
        trial.work(BETWEEN).await;
    }
    clerks.stop(&patient).await;
    let figures = trial.end("connections cut").await;
    println!("  {rounds} rounds of 3 commits, 4 connections and all at once");
    // The node keeps its epoch through all of it, so no attempt is made twice.
    assert_eq!(figures.repeated, 0, "{figures:?}");
}

/// As when its host is gone, or a firewall forgot the connections: nobody is told that they are dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_fall_silent_are_given_up_and_made_again() {
    let Some(database) = Database::postgres("postgres::connections_that_fall_silent").await else { return };
    let (proxy, through) = Proxy::before_database(database.url()).await;
    let trial = Trial::begin(Settings::on(&database).set("GATEPOST_DATABASE__URL", &through)).await;
    for _ in 0..form(1, 5) {
        let silent = Instant::now();
        proxy.silence_open();
        trial.accept(50).await;
        println!("  events accepted again {:?} after the connections fell silent", silent.elapsed());
        trial.work(BETWEEN).await;
    }
    let figures = trial.end("connections silent").await;
    assert_eq!(figures.repeated, 0, "the node keeps its epoch: {figures:?}");
}
