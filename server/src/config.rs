//! Configuration: every setting with its meaning, unit and default, and what must hold between settings.
//!
//! The command line loads a [`Config`] before anything binds or opens: flags over environment over file over defaults. A load tells all
//! problems at once and never the value of a secret; so does `Debug` of everything in here. Rooms get the part they need, not the whole.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::domain::caller::ApiKey;
use crate::domain::secret::KeyRing;
use crate::domain::site::Site;

mod check;
mod sources;
mod values;

pub use sources::{Problem, Problems, Sources};
pub use values::{Backend, BaseUrl, DatabaseUrl};

/// All settings of a server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address of the one port for gRPC, gRPC-web and HTTP. Default 127.0.0.1:7070.
    pub listen: SocketAddr,
    /// Address of a second port for probes and metrics, plain HTTP; the main port serves neither then. Absent: the main port serves
    /// probes, and metrics when it is a loopback address, as nobody is asked for a key there.
    pub admin_listen: Option<SocketAddr>,
    /// Serve without TLS off loopback, where something in front of the server ends it. Default false.
    pub insecure_plaintext: bool,
    /// Where receivers reach this server, such as `https://gatepost.example.com`: security event tokens name it as their issuer, and their
    /// keys are found under it. Absent: endpoints cannot have the format SET.
    pub public_base_url: Option<BaseUrl>,
    /// What the `$id`s of payload schemas begin with, such as `https://gatepost.example.com`, where this server shows those of the
    /// catalogue, or any other place where they are published. Absent: payloads name no schema.
    pub schema_base_url: Option<BaseUrl>,
    /// The server's certificate. Absent: no TLS.
    pub tls: Option<Tls>,
    /// Where everything is stored.
    pub database: Database,
    /// Secret. The key ring, `id:base64 of 32 random bytes`, separated by commas: the first encrypts, all decrypt. Absent on SQLite: a key
    /// file beside the database.
    #[serde(deserialize_with = "values::key_ring")]
    pub master_keys: Option<KeyRing>,
    /// Secret. An API key, `gp_{id}_{secret}`, that is made to open everything when it does not exist yet. Absent: none.
    #[serde(deserialize_with = "values::api_key")]
    pub root_key: Option<ApiKey>,
    /// What happens at start when the schema is old. Default: `auto` on SQLite, `check` on PostgreSQL.
    pub migrate: Option<Migrate>,
    /// What this node does. Default both.
    #[serde(deserialize_with = "values::list")]
    pub roles: BTreeSet<Role>,
    /// Which receivers may be called.
    pub outbound: Outbound,
    /// Bounds.
    pub limits: Limits,
    /// How long finished work is kept.
    pub retention: Retention,
    /// How long a stopping server waits for attempts and calls in flight. Text such as `25s`; default 25 s, at most 10 min.
    #[serde(deserialize_with = "values::duration")]
    pub shutdown_grace: Duration,
    /// What is logged and how.
    pub log: Log,
}

/// A certificate and its key, PEM files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The chain, the server's certificate first.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// The database.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// Secret, as it may hold a password. `sqlite://{path}` or `postgres://…`. Default `sqlite://gatepost.db`.
    pub url: DatabaseUrl,
    /// Connections of this node, 4 to 1000. Default 16.
    pub max_connections: u32,
}

/// What happens at start when the schema is older than the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Migrate {
    /// It is brought up to date.
    Auto,
    /// The server does not start; `gatepost migrate up` is a step of its own.
    Check,
}

/// A part that a node takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Answers calls.
    Api,
    /// Delivers.
    Worker,
}

/// Which receivers may be called. Without settings: `https` to globally reachable addresses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Endpoints may have `http` URLs. Default false.
    pub allow_http: bool,
    /// Ports that endpoints may use besides 443 and those above 1023. Default none.
    #[serde(deserialize_with = "values::list")]
    pub allow_ports: Vec<u16>,
    /// Networks that may be called although they are not globally reachable, such as `10.1.0.0/16`. Default none.
    #[serde(deserialize_with = "values::list")]
    pub allow_cidrs: Vec<IpNet>,
    /// Networks that may not be called. It wins over `allow_cidrs`. Default none.
    #[serde(deserialize_with = "values::list")]
    pub deny_cidrs: Vec<IpNet>,
    /// PEM file of authorities that are trusted besides the system's. Absent: none.
    pub ca_file: Option<PathBuf>,
}

/// Bounds. Past one, a call answers RESOURCE_EXHAUSTED or INVALID_ARGUMENT and names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of an event's `data`, 1 KiB to 4 MiB. Default 262144.
    pub event_data_bytes: usize,
    /// Endpoints of one tenant. Default 1000.
    pub endpoints_per_tenant: u32,
    /// Event types that one tenant registers, 0 to 1000. Default 200.
    pub event_types_per_tenant: u32,
    /// Bytes of one gRPC message, 64 KiB to 64 MiB. Default 4194304.
    pub message_bytes: usize,
    /// Events of one `PublishEvents`. Default 1000.
    pub events_per_batch: usize,
    /// Requests on the wire at once, of all endpoints. Default 1024.
    pub max_sockets: usize,
    /// Watches of one API key at once, on each node. Default 100.
    pub watchers_per_key: usize,
    /// Events that wait for their commit; past it publishers are told to come back. Default 8192.
    pub publish_queue: usize,
    /// Deliveries in memory that wait for a free slot of their endpoint; past it they wait in the database. Default 20000.
    pub delivery_queue: usize,
    /// Calls without a valid API key of one peer (an IPv4 address or a /64 of IPv6), a minute; past it they are told to come back later. A
    /// valid key is let in all the same. 1 to 1000000. Default 60.
    pub failed_authentications: u32,
    /// Calls and streams of one connection at once. Default 1000.
    pub streams_per_connection: u32,
    /// Connections of one peer at once: an IPv4 address, or a /64 of IPv6. Past it new ones are closed. Default 1000.
    pub connections_per_peer: usize,
    /// How long a connection may be without a call before it is told to end, 1 s to 1 day. Default 5 min.
    #[serde(deserialize_with = "values::duration")]
    pub connection_idle: Duration,
    /// How old a connection may get before it takes no new calls and ends with its open ones, 1 s to 7 days. Default 1 h.
    #[serde(deserialize_with = "values::duration")]
    pub connection_age: Duration,
    /// How long an answer or a stream may wait for a client that takes nothing before it is ended, 1 s to 1 h. Default 60 s.
    #[serde(deserialize_with = "values::duration")]
    pub stalled_stream: Duration,
}

/// How long finished work is kept. What is unfinished is never removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days that events are kept, with their deliveries and attempts. Default 30.
    pub events_days: u32,
    /// Days that a watch can go back, at most `events_days`. Default 3.
    pub journal_days: u32,
}

/// What is logged and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Default `auto`.
    pub format: LogFormat,
    /// Directives of tracing-subscriber's `EnvFilter`, such as `info,gatepost_server::delivery=debug`. Default `info`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `pretty` on a terminal, else `json`.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// What payloads name this installation by.
    pub fn site(&self) -> Site {
        let text = |url: &Option<BaseUrl>| url.as_ref().map(|url| url.as_str().to_owned());
        Site { public_base_url: text(&self.public_base_url), schema_base_url: text(&self.schema_base_url) }
    }

    /// Loads and checks all settings.
    ///
    /// # Errors
    /// [`Problems`]: every one that was found.
    pub fn load(sources: Sources) -> Result<Self, Problems> {
        let (config, mut problems) = sources.read();
        check::check(&config, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(Problems::new(problems)) }
    }

    /// What happens when the schema is old, with the database's default.
    pub fn migrate(&self) -> Migrate {
        self.migrate.unwrap_or(match self.database.url.backend() {
            Backend::Sqlite => Migrate::Auto,
            Backend::Postgres => Migrate::Check,
        })
    }

    /// Where the key file lies that SQLite uses when `master_keys` is absent: beside the database, with `.key` appended. `None` for
    /// PostgreSQL and for a database in memory.
    pub fn key_file(&self) -> Option<PathBuf> {
        let mut path = self.database.url.sqlite_path().map(Path::to_path_buf)?.into_os_string();
        path.push(".key");
        Some(path.into())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)),
            admin_listen: None,
            insecure_plaintext: false,
            public_base_url: None,
            schema_base_url: None,
            tls: None,
            database: Database::default(),
            master_keys: None,
            root_key: None,
            migrate: None,
            roles: [Role::Api, Role::Worker].into(),
            outbound: Outbound::default(),
            limits: Limits::default(),
            retention: Retention::default(),
            shutdown_grace: Duration::from_secs(25),
            log: Log::default(),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { url: DatabaseUrl::default(), max_connections: 16 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_data_bytes: 256 * 1024,
            endpoints_per_tenant: 1000,
            event_types_per_tenant: 200,
            message_bytes: 4 * 1024 * 1024,
            events_per_batch: 1000,
            max_sockets: 1024,
            watchers_per_key: 100,
            publish_queue: 8192,
            delivery_queue: 20_000,
            failed_authentications: 60,
            streams_per_connection: 1000,
            connections_per_peer: 1000,
            connection_idle: Duration::from_secs(5 * 60),
            connection_age: Duration::from_secs(3_600),
            stalled_stream: Duration::from_secs(60),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { events_days: 30, journal_days: 3 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

#[cfg(test)]
mod tests;
