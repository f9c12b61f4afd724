//! Fills free slots from the backlog. It wakes by bell, by the next due time or by the clock, and finds work by looking.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::queue::Job;
use super::{Dispatcher, State};
use crate::domain::Time;
use crate::domain::endpoint::Endpoint;
use crate::outbound::Transport;
use crate::store::claims::Want;
use crate::store::{Dialect, Error};
use tokio_util::sync::CancellationToken;

/// Deliveries of one claim over all endpoints: bounds the payloads read at once.
const CLAIM: usize = 1_024;
/// A bell that rings all the time does not make the claimer look more often than this.
const PAUSE: Duration = Duration::from_millis(5);

impl<T: Transport> Dispatcher<T> {
    /// Claims until `stop`.
    pub async fn run_claimer(self, stop: CancellationToken) {
        // Other nodes put rows into the backlog without ringing here.
        let poll = match self.inner.store.dialect() {
            Dialect::Postgres => Duration::from_secs(1),
            Dialect::Sqlite => Duration::from_secs(30),
        };
        loop {
            // Registered before looking, so that a bell in between is not lost.
            let backlog = self.inner.store.bells().backlog.notified();
            let slots = self.inner.slots.notified();
            let next = match self.claim_once().await {
                Ok(next) => next,
                Err(Error::EpochLost) => None,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "claiming failed");
                    None
                }
            };
            let clock = self.inner.store.clock();
            let due = async {
                match next {
                    // Its own clock, as due times are database times.
                    Some(due) => clock.sleep(due.since(self.inner.store.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = backlog => {}
                () = slots => {}
                () = due => {}
                () = clock.pause(poll) => {}
            }
            clock.pause(PAUSE).await;
        }
    }

    /// Looks once and claims what there are free slots for. Returns when the next row is due.
    pub async fn claim_once(&self) -> Result<Option<Time>, Error> {
        let store = &self.inner.store;
        let epoch = store.epoch()?;
        let now = store.now();
        let mut next: Option<Time> = None;
        let mut wants = Vec::new();
        let mut left = CLAIM;
        for head in store.backlog_heads().await? {
            if head.due > now {
                next = Some(next.map_or(head.due, |known| known.min(head.due)));
                continue;
            }
            let settings = match store.settings(&head.tenant).await {
                Ok(settings) => settings,
                // Removed in this very moment.
                Err(Error::NotFound) => continue,
                Err(error) if error.is_transient() => return Err(error),
                // What one tenant's settings are must not hold up the others.
                Err(error) => {
                    tracing::error!(tenant = &*head.tenant, error = &error as &dyn std::error::Error, "settings cannot be read");
                    continue;
                }
            };
            let Some(endpoint) = settings.endpoint(head.endpoint_key) else { continue };
            let count = match self.claimable(head.endpoint_key, endpoint.max_in_flight as usize, now) {
                Ok(count) => count.min(left),
                Err(held_until) => {
                    // The receiver asked for quiet a moment ago; the database may not say so yet.
                    next = Some(next.map_or(held_until, |known| known.min(held_until)));
                    continue;
                }
            };
            if count > 0 {
                left -= count;
                wants.push((
                    Want { endpoint_key: head.endpoint_key, priority: head.priority, count: count as u32 },
                    Arc::clone(endpoint),
                ));
            }
        }
        if wants.is_empty() {
            return Ok(next);
        }
        let plain: Vec<Want> = wants.iter().map(|(want, _)| *want).collect();
        let claimed = store.claim(&epoch, &plain).await?;
        {
            let mut state = self.inner.lock();
            let mut got: HashMap<i64, usize> = HashMap::new();
            for claimed in &claimed {
                *got.entry(claimed.key.endpoint_key).or_default() += 1;
            }
            for (want, endpoint) in &wants {
                let got = got.get(&want.endpoint_key).copied().unwrap_or(0);
                // An idle queue may have been forgotten while the claim was under way: then it is made anew, or nobody would ring
                // for the rest.
                let queue = state.queues.entry(want.endpoint_key);
                let queue = queue.or_insert_with(|| super::Queue::new(endpoint.max_in_flight as usize));
                queue.more_in_backlog = got >= want.count as usize;
            }
        }
        let since = store.clock().instant();
        let endpoints: HashMap<i64, &Arc<Endpoint>> = wants.iter().map(|(want, endpoint)| (want.endpoint_key, endpoint)).collect();
        let jobs: Vec<Job> = claimed
            .into_iter()
            .filter_map(|claimed| {
                let endpoint = endpoints.get(&claimed.key.endpoint_key)?;
                Some(Job::claimed(claimed, Arc::clone(endpoint), Arc::clone(&epoch), since))
            })
            .collect();
        // Behind what was due lies what will be: only another look says when.
        let next = if jobs.is_empty() { next } else { Some(now) };
        self.enqueue(jobs);
        Ok(next)
    }

    /// Free slots of an endpoint, or until when it is held.
    fn claimable(&self, endpoint_key: i64, limit: usize, now: Time) -> Result<usize, Time> {
        let mut state = self.inner.lock();
        let State { queues, draining, .. } = &mut *state;
        if *draining {
            return Ok(0);
        }
        let queue = queues.entry(endpoint_key).or_insert_with(|| super::Queue::new(limit));
        queue.limit = limit;
        match queue.hold_until {
            Some(until) if now < until => Err(until),
            _ => Ok(queue.claimable()),
        }
    }
}
