//! The server's configuration from the command line: for the commands that run the server or open its database.

use std::path::PathBuf;

use super::failure::Failure;
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::domain::secret::KeyRing;
use crate::keyfile;
use crate::server;
use crate::store::Store;

/// Settings that a flag can set; all others are in the file or in the environment.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Settings {
    /// TOML file with settings. Flags and GATEPOST_SECTION__KEY win over it.
    #[arg(long, env = "GATEPOST_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<String>,
    /// Address of a second port for /metrics and probes, which the main one then serves no more.
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin_listen: Option<String>,
    /// `sqlite://gatepost.db` or `postgres://user@host/database`.
    #[arg(long, value_name = "URL")]
    pub(super) database: Option<String>,
    /// What this node does: `api`, `worker` or both.
    #[arg(long, value_name = "ROLES")]
    pub(super) roles: Option<String>,
    /// Serve plaintext off loopback, as behind a proxy that does TLS.
    #[arg(long)]
    pub(super) insecure_plaintext: bool,
    /// `auto`, `pretty` or `json`.
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<String>,
}

impl Settings {
    /// Every source, the flags last.
    pub(super) fn sources(&self) -> Sources {
        let mut sources = Sources::new().environment(std::env::vars());
        if let Some(path) = &self.config {
            sources = sources.file(path);
        }
        for (key, value) in [
            ("listen", &self.listen),
            ("admin_listen", &self.admin_listen),
            ("database.url", &self.database),
            ("roles", &self.roles),
            ("log.format", &self.log_format),
        ] {
            if let Some(value) = value {
                sources = sources.flag(key, value.as_str());
            }
        }
        if self.insecure_plaintext {
            sources = sources.flag("insecure_plaintext", true);
        }
        sources
    }

    /// The configuration, whole and checked.
    ///
    /// # Errors
    /// [`Failure::Configuration`] with every problem.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        load(self.sources())
    }
}

/// Reads sources.
///
/// # Errors
/// [`Failure::Configuration`] with every problem.
pub(super) fn load(sources: Sources) -> Result<Config, Failure> {
    Config::load(sources).map_err(|problems| {
        Failure::Configuration(problems.iter().map(|problem| format!("{}: {}", problem.key, problem.problem)).collect())
    })
}

/// The key ring of a configuration; made with a new SQLite database.
///
/// # Errors
/// [`Failure::Configuration`], which says what to do.
pub(super) fn key_ring(config: &Config) -> Result<KeyRing, Failure> {
    keyfile::key_ring(config, &rand::random())
        .map_err(|error| Failure::Configuration(vec![format!("master_keys: {}", chain(&error))]))
}

/// Opens the store as the server would.
///
/// # Errors
/// The database cannot be used, or its schema is old and may not be brought up to date.
pub(super) async fn open_store(config: &Config) -> Result<Store, Failure> {
    let keys = key_ring(config)?;
    server::open_store(config, keys, Clock::system()).await.map_err(|error| Failure::other("cannot open the database", error))
}

/// Logs as the configuration says.
///
/// # Errors
/// The filter is none.
pub(super) fn init_logs(config: &Config) -> Result<(), Failure> {
    crate::telemetry::init(&config.log).map_err(|error| Failure::Configuration(vec![format!("log.filter: {error}")]))
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    crate::telemetry::chain(error).to_string()
}
