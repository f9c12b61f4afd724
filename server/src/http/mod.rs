//! What is not gRPC: probes and metrics, on the one port or on a second one. The console and callbacks find their place here.
//!
//! Nothing here asks who calls, so nothing here may tell of a tenant or an endpoint, and of keys only the public halves.

mod keys;
mod scrape;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::store::Store;

pub use keys::keys;
pub use scrape::Scrape;

/// Whether this node takes calls. A clone shares it.
#[derive(Debug, Clone)]
pub struct Readiness {
    store: Store,
    draining: Arc<AtomicBool>,
}

/// How long the database may take to answer a probe.
const PATIENCE: Duration = Duration::from_secs(2);

impl Readiness {
    /// Ready while the database answers.
    pub fn new(store: Store) -> Self {
        Self { store, draining: Arc::default() }
    }

    /// From now on this node is not ready.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    async fn check(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining\n");
        }
        match tokio::time::timeout(PATIENCE, self.store.ping()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err("the database does not answer\n"),
        }
    }
}

/// What a browser sees that was pointed here.
const FRONT: &str = concat!(
    "Gatepost ",
    env!("CARGO_PKG_VERSION"),
    ": gRPC, gRPC-web and reflection on this port; /livez, /readyz and /metrics here or on `admin_listen`\n"
);

/// `/`.
pub fn front() -> Router {
    Router::new().route("/", get(async || FRONT))
}

/// `/livez` and `/readyz`.
pub fn probes(readiness: Readiness) -> Router {
    Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready)).with_state(readiness)
}

/// `/metrics`.
pub fn metrics(scrape: Scrape) -> Router {
    Router::new().route("/metrics", get(scrape::answer)).with_state(Arc::new(scrape))
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, &'static str) {
    match readiness.check().await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem),
    }
}
