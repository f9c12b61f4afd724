//! The dispatcher: sends what is owned by this node, endpoint by endpoint, and hands the outcomes to the recorder.
//!
//! Cast: [`Dispatcher`] holds one queue an endpoint and takes turns between them; an [`attempt`] is one HTTP request and what follows
//! from it; the [`claimer`] fills free slots from the backlog; the [`sweeper`] gives back what may not or need not stay here. Fresh
//! deliveries come straight from the commit that stored them. A hanging endpoint costs others nothing: it has its own slots, and
//! what does not fit into its queue waits in the database.
//!
//! Never here: a decision about what an outcome means (`domain::delivery`), a statement (`store`), a socket (`outbound`).

mod attempt;
mod claimer;
mod health;
mod queue;
mod sweeper;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::endpoint::{self, Endpoint};
use crate::outbound::Transport;
use crate::store::record::Recorder;
use crate::store::{Fresh, Intake, Store};
use crate::tasks::{OnEnd, Supervisor};

pub use attempt::{Subject, ping, public_headers, render, signer};
use health::Health;
use queue::{Job, Queue};

/// Fresh deliveries that one endpoint may have here, waiting and on the wire.
const QUEUE_PER_ENDPOINT: usize = 1_000;
/// Payload bytes that may wait here over all endpoints.
const QUEUE_BYTES: usize = 64 << 20;

/// How much of one node's dispatcher.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests on the wire, over all endpoints.
    pub max_sockets: usize,
    /// Fresh deliveries that have room here, over all endpoints; past it they wait in the database.
    pub queue: usize,
}

/// One node's dispatcher. A clone shares it.
pub struct Dispatcher<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for Dispatcher<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<T> {
    store: Store,
    transport: Arc<T>,
    recorder: Recorder,
    supervisor: Supervisor,
    health: Health,
    /// Rung when an endpoint with more in the backlog has a free slot.
    slots: Notify,
    /// Rung when something waits for the sweeper.
    sweep: Notify,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queues: HashMap<i64, Queue>,
    /// Endpoints with something to send and a free slot, in turn.
    ready: VecDeque<i64>,
    on_the_wire: usize,
    queued_bytes: usize,
    /// Fresh deliveries that have room here, over all endpoints.
    reserved: usize,
    /// Jobs whose task ended without an outcome, as after a panic.
    orphans: Vec<Job>,
    /// Nothing is taken or begun any more.
    draining: bool,
}

impl<T: Transport> Dispatcher<T> {
    /// A dispatcher within these limits. Its attempts are tasks of `supervisor`.
    pub fn new(store: Store, transport: Arc<T>, recorder: Recorder, supervisor: Supervisor, limits: Limits) -> Self {
        let inner = Inner {
            store,
            transport,
            recorder,
            supervisor,
            health: Health::default(),
            slots: Notify::new(),
            sweep: Notify::new(),
            limits,
            state: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Requests of an endpoint on the wire or ready to send, here.
    pub fn in_flight(&self, endpoint_key: i64) -> usize {
        self.inner.lock().queues.get(&endpoint_key).map_or(0, Queue::len)
    }

    /// Requests on the wire, over all endpoints.
    pub fn on_the_wire(&self) -> usize {
        self.inner.lock().on_the_wire
    }

    /// Begins nothing more; what is queued goes back with the next sweep.
    pub fn drain(&self) {
        self.inner.lock().draining = true;
        self.inner.sweep.notify_one();
    }

    /// Begins whatever may begin now.
    fn pump(&self) {
        loop {
            let Some((job, endpoint)) = self.next_job() else { return };
            let dispatcher = self.clone();
            self.inner.supervisor.spawn("attempt", OnEnd::Ignore, async move { dispatcher.attempt(job, endpoint).await });
        }
    }

    /// The next job in turn, its slot taken. Jobs of an epoch that is over are dropped: somebody else has them.
    fn next_job(&self) -> Option<(InFlight<T>, Arc<Endpoint>)> {
        // Before the lock, so dropped after it.
        let mut over = Vec::new();
        let mut state = self.inner.lock();
        let now = self.inner.store.now();
        while !state.draining && state.on_the_wire < self.inner.limits.max_sockets {
            let key = state.ready.pop_front()?;
            let Some(queue) = state.queues.get_mut(&key) else { continue };
            queue.is_ready = false;
            if queue.hold_until.is_some_and(|until| now < until) {
                // The sweeper gives them back; the claimer looks again when the hold ends.
                self.inner.sweep.notify_one();
                continue;
            }
            let Some(job) = queue.take(&mut over) else { continue };
            let endpoint = match self.current(&job) {
                Some(endpoint) if endpoint.state == endpoint::State::Active => endpoint,
                // Paused, disabled or deleted since it was queued.
                _ => {
                    queue.put_back(job);
                    self.inner.sweep.notify_one();
                    continue;
                }
            };
            queue.on_the_wire += 1;
            queue.limit = endpoint.max_in_flight as usize;
            let more = queue.may_begin();
            queue.is_ready = more;
            state.on_the_wire += 1;
            if more {
                state.ready.push_back(key);
            }
            drop(state);
            return Some((InFlight { dispatcher: self.clone(), endpoint_key: key, job: Some(job) }, endpoint));
        }
        None
    }

    /// The endpoint with the newest settings known here.
    fn current(&self, job: &Job) -> Option<Arc<Endpoint>> {
        match self.inner.store.cached_settings(&job.event.tenant) {
            Some(settings) => settings.endpoint(job.key.endpoint_key).cloned(),
            None => Some(Arc::clone(&job.endpoint)),
        }
    }

    fn enqueue(&self, jobs: impl IntoIterator<Item = Job>) {
        {
            let mut state = self.inner.lock();
            let State { queues, ready, .. } = &mut *state;
            for job in jobs {
                let key = job.key.endpoint_key;
                let queue = queues.entry(key).or_insert_with(|| Queue::new(job.endpoint.max_in_flight as usize));
                queue.push(job);
                if !queue.is_ready && queue.may_begin() {
                    queue.is_ready = true;
                    ready.push_back(key);
                }
            }
        }
        self.pump();
    }
}

impl<T> Inner<T> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Transport> Intake for Dispatcher<T> {
    fn reserve(&self, endpoint: &Arc<Endpoint>, bytes: usize) -> bool {
        let mut state = self.inner.lock();
        if state.draining || state.reserved >= self.inner.limits.queue || state.queued_bytes + bytes > QUEUE_BYTES {
            return false;
        }
        let queue = state.queues.entry(endpoint.key).or_insert_with(|| Queue::new(endpoint.max_in_flight as usize));
        let now = self.inner.store.now();
        let slow = queue.slow_until.is_some_and(|until| now < until) || queue.hold_until.is_some_and(|until| now < until);
        if slow || queue.reserved >= QUEUE_PER_ENDPOINT {
            return false;
        }
        queue.reserved += 1;
        state.reserved += 1;
        state.queued_bytes += bytes;
        true
    }

    fn release(&self, endpoint_key: i64, bytes: usize) {
        let mut state = self.inner.lock();
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        state.reserved = state.reserved.saturating_sub(1);
        if let Some(queue) = state.queues.get_mut(&endpoint_key) {
            queue.reserved = queue.reserved.saturating_sub(1);
        }
    }

    fn deliver(&self, fresh: Vec<Fresh>) {
        let now = self.inner.store.clock().instant();
        self.enqueue(fresh.into_iter().map(|fresh| Job::fresh(fresh, now)));
    }
}

/// A job with a slot on the wire. The slot is free again when this is dropped, however its task ended.
struct InFlight<T: Transport> {
    dispatcher: Dispatcher<T>,
    endpoint_key: i64,
    job: Option<Job>,
}

impl<T: Transport> InFlight<T> {
    /// The job, whose fate is now the caller's business.
    fn finish(&mut self) -> Option<Job> {
        self.job.take()
    }
}

impl<T: Transport> Drop for InFlight<T> {
    fn drop(&mut self) {
        let inner = &self.dispatcher.inner;
        {
            let mut state = inner.lock();
            state.on_the_wire = state.on_the_wire.saturating_sub(1);
            if let Some(job) = self.job.take() {
                state.orphans.push(job);
                inner.sweep.notify_one();
            }
            let State { queues, ready, .. } = &mut *state;
            if let Some(queue) = queues.get_mut(&self.endpoint_key) {
                queue.on_the_wire = queue.on_the_wire.saturating_sub(1);
                if !queue.is_ready && queue.may_begin() {
                    queue.is_ready = true;
                    ready.push_back(self.endpoint_key);
                }
                if queue.wants_claims() {
                    inner.slots.notify_one();
                }
            }
        }
        self.dispatcher.pump();
    }
}
