//! The gRPC services: decode, one call into a room below, encode. No decision, no statement, no socket.
//!
//! [`access`] lets a call in and says what it needs; each service has a file; [`status`] is the only place that makes a status.

pub mod access;
mod convert;
mod names;
pub mod page;
pub mod status;
pub mod violations;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::Limits;
use crate::delivery::Dispatcher;
use crate::domain::Time;
use crate::feed::Feed;
use crate::outbound::Egress;
use crate::store::Store;
use crate::store::publish::Publisher;
use crate::tasks::Supervisor;

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
    /// When the process started.
    pub start_time: Time,
}

/// All services' shared state.
pub struct Api {
    parts: Parts,
    tokens: page::PageTokens,
    serving: AtomicBool,
}

impl Api {
    /// Not serving yet.
    pub fn new(parts: Parts) -> Self {
        let tokens = page::PageTokens::new(parts.store.key_ring().clone());
        Self { parts, tokens, serving: AtomicBool::new(false) }
    }

    /// Whether calls are taken; while not, they answer `SHUTTING_DOWN` and health says NOT_SERVING.
    pub fn set_serving(&self, serving: bool) {
        self.serving.store(serving, Ordering::Relaxed);
    }
}
