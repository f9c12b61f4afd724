//! `gatepost info`: facts about the server that answers.

use gatepost_client::v1;

use super::connect::Remote;
use super::failure::Failure;
use super::output::{Show, time};

/// Arguments of `gatepost info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
}

/// Runs `gatepost info`.
///
/// # Errors
/// What the server refused.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    args.remote.out().item(&args.remote.client().await?.server_info().await?)
}

impl Show for v1::ServerInfo {
    const COLUMNS: &'static [(&'static str, usize)] = &[("VERSION", 10), ("DATABASE", 10), ("STARTED", 20)];

    fn row(&self) -> Vec<String> {
        vec![self.version.clone(), self.database.clone(), time(self.start_time.as_ref())]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let limits = self.limits.unwrap_or_default();
        vec![
            ("version", self.version.clone()),
            ("database", self.database.clone()),
            ("epoch", self.epoch.to_string()),
            ("started", time(self.start_time.as_ref())),
            ("database time", time(self.now_time.as_ref())),
            ("event data", format!("{} bytes at most", limits.event_data_bytes)),
            ("message", format!("{} bytes at most", limits.message_bytes)),
            ("batch", format!("{} events at most", limits.events_per_batch)),
            ("endpoints", format!("{} a tenant at most", limits.endpoints_per_tenant)),
        ]
    }
}
