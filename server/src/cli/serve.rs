//! `gatepost serve`: runs a server until it is told to stop.

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::settings::{self, Settings};
use crate::clock::Clock;
use crate::server::Server;

/// Arguments of `gatepost serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
}

/// Serves until SIGTERM or Ctrl-C, then drains.
///
/// # Errors
/// A bad configuration, an unusable database or address, a task that ended.
pub async fn run(args: Args) -> Result<(), Failure> {
    let config = args.settings.load()?;
    settings::init_logs(&config)?;
    let keys = settings::key_ring(&config)?;
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let server = Server::build(config, keys, Clock::system()).await.map_err(|error| Failure::other("cannot start", error))?;
    let address = server.local_addr().map_err(|error| Failure::io("cannot start", error))?;
    if !server.store().any_key_exists().await.unwrap_or(true) {
        tracing::warn!(
            "there is no API key yet, so only health answers: make one with `gatepost keys bootstrap` while no server runs on SQLite"
        );
    }
    // Before anybody hears that it listens: from then on a stop drains.
    let stop = stop_signal()?;
    tracing::info!("listening on {scheme}://{address}");
    if let Some(address) = server.admin_addr().map_err(|error| Failure::io("cannot start", error))? {
        tracing::info!("metrics and probes on http://{address}");
    }
    let ended = server.serve(stop).await.map_err(|error| Failure::other("the server failed", error))?;
    if !ended.aborted.is_empty() {
        tracing::warn!(aborted = ?ended.aborted, "some work was cut short; it is done again");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Resolves with SIGTERM or Ctrl-C.
///
/// # Errors
/// The process may not listen for signals.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()> + Send + use<>, Failure> {
    let unusable = |error| Failure::io("cannot listen for signals", error);
    let mut terminate = signal(SignalKind::terminate()).map_err(unusable)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unusable)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
