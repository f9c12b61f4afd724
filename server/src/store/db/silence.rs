//! A database that falls silent: its host is gone, or a firewall forgot the connections, and nobody is told.
//!
//! [`Db`](super::Db) asks PostgreSQL through [`Silence::ask`], which bounds every wait, the more so when others who asked much later were
//! answered. A question that had no answer makes all connections doubtful: those that lie idle are closed, and one that comes back is
//! tried before it may lie idle again. Without it a connection that is dead and does not know holds its caller, and its place in
//! the pool, for as long as the kernel likes.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Error as SqlxError};
use tokio::time::{Instant, timeout};

use super::super::Error;

/// How long one answer is waited for: longer than `lock_timeout`, so that the server tells of a lock first.
const PATIENCE: Duration = Duration::from_secs(25);
/// A question that its asker gave up earlier says nothing about the database.
const SILENT: Duration = Duration::from_secs(1);
/// A question is given up when one was answered that was asked so much later: on a live connection it waits for a lock, and no frozen node
/// holds one for longer than `idle_in_transaction_session_timeout`.
const OVERTAKEN: Duration = Duration::from_secs(8);
/// The same in doubt.
const OVERTAKEN_IN_DOUBT: Duration = Duration::from_secs(3);
/// How often one that waits looks at the others.
const LOOK: Duration = Duration::from_millis(500);
/// How long doubt lasts.
const DOUBT: Duration = Duration::from_secs(60);
/// What a doubtful connection gets to show that it lives.
const PROOF: Duration = Duration::from_secs(2);

/// What is known of the silence of one database. A clone shares it.
#[derive(Debug, Clone)]
pub(crate) struct Silence(Arc<State>);

#[derive(Debug)]
struct State {
    start: Instant,
    doubted: Mutex<Option<Instant>>,
    /// When the newest question was asked that was answered, in ms since the start.
    answered: AtomicU64,
    pools: OnceLock<[PgPool; 2]>,
}

impl Silence {
    pub(super) fn new() -> Self {
        let (start, answered) = (Instant::now(), AtomicU64::new(0));
        Self(Arc::new(State { start, doubted: Mutex::default(), answered, pools: OnceLock::new() }))
    }

    /// These are the pools whose connections lie idle.
    pub(super) fn watch(&self, pools: [PgPool; 2]) {
        let _ = self.0.pools.set(pools);
    }

    /// Tries a connection that comes back to a pool, when there is doubt or `always`.
    pub(super) fn prove_on_release(&self, options: PgPoolOptions, always: bool) -> PgPoolOptions {
        let silence = self.clone();
        options.after_release(move |connection, _| {
            let doubtful = always || silence.is_doubtful();
            Box::pin(async move { if doubtful { prove(connection).await.map(|()| true) } else { Ok(true) } })
        })
    }

    /// Waits for an answer, but not for ever.
    ///
    /// # Errors
    /// That of the question; [`Error::Unavailable`]: none came.
    pub(super) async fn ask<T, E>(&self, question: impl Future<Output = Result<T, E>>) -> Result<T, Error>
    where
        Error: From<E>,
    {
        let since = Instant::now();
        let mut question = std::pin::pin!(question);
        // Behind the question, so dropped before it: its connection is doubtful by the time it goes back to the pool.
        let mut waiting = Waiting { silence: self, since: Some(since) };
        // Most questions are answered before the first look.
        let mut look = OVERTAKEN_IN_DOUBT;
        loop {
            if let Ok(answer) = timeout(look, &mut question).await {
                waiting.since = None;
                let asked = u64::try_from(since.duration_since(self.0.start).as_millis()).unwrap_or(0);
                if answer.is_ok() {
                    self.0.answered.fetch_max(asked, Ordering::Relaxed);
                }
                return Ok(answer?);
            }
            look = LOOK;
            let newest = self.0.start + Duration::from_millis(self.0.answered.load(Ordering::Relaxed));
            let doubtful = self.is_doubtful();
            if newest > since + if doubtful { OVERTAKEN_IN_DOUBT } else { OVERTAKEN } {
                // In doubt this one is no news.
                waiting.since = waiting.since.filter(|_| !doubtful);
                return Err(Error::timed_out());
            }
            if since.elapsed() >= PATIENCE {
                return Err(Error::timed_out());
            }
        }
    }

    fn is_doubtful(&self) -> bool {
        let doubted = *self.0.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        doubted.is_some_and(|since| since.elapsed() < DOUBT)
    }

    /// One that fell silent is rarely alone.
    fn doubt(&self) {
        *self.0.doubted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let mut closed = 0;
        for pool in self.0.pools.get().into_iter().flatten() {
            while let Some(connection) = pool.try_acquire() {
                drop(connection.detach());
                closed += 1;
            }
        }
        tracing::warn!(closed, "the database does not answer; idle connections are closed");
    }
}

/// A question without an answer so far. Dropped by whoever gives up, or by [`PATIENCE`].
struct Waiting<'a> {
    silence: &'a Silence,
    since: Option<Instant>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= SILENT) {
            self.silence.doubt();
        }
    }
}

/// An error closes the connection at once, without a farewell that nobody hears.
async fn prove(connection: &mut PgConnection) -> Result<(), SqlxError> {
    timeout(PROOF, connection.ping()).await.unwrap_or(Err(SqlxError::PoolTimedOut))
}
