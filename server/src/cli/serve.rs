//! `gatepost serve`: a server, until SIGTERM or Ctrl-C; then it drains.

use std::path::PathBuf;

use futures::FutureExt as _;

use super::failure::Failure;
use super::settings::{self, Settings};
use super::watch::interrupted;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::secret::KeyRing;
use crate::server::Server;

/// Arguments of `gatepost serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on. Default 127.0.0.1:7070. [env: GATEPOST_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,

    /// Serve without TLS off loopback, where something in front of the server ends it. [env: GATEPOST_INSECURE_PLAINTEXT]
    #[arg(long)]
    insecure_plaintext: bool,

    /// The server's certificate chain, PEM. [env: GATEPOST_TLS__CERT_FILE]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Its private key, PEM. [env: GATEPOST_TLS__KEY_FILE]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// What this node does: api, worker, or both. [env: GATEPOST_ROLES]
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,

    /// When the schema is old: auto or check. [env: GATEPOST_MIGRATE]
    #[arg(long, value_name = "WHAT")]
    migrate: Option<String>,

    /// How long calls and attempts in flight may take when it stops. Default 25s. [env: GATEPOST_SHUTDOWN_GRACE]
    #[arg(long, value_name = "TIME")]
    shutdown_grace: Option<String>,

    #[command(flatten)]
    settings: Settings,
}

/// Runs `gatepost serve`.
///
/// # Errors
/// The configuration is wrong (exit code 64), or the server could not start or go on.
pub async fn run(args: Args) -> Result<(), Failure> {
    let config = args.config()?;
    settings::start_log(&config)?;
    let keys = settings::key_ring(&config)?;
    serve(config, keys).await
}

async fn serve(config: Config, keys: KeyRing) -> Result<(), Failure> {
    // Asked once now, so that a signal during the start ends it in order as soon as it serves.
    let interrupted = interrupted().shared();
    let _ = futures::poll!(interrupted.clone());
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let failed = |error| Failure::other("the server cannot start", error);
    let server = Box::pin(Server::build(config, keys, Clock::system())).await.map_err(failed)?;
    let address = server.local_addr().map_err(|error| Failure::io("the socket is gone", error))?;
    tracing::info!("listening on {scheme}://{address}");
    let ended = Box::pin(server.serve(interrupted)).await.map_err(|error| Failure::other("the server stopped", error))?;
    if !ended.aborted.is_empty() {
        tracing::warn!(aborted = ?ended.aborted, "what did not end in time was dropped; it is taken up again");
    }
    tracing::info!("stopped");
    Ok(())
}

impl Args {
    fn config(&self) -> Result<Config, Failure> {
        let mut sources = self.settings.sources();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        for (key, value) in [
            ("listen", self.listen.clone()),
            ("tls.cert_file", path(&self.tls_cert)),
            ("tls.key_file", path(&self.tls_key)),
            ("roles", self.roles.clone()),
            ("migrate", self.migrate.clone()),
            ("shutdown_grace", self.shutdown_grace.clone()),
        ] {
            if let Some(value) = value {
                sources = sources.flag(key, value.as_str());
            }
        }
        if self.insecure_plaintext {
            sources = sources.flag("insecure_plaintext", true);
        }
        settings::load(sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{parse, refuse};
    use crate::config::{Migrate, Role};

    #[test]
    fn flags_become_settings() {
        let args = parse::<Args>(&[
            "--listen",
            "0.0.0.0:9000",
            "--insecure-plaintext",
            "--roles",
            "api",
            "--migrate",
            "check",
            "--shutdown-grace",
            "3s",
            "--database",
            "x.db",
            "--log-filter",
            "warn",
        ]);
        let config = args.config().unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:9000");
        assert_eq!((config.migrate(), config.roles.len(), config.roles.contains(&Role::Api)), (Migrate::Check, 1, true));
        assert_eq!((config.shutdown_grace.as_secs(), config.database.url.to_string().as_str()), (3, "sqlite://x.db"));
    }

    #[test]
    fn plaintext_off_loopback_is_a_wrong_configuration() {
        let Err(failure) = parse::<Args>(&["--listen", "0.0.0.0:9000"]).config() else { panic!("it is not safe") };
        assert_eq!(failure.exit_code(), 64);
        assert_eq!(refuse::<Args>(&["--tls-cert", "x.pem"]), 2);
    }
}
