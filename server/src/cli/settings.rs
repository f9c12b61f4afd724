//! The flags of commands that open the database themselves, and the configuration they lead to.
//!
//! Flags win over the environment, the environment over the file. What has no flag here has its variable and its key.

use std::path::PathBuf;

use super::failure::Failure;
use crate::config::{Config, Sources};
use crate::domain::secret::KeyRing;
use crate::keyfile;

/// Flags of the configuration.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Settings {
    /// Configuration file, TOML.
    #[arg(long, env = "GATEPOST_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Database: `sqlite://PATH`, `postgres://…`, or just a path. [env: GATEPOST_DATABASE__URL]
    #[arg(long, value_name = "URL")]
    database: Option<String>,

    /// Directives of what is logged, such as `info,gatepost_server::api=debug`. [env: GATEPOST_LOG__FILTER]
    #[arg(long, value_name = "DIRECTIVES")]
    log_filter: Option<String>,

    /// Form of the log: auto, pretty or json. [env: GATEPOST_LOG__FORMAT]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Settings {
    /// Where the settings come from: these flags, the environment, the file.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = Sources::new().environment(std::env::vars());
        if let Some(file) = &self.config {
            sources = sources.file(file);
        }
        let database = self.database.as_deref().map(database_url);
        for (key, value) in [("database.url", &database), ("log.filter", &self.log_filter), ("log.format", &self.log_format)] {
            if let Some(value) = value {
                sources = sources.flag(key, value.as_str());
            }
        }
        sources
    }
}

/// A URL as it is; anything else is the path of an SQLite file.
pub(crate) fn database_url(text: &str) -> String {
    let is_url = ["sqlite:", "postgres://", "postgresql://"].iter().any(|start| text.starts_with(start));
    if is_url { text.to_owned() } else { format!("sqlite://{text}") }
}

/// The configuration, or every problem at once.
///
/// # Errors
/// [`Failure::Configuration`].
pub(crate) fn load(sources: Sources) -> Result<Config, Failure> {
    Config::load(sources).map_err(|problems| {
        Failure::Configuration(problems.iter().map(|problem| format!("{}: {}", problem.key, problem.problem)).collect())
    })
}

/// The key ring of a configuration; a new SQLite database gets one.
///
/// # Errors
/// [`Failure::Configuration`], which says what to do.
pub(crate) fn key_ring(config: &Config) -> Result<KeyRing, Failure> {
    keyfile::key_ring(config, &rand::random()).map_err(|error| match error {
        keyfile::Error::Io { .. } => Failure::other("there is no key ring", error),
        error => Failure::Configuration(vec![crate::telemetry::chain(&error).to_string()]),
    })
}

/// Starts the log.
///
/// # Errors
/// It was started before.
pub(crate) fn start_log(config: &Config) -> Result<(), Failure> {
    crate::telemetry::init(&config.log).map_err(|error| Failure::other("cannot start the log", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_an_sqlite_file() {
        assert_eq!(database_url("./a.db"), "sqlite://./a.db");
        for url in ["sqlite://a.db", "sqlite::memory:", "postgres://localhost/x", "postgresql://localhost/x"] {
            assert_eq!(database_url(url), url);
        }
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let sources = Sources::new().flag("listen", "nowhere").flag("limits.max_sockets", 0).flag("lisen", "x");
        let Err(Failure::Configuration(problems)) = load(sources) else { panic!("it is wrong") };
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
