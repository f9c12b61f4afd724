//! How receivers are doing: written in groups by the dispatcher, read with endpoints and as statistics.
//!
//! The figures are hints for people, and the hold after a 429 for all nodes. A crash may cost the last second of them.

use std::time::Duration;

use super::bulk::{Bulk, Column};
use super::db::{Arg, sql};
use super::{Error, Store, time};
use crate::domain::Time;
use crate::domain::delivery::State;

/// What happened at one endpoint since the last flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthDelta {
    /// The endpoint.
    pub endpoint_key: i64,
    /// Attempts that succeeded.
    pub succeeded: i64,
    /// Attempts that failed.
    pub failed: i64,
    /// Time of all attempts together, ms.
    pub total_ms: i64,
    /// The longest attempt, ms.
    pub max_ms: i64,
    /// The last attempt that succeeded.
    pub last_success: Option<Time>,
    /// The last attempt that failed.
    pub last_failure: Option<Time>,
    /// Failures since the last success, or since the last flush when there was none.
    pub failures_in_a_row: i64,
    /// The receiver asked for quiet until then.
    pub hold_until: Option<Time>,
}

impl HealthDelta {
    /// Nothing yet.
    pub fn new(endpoint_key: i64) -> Self {
        Self {
            endpoint_key,
            succeeded: 0,
            failed: 0,
            total_ms: 0,
            max_ms: 0,
            last_success: None,
            last_failure: None,
            failures_in_a_row: 0,
            hold_until: None,
        }
    }

    /// One attempt has ended.
    pub fn note(&mut self, succeeded: bool, total_ms: i64, now: Time) {
        self.total_ms += total_ms;
        self.max_ms = self.max_ms.max(total_ms);
        if succeeded {
            self.succeeded += 1;
            self.last_success = Some(now);
            self.failures_in_a_row = 0;
        } else {
            self.failed += 1;
            self.last_failure = Some(now);
            self.failures_in_a_row += 1;
        }
    }
}

/// Counts of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointStats {
    /// Deliveries in the backlog that wait for their first attempt, counted to [`COUNTED`].
    pub pending_count: i64,
    /// Those that wait for a further one.
    pub retrying_count: i64,
    /// Dead letters.
    pub dead_count: i64,
    /// When the oldest unfinished one was accepted.
    pub oldest_pending: Option<Time>,
    /// Attempts of the window that succeeded.
    pub succeeded_count: i64,
    /// Attempts of the window that failed.
    pub failed_count: i64,
    /// Time of all of them, ms.
    pub total_ms: i64,
    /// The longest, ms.
    pub max_ms: i64,
}

/// Where counting stops.
pub const COUNTED: i64 = 100_000;
/// Minutes are kept for a day and an hour.
const MINUTES_KEPT: Duration = Duration::from_secs(25 * 3_600);
/// Rows that one step removes at most.
const STEP: i64 = 1_000;
const MINUTE_MS: i64 = 60_000;

impl Store {
    /// Writes what happened, at most one delta an endpoint, in the order of their keys.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: the figures are lost.
    pub async fn flush_health(&self, deltas: &[HealthDelta]) -> Result<(), Error> {
        let now = self.now();
        let ints = |value: fn(&HealthDelta) -> i64| Column::Int(deltas.iter().map(value).collect());
        let times = |value: fn(&HealthDelta) -> Option<Time>| {
            Column::MaybeInt(deltas.iter().map(|delta| value(delta).map(Time::millis)).collect())
        };
        let health = Bulk::new(vec![
            ints(|delta| delta.endpoint_key),
            times(|delta| delta.last_success),
            times(|delta| delta.last_failure),
            ints(|delta| delta.failures_in_a_row),
            times(|delta| delta.hold_until),
        ]);
        let minutes = Bulk::new(vec![
            ints(|delta| delta.endpoint_key),
            ints(|delta| delta.succeeded),
            ints(|delta| delta.failed),
            ints(|delta| delta.total_ms),
            ints(|delta| delta.max_ms),
        ]);
        let mut tx = self.inner.db.begin().await?;
        tx.bulk(sql!("upsert_health"), &[], &health).await?;
        tx.bulk(sql!("upsert_minutes" by dialect), &[Arg::Int(now.millis() / MINUTE_MS)], &minutes).await?;
        tx.commit().await
    }

    /// Counts of an endpoint, with the attempts of the last `window`.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn endpoint_stats(&self, endpoint_key: i64, window: Duration) -> Result<EndpointStats, Error> {
        let key = Arg::Int(endpoint_key);
        let mut stats = EndpointStats::default();
        for (state, count) in [
            (State::Pending, &mut stats.pending_count),
            (State::Retrying, &mut stats.retrying_count),
            (State::Dead, &mut stats.dead_count),
        ] {
            let rows = self.inner.db.fetch(sql!("count_backlog"), &[key, Arg::Int(state.code().into()), Arg::Int(COUNTED)]).await?;
            *count = rows.first().map(|row| row.int(0)).transpose()?.unwrap_or(0);
        }
        let oldest = self.inner.db.fetch(sql!("oldest_backlog"), &[key]).await?;
        stats.oldest_pending = oldest.first().map(|row| row.maybe_int(0)).transpose()?.flatten().map(time);
        let from = self.now().minus(window).millis() / MINUTE_MS;
        if let Some(row) = self.inner.db.fetch(sql!("sum_minutes"), &[key, Arg::Int(from)]).await?.first() {
            stats.succeeded_count = row.int(0)?;
            stats.failed_count = row.int(1)?;
            stats.total_ms = row.int(2)?;
            stats.max_ms = row.int(3)?;
        }
        Ok(stats)
    }

    /// One bounded step of forgetting old minutes. True: there may be more.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn expire_minutes_step(&self) -> Result<bool, Error> {
        let before = self.now().minus(MINUTES_KEPT).millis() / MINUTE_MS;
        let mut tx = self.inner.db.begin().await?;
        let removed = tx.execute(sql!("expire_minutes"), &[Arg::Int(before), Arg::Int(STEP)]).await?;
        tx.commit().await?;
        Ok(removed >= STEP.unsigned_abs())
    }
}
