//! The recent commits of watched tenants, in the order in which this node learned of them, and where the journal's lanes end.
//!
//! The store's lanes and the tailer push; watchers take. A place is a number that only grows. Commits of tenants that nobody watches
//! move the lanes' heads and are not kept. Nobody waits here: the lock is held for a few rows at a time, never across an await.
//!
//! Invariants: of one lane, a commit comes in once and in order; a watcher at a place that is still in the ring, or behind which nothing
//! of its tenant came, misses nothing. Whoever fell out reads the journal.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::cursor::{Cursor, Heads, Mark};
use crate::domain::Time;
use crate::domain::change::Changes;
use crate::store::journal::LaneId;
use crate::store::{Entry, Listener};

/// Commits that one look goes through, so that the lock is held briefly.
const LOOK: usize = 2_048;

#[derive(Debug)]
pub(super) struct Ring {
    max_entries: usize,
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    slots: VecDeque<Slot>,
    /// Place of the first slot.
    start: u64,
    bytes: usize,
    /// Lanes of epochs from the floor on.
    heads: Arc<Heads>,
    mark: Mark,
    watched: HashMap<Arc<str>, Watched>,
}

#[derive(Debug)]
struct Slot {
    lane: LaneId,
    seq: i64,
    tenant: Arc<str>,
    changes: Arc<Changes>,
    bytes: usize,
    /// What was known when it came in.
    mark: Mark,
}

impl Slot {
    /// About what it takes in memory.
    fn new(entry: &Entry, mark: Mark) -> Self {
        let bytes = 128 + entry.changes.events.len() * 160 + entry.changes.len() * 160;
        let (tenant, changes) = (Arc::clone(&entry.tenant), Arc::clone(&entry.changes));
        Self { lane: entry.lane, seq: entry.seq, tenant, changes, bytes, mark }
    }
}

/// A tenant that somebody watches.
#[derive(Debug)]
struct Watched {
    /// The place behind its last slot.
    next: u64,
    bell: watch::Sender<()>,
}

/// Where the ring ends now.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) place: u64,
    pub(super) heads: Arc<Heads>,
    pub(super) mark: Mark,
}

/// What a watcher took.
#[derive(Debug)]
pub(super) enum Taken {
    Commits {
        /// Those of its tenant.
        commits: Vec<Arc<Changes>>,
        /// Where it stands behind them.
        place: u64,
        /// Whether that is the end.
        end: bool,
    },
    /// Its place is no longer in the ring: read the journal.
    Overrun,
}

impl Ring {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        let mark = Mark { as_of: Time::from_millis(0), floor: 0 };
        let state = State { slots: VecDeque::new(), start: 0, bytes: 0, heads: Arc::default(), mark, watched: HashMap::new() };
        Self { max_entries, max_bytes, state: Mutex::new(state) }
    }

    /// Says that somebody watches a tenant: from now on its commits are kept. What the receiver hears is that there may be some.
    pub(super) fn register(&self, tenant: &Arc<str>) -> watch::Receiver<()> {
        let mut state = self.lock();
        match state.watched.get(tenant) {
            Some(watched) => watched.bell.subscribe(),
            None => {
                let (bell, heard) = watch::channel(());
                state.watched.insert(Arc::clone(tenant), Watched { next: 0, bell });
                heard
            }
        }
    }

    /// Takes [`Ring::register`] back; the receiver still lives.
    pub(super) fn unregister(&self, tenant: &str) {
        let mut state = self.lock();
        if state.watched.get(tenant).is_some_and(|watched| watched.bell.receiver_count() <= 1) {
            state.watched.remove(tenant);
        }
        if state.watched.is_empty() {
            state.start = state.end();
            state.slots = VecDeque::new();
            state.bytes = 0;
        }
    }

    pub(super) fn end(&self) -> End {
        self.lock().snapshot()
    }

    /// Takes what came for a tenant from a place on: whole commits, together at most `room` changes or one commit. Moves the cursor
    /// behind them, and behind others' commits.
    pub(super) fn take(&self, tenant: &str, place: u64, room: usize, cursor: &mut Cursor) -> Taken {
        let state = self.lock();
        let end = state.end();
        if state.watched.get(tenant).is_some_and(|watched| watched.next <= place) {
            *cursor = state.cursor();
            return Taken::Commits { commits: Vec::new(), place: end, end: true };
        }
        let Some(skipped) = place.checked_sub(state.start) else { return Taken::Overrun };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let (mut commits, mut count, mut passed) = (Vec::new(), 0, 0);
        for slot in state.slots.iter().skip(skipped).take(LOOK) {
            if *slot.tenant == *tenant {
                count += slot.changes.len();
                if count > room && !commits.is_empty() {
                    break;
                }
                commits.push(Arc::clone(&slot.changes));
            }
            passed += 1;
        }
        match state.slots.get(skipped.saturating_add(passed)) {
            None => *cursor = state.cursor(),
            Some(next) => {
                for slot in state.slots.iter().skip(skipped).take(passed) {
                    cursor.cover(slot.lane, slot.seq);
                }
                cursor.mark = next.mark;
            }
        }
        let place = place + passed as u64;
        Taken::Commits { commits, place, end: place == end }
    }

    /// Takes in whole commits of one lane, from memory or from the journal; those that are known are passed over.
    pub(super) fn push(&self, entries: &[Entry]) {
        let mut bells = Vec::new();
        {
            let mut state = self.lock();
            for commit in entries.chunk_by(|one, next| (one.lane, one.seq) == (next.lane, next.seq)) {
                state.push(commit, &mut bells);
            }
            state.trim(self.max_entries, self.max_bytes);
        }
        // A hint: who looked in between finds nothing new, and who looks later finds all.
        for bell in bells {
            bell.send_replace(());
        }
    }

    /// Sets a lane's head without its commits, which is right only while nobody watches. False: somebody does.
    pub(super) fn skip_to(&self, lane: LaneId, seq: i64) -> bool {
        let mut state = self.lock();
        if !state.watched.is_empty() {
            return false;
        }
        state.move_head(lane, seq);
        true
    }

    pub(super) fn head(&self, lane: LaneId) -> i64 {
        self.lock().head(lane)
    }

    /// Says that everything which the journal showed at `mark.as_of` has come in.
    pub(super) fn advance(&self, mark: Mark) {
        let mut state = self.lock();
        state.mark = Mark { as_of: mark.as_of.max(state.mark.as_of), floor: mark.floor.max(state.mark.floor) };
        let floor = state.mark.floor;
        if state.heads.keys().any(|lane| lane.epoch < floor) {
            Arc::make_mut(&mut state.heads).retain(|lane, _| lane.epoch >= floor);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Ring {
    fn committed(&self, entries: &[Entry]) {
        self.push(entries);
    }
}

impl State {
    fn end(&self) -> u64 {
        self.start + self.slots.len() as u64
    }

    fn snapshot(&self) -> End {
        End { place: self.end(), heads: Arc::clone(&self.heads), mark: self.mark }
    }

    fn cursor(&self) -> Cursor {
        self.snapshot().cursor()
    }

    fn head(&self, lane: LaneId) -> i64 {
        self.heads.get(&lane).copied().unwrap_or(0)
    }

    /// False: it was there or beyond already.
    fn move_head(&mut self, lane: LaneId, seq: i64) -> bool {
        // Commits of epochs below the floor all came in; their heads are no longer kept.
        if lane.epoch < self.mark.floor || seq <= self.head(lane) {
            return false;
        }
        Arc::make_mut(&mut self.heads).insert(lane, seq);
        true
    }

    fn push(&mut self, commit: &[Entry], bells: &mut Vec<watch::Sender<()>>) {
        let Some(first) = commit.first() else { return };
        let expected = self.head(first.lane) + 1;
        if !self.move_head(first.lane, first.seq) {
            return;
        }
        if first.seq > expected {
            self.break_off(bells);
        }
        for entry in commit {
            let place = self.end();
            let Some(watched) = self.watched.get_mut(&entry.tenant) else { continue };
            watched.next = place + 1;
            bells.push(watched.bell.clone());
            let slot = Slot::new(entry, self.mark);
            self.bytes += slot.bytes;
            self.slots.push_back(slot);
        }
    }

    /// A commit is missing that may be in the journal: sends every watcher there.
    fn break_off(&mut self, bells: &mut Vec<watch::Sender<()>>) {
        self.start = self.end() + 1;
        self.slots.clear();
        self.bytes = 0;
        for watched in self.watched.values_mut() {
            watched.next = self.start;
            bells.push(watched.bell.clone());
        }
    }

    fn trim(&mut self, max_entries: usize, max_bytes: usize) {
        while self.slots.len() > max_entries || self.bytes > max_bytes {
            let Some(oldest) = self.slots.pop_front() else { return };
            self.bytes -= oldest.bytes;
            self.start += 1;
        }
    }
}

impl End {
    /// The cursor of a watcher that stands here.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor { heads: Arc::clone(&self.heads), mark: self.mark, since: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::change::DeliveryChange;

    fn commit(number: i16, seq: i64, tenants: &[&str]) -> Vec<Entry> {
        let lane = LaneId { epoch: 1, number };
        let entry =
            |tenant: &&str| Entry { lane, seq, tenant: (*tenant).into(), time: Time::from_millis(0), changes: Arc::default() };
        tenants.iter().map(entry).collect()
    }

    fn take(ring: &Ring, place: &mut u64, cursor: &mut Cursor) -> Option<usize> {
        match ring.take("acme", *place, 500, cursor) {
            Taken::Overrun => None,
            Taken::Commits { commits, place: behind, .. } => {
                *place = behind;
                Some(commits.len())
            }
        }
    }

    fn watched() -> (Ring, watch::Receiver<()>, u64, Cursor) {
        let ring = Ring::new(3, 1 << 20);
        let bell = ring.register(&"acme".into());
        let end = ring.end();
        (ring, bell, end.place, end.cursor())
    }

    #[test]
    fn a_commit_comes_in_once_and_in_order() {
        let (ring, _bell, mut place, mut cursor) = watched();
        for seq in [1, 2, 1, 2] {
            ring.push(&commit(0, seq, &["acme", "other"]));
        }
        assert_eq!(take(&ring, &mut place, &mut cursor), Some(2));
        assert_eq!(cursor.seq(LaneId { epoch: 1, number: 0 }), 2);
        assert_eq!(take(&ring, &mut place, &mut cursor), Some(0));
    }

    #[test]
    fn a_gap_in_a_lane_sends_watchers_to_the_journal() {
        let (ring, bell, mut place, mut cursor) = watched();
        ring.push(&commit(0, 1, &["acme"]));
        assert_eq!(take(&ring, &mut place, &mut cursor), Some(1));
        ring.push(&commit(0, 3, &["other"]));
        assert!(bell.has_changed().unwrap());
        assert_eq!(take(&ring, &mut place, &mut cursor), None, "the second may be in the journal");
        assert_eq!(cursor.seq(LaneId { epoch: 1, number: 0 }), 1);
    }

    #[test]
    fn a_watcher_falls_out_only_by_commits_of_its_own_tenant() {
        let (ring, _bell, mut place, mut cursor) = watched();
        let other = ring.register(&"other".into());
        for seq in 1..10 {
            ring.push(&commit(0, seq, &["other"]));
        }
        assert_eq!(take(&ring, &mut place, &mut cursor), Some(0), "nothing of its own was lost");
        assert_eq!(cursor.seq(LaneId { epoch: 1, number: 0 }), 9);
        ring.push(&commit(1, 1, &["acme"]));
        for seq in 10..13 {
            ring.push(&commit(0, seq, &["other"]));
        }
        assert_eq!(take(&ring, &mut place, &mut cursor), None);
        drop(other);
    }

    #[test]
    fn a_watcher_in_the_middle_has_what_it_took_and_knows_what_was_known_there() {
        let (ring, _bell, mut place, mut cursor) = watched();
        let mark = |epoch| Mark { as_of: Time::from_millis(epoch), floor: epoch };
        let mut changes = Changes::default();
        changes.push(1, "evt_1", "user.created", 0, DeliveryChange::default());
        for seq in 1..=3 {
            let mut entries = commit(0, seq, &["acme"]);
            entries[0].changes = Arc::new(changes.clone());
            entries[0].lane.epoch = 10;
            ring.push(&entries);
            ring.advance(mark(seq));
        }
        let lane = LaneId { epoch: 10, number: 0 };
        for (seq, known) in [(1, 1), (2, 2), (3, 3)] {
            let Taken::Commits { commits, place: behind, end } = ring.take("acme", place, 1, &mut cursor) else {
                panic!("overrun")
            };
            place = behind;
            assert_eq!((commits.len(), end, cursor.seq(lane), cursor.mark), (1, seq == 3, seq, mark(known)));
        }
        assert_eq!(take(&ring, &mut place, &mut cursor), Some(0));
    }

    #[test]
    fn what_nobody_watches_is_not_kept() {
        let (ring, bell, ..) = watched();
        ring.push(&commit(0, 1, &["other"]));
        ring.push(&commit(0, 2, &["acme"]));
        assert_eq!(ring.lock().slots.len(), 1);
        assert!(!ring.skip_to(LaneId { epoch: 1, number: 1 }, 7), "somebody may be owed what lies between");
        ring.unregister("acme");
        drop(bell);
        ring.push(&commit(0, 3, &["acme"]));
        assert_eq!(ring.lock().slots.len(), 0);
        assert_eq!(ring.head(LaneId { epoch: 1, number: 0 }), 3, "heads move all the same");
        assert!(ring.skip_to(LaneId { epoch: 1, number: 1 }, 7));
    }
}
