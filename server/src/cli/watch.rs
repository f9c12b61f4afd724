//! `gatepost watch`: follows deliveries as they change, across broken connections and restarts of the server.

use std::time::{Duration, SystemTime};

use futures::TryStreamExt;

use super::connect::Remote;
use super::deliveries::Filter;
use super::failure::Failure;
use super::output::note;

/// Arguments of `gatepost watch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,

    /// From this time on instead of from now: `10m` ago, or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,

    /// Go on after the change that carried this token. It belongs to its tenant and filter.
    #[arg(long, value_name = "TOKEN", conflicts_with = "since")]
    resume: Option<String>,

    /// End when nothing changed for this long.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    until_idle: Option<Duration>,

    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Since {
    Ago(Duration),
    At(SystemTime),
}

/// Runs `gatepost watch`.
///
/// # Errors
/// What the server refused, at the start or later.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (tenant, mut out) = (args.remote.tenant().await?, args.remote.out());
    let mut builder = tenant.watch().filter(args.filter.expression());
    if let Some(token) = args.resume {
        builder = builder.resume(token);
    }
    builder = match args.since {
        Some(Since::At(time)) => builder.since(time),
        Some(Since::Ago(time)) => builder.since(now().checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH)),
        None => builder,
    };
    let mut watch = builder.start().await?;
    let mut interrupted = std::pin::pin!(interrupted());
    let forever = Duration::from_secs(u64::from(u32::MAX));
    let mut idle_at = tokio::time::Instant::now() + args.until_idle.unwrap_or(forever);
    loop {
        let item = tokio::select! {
            item = watch.try_next() => item?,
            () = tokio::time::sleep_until(idle_at) => break,
            () = &mut interrupted => break,
        };
        let Some(item) = item else { break };
        for delivery in item.changes.iter().filter_map(|change| change.delivery.as_ref()) {
            out.line(delivery)?;
        }
        if !item.changes.is_empty() {
            idle_at = tokio::time::Instant::now() + args.until_idle.unwrap_or(forever);
        }
    }
    note(&format!("go on with --resume {}", watch.token()));
    Ok(())
}

/// Resolves with Ctrl-C, or with SIGTERM.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler for signals the process ends by them, as it would without us.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// This machine's time.
#[allow(clippy::disallowed_methods, reason = "the command line is a client: `ago` is by the clock of whoever types it")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(time) = humantime::parse_duration(text) {
        return Ok(Since::Ago(time));
    }
    text.parse::<jiff::Timestamp>()
        .map(|time| Since::At(time.into()))
        .map_err(|_| "it must be a time such as 10m, or RFC 3339".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{parse, refuse};

    #[test]
    fn every_flag_is_read() {
        let args = parse::<Args>(&["--endpoint", "siem", "--since", "10m", "--until-idle", "2s", "-o", "jsonl"]);
        assert_eq!(args.filter.expression(), "endpoint == \"siem\"");
        assert_eq!((args.since, args.until_idle), (Some(Since::Ago(Duration::from_secs(600))), Some(Duration::from_secs(2))));
        let args = parse::<Args>(&["--resume", "t"]);
        assert_eq!(args.resume.as_deref(), Some("t"));
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_597_200);
        assert_eq!(parse::<Args>(&["--since", "2026-11-25T09:00:00Z"]).since, Some(Since::At(at)));
    }

    #[test]
    fn flags_that_make_no_sense_are_refused() {
        assert_eq!(refuse::<Args>(&["--since", "yesterday"]), 2);
        assert_eq!(refuse::<Args>(&["--since", "1m", "--resume", "t"]), 2);
    }
}
