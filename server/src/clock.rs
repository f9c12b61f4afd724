//! Time: the only place that reads a clock, and the only one that sleeps.
//!
//! Loops and services hold a [`Clock`]; tests hold a [`ManualClock`] and move it. Wall time ([`Clock::now`]) is what rows carry and may
//! step; monotonic time ([`Clock::instant`]) measures how long something took and never steps back. A sleep until a wall time looks at
//! the clock at least once a second, so that a step is noticed. Nothing here knows the database's time: the store adds its offset.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::Time;

mod manual;

pub use manual::ManualClock;

/// How late a sleep until a wall time may notice that the clock was stepped.
const STEP_NOTICED_WITHIN: Duration = Duration::from_secs(1);

/// A source of time. Clones share it.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<manual::Shared>),
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// Wall time of this machine, whole milliseconds. It may step in either direction.
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System => system_now(),
            Source::Manual(shared) => shared.now(),
        }
    }

    /// A new UUIDv7 of this machine's wall time, from ten random bytes: ids sort by it.
    pub fn uuid(&self) -> uuid::Uuid {
        let millis = u64::try_from(self.now().millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
    }

    /// Monotonic time. On Linux it counts the time that the machine was suspended, as an ownership of work must.
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Source::System => system_instant(),
            Source::Manual(shared) => shared.instant(),
        }
    }

    /// Waits until [`Clock::now`] is at or past `due`. Returns at once when it is.
    pub async fn sleep_until(&self, due: Time) {
        match &self.0 {
            Source::System => {
                while let left @ 1.. = due.millis().saturating_sub(system_now().millis()) {
                    let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
                    tokio::time::sleep(left.min(STEP_NOTICED_WITHIN)).await;
                }
            }
            Source::Manual(shared) => shared.sleep_until(due).await,
        }
    }

    /// Waits this long in monotonic time.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Source::System => tokio::time::sleep(duration).await,
            Source::Manual(shared) => shared.sleep(duration).await,
        }
    }

    /// Sleeps on the machine's own time, whatever drives this clock: for the pacing of loops (gathering a group, trying a database
    /// again), which no test has to step.
    pub async fn pause(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// The future's output, or `None` when `limit` of this clock passes first; the future is dropped then.
    pub async fn timeout<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.sleep(limit) => None,
        }
    }
}

/// A moment of monotonic time; only differences mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// How long after `earlier` this is; zero when it is not.
    pub fn duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl std::ops::Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.duration_since(earlier)
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn system_now() -> Time {
    // A clock before 1970 reads as 1970: no row is older.
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(target_os = "linux")]
fn system_instant() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Instant(Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

#[cfg(not(target_os = "linux"))]
fn system_instant() -> Instant {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    Instant(START.get_or_init(std::time::Instant::now).elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_clock_sleeps_until_a_wall_time() {
        let clock = Clock::system();
        let (started, due) = (clock.instant(), clock.now().plus(Duration::from_millis(20)));
        clock.sleep_until(due).await;
        assert!(clock.now() >= due);
        assert!(clock.instant() > started);
        clock.sleep_until(Time::from_millis(0)).await; // Long past: returns at once.
    }

    #[test]
    fn ids_sort_by_the_clocks_time() {
        let manual = ManualClock::new(Time::from_millis(1_795_597_200_000));
        let first = manual.clock().uuid();
        manual.advance(Duration::from_millis(1));
        let second = manual.clock().uuid();
        assert!(first < second && first.get_version_num() == 7);
        assert_ne!(second, manual.clock().uuid());
    }

    #[tokio::test]
    async fn a_timeout_gives_up_at_its_limit_and_not_before() {
        let manual = ManualClock::new(Time::from_millis(0));
        let clock = manual.clock();
        assert_eq!(clock.timeout(Duration::from_secs(1), async { 7 }).await, Some(7));
        let waiting = clock.timeout(Duration::from_secs(1), std::future::pending::<()>());
        let (output, ()) = tokio::join!(waiting, async {
            manual.until_asleep(1).await;
            manual.advance(Duration::from_secs(1));
        });
        assert_eq!(output, None);
    }
}
