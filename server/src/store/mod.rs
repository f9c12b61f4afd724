//! The only room that knows SQL. It keeps tenants, endpoints, events and deliveries, and makes every commit that matters.
//!
//! Cast: [`Store`] is one node's face to the database. [`nodes`] gives it an [`Epoch`] and takes it away from nodes that died;
//! [`publish`] accepts events in groups; [`claims`] takes due work; [`record`] writes outcomes in groups; [`control`] moves single
//! deliveries by hand; [`journal`] numbers every commit for the watchers. The rest is plain reading and writing of rows.
//!
//! Every commit that moves a delivery first checks the node's epoch and takes one journal lane for as long as its outcome is
//! unknown. The store calls nothing above it: fresh deliveries and journal entries leave through [`Intake`] and [`Listener`].

mod backlog;
mod bulk;
pub mod claims;
mod compiled;
pub mod control;
mod db;
pub mod deliveries;
pub mod endpoints;
mod entity;
mod error;
pub mod event_types;
pub mod events;
mod fresh;
mod gather;
pub mod health;
pub mod journal;
pub mod keys;
pub mod nodes;
pub mod page;
mod partitions;
pub mod publish;
pub mod record;
pub mod requests;
pub mod schema;
pub mod settings;
pub mod signing_keys;
pub mod tenants;
mod vault;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Instant};
use crate::domain::Time;
use crate::domain::secret::KeyRing;
use crate::domain::site::Site;
use crate::telemetry::Metrics;

pub use db::Dialect;
pub use error::Error;
pub use fresh::Ticket;
pub use journal::{Entry, Listener};
pub use publish::{Fresh, Intake};
pub use settings::TenantSettings;

use db::{Arg, Db, sql};

/// How to open the store.
#[derive(Debug)]
pub struct Options {
    /// `sqlite://path` or `postgres://…`.
    pub url: String,
    /// Connections for callers.
    pub max_connections: u32,
    /// Wraps every tenant's data key.
    pub keys: KeyRing,
    /// Where time comes from.
    pub clock: Clock,
    /// What commits are counted in.
    pub metrics: Arc<Metrics>,
    /// What payloads name this installation by.
    pub site: Arc<Site>,
}

/// One node's face to the database. A clone shares it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    clock: Clock,
    metrics: Arc<Metrics>,
    /// Database time minus the clock's, in ms.
    offset: AtomicI64,
    incarnation: String,
    keys: KeyRing,
    vault: vault::Vault,
    settings: settings::Settings,
    compiled: compiled::Compiled,
    signers: signing_keys::Signers,
    site: Arc<Site>,
    callers: keys::Callers,
    epoch: RwLock<Option<Arc<Epoch>>>,
    fresh: fresh::Tracker,
    lanes: journal::Lanes,
    listener: OnceLock<Arc<dyn Listener>>,
    bells: Bells,
    /// Held while the process lives, so that a second one cannot open the same SQLite file.
    _lock: Option<std::fs::File>,
}

/// One span of this node's ownership of deliveries. It is lost as a whole.
#[derive(Debug)]
pub struct Epoch {
    /// Its number; larger ones began later.
    pub id: i64,
    /// Cancelled when it is over: stop sending, drop the work.
    pub over: CancellationToken,
    /// Until when it is trusted without another beat; `None`: nobody else can take it.
    trusted_until: Mutex<Option<Instant>>,
}

impl Epoch {
    fn new(id: i64) -> Self {
        Self { id, over: CancellationToken::new(), trusted_until: Mutex::default() }
    }

    /// Nothing is sent after this moment, unless a later beat moves it.
    pub fn trust_until(&self, until: Instant) {
        *self.trusted_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Whether something may be sent now. One that is trusted no more is over from then on.
    ///
    /// Invariant: asked right before every step of a request. A process that was stopped, or a machine that slept, goes on in the middle
    /// of one, and no timer has told it yet.
    pub fn may_send(&self, now: Instant) -> bool {
        let until = *self.trusted_until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_some_and(|until| now >= until) && !self.over.is_cancelled() {
            tracing::warn!(epoch = self.id, "no beat for too long; this node stops sending");
            self.over.cancel();
        }
        !self.over.is_cancelled()
    }
}

/// What wakes the loops. A bell carries no data: who hears it looks into the database.
#[derive(Debug, Default)]
pub struct Bells {
    /// The backlog may hold something that is due earlier than was known.
    pub backlog: Notify,
    /// An endpoint's settings changed.
    pub settings: Notify,
    /// An endpoint or a tenant was deleted: what it leaves is to be removed.
    pub removals: Notify,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dialect", &self.inner.db.dialect()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database. The schema must be there already: see [`schema`].
    ///
    /// # Errors
    /// [`Error::Locked`]: another process has the SQLite file. [`Error::Unavailable`]: the server does not answer.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let lock = schema::lock_file(&options.url)?;
        let db = Db::open(&options.url, options.max_connections).await?;
        let incarnation = nodes::incarnation(&db).await?;
        let store = Self {
            inner: Arc::new(Inner {
                db,
                clock: options.clock,
                metrics: options.metrics,
                offset: AtomicI64::new(0),
                incarnation,
                keys: options.keys,
                vault: vault::Vault::default(),
                settings: settings::Settings::default(),
                compiled: compiled::Compiled::default(),
                signers: signing_keys::Signers::default(),
                site: options.site,
                callers: keys::Callers::default(),
                epoch: RwLock::new(None),
                fresh: fresh::Tracker::default(),
                lanes: journal::Lanes::default(),
                listener: OnceLock::new(),
                bells: Bells::default(),
                _lock: lock,
            }),
        };
        store.measure_offset().await?;
        Ok(store)
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.inner.db.dialect()
    }

    /// Database time: the clock's plus the offset measured with the last beat.
    pub fn now(&self) -> Time {
        Time::from_millis(self.inner.clock.now().millis() + self.inner.offset.load(Ordering::Relaxed))
    }

    /// How far the database's clock is ahead of this node's, in ms.
    pub fn clock_offset_ms(&self) -> i64 {
        self.inner.offset.load(Ordering::Relaxed)
    }

    /// Where this installation is found.
    pub fn site(&self) -> &Arc<Site> {
        &self.inner.site
    }

    /// The clock that everything runs by.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// What the process counts and measures.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// The key ring, for the keyed hashes of API keys and tokens.
    pub fn key_ring(&self) -> &KeyRing {
        &self.inner.keys
    }

    /// Names the database's contents: a restored backup has another.
    pub fn incarnation(&self) -> &str {
        &self.inner.incarnation
    }

    /// What wakes the loops.
    pub fn bells(&self) -> &Bells {
        &self.inner.bells
    }

    /// Who hears of every commit of this node's lanes. Set once, before anything is published.
    pub fn set_listener(&self, listener: Arc<dyn Listener>) {
        let _ = self.inner.listener.set(listener);
    }

    /// The current epoch.
    ///
    /// # Errors
    /// [`Error::EpochLost`] between the loss of one and the start of the next.
    pub fn epoch(&self) -> Result<Arc<Epoch>, Error> {
        let epoch = self.inner.epoch.read().unwrap_or_else(PoisonError::into_inner).clone();
        epoch.filter(|epoch| !epoch.over.is_cancelled()).ok_or(Error::EpochLost)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ping(&self) -> Result<(), Error> {
        self.inner.db.fetch(sql!("ping"), &[]).await.map(|_| ())
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.inner.db.close().await;
    }

    /// Measures how far the database's clock is from ours. On SQLite they are one.
    pub(crate) async fn measure_offset(&self) -> Result<(), Error> {
        if self.dialect() == Dialect::Sqlite {
            return Ok(());
        }
        let before = self.inner.clock.now().millis();
        let rows = self.inner.db.fetch_engine(sql!("database_time" by dialect), &[]).await?;
        let after = self.inner.clock.now().millis();
        if let Some(row) = rows.first() {
            // The answer was made somewhere between the two; the middle is off by half the round trip at most.
            self.inner.offset.store(row.int(0)? - (before + after) / 2, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Turns stored epoch milliseconds into a [`Time`].
pub(crate) fn time(millis: i64) -> Time {
    Time::from_millis(millis)
}

/// A time as a bind.
pub(crate) fn at(time: Time) -> Arg<'static> {
    Arg::Int(time.millis())
}
