//! The watch fan-out: every committed change reaches every watcher of its tenant, at least once, however slow the watcher is.
//!
//! Cast: the ring keeps recent commits in memory and hears of this node's own as [`store::Listener`]; the [`Tailer`]
//! brings it those of other nodes from the journal; a [`Watcher`] follows the ring for one stream of the API and reads the journal where
//! the ring does not reach. What a watcher has is named lane by lane (see [`crate::store::journal`]), and its token says just that.
//!
//! A watcher that nobody reads costs one place in the ring: nothing is queued for it, and nothing ever waits for it. A token must never
//! cover a change that its watcher was not sent.

mod catch_up;
mod cursor;
mod ring;
mod tailer;
mod watcher;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::domain::Time;
use crate::domain::change_filter::ChangeFilter;
use crate::domain::filter::Filter;
use crate::domain::watch_token::{Invalid, WatchToken};
use crate::store::{self, Store};

pub use tailer::Tailer;
pub use watcher::{Batch, Change, Watcher};

use cursor::Cursor;
use ring::Ring;

/// Changes of one batch.
const BATCH: usize = 500;

/// How the feed is dimensioned.
#[derive(Debug, Clone)]
pub struct Options {
    /// How old a token or `since` may be: the retention of the journal.
    pub retention: Duration,
    /// Commits of watched tenants kept in memory.
    pub ring_entries: usize,
    /// Encoded bytes of commits kept in memory.
    pub ring_bytes: usize,
    /// Watchers at a time.
    pub max_watchers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { retention: Duration::from_secs(3 * 24 * 3600), ring_entries: 65_536, ring_bytes: 32 << 20, max_watchers: 10_000 }
    }
}

/// Why a watch cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Changes that it would have to show may be gone: the token or `since` is older than the retention, or of another database.
    #[error("the place to go on from is older than the journal")]
    TokenExpired,
    /// The text is no token of this tenant and filter.
    #[error("the resume token cannot be used")]
    InvalidToken(#[from] Invalid),
    /// The server stops. What the last batch's token covers is all that was sent.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// As many watch as may.
    #[error("{limit} watchers are open, which is the limit")]
    TooManyWatchers {
        /// How many may.
        limit: usize,
    },
    /// The journal cannot be read now; a new watch goes on from the last token.
    #[error("the journal cannot be read")]
    Store(#[from] store::Error),
}

/// What a watcher wants to see.
#[derive(Debug, Clone)]
pub struct WatchRequest {
    /// Whose changes.
    pub tenant: Arc<str>,
    /// Which of them; parsed with [`crate::domain::change_filter::FIELDS`].
    pub filter: Filter,
    /// From where on.
    pub start: Start,
}

/// From where on a watch shows changes.
#[derive(Debug, Clone)]
pub enum Start {
    /// What is committed after the call.
    Now,
    /// What was committed at this time or later. One in the future means now.
    Since(Time),
    /// What the token of an earlier batch does not cover.
    Token(String),
}

/// Lets callers watch. Clones share it.
#[derive(Debug, Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    ring: Arc<Ring>,
    options: Options,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Feed {
    /// Makes the store's listener of it and finds out where the journal ends, so that a watch may begin at once. Call it before
    /// anything is published; the [`Tailer`] is to run for as long as the feed is used.
    ///
    /// # Errors
    /// [`store::Error::Unavailable`].
    pub async fn open(store: Store, options: Options) -> Result<(Self, Tailer), store::Error> {
        let ring = Arc::new(Ring::new(options.ring_entries, options.ring_bytes));
        store.set_listener(Arc::clone(&ring) as Arc<dyn store::Listener>);
        let tailer = Tailer::start(store.clone(), Arc::clone(&ring)).await?;
        let permits = Arc::new(Semaphore::new(options.max_watchers));
        let shared = Shared { store, ring, options, permits, stop: CancellationToken::new() };
        Ok((Self { shared: Arc::new(shared) }, tailer))
    }

    /// Begins a watch. Its first batch is a checkpoint at once.
    ///
    /// # Errors
    /// All of [`Error`].
    pub async fn watch(&self, request: WatchRequest) -> Result<Watcher, Error> {
        let shared = &self.shared;
        if shared.stop.is_cancelled() {
            return Err(Error::ShuttingDown);
        }
        let limit = shared.options.max_watchers;
        let permit = Arc::clone(&shared.permits).try_acquire_owned().map_err(|_| Error::TooManyWatchers { limit })?;
        let filter = request.filter.canonical();
        let now = shared.store.now();
        let oldest = now.minus(shared.options.retention);
        let from = match request.start {
            Start::Now => None,
            Start::Since(since) if since > now => None,
            Start::Since(since) if since < oldest => return Err(Error::TokenExpired),
            Start::Since(since) => Some(Cursor::since(since)),
            Start::Token(text) => {
                let token = WatchToken::open(&text, shared.store.key_ring(), &request.tenant, &filter)?;
                if token.incarnation != shared.store.incarnation() || token.covered_until() < oldest {
                    return Err(Error::TokenExpired);
                }
                Some(Cursor::of_token(&token))
            }
        };
        let chosen = ChangeFilter::new(&request.filter, &request.tenant);
        Ok(Watcher::new(Arc::clone(shared), request.tenant, filter, chosen, from, permit))
    }

    /// Ends every watch: each gives one more checkpoint, then [`Error::ShuttingDown`].
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// How many watchers are open.
    pub fn watcher_count(&self) -> usize {
        self.shared.options.max_watchers.saturating_sub(self.shared.permits.available_permits())
    }
}
