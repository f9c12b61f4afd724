//! A database that falls silent: its host is gone, or a firewall forgot the connections, and nobody is told.
//!
//! [`Db`](super::Db) asks PostgreSQL through [`Silence::ask`], which bounds every wait. A question that had no answer makes all connections
//! doubtful: those that lie idle are closed, one that comes back is tried before it may lie idle again, and as soon as another
//! connection answers, whoever has waited for longer gives up. Without it a connection that is dead and does not know holds its
//! caller, and its place in the pool, for as long as the kernel likes.

use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection as _, Error as SqlxError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::super::Error;

/// How long one answer is waited for: longer than `lock_timeout`, so that the server tells of a lock first.
const PATIENCE: Duration = Duration::from_secs(25);
/// A question that its asker gave up earlier says nothing about the database.
const SILENT: Duration = Duration::from_secs(1);
/// In doubt, a question that is so much older than one that was answered is given up. The first to find out is the beat of the node.
const OVERTAKEN: Duration = Duration::from_secs(3);
/// How long doubt lasts.
const DOUBT: Duration = Duration::from_secs(60);
/// What a doubtful connection gets to show that it lives.
const PROOF: Duration = Duration::from_secs(2);

/// What is known of the silence of one database. A clone shares it.
#[derive(Debug, Clone)]
pub(crate) struct Silence(Arc<State>);

#[derive(Debug)]
struct State {
    doubted: Mutex<Option<Instant>>,
    /// When the newest question was asked that was answered in doubt.
    answered: watch::Sender<Instant>,
    pools: OnceLock<[PgPool; 2]>,
}

impl Silence {
    pub(super) fn new() -> Self {
        let answered = watch::Sender::new(Instant::now());
        Self(Arc::new(State { doubted: Mutex::default(), answered, pools: OnceLock::new() }))
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
        let mut waiting = Waiting { silence: self, since: Some(since) };
        let mut answered = self.0.answered.subscribe();
        let answer = tokio::select! {
            biased;
            answer = timeout(PATIENCE, question) => match answer {
                Ok(answer) => answer,
                Err(_) => return Err(Error::timed_out()),
            },
            _ = answered.wait_for(|asked| *asked > since + OVERTAKEN) => {
                waiting.since = None;
                return Err(Error::timed_out());
            }
        };
        waiting.since = None;
        if answer.is_ok() && self.is_doubtful() {
            self.0.answered.send_if_modified(|newest| std::mem::replace(newest, since.max(*newest)) < since);
        }
        Ok(answer?)
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
