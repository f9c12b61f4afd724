//! How receivers are doing, gathered in memory and written at most once a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::Time;
use crate::domain::delivery::AttemptClass;
use crate::store::health::HealthDelta;

#[derive(Debug, Default)]
pub(super) struct Health {
    deltas: Mutex<HashMap<i64, HealthDelta>>,
}

impl Health {
    /// One attempt of an endpoint has ended.
    pub(super) fn note(&self, endpoint_key: i64, class: AttemptClass, total_ms: i32, now: Time, hold_until: Option<Time>) {
        let mut deltas = self.deltas.lock().unwrap_or_else(PoisonError::into_inner);
        let delta = deltas.entry(endpoint_key).or_insert_with(|| HealthDelta::new(endpoint_key));
        delta.note(class == AttemptClass::Success, i64::from(total_ms), now);
        delta.hold_until = delta.hold_until.max(hold_until);
    }

    pub(super) fn take(&self) -> Vec<HealthDelta> {
        let mut deltas: Vec<_> =
            self.deltas.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, delta)| delta).collect();
        // One order for all nodes, or two that write at once deadlock.
        deltas.sort_unstable_by_key(|delta| delta.endpoint_key);
        deltas
    }
}
