//! How often calls of a peer come without a valid key: past a limit they are told to come back later.
//!
//! Asked only after a key was found wrong, so a good key is let in from any peer, and a server behind a proxy, where all callers are one
//! peer, locks nobody out. The table is bounded: a peer that falls out of it begins anew.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;

use crate::clock::Instant;
use crate::domain::peer::Peer;

/// Peers that are remembered.
const PEERS: u64 = 10_000;
/// How long a peer is remembered that does nothing.
const REMEMBERED: Duration = Duration::from_secs(120);

/// What each peer has left.
pub(in crate::api) struct Guesses {
    per_minute: f64,
    peers: Cache<Peer, Arc<Mutex<Left>>>,
}

struct Left {
    count: f64,
    when: Instant,
}

impl Guesses {
    /// `per_minute`: so many at once, and so many a minute.
    pub(in crate::api) fn new(per_minute: u32) -> Self {
        let peers = Cache::builder().max_capacity(PEERS).time_to_idle(REMEMBERED).build();
        Self { per_minute: f64::from(per_minute.max(1)), peers }
    }

    /// One more call without a valid key.
    ///
    /// # Errors
    /// There were too many: when the next may come.
    pub(super) fn note(&self, peer: Peer, now: Instant) -> Result<(), Duration> {
        let left = self.peers.get_with(peer, || Arc::new(Mutex::new(Left { count: self.per_minute, when: now })));
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.duration_since(left.when).as_secs_f64() * self.per_minute / 60.0;
        left.count = (left.count + gained).min(self.per_minute);
        left.when = now;
        if left.count >= 1.0 {
            left.count -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - left.count) * 60.0 / self.per_minute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::domain::Time;

    #[test]
    fn each_peer_has_its_own_guesses_and_gets_them_back_with_time() {
        let clock = ManualClock::new(Time::from_millis(0));
        let (guesses, now) = (Guesses::new(6), || clock.clock().instant());
        let peer = |text: &str| Peer::of(text.parse().unwrap());
        let (bad, other) = (peer("192.0.2.1"), peer("192.0.2.2"));
        for _ in 0..6 {
            assert_eq!(guesses.note(bad, now()), Ok(()));
        }
        assert_eq!(guesses.note(bad, now()), Err(Duration::from_secs(10)));
        assert_eq!(guesses.note(other, now()), Ok(()));
        clock.advance(Duration::from_secs(10));
        assert_eq!(guesses.note(bad, now()), Ok(()));
        assert!(guesses.note(bad, now()).is_err());
        clock.advance(Duration::from_secs(3_600));
        assert_eq!((0..100).filter(|_| guesses.note(bad, now()).is_ok()).count(), 6, "no more than so many at once");
    }
}
