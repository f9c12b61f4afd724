//! The gRPC services: decode, one call into a room below, encode. No decision, no statement, no socket.
//!
//! [`access`] lets a call in and says what it needs; each service has a file; [`status`] is the only place that makes a status.
//! [`routes`] puts them together with health and reflection.

mod access;
mod admin;
mod convert;
mod deliveries;
mod endpoints;
mod event_types;
mod events;
mod lists;
mod mask;
mod matches;
mod names;
pub mod page;
mod routes;
pub mod status;
mod tenants;
pub mod violations;

/// The server half of the contract, generated. Its messages are those of the client crate.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::disallowed_methods, reason = "generated")]
mod generated {
    tonic::include_proto!("gatepost.v1");
}

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use crate::config::Limits;
use crate::delivery::Dispatcher;
use crate::domain::Time;
use crate::domain::site::Site;
use crate::feed::Feed;
use crate::outbound::Egress;
use crate::store::Store;
use crate::store::publish::Publisher;
use crate::tasks::Supervisor;

pub use routes::routes;
pub use status::Error;
pub use violations::{Violation, Violations};

/// What the services call.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Accepts events.
    pub publisher: Publisher,
    /// Feeds watches.
    pub feed: Arc<Feed>,
    /// Checks URLs and sends tests.
    pub egress: Arc<Egress>,
    /// This node's dispatcher; `None` without the worker role.
    pub dispatcher: Option<Dispatcher<Egress>>,
    /// Spawns what a stream needs beside its handler.
    pub supervisor: Supervisor,
    /// The limits in force.
    pub limits: Limits,
    /// Where this installation is found.
    pub site: Arc<Site>,
    /// When the process started.
    pub start_time: Time,
}

/// All services' shared state.
pub struct Api {
    parts: Parts,
    tokens: page::PageTokens,
    serving: AtomicBool,
    stopping: CancellationToken,
    health: HealthReporter,
    /// Free slots for tests of endpoints.
    tests: Semaphore,
    /// Open watches by API key.
    watchers: deliveries::Watchers,
    /// What calls are counted in.
    calls: access::Calls,
    /// Calls without a valid key, by peer.
    guesses: access::Guesses,
}

/// Tests of endpoints on the wire at once.
const MOST_TESTS: usize = 64;

impl Api {
    /// Not serving yet.
    pub fn new(parts: Parts) -> Self {
        let tokens = page::PageTokens::new(parts.store.key_ring().clone());
        let calls = access::Calls::new(parts.store.metrics());
        let guesses = access::Guesses::new(parts.limits.failed_authentications);
        let (serving, stopping) = (AtomicBool::new(false), CancellationToken::new());
        Self {
            parts,
            tokens,
            serving,
            stopping,
            health: HealthReporter::new(),
            tests: Semaphore::new(MOST_TESTS),
            watchers: deliveries::Watchers::default(),
            calls,
            guesses,
        }
    }

    /// Takes calls from now on: health says SERVING.
    pub async fn start(&self) {
        self.serving.store(true, Ordering::Relaxed);
        routes::report(&self.health, tonic_health::ServingStatus::Serving).await;
    }

    /// Takes no more calls: they answer `SHUTTING_DOWN`, health says NOT_SERVING, and streams end.
    pub async fn stop(&self) {
        self.serving.store(false, Ordering::Relaxed);
        routes::report(&self.health, tonic_health::ServingStatus::NotServing).await;
        self.stopping.cancel();
    }

    fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// Fires when the server stops: streams end then.
    fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }
}
