//! The load: publishes through the client crate, in each of the ways there are, until the time is over; then waits for the last
//! delivery. A rate counts what arrived over the time from the first publish to the last arrival. [`Bench`] is what the other
//! measurements stand on too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, future::join_all, stream};
use gatepost_client::{Client, NewEvent, Tenant, v1};
use gatepost_tests::{Database, Server, Settings, World, world::client};

use crate::{
    pace::{self, Latency, paced},
    receiver::Receiver,
    usage::{self, Processes, Used},
};

/// About 200 bytes of payload, as an HR system sends. Each of [`KINDS`] takes it.
pub(crate) const DATA: &str = r#"{"user":{"id":"usr_10422345","email":"jane.doe@acme.test","given_name":"Jane","family_name":"Doe"},"changes":[{"field":"department"}],"new":"Finance","old":"Support","effective_at":"2026-11-25T09:00:00.000Z"}"#;

/// Ten types, so that endpoints can tell events apart.
pub(crate) const KINDS: [&str; 10] = [
    "user.created",
    "user.updated",
    "user.activated",
    "user.suspended",
    "user.reactivated",
    "user.termination_scheduled",
    "user.rehired",
    "user.deleted",
    "user.department_changed",
    "user.role_changed",
];

/// Where tokens and payloads say that the server is.
const SITE: &str = "https://gatepost.test";
/// Callers of unary publishes.
const CALLERS: usize = 256;
/// Connections that callers share.
const CONNECTIONS: usize = 4;
/// Events of a batch, and callers that send batches.
const BATCH: usize = 100;
const BATCH_CALLERS: usize = 16;
/// How long deliveries may take after the last publish.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// One measurement.
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    /// CPU ms of the server and of the database for 1,000 of them.
    pub(crate) cpu: (f64, f64),
}

/// Everything that is measured on one database.
pub(crate) struct Figures {
    pub(crate) acks: Rate,
    pub(crate) unary: Rate,
    pub(crate) batch: Rate,
    pub(crate) streamed: Rate,
    pub(crate) fan_out: Rate,
    pub(crate) latency: Latency,
    pub(crate) memory_mib: f64,
    /// Deliveries on each connection that the receiver saw, all measurements together.
    pub(crate) per_connection: f64,
    /// Of the updates of deliveries, the share that touched no index; `None`: the database does not say.
    pub(crate) hot_share: Option<f64>,
}

/// A server, its receiver and the connections to it.
pub(crate) struct Bench {
    world: World,
    clients: Vec<Client>,
    pub(crate) receiver: Receiver,
    pub(crate) processes: Processes,
    time: Duration,
}

/// Measures all of it, on one server.
pub(crate) async fn all(database: &Database, time: Duration, log: &str) -> Figures {
    let numbers = pace::count(time);
    let bench = Bench::start(database, Receiver::start(numbers).await, time, log).await;
    for tenant in ["alone", "single", "tenfold"] {
        bench.make_tenant(tenant).await;
    }
    let url = bench.receiver.url();
    for (number, kind) in KINDS.into_iter().enumerate() {
        bench.endpoint("single", &format!("ep-{number}"), kind, &url, 64).await;
        bench.endpoint("tenfold", &format!("ep-{number}"), "user.*", &url, 64).await;
    }
    // Connections, caches and plans first.
    bench.unary("single", 1, Duration::from_secs(1)).await;
    let acks = bench.unary("alone", 0, time).await;
    let latency = paced(&bench.tenants("single"), &bench.receiver, 0..numbers, |number| event(number as u64)).await;
    let memory = bench.processes.watch_memory();
    let unary = bench.unary("single", 1, time).await;
    let batch = bench.batches("single", 1, time).await;
    let streamed = bench.streams("single").await;
    let fan_out = bench.batches("tenfold", 10, time).await;
    let per_connection = bench.receiver.count() as f64 / bench.receiver.connections().max(1) as f64;
    let (memory_mib, hot_share) = (memory.largest_mib(), usage::hot_share(database).await);
    Figures { acks, unary, batch, streamed, fan_out, latency, memory_mib, per_connection, hot_share }
}

fn connections(server: &Server) -> Vec<Client> {
    (0..CONNECTIONS).map(|_| client(server, server.key())).collect()
}

/// Each goes to one of ten endpoints where types are told apart.
fn event(number: u64) -> NewEvent {
    NewEvent::new(KINDS[(number % 10) as usize], DATA)
}

impl Bench {
    /// Starts a server on a database that nobody has used.
    pub(crate) async fn start(database: &Database, receiver: Receiver, time: Duration, log: &str) -> Self {
        // Where it listens is always told: that is how it is found.
        let log = format!("{log},gatepost_server::cli::serve=info");
        let world = World::with(
            Settings::on(database)
                .set("GATEPOST_LOG__FILTER", &log)
                .set("GATEPOST_PUBLIC_BASE_URL", SITE)
                .set("GATEPOST_SCHEMA_BASE_URL", SITE),
        )
        .await;
        let clients = connections(&world.server);
        Self { clients, receiver, time, processes: Processes::of(&world.server, database).await, world }
    }

    pub(crate) async fn make_tenant(&self, id: &str) {
        let request = v1::CreateTenantRequest { tenant_id: id.into(), ..Default::default() };
        self.world.client.create_tenant(request).await.expect("a tenant");
    }

    pub(crate) async fn endpoint(&self, tenant: &str, id: &str, event_type: &str, url: &str, max_in_flight: i32) {
        self.endpoint_with(tenant, id, event_type, url, max_in_flight, |_| {}).await;
    }

    pub(crate) async fn endpoint_with(
        &self,
        tenant: &str,
        id: &str,
        event_type: &str,
        url: &str,
        max_in_flight: i32,
        change: impl FnOnce(&mut v1::Endpoint),
    ) {
        let mut endpoint =
            v1::Endpoint { url: url.into(), event_types: vec![event_type.into()], max_in_flight, ..Default::default() };
        change(&mut endpoint);
        let request = v1::CreateEndpointRequest { endpoint_id: id.into(), endpoint: Some(endpoint), ..Default::default() };
        self.world.client.tenant(tenant).create_endpoint(request).await.expect("an endpoint");
    }

    pub(crate) fn tenant(&self, caller: usize, tenant: &str) -> Tenant {
        self.clients[caller % self.clients.len()].tenant(tenant)
    }

    /// The tenant over each of the connections.
    pub(crate) fn tenants(&self, tenant: &str) -> Vec<Tenant> {
        (0..self.clients.len()).map(|caller| self.tenant(caller, tenant)).collect()
    }

    pub(crate) async fn unary(&self, tenant: &str, deliveries: u64, time: Duration) -> Rate {
        let start = self.mark();
        let callers = (0..CALLERS).map(|caller| {
            let (tenant, end) = (self.tenant(caller, tenant), start.begun + time);
            tokio::spawn(async move {
                let mut count = 0;
                while Instant::now() < end {
                    tenant.publish(event(caller as u64 + count)).await.expect("a receipt");
                    count += 1;
                }
                count
            })
        });
        let published = join_all(callers).await.into_iter().map(|count| count.expect("no panic")).sum();
        self.finish(start, published, deliveries).await
    }

    pub(crate) async fn batches(&self, tenant: &str, deliveries: u64, time: Duration) -> Rate {
        let start = self.mark();
        let callers = (0..BATCH_CALLERS).map(|caller| {
            let (tenant, end) = (self.tenant(caller, tenant), start.begun + time);
            tokio::spawn(async move {
                let mut count = 0;
                while Instant::now() < end {
                    let results = tenant.publish_batch((0..BATCH as u64).map(event)).await;
                    count += results.len() as u64;
                    results.into_iter().for_each(|result| drop(result.expect("a receipt")));
                }
                count
            })
        });
        let published = join_all(callers).await.into_iter().map(|count| count.expect("no panic")).sum();
        self.finish(start, published, deliveries).await
    }

    async fn streams(&self, tenant: &str) -> Rate {
        let start = self.mark();
        let callers = (0..CONNECTIONS).map(|caller| {
            let (tenant, end) = (self.tenant(caller, tenant), start.begun + self.time);
            let events = stream::iter(0u64..).map(event).take_while(move |_| std::future::ready(Instant::now() < end));
            tokio::spawn(async move {
                let answers = tenant.publish_stream(events);
                answers.fold(0, async |count, answer| answer.map(|_| count + 1).expect("a receipt")).await
            })
        });
        let published = join_all(callers).await.into_iter().map(|count| count.expect("no panic")).sum();
        self.finish(start, published, 1).await
    }

    fn mark(&self) -> Start {
        Start { begun: Instant::now(), arrived: self.receiver.count(), used: self.processes.used() }
    }

    /// Waits for what was published to arrive and counts it; without deliveries it counts what was published.
    async fn finish(&self, start: Start, published: u64, deliveries: u64) -> Rate {
        let expected = published * deliveries;
        let last = Arc::new(AtomicU64::new(0));
        let waiting = async {
            loop {
                let arrived = self.receiver.count() - start.arrived;
                last.store(arrived, Ordering::Relaxed);
                if arrived >= expected {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{} of {expected} deliveries arrived within {PATIENCE:?}", last.load(Ordering::Relaxed));
        }
        let took = start.begun.elapsed().as_secs_f64();
        let (server, database) = self.processes.since(&start.used);
        let done = if deliveries == 0 { published } else { expected } as f64;
        Rate { per_second: done / took, cpu: (server * 1000.0 / done, database * 1000.0 / done) }
    }
}

/// When and from where a measurement began.
struct Start {
    begun: Instant,
    arrived: u64,
    used: Used,
}
