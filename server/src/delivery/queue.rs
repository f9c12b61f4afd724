//! One endpoint's queue on this node: what waits, what is on the wire, and whether more may begin.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::domain::endpoint::Endpoint;
use crate::domain::event::Event;
use crate::domain::{DeliveryKey, Time};
use crate::store::claims::Claimed;
use crate::store::publish::Room;
use crate::store::record::Hold;
use crate::store::{Epoch, Fresh, Ticket};

/// A delivery that waits here or is on the wire.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: DeliveryKey,
    pub(super) event: Arc<Event>,
    /// As it was when the job came; what is sent uses the newest.
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) epoch: Arc<Epoch>,
    pub(super) claim: Claim,
    pub(super) attempt_count: i32,
    pub(super) schedule_attempts: i32,
    pub(super) priority: i16,
    pub(super) since: Instant,
}

/// By what right this node has a job.
#[derive(Debug)]
pub(super) enum Claim {
    Fresh { ticket: Arc<Ticket>, _room: Room },
    Leased { token: i64 },
}

impl Job {
    pub(super) fn fresh(fresh: Fresh, now: Instant) -> Self {
        Self {
            key: fresh.key,
            event: fresh.event,
            endpoint: fresh.endpoint,
            epoch: fresh.epoch,
            claim: Claim::Fresh { ticket: fresh.ticket, _room: fresh.room },
            attempt_count: 0,
            schedule_attempts: 0,
            priority: 1,
            since: now,
        }
    }

    pub(super) fn claimed(claimed: Claimed, endpoint: Arc<Endpoint>, epoch: Arc<Epoch>, now: Instant) -> Self {
        Self {
            key: claimed.key,
            event: claimed.event,
            endpoint,
            epoch,
            claim: Claim::Leased { token: claimed.token },
            attempt_count: claimed.attempt_count,
            schedule_attempts: claimed.schedule_attempts,
            priority: claimed.priority,
            since: now,
        }
    }

    pub(super) fn hold(&self) -> Hold {
        match &self.claim {
            Claim::Fresh { ticket, .. } => Hold::Fresh(Arc::clone(ticket)),
            Claim::Leased { token } => Hold::Leased { token: *token },
        }
    }
}

/// One endpoint's queue.
#[derive(Debug)]
pub(super) struct Queue {
    fresh: VecDeque<Job>,
    claimed: VecDeque<Job>,
    /// Takes turns: fresh work goes in between a draining backlog, and the other way round.
    claimed_turn: bool,
    pub(super) on_the_wire: usize,
    /// The endpoint's `max_in_flight`.
    pub(super) limit: usize,
    /// Fresh deliveries that have room here, those of commits under way included.
    pub(super) reserved: usize,
    /// It stands in the ring of those that may begin.
    pub(super) is_ready: bool,
    /// The last claim took all it asked for, so there is likely more.
    pub(super) more_in_backlog: bool,
    /// The receiver asked for quiet until then.
    pub(super) hold_until: Option<Time>,
    /// Fresh work waited here for too long: until then new work goes to the backlog at once.
    pub(super) slow_until: Option<Time>,
}

/// A claimed job that has not begun by then goes back, so that none is sent on a lease that may end before its outcome is recorded.
pub(super) const LONGEST_CLAIMED_WAIT: Duration = Duration::from_secs(15);
/// A fresh job that has not begun by then becomes backlog.
pub(super) const LONGEST_FRESH_WAIT: Duration = Duration::from_secs(10);

impl Queue {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            fresh: VecDeque::new(),
            claimed: VecDeque::new(),
            claimed_turn: false,
            on_the_wire: 0,
            limit,
            reserved: 0,
            is_ready: false,
            more_in_backlog: false,
            hold_until: None,
            slow_until: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.claimed.len() + self.on_the_wire
    }

    pub(super) fn push(&mut self, job: Job) {
        match job.claim {
            Claim::Fresh { .. } => self.fresh.push_back(job),
            Claim::Leased { .. } => self.claimed.push_back(job),
        }
    }

    pub(super) fn put_back(&mut self, job: Job) {
        match job.claim {
            Claim::Fresh { .. } => self.fresh.push_front(job),
            Claim::Leased { .. } => self.claimed.push_front(job),
        }
    }

    /// Any job that waits.
    pub(super) fn front(&self) -> Option<&Job> {
        self.fresh.front().or_else(|| self.claimed.front())
    }

    /// Something waits and a slot is free.
    pub(super) fn may_begin(&self) -> bool {
        self.on_the_wire < self.limit && !(self.fresh.is_empty() && self.claimed.is_empty())
    }

    /// The next job, backlog and fresh in turn. Jobs of an epoch that is over go to `over`: a job that is dropped gives its room back to
    /// the dispatcher, which must not be locked then.
    pub(super) fn take(&mut self, over: &mut Vec<Job>) -> Option<Job> {
        loop {
            self.claimed_turn = !self.claimed_turn;
            let (first, second) =
                if self.claimed_turn { (&mut self.claimed, &mut self.fresh) } else { (&mut self.fresh, &mut self.claimed) };
            let job = first.pop_front().or_else(|| second.pop_front())?;
            if !job.epoch.over.is_cancelled() {
                return Some(job);
            }
            over.push(job);
        }
    }

    /// How many more the claimer may take: enough to keep the slots full while the next claim is under way.
    pub(super) fn claimable(&self) -> usize {
        let target = (self.limit * 4).min(256).max(self.limit);
        target.saturating_sub(self.on_the_wire + self.claimed.len())
    }

    pub(super) fn wants_claims(&self) -> bool {
        self.more_in_backlog && self.claimed.len() < self.limit
    }

    /// Removes what has waited too long, or everything that waits.
    pub(super) fn give_back(&mut self, everything: bool, now: Instant) -> Vec<Job> {
        let mut out = Vec::new();
        for (jobs, limit) in [(&mut self.fresh, LONGEST_FRESH_WAIT), (&mut self.claimed, LONGEST_CLAIMED_WAIT)] {
            if everything {
                out.extend(jobs.drain(..));
            } else {
                // The front waits longest, save for what was put back.
                while jobs.front().is_some_and(|job| now.duration_since(job.since) >= limit) {
                    out.extend(jobs.pop_front());
                }
            }
        }
        out
    }

    /// Nothing is here and nothing needs remembering.
    pub(super) fn is_idle(&self, now: Time) -> bool {
        self.len() == 0
            && self.reserved == 0
            && self.hold_until.is_none_or(|until| until <= now)
            && self.slow_until.is_none_or(|until| until <= now)
    }
}
