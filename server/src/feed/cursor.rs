//! What a watcher has: how far each lane is covered. Tokens are written from it and read into it.
//!
//! Invariant: it moves past a commit only when every change of it that passes the watcher's filter was handed out or is about to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::Time;
use crate::domain::watch_token::{LaneMark, WatchToken};
use crate::store::journal::LaneId;

/// The last commit of each lane. Shared between the ring and all watchers that stand at its end.
pub(super) type Heads = BTreeMap<LaneId, i64>;

/// What is known of the journal at a place in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// A time of which this node has seen the whole journal. What lies behind the place was begun later, or little earlier: by far
    /// less than [`crate::store::journal::REMOVAL_MARGIN`].
    pub(super) as_of: Time,
    /// Epochs below it are over and lie wholly before the place.
    pub(super) floor: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Cursor {
    /// Lanes of epochs from the floor on that are covered up to a commit; one that is missing is not covered at all.
    pub(super) heads: Arc<Heads>,
    pub(super) mark: Mark,
    /// Older commits are not wanted. Only until the watcher has caught up.
    pub(super) since: Option<Time>,
}

impl Cursor {
    /// Covers nothing but what is older than `since`.
    pub(super) fn since(since: Time) -> Self {
        Self { heads: Arc::default(), mark: Mark { as_of: since, floor: 0 }, since: Some(since) }
    }

    pub(super) fn of_token(token: &WatchToken) -> Self {
        let lane = |mark: &LaneMark| Some((LaneId { epoch: mark.epoch, number: i16::try_from(mark.number).ok()? }, mark.seq));
        Self {
            heads: Arc::new(token.lanes.iter().filter_map(lane).collect()),
            mark: Mark { as_of: token.covered_until(), floor: token.floor },
            since: token.since.map(Time::from_millis),
        }
    }

    pub(super) fn token(&self, incarnation: &str) -> WatchToken {
        let lane = |(lane, seq): (&LaneId, &i64)| LaneMark { epoch: lane.epoch, number: lane.number.into(), seq: *seq };
        WatchToken {
            incarnation: incarnation.to_owned(),
            time: self.mark.as_of.millis(),
            floor: self.mark.floor,
            since: self.since.map(Time::millis),
            lanes: self.heads.iter().filter(|(lane, _)| lane.epoch >= self.mark.floor).map(lane).collect(),
        }
    }

    /// The last commit of a lane that is covered; 0: none.
    pub(super) fn seq(&self, lane: LaneId) -> i64 {
        self.heads.get(&lane).copied().unwrap_or(0)
    }

    /// Covers a lane up to this commit.
    pub(super) fn cover(&mut self, lane: LaneId, seq: i64) {
        Arc::make_mut(&mut self.heads).insert(lane, seq);
    }
}
