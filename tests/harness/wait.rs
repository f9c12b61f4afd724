//! Waiting for a condition, with a deadline. Used by tests that poll the API; a receiver has its own waits, which need no polling.

use std::time::{Duration, Instant};

/// How long a test waits for what should take milliseconds: long enough for a loaded machine, short enough to see a failure.
pub const DEADLINE: Duration = Duration::from_secs(20);

const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers `Ok`, at most [`DEADLINE`], and returns what it answered.
///
/// `probe` answers `Err` with what it saw instead; the last one is in the panic when time runs out.
pub async fn until<T, S: std::fmt::Debug>(what: &str, probe: impl AsyncFnMut() -> Result<T, S>) -> T {
    until_within(DEADLINE, what, probe).await
}

/// The same with a deadline of its own, for what is known to take longer.
pub async fn until_within<T, S: std::fmt::Debug>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, S>,
) -> T {
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(found) => return found,
            Err(seen) if start.elapsed() > deadline => panic!("waited {deadline:?} for {what}; last seen: {seen:?}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
