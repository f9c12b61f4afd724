//! The composition root: builds every room from the configuration, serves, and drains in order with a deadline.
//!
//! Nothing is bound before the database is open and its schema checked. The drain ends what others feed on last: first the callers,
//! then the attempts, then the two tasks that write, then the beats; what is unfinished goes back to the database for others.

mod connection;
mod listener;
mod streams;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;

use crate::api::{self, Api};
use crate::clock::Clock;
use crate::config::{Config, Migrate, Role};
use crate::delivery::{self, Dispatcher};
use crate::domain::caller::ApiKey;
use crate::domain::endpoint::UrlRules;
use crate::domain::secret::KeyRing;
use crate::feed::{self, Feed};
use crate::http::{self, Readiness, Scrape};
use crate::outbound::address::AddressPolicy;
use crate::outbound::{self, Egress, EgressConfig};
use crate::store::schema::{Mode, Schema};
use crate::store::{self, Intake, Store, publish, record};
use crate::tasks::{Drained, Failure, OnEnd, Supervisor};
use crate::telemetry::Metrics;
use crate::upkeep::{self, Keeper};

pub use tls::TlsError;

/// Why the server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("cannot use the database")]
    Store(#[from] store::Error),
    /// The address to listen on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file of certificates to trust.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The outbound client.
    #[error("cannot make the HTTP client")]
    Outbound(#[from] outbound::BuildError),
    /// A task that the server cannot do without has ended.
    #[error("the task `{}` {}", .0.task, if .0.panicked { "panicked" } else { "ended" })]
    Task(Failure),
}

/// How a served life went.
#[derive(Debug, Default)]
#[must_use]
pub struct Ended {
    /// Tasks that had to be aborted.
    pub aborted: Vec<(&'static str, usize)>,
}

/// A server that is bound and not yet serving.
pub struct Server {
    config: Config,
    store: Store,
    api: Arc<Api>,
    listener: TcpListener,
    admin: Option<TcpListener>,
    tls: Option<tls::Tls>,
    readiness: Readiness,
    feed: Arc<Feed>,
    tailer: feed::Tailer,
    dispatcher: Option<Dispatcher<Egress>>,
    committer: publish::Committer,
    record_loop: record::RecordLoop,
    tasks: Tasks,
    node: String,
}

/// The parts of the process, in the order in which they end.
struct Tasks {
    process: Supervisor,
    connections: Supervisor,
    attempts: Supervisor,
    loops: Supervisor,
    writers: Supervisor,
    keeper: Supervisor,
    /// Probes and metrics on a port of their own, which tell of the drain to its end.
    admin: Supervisor,
}

impl Server {
    /// Opens the store, checks the schema and the clock, and binds.
    ///
    /// # Errors
    /// [`Error`]; nothing is left behind.
    pub async fn build(config: Config, keys: KeyRing, clock: Clock) -> Result<Self, Error> {
        let store = open_store(&config, keys, clock).await?;
        let egress = Arc::new(egress(&config, Arc::clone(store.metrics()))?);
        let process = Supervisor::new();
        let tasks = Tasks {
            connections: process.group(),
            attempts: process.group(),
            loops: process.group(),
            writers: process.group(),
            keeper: process.group(),
            admin: process.group(),
            process,
        };
        let (recorder, record_loop) = record::channel(store.clone());
        let delivery_limits = delivery::Limits { max_sockets: config.limits.max_sockets, queue: config.limits.delivery_queue };
        let dispatcher = config
            .roles
            .contains(&Role::Worker)
            .then(|| Dispatcher::new(store.clone(), Arc::clone(&egress), recorder, tasks.attempts.clone(), delivery_limits));
        let intake = dispatcher.clone().map(|dispatcher| Arc::new(dispatcher) as Arc<dyn Intake>);
        let (publisher, committer) = publish::channel(store.clone(), intake, config.limits.publish_queue);
        let options = feed::Options { retention: days(config.retention.journal_days), ..feed::Options::default() };
        let (feed, tailer) = Feed::open(store.clone(), options).await?;
        let feed = Arc::new(feed);
        let node = format!("{}-{}", std::env::var("HOSTNAME").unwrap_or_else(|_| "node".to_owned()), std::process::id());
        let tls = config.tls.as_ref().map(tls::Tls::load).transpose()?;
        let listener = bind(config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let readiness = Readiness::new(store.clone());
        let api = Arc::new(Api::new(api::Parts {
            store: store.clone(),
            publisher,
            feed: Arc::clone(&feed),
            egress,
            dispatcher: dispatcher.clone(),
            supervisor: tasks.connections.clone(),
            limits: config.limits.clone(),
            site: Arc::clone(store.site()),
            start_time: store.now(),
        }));
        Ok(Self {
            config,
            store,
            api,
            listener,
            admin,
            tls,
            readiness,
            feed,
            tailer,
            dispatcher,
            committer,
            record_loop,
            tasks,
            node,
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where probes and metrics are, if on a port of their own.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn admin_addr(&self) -> std::io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// The store, for what `dev` makes before it serves.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Serves until `shutdown` resolves or a task fails that it cannot do without; then drains within `shutdown_grace`.
    ///
    /// # Errors
    /// [`Error::Store`]: no epoch to be had. [`Error::Task`]: a loop ended; the drain was done all the same.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<Ended, Error> {
        let Self {
            config,
            store,
            api,
            listener,
            admin,
            tls,
            readiness,
            feed,
            tailer,
            dispatcher,
            committer,
            record_loop,
            tasks,
            node,
        } = self;
        upkeep::join(&store, &node).await?;
        tasks.writers.spawn("committer", OnEnd::Stop, committer.run(tasks.writers.stop_token()));
        let abort = tokio_util::sync::CancellationToken::new();
        tasks.writers.spawn("recorder", OnEnd::Stop, record_loop.run(tasks.writers.stop_token(), abort.clone()));
        tasks.keeper.spawn("keeper", OnEnd::Stop, Keeper::new(store.clone(), node).run(tasks.keeper.stop_token()));
        let stop = || tasks.loops.stop_token();
        tasks.loops.spawn("tailer", OnEnd::Stop, tailer.run(stop()));
        tasks.loops.spawn("settings", OnEnd::Stop, upkeep::follow_settings(store.clone(), stop()));
        let retention = upkeep::Retention { journal: days(config.retention.journal_days) };
        tasks.loops.spawn("tidy", OnEnd::Stop, upkeep::tidy(store.clone(), retention, stop()));
        if let Some(dispatcher) = &dispatcher {
            tasks.loops.spawn("claimer", OnEnd::Stop, dispatcher.clone().run_claimer(stop()));
            tasks.loops.spawn("sweeper", OnEnd::Stop, dispatcher.clone().run_sweeper(stop()));
        }
        if let Some(tls) = &tls {
            tasks.loops.spawn("certificate", OnEnd::Stop, tls.clone().follow(store.clock().clone(), stop()));
        }
        let limits = connection::Limits {
            streams: config.limits.streams_per_connection,
            per_peer: config.limits.connections_per_peer,
            idle: config.limits.connection_idle,
            age: config.limits.connection_age,
            stalled: config.limits.stalled_stream,
        };
        let scrape = Scrape::new(store.clone(), Arc::clone(&feed), tasks.process.clone());
        let (probes, metrics) = (http::probes(readiness.clone()), http::metrics(scrape));
        let mut router = http::front();
        match admin {
            Some(admin) => {
                let accept = listener::accept(admin, None, probes.merge(metrics), limits, tasks.admin.clone());
                tasks.admin.spawn("admin listener", OnEnd::Stop, accept);
            }
            // Nobody is asked for a key there, so only this machine sees it.
            None if config.listen.ip().is_loopback() => router = router.merge(probes).merge(metrics),
            None => router = router.merge(probes),
        }
        router = router.merge(http::keys(store.clone(), Arc::clone(store.site())));
        let router = router.fallback_service(api::routes(&api));
        let accept = listener::accept(listener, tls, router, limits, tasks.connections.clone());
        // Before the first connection, so that nobody is turned away.
        api.start().await;
        tasks.connections.spawn("listener", OnEnd::Stop, accept);

        let failed = tasks.process.stop_token();
        tokio::select! {
            () = shutdown => tracing::info!("stopping"),
            () = failed.cancelled() => tracing::error!("stopping, as a task ended"),
        }
        let grace = config.shutdown_grace;
        let drain = drain(&store, &api, &readiness, &feed, dispatcher.as_ref(), &tasks, &abort, grace);
        let ended = match tokio::time::timeout(grace + LAST_WORDS, drain).await {
            Ok(ended) => ended,
            Err(_) => {
                tracing::error!("the drain itself took too long; what is left is adopted by whoever runs next");
                Ended::default()
            }
        };
        match tasks.process.failure() {
            Some(failure) => Err(Error::Task(failure)),
            None => Ok(ended),
        }
    }
}

/// What the drain may take beyond `shutdown_grace`, for its last commits.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a probe gets to see that the node is not ready before its connections end.
const NOTICE: Duration = Duration::from_millis(50);

#[allow(clippy::too_many_arguments, reason = "the parts that end one after the other")]
async fn drain(
    store: &Store,
    api: &Api,
    readiness: &Readiness,
    feed: &Feed,
    dispatcher: Option<&Dispatcher<Egress>>,
    tasks: &Tasks,
    abort: &tokio_util::sync::CancellationToken,
    grace: Duration,
) -> Ended {
    let mut ended = Ended::default();
    let mut note = |drained: Drained| ended.aborted.extend(drained.aborted);
    api.stop().await;
    readiness.drain();
    store.clock().pause(NOTICE).await;
    feed.stop();
    // Calls in progress get half of the time, attempts the rest.
    note(tasks.connections.drain(grace / 2).await);
    if let Some(dispatcher) = dispatcher {
        dispatcher.drain();
    }
    note(tasks.attempts.drain(grace / 2).await);
    // The sweeper's last round gives back what was not begun.
    note(tasks.loops.drain(Duration::from_secs(2)).await);
    let writers = tasks.writers.drain(Duration::from_secs(2)).await;
    abort.cancel();
    note(writers);
    note(tasks.keeper.drain(Duration::from_secs(1)).await);
    if let Ok(epoch) = store.epoch()
        && let Err(error) = store.leave(&epoch).await
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "the epoch could not be ended; others will find out by its beats");
    }
    note(tasks.admin.drain(Duration::from_millis(200)).await);
    store.close().await;
    ended
}

/// Opens the store of a configuration: schema first, then the server's own key.
///
/// # Errors
/// [`store::Error`].
pub async fn open_store(config: &Config, keys: KeyRing, clock: Clock) -> Result<Store, store::Error> {
    let url = config.database.url.expose();
    let schema = Schema::open(url, clock.clone()).await?;
    let mode = match config.migrate() {
        Migrate::Auto => Mode::Apply,
        Migrate::Check => Mode::Check,
    };
    let checked = schema.ensure(mode).await;
    schema.close().await;
    drop(schema);
    checked?;
    let (max_connections, metrics) = (config.database.max_connections, Arc::default());
    let site = Arc::new(config.site());
    let store = Store::open(store::Options { url: url.to_owned(), max_connections, keys, clock, metrics, site }).await?;
    let skew = store.clock_offset_ms();
    if skew.abs() > 1_000 {
        tracing::warn!(skew_ms = skew, "this node's clock differs from the database's; database time is used");
    }
    if let Some(key) = &config.root_key {
        check_root_key(&store, key).await?;
    }
    Ok(store)
}

/// Makes the configured key, which opens everything, unless there is one of its id; says so when that one is of no use.
async fn check_root_key(store: &Store, key: &ApiKey) -> Result<(), store::Error> {
    let secret = key.secret.expose_secret();
    if let Some(found) = store.find_key(&key.key_id).await? {
        let same = store.key_ring().check_api_key(&key.key_id, secret, &found.hash)?;
        if !same || !found.is_valid(store.now()) {
            tracing::warn!(key = key.key_id, "the root key of the configuration is another, revoked or expired: it opens nothing");
        }
        return Ok(());
    }
    store.ensure_root_key(key).await
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })
}

fn egress(config: &Config, metrics: Arc<Metrics>) -> Result<Egress, Error> {
    let outbound = &config.outbound;
    let extra_roots_pem = match &outbound.ca_file {
        Some(path) => std::fs::read(path).map_err(|source| Error::File { path: path.display().to_string(), source })?,
        None => Vec::new(),
    };
    let allow_private = !outbound.allow_cidrs.is_empty();
    Ok(Egress::new(EgressConfig {
        policy: AddressPolicy { allow: outbound.allow_cidrs.clone(), deny: outbound.deny_cidrs.clone() },
        url_rules: UrlRules { allow_http: outbound.allow_http, allow_ports: outbound.allow_ports.clone(), allow_private },
        extra_roots_pem,
        metrics,
        ..EgressConfig::default()
    })?)
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 86_400)
}
