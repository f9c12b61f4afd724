//! Which event numbers may still have fresh deliveries of this node: the low-water mark of its beats.
//!
//! After a crash adoption looks for a node's unfinished fresh deliveries from its low-water mark on. So the mark must never pass a
//! fresh delivery whose outcome is not recorded, nor a batch whose commit is not known. Dropping a [`Ticket`] settles nothing: what
//! got lost on the way holds the mark back until another epoch adopts it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One batch's fresh deliveries without a recorded outcome.
#[derive(Debug)]
pub struct Ticket {
    tracker: Tracker,
    first_seq: i64,
}

impl Ticket {
    /// Says that this many of the batch's fresh deliveries are no longer fresh, by a commit that is known.
    pub(crate) fn settle(&self, count: usize) {
        let mut open = self.tracker.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = open.batches.get_mut(&self.first_seq) {
            *left = left.saturating_sub(count);
            if *left == 0 {
                open.batches.remove(&self.first_seq);
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Tracker {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    batches: BTreeMap<i64, usize>,
    /// One more than the largest number that any batch had.
    next_seq: i64,
}

impl Tracker {
    /// Opens a batch with these numbers before its commit begins. It counts one more than `fresh`, for the commit itself.
    pub(crate) fn open(&self, first_seq: i64, last_seq: i64, fresh: usize) -> Arc<Ticket> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.batches.insert(first_seq, fresh + 1);
        open.next_seq = open.next_seq.max(last_seq.saturating_add(1));
        Arc::new(Ticket { tracker: self.clone(), first_seq })
    }

    /// No fresh delivery of this node without a recorded outcome has a smaller event number.
    pub(crate) fn low_water(&self) -> i64 {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.batches.first_key_value().map_or(open.next_seq, |(first, _)| *first)
    }

    /// Forgets every batch: their epoch is over, and whoever adopts it starts from its last beat.
    pub(crate) fn forget(&self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).batches.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_waits_for_the_oldest_open_batch() {
        let tracker = Tracker::default();
        let first = tracker.open(10, 14, 2);
        let second = tracker.open(15, 20, 0);
        second.settle(1);
        first.settle(2);
        drop((first, second));
        assert_eq!(tracker.low_water(), 10, "the commit is not known yet");
        tracker.open(10, 14, 0).settle(1);
        assert_eq!(tracker.low_water(), 21);
    }
}
