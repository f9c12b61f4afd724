//! Gives back what may not or need not stay here: work of paused, held or deleted endpoints, fresh work that has waited too long,
//! and everything at the drain. It also writes the endpoints' health and forgets idle queues.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::queue::{Claim, Job};
use super::{Dispatcher, State};
use crate::domain::endpoint;
use crate::outbound::Transport;
use crate::store::Error;

/// How often it looks without being rung for.
const PERIOD: Duration = Duration::from_secs(1);
/// An endpoint whose fresh work waited too long gets new work by the backlog for this long.
const SLOW: Duration = Duration::from_secs(30);

impl<T: Transport> Dispatcher<T> {
    /// Sweeps until `stop`, and once more then.
    pub async fn run_sweeper(self, stop: CancellationToken) {
        let mut left = Vec::new();
        while !stop.is_cancelled() {
            let settings = self.inner.store.bells().settings.notified();
            let sweep = self.inner.sweep.notified();
            left = self.sweep_once(left).await;
            self.flush_health().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = settings => {}
                () = sweep => {}
                () = self.inner.store.clock().pause(PERIOD) => {}
            }
        }
        self.sweep_once(left).await;
        self.flush_health().await;
    }

    /// Gives back what must go, with what an earlier sweep could not. Returns what could not be given back now.
    pub(super) async fn sweep_once(&self, earlier: Vec<Job>) -> Vec<Job> {
        let mut jobs = earlier;
        jobs.extend(self.collect());
        jobs.retain(|job| !job.epoch.over.is_cancelled());
        if jobs.is_empty() {
            return jobs;
        }
        // One epoch at a time; there is more than one only in the moment of a loss.
        let epoch = std::sync::Arc::clone(&jobs[0].epoch);
        let (now, mut later): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.epoch.id == epoch.id);
        let (fresh, leased): (Vec<_>, Vec<_>) = now.into_iter().partition(|job| matches!(job.claim, Claim::Fresh { .. }));
        let store = &self.inner.store;
        let tickets: Vec<_> = fresh
            .iter()
            .filter_map(|job| match &job.claim {
                Claim::Fresh { ticket, .. } => Some((job.key, std::sync::Arc::clone(ticket))),
                Claim::Leased { .. } => None,
            })
            .collect();
        let tokens: Vec<_> = leased
            .iter()
            .filter_map(|job| match job.claim {
                Claim::Leased { token } => Some((job.key, token)),
                Claim::Fresh { .. } => None,
            })
            .collect();
        if !tickets.is_empty() && keep_for_later(store.spill(&epoch, &tickets).await) {
            later.extend(fresh);
        }
        if !tokens.is_empty() && keep_for_later(store.release(&epoch, &tokens, store.now()).await) {
            later.extend(leased);
        }
        store.bells().backlog.notify_one();
        later
    }

    fn collect(&self) -> Vec<Job> {
        let mut state = self.inner.lock();
        let (now, instant) = (self.inner.store.now(), self.inner.store.clock().instant());
        let State { queues, orphans, draining, .. } = &mut *state;
        let mut out = std::mem::take(orphans);
        for (key, queue) in queues.iter_mut() {
            let held = queue.hold_until.is_some_and(|until| now < until);
            let inactive = queue.front().is_some_and(|job| {
                let settings = self.inner.store.cached_settings(&job.event.tenant);
                settings.is_some_and(|settings| {
                    settings.endpoint(*key).is_none_or(|endpoint| endpoint.state != endpoint::State::Active)
                })
            });
            let returned = queue.give_back(*draining || held || inactive, instant);
            let stale = returned.iter().any(|job| matches!(job.claim, Claim::Fresh { .. }));
            if stale && !inactive && !*draining {
                queue.slow_until = Some(now.plus(SLOW));
            }
            out.extend(returned);
        }
        queues.retain(|_, queue| !queue.is_idle(now) || queue.is_ready);
        out
    }

    async fn flush_health(&self) {
        let deltas = self.inner.health.take();
        if deltas.is_empty() {
            return;
        }
        if let Err(error) = self.inner.store.flush_health(&deltas).await {
            // Lost figures, not lost deliveries.
            tracing::warn!(error = &error as &dyn std::error::Error, "the endpoints' health is not written");
        }
    }
}

/// Whether what was to be given back must be tried again.
fn keep_for_later(result: Result<(), Error>) -> bool {
    match result {
        Ok(()) | Err(Error::EpochLost) => false,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "work cannot be given back yet");
            true
        }
    }
}
