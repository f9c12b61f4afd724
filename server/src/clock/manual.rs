//! A clock that moves only when a test moves it, and wakes its sleepers in the order in which they are due.
//!
//! [`ManualClock::advance`] moves wall and monotonic time together; [`ManualClock::set`] steps the wall clock alone, as an administrator
//! or NTP would. [`ManualClock::until_asleep`] waits for a loop to reach its sleep, so that no test needs a fixed one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::{Clock, Instant, Source};
use crate::domain::Time;

/// The handle that moves a manual [`Clock`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Shared>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Time) -> Self {
        let state = State { now, instant: Instant(Duration::ZERO), sleepers: Vec::new() };
        Self(Arc::new(Shared { state: Mutex::new(state), slept: Notify::new() }))
    }

    /// The clock to hand to the code under test.
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// Moves wall and monotonic time forward and wakes who is due, earliest first.
    ///
    /// It is one move: a loop that sleeps a second at a time wakes once, however far the clock goes.
    pub fn advance(&self, by: Duration) {
        let mut state = self.0.lock();
        let now = state.now.plus(by);
        state.move_to(now, by);
    }

    /// Steps the wall clock, in either direction, and wakes who is due by it. Monotonic time stands still.
    pub fn set(&self, now: Time) {
        self.0.lock().move_to(now, Duration::ZERO);
    }

    /// How many sleeps wait for this clock.
    pub fn sleeper_count(&self) -> usize {
        let mut state = self.0.lock();
        state.sleepers.retain(|sleeper| !sleeper.bell.is_closed());
        state.sleepers.len()
    }

    /// Waits until at least `count` sleeps wait for this clock.
    pub async fn until_asleep(&self, count: usize) {
        loop {
            let slept = self.0.slept.notified();
            if self.sleeper_count() >= count {
                return;
            }
            slept.await;
        }
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    slept: Notify,
}

#[derive(Debug)]
struct State {
    now: Time,
    instant: Instant,
    /// In the order in which they fell asleep.
    sleepers: Vec<Sleeper>,
}

#[derive(Debug)]
struct Sleeper {
    due: Due,
    bell: oneshot::Sender<()>,
}

#[derive(Debug, Clone, Copy)]
enum Due {
    Wall(Time),
    Monotonic(Instant),
}

impl State {
    fn move_to(&mut self, now: Time, by: Duration) {
        let (was_now, was_instant) = (self.now, self.instant);
        self.now = now;
        self.instant = was_instant + by;
        let (mut due, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sleepers).into_iter().partition(|sleeper| self.is_due(sleeper.due));
        self.sleepers = waiting;
        // A stable sort: who fell asleep first wakes first among those due together.
        due.sort_by_key(|sleeper| match sleeper.due {
            Due::Wall(time) => time.since(was_now),
            Due::Monotonic(instant) => instant - was_instant,
        });
        for sleeper in due {
            let _ = sleeper.bell.send(()); // Fails when the sleep was dropped: nobody waits.
        }
    }

    fn is_due(&self, due: Due) -> bool {
        match due {
            Due::Wall(time) => time <= self.now,
            Due::Monotonic(instant) => instant <= self.instant,
        }
    }
}

impl Shared {
    pub(super) fn now(&self) -> Time {
        self.lock().now
    }

    pub(super) fn instant(&self) -> Instant {
        self.lock().instant
    }

    pub(super) async fn sleep_until(&self, due: Time) {
        self.wait(|_| Due::Wall(due)).await;
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        self.wait(|state| Due::Monotonic(state.instant + duration)).await;
    }

    async fn wait(&self, due: impl FnOnce(&State) -> Due) {
        let (bell, woken) = oneshot::channel();
        {
            let mut state = self.lock();
            let due = due(&state);
            if state.is_due(due) {
                return;
            }
            state.sleepers.push(Sleeper { due, bell });
        }
        self.slept.notify_waiters();
        // The sender is dropped only with the clock itself: time then never moves again.
        if woken.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::FuturesUnordered;
    use futures::{FutureExt, StreamExt};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn sleepers_wake_in_due_order() {
        let manual = ManualClock::new(Time::from_millis(1_000));
        let clock = manual.clock();
        // Polled in the order of their wake-ups.
        let sleepers: FuturesUnordered<_> = [3, 1, 2].map(|due| clock.sleep(due * SECOND).map(move |()| due)).into_iter().collect();
        let wall = clock.sleep_until(Time::from_millis(1_500)).map(|()| 0);
        let (order, ()) = tokio::join!(sleepers.collect::<Vec<_>>(), async {
            manual.until_asleep(3).await;
            manual.advance(5 * SECOND);
        });
        assert_eq!(order, [1, 2, 3]);
        assert_eq!(wall.await, 0);
        assert_eq!((clock.now(), clock.instant()), (Time::from_millis(6_000), Instant(5 * SECOND)));
    }

    #[tokio::test]
    async fn a_step_of_the_wall_clock_wakes_wall_sleeps_only() {
        let manual = ManualClock::new(Time::from_millis(0));
        let clock = manual.clock();
        let long = clock.sleep(SECOND);
        tokio::pin!(long);
        tokio::join!(clock.sleep_until(Time::from_millis(60_000)), async {
            manual.until_asleep(1).await;
            manual.set(Time::from_millis(60_000));
        });
        assert!(futures::poll!(&mut long).is_pending());
        manual.set(Time::from_millis(0));
        manual.advance(SECOND);
        long.await;
    }

    #[tokio::test]
    async fn a_dropped_sleep_no_longer_counts() {
        let manual = ManualClock::new(Time::from_millis(0));
        let clock = manual.clock();
        let mut sleep = Box::pin(clock.sleep(SECOND));
        assert!(futures::poll!(&mut sleep).is_pending());
        assert_eq!(manual.sleeper_count(), 1);
        drop(sleep);
        assert_eq!(manual.sleeper_count(), 0);
    }
}
