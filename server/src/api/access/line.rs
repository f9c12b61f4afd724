//! One log line and one measurement for each RPC: what was called, by which key, how it ended and how long it took.
//!
//! Calls that succeed, or that their caller gave up, are written at level debug, the others at info, defects at warn.

use std::collections::HashMap;
use std::sync::Arc;

use tonic::Code;

use super::rules;
use crate::clock::{Clock, Instant};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Rpc;

/// What calls are counted in, by the path of their rule; those without a rule together.
pub(in crate::api) struct Calls {
    known: HashMap<&'static str, Arc<Rpc>>,
    unknown: Arc<Rpc>,
}

impl Calls {
    pub(in crate::api) fn new(metrics: &Metrics) -> Self {
        let known = rules::paths().map(|path| (path, Arc::new(metrics.rpc(path)))).collect();
        Self { known, unknown: Arc::new(metrics.rpc(UNKNOWN)) }
    }

    fn of(&self, rpc: &'static str) -> Arc<Rpc> {
        Arc::clone(self.known.get(rpc).unwrap_or(&self.unknown))
    }
}

/// What an RPC without a rule is called: nobody makes a name here.
pub(super) const UNKNOWN: &str = "unknown";

/// The line of a call. Dropped without an end it says that the caller went away.
pub(super) struct Line {
    clock: Clock,
    begun: Instant,
    calls: Arc<Rpc>,
    rpc: &'static str,
    request_id: String,
    key: String,
    is_written: bool,
}

impl Line {
    pub(super) fn begin(clock: Clock, calls: &Calls, rpc: &'static str, request_id: &str) -> Self {
        let begun = clock.instant();
        Self { clock, begun, calls: calls.of(rpc), rpc, request_id: request_id.to_owned(), key: String::new(), is_written: false }
    }

    pub(super) fn rpc(&self) -> &'static str {
        self.rpc
    }

    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Who calls.
    pub(super) fn caller(&mut self, key_id: &str) {
        key_id.clone_into(&mut self.key);
    }

    /// Writes the line, once.
    pub(super) fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.is_written, true) {
            return;
        }
        let elapsed = self.clock.instant().duration_since(self.begun);
        self.calls.ended(code as i32, elapsed);
        let elapsed_ms = (elapsed.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let (rpc, key, request_id) = (self.rpc, self.key.as_str(), self.request_id.as_str());
        match code {
            Code::Ok | Code::Cancelled => tracing::debug!(rpc, ?code, elapsed_ms, key, request_id, "rpc"),
            Code::Internal | Code::Unknown | Code::DataLoss => tracing::warn!(rpc, ?code, elapsed_ms, key, request_id, "rpc"),
            _ => tracing::info!(rpc, ?code, elapsed_ms, key, request_id, "rpc"),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}
