//! How many watches each API key has open on this node.
//!
//! A key past its limit gets no more, so that none takes the places of the others. A watch takes its [`Seat`] before it asks the feed and
//! holds it until its task ends; a seat is never given back in any other way than by its drop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::Error;

/// Open watches by key. Clones share them.
#[derive(Debug, Clone, Default)]
pub(in crate::api) struct Watchers(Arc<Mutex<HashMap<Box<str>, usize>>>);

/// One open watch, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    watchers: Watchers,
    key_id: Box<str>,
}

impl Watchers {
    /// A seat for one more watch of a key. `limit`: `limits.watchers_per_key`.
    ///
    /// # Errors
    /// [`Error::LimitReached`].
    pub(super) fn seat(&self, key_id: &str, limit: usize) -> Result<Seat, Error> {
        let mut open = self.open();
        let taken = open.get(key_id).copied().unwrap_or(0);
        if taken >= limit {
            return Err(Error::LimitReached { limit: "watchers_per_key", value: limit as u64 });
        }
        open.insert(key_id.into(), taken + 1);
        Ok(Seat { watchers: self.clone(), key_id: key_id.into() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Box<str>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.watchers.open();
        match open.get_mut(&self.key_id) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => drop(open.remove(&self.key_id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_own_limit_and_a_dropped_watch_makes_room() {
        let watchers = Watchers::default();
        let first = watchers.seat("key_1", 2).unwrap();
        let _second = watchers.seat("key_1", 2).unwrap();
        let full = Error::LimitReached { limit: "watchers_per_key", value: 2 };
        assert_eq!(watchers.seat("key_1", 2).unwrap_err(), full);
        let other = watchers.seat("key_2", 2).unwrap();
        drop(first);
        let _third = watchers.seat("key_1", 2).unwrap();
        drop(other);
        assert_eq!(watchers.open().len(), 1, "a key without watches costs nothing");
    }
}
