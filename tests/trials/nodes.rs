//! Several servers on one PostgreSQL database, of which one is killed, frozen or cut off: the others take over what it had, and nothing
//! is worked on by two at a time.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use gatepost_client::{Receipt, Tenant, v1};
use gatepost_tests::{
    Answer, Database, Proxy, Receiver, Server, Settings, Span, World, until_within,
    world::{event, seconds},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{
    evidence, form,
    load::{Load, Manner, tenant},
    receivers::{AT_RISK, Receivers, overlaps, repeated_between},
    watching::Watching,
};

/// Beats of 3 s, a beat that stands still for 15 s, and a loaded machine.
const TAKEOVER: Duration = Duration::from_secs(60);

/// Several servers under load, the first of them unharmed.
struct Trial {
    database: Database,
    world: World,
    others: Vec<Server>,
    receivers: Receivers,
    watching: Watching,
    load: Load,
}

/// A node's epoch as the database has it, and the commits of its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Epoch {
    id: i64,
    active: bool,
    commits: i64,
    /// When this was read.
    read: Instant,
}

/// An epoch before its node was struck, and as it was when it had been taken.
#[derive(Debug)]
struct Loss {
    before: Epoch,
    after: Epoch,
}

impl Trial {
    async fn begin(database: Database, others: impl AsyncFnOnce(&Server) -> Vec<Server>) -> Self {
        // Few connections each, so that three nodes leave some to the tests beside this one.
        let world = World::with(Settings::on(&database).set("GATEPOST_DATABASE__MAX_CONNECTIONS", "4")).await;
        let others = others(&world.server).await;
        let receivers = Receivers::of(&world.tenant).await;
        let key = world.server.key();
        let watching = Watching::start(tenant(&world.server.url(), key, Manner::Blunt)).await;
        let nodes = std::iter::once(&world.server).chain(&others);
        let tenants: Vec<_> = nodes.map(|node| tenant(&node.url(), key, Manner::Blunt)).collect();
        let load = Load::start(&tenants, &receivers, Duration::from_millis(form(60, 10)));
        let trial = Self { database, world, others, receivers, watching, load };
        trial.work(400).await;
        trial
    }

    async fn work(&self, requests: usize) {
        self.receivers.tally().until(self.receivers.tally().total() + requests, TAKEOVER).await;
    }

    /// The newest epoch of another server than the first.
    async fn epoch(&self, other: usize) -> Epoch {
        let name = format!("%-{}", self.others[other].pid().as_raw_nonzero());
        let select = "WHERE n.node LIKE $1 ORDER BY n.epoch DESC LIMIT 1";
        self.select(select, |query| query.bind(name.clone())).await
    }

    async fn select<'q>(&self, condition: &str, bind: impl FnOnce(Query<'q>) -> Query<'q>) -> Epoch {
        let mut connection = connect(&self.database).await;
        let commits = "(SELECT count(*) FROM journal j WHERE j.epoch = n.epoch)";
        let statement = format!("SELECT n.epoch, n.state = 1, {commits} FROM nodes n {condition}");
        let query = bind(sqlx::query_as(AssertSqlSafe(statement)));
        let (id, active, commits) = query.fetch_one(&mut connection).await.expect("the node");
        Epoch { id, active, commits, read: Instant::now() }
    }

    /// Waits until the epoch is taken, and returns it as it was then.
    async fn taken(&self, before: Epoch) -> Loss {
        let begun = Instant::now();
        let after = until_within(TAKEOVER, "the epoch to be taken", async || {
            let found = self.select("WHERE n.epoch = $1", |query| query.bind(before.id)).await;
            if found.active { Err(found) } else { Ok(found) }
        })
        .await;
        println!("  its epoch was taken after {:?}", begun.elapsed());
        Loss { before, after }
    }

    /// The claims of every trial of nodes. `taken`: the epochs that were lost, as they were then.
    async fn end(self, name: &str, taken: &[Loss]) -> evidence::Figures {
        let ledger = self.load.stop().await;
        let patient = tenant(&self.world.server.url(), self.world.server.key(), Manner::Default);
        let figures = evidence::check(name, &patient, &ledger, &self.receivers, &self.watching).await;
        println!("  callers got {:?}", evidence::kinds(&ledger));
        for (endpoint, spans) in self.receivers.spans().iter().enumerate() {
            let twice = overlaps(spans);
            assert!(twice.is_empty(), "endpoint {endpoint}: {} deliveries from two at once: {:?}", twice.len(), twice.first());
            for (number, loss) in taken.iter().enumerate() {
                let until = taken.get(number + 1).map(|next| next.before.read);
                let stray = repeated_between(spans, loss.after.read, until);
                assert!(stray.is_none(), "endpoint {endpoint}: sent again by one that had lost it: {stray:?}");
            }
        }
        let mut connection = connect(&self.database).await;
        for epoch in taken {
            let statement = "SELECT count(*) FROM journal WHERE epoch = $1";
            let commits: i64 =
                sqlx::query_scalar(statement).bind(epoch.after.id).fetch_one(&mut connection).await.expect("a count");
            assert_eq!(commits, epoch.after.commits, "a commit got in under an epoch after it was taken: {epoch:?}");
        }
        figures
    }
}

/// A server that others use as well may have no connection left for a moment.
async fn connect(database: &Database) -> PgConnection {
    until_within(TAKEOVER, "a connection to the database", async || PgConnection::connect(database.url()).await).await
}

type Query<'q> = sqlx::query::QueryAs<'q, sqlx::Postgres, (i64, bool, i64), sqlx::postgres::PgArguments>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_is_replaced_by_another_on_the_same_database() {
    let Some(database) = Database::postgres("nodes::a_killed_node").await else { return };
    let mut trial = Trial::begin(database, async |first| vec![first.join().await]).await;
    let mut taken = Vec::new();
    let kills = form(1, 10);
    for _ in 0..kills {
        let epoch = trial.epoch(0).await;
        trial.others[0].kill().await;
        taken.push(trial.taken(epoch).await);
        trial.others[0].restart().await;
        trial.work(200).await;
    }
    let figures = trial.end("nodes, one killed", &taken).await;
    assert!(figures.repeated <= kills * AT_RISK, "at most what was in flight is sent twice: {figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_frozen_past_its_lease_does_no_harm_when_it_wakes() {
    let Some(database) = Database::postgres("nodes::a_node_that_was_frozen").await else { return };
    let trial = Trial::begin(database, async |first| vec![first.join().await, first.join().await]).await;
    let mut taken = Vec::new();
    let freezes = form(1, 10);
    for _ in 0..freezes {
        let epoch = trial.epoch(0).await;
        trial.others[0].freeze();
        taken.push(trial.taken(epoch).await);
        // The others have begun with what it had, or are about to.
        trial.work(200).await;
        trial.others[0].wake();
        until_within(TAKEOVER, "the woken node to begin a new epoch", async || {
            let now = trial.epoch(0).await;
            if now.id > epoch.id && now.active { Ok(()) } else { Err(now) }
        })
        .await;
        trial.work(200).await;
    }
    let figures = trial.end("nodes, one frozen", &taken).await;
    assert!(figures.repeated <= freezes * AT_RISK, "at most what was in flight is sent twice: {figures:?}");
}

/// Its receivers still answer: only the database is gone for it. One of them takes longer than another node waits before it takes over, so
/// that only an abort keeps two from having one delivery at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_from_the_database_stops_sending_before_another_begins() {
    let Some(database) = Database::postgres("nodes::a_node_that_is_cut_off").await else { return };
    let (proxy, through) = Proxy::before_database(database.url()).await;
    let cut_off = async |first: &Server| vec![first.join_with(|settings| settings.set("GATEPOST_DATABASE__URL", &through)).await];
    let trial = Trial::begin(database, cut_off).await;
    let mut taken = Vec::new();
    let stuck = Stuck::of(&trial.world).await;
    let through_it = tenant(&trial.others[0].url(), trial.world.server.key(), Manner::Default);
    let cuts = form(1, 10);
    for number in 0..cuts {
        let epoch = trial.epoch(0).await;
        let held = stuck.hold(&through_it).await;
        let cut = Instant::now();
        if number % 2 == 0 {
            proxy.shut()
        } else {
            proxy.freeze()
        }
        taken.push(trial.taken(epoch).await);
        let (aborted, again) = stuck.sent_again(&held).await;
        println!("  cut off: what hung was aborted after {:?}, and sent by another after {:?}", aborted - cut, again - cut);
        assert!(aborted < again, "two had one delivery at once");
        trial.work(200).await;
        proxy.open();
        until_within(TAKEOVER, "the node to come back", async || {
            let now = trial.epoch(0).await;
            if now.id > epoch.id && now.active { Ok(()) } else { Err(now) }
        })
        .await;
        trial.work(200).await;
    }
    trial.end("nodes, one cut off", &taken).await;
}

/// An endpoint that never answers the first request of a delivery.
struct Stuck(Receiver);

impl Stuck {
    async fn of(world: &World) -> Self {
        let seen = Mutex::new(HashSet::new());
        let receiver = Receiver::answering(move |_, request| {
            let first = seen.lock().unwrap_or_else(PoisonError::into_inner).insert(request.id().to_owned());
            if first { Answer::hang() } else { Answer::status(200) }
        })
        .await;
        let stuck = |endpoint: &mut v1::Endpoint| {
            endpoint.event_types = vec!["user.suspended".to_owned()];
            endpoint.attempt_timeout = seconds(60);
        };
        world.endpoint("stuck", &receiver.url(), stuck).await;
        Self(receiver)
    }

    /// Publishes an event, and waits until its delivery hangs.
    async fn hold(&self, tenant: &Tenant) -> Receipt {
        let receipt = tenant.publish(event("user.suspended")).await.expect("a receipt");
        self.0.wait_for_ids(TAKEOVER, [receipt.event_id()]).await;
        receipt
    }

    /// Waits until it was sent again, and says when the first request ended and the second began.
    async fn sent_again(&self, held: &Receipt) -> (Instant, Instant) {
        until_within(TAKEOVER, "the delivery that hung to be sent again", async || {
            let spans: Vec<Span> = self.0.spans().into_iter().filter(|span| span.id == held.event_id()).collect();
            match &spans[..] {
                [first, second] => Ok((first.ended.expect("the first has ended when the second begins"), second.begun)),
                _ => Err(spans),
            }
        })
        .await
    }
}
