//! `gatepost listen`: receives webhooks here, verifies them and shows them, until Ctrl-C.
//!
//! With `--endpoint` it asks the server for the endpoint's secrets. It never changes the endpoint.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::http::StatusCode;
use gatepost_client::receiver::Verifier;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connect::{Remote, secret};
use super::failure::Failure;
use super::output::{Format, Output, note};
pub use super::receiver::{Fail, Options, Received, Receiver, Verdict};

/// How long requests on the wire may take after Ctrl-C.
const FAREWELL: Duration = Duration::from_secs(2);

const COLUMNS: &[(&str, usize)] = &[("ID", 30), ("TYPE", 24), ("ATTEMPT", 7), ("ANSWER", 6), ("SIGNATURE", 10)];

/// Arguments of `gatepost listen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// Verify with this endpoint's signing secrets; needs the scope `secrets.reveal`.
    #[arg(long, value_name = "ID", conflicts_with = "secrets")]
    endpoint: Option<String>,

    /// Verify with this signing secret, `whsec_...`; may be repeated.
    #[arg(long = "secret", value_name = "SECRET", value_parser = secret)]
    secrets: Vec<SecretString>,

    /// Post every request that is not refused to this URL too, and answer with its status.
    #[arg(long, value_name = "URL", value_parser = http_url)]
    forward: Option<String>,

    /// Answer with this status on purpose.
    #[arg(long, value_name = "STATUS", value_parser = status)]
    fail: Option<StatusCode>,

    /// Fail only every so many requests.
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "fail", value_parser = clap::value_parser!(u64).range(1..))]
    fail_every: u64,

    #[command(flatten)]
    remote: Remote,
}

/// Runs `gatepost listen`.
///
/// # Errors
/// The address cannot be bound, a secret is none, or the server refused to show the secrets.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let secrets = match &args.endpoint {
        Some(endpoint) => {
            let revealed = args.remote.tenant().await?.reveal_endpoint_secrets(endpoint).await?;
            revealed.into_iter().map(|secret| SecretString::from(secret.signing_secret)).collect()
        }
        None => args.secrets.clone(),
    };
    let verifier = match secrets.is_empty() {
        true => None,
        false => Some(
            Verifier::new(secrets.iter().map(ExposeSecret::expose_secret)).map_err(|error| Failure::Usage(error.to_string()))?,
        ),
    };
    if verifier.is_none() {
        note("signatures are not checked: give --endpoint or --secret");
    }
    let fail = args.fail.map(|status| Fail { status, every: args.fail_every });
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let receiver = Receiver::bind(address, Options { verifier, fail, forward: args.forward })
        .await
        .map_err(|error| Failure::io(format!("cannot listen on {address}"), error))?;
    note(&format!("listening on {}", receiver.url()));
    show(receiver, args.remote.out()).await
}

async fn show(receiver: Receiver, mut out: Output<std::io::Stdout>) -> Result<(), Failure> {
    let (sender, mut requests) = mpsc::channel(1024);
    let stop = CancellationToken::new();
    let mut tally = Tally::default();
    let mut serving = std::pin::pin!(receiver.serve(sender, stop.clone().cancelled_owned()));
    let mut interrupted = std::pin::pin!(super::watch::interrupted());
    loop {
        tokio::select! {
            Some(received) = requests.recv() => tally.show(&mut out, &received)?,
            result = &mut serving => {
                result.map_err(|error| Failure::io("the listener failed", error))?;
                break;
            }
            () = &mut interrupted, if !stop.is_cancelled() => stop.cancel(),
            () = farewell(&stop) => break,
        }
    }
    while let Ok(received) = requests.try_recv() {
        tally.show(&mut out, &received)?;
    }
    note(&tally.summary());
    Ok(())
}

/// Resolves a while after the stop: nobody's open connection holds us.
async fn farewell(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(FAREWELL).await;
}

/// What was received so far.
#[derive(Default)]
struct Tally {
    ids: HashSet<String>,
    requests: u64,
    verified: u64,
    refused: u64,
    failed_on_purpose: u64,
}

impl Tally {
    fn show<W: std::io::Write>(&mut self, out: &mut Output<W>, received: &Received) -> Result<(), Failure> {
        self.requests += 1;
        self.verified += u64::from(received.verdict == Verdict::Verified);
        self.refused += u64::from(matches!(received.verdict, Verdict::Refused(_)));
        self.failed_on_purpose += u64::from(received.failed_on_purpose);
        self.ids.insert(received.id.clone());
        let signature = match &received.verdict {
            Verdict::Verified => "verified".to_owned(),
            Verdict::Unchecked => "unchecked".to_owned(),
            Verdict::Refused(why) => format!("refused: {why}"),
        };
        if out.format() == Format::Table {
            let attempt = received.attempt.to_string();
            let status = received.status.as_u16().to_string();
            return out.columns(COLUMNS, &[received.id.clone(), received.event_type.clone(), attempt, status, signature]);
        }
        out.value(&serde_json::json!({
            "webhookId": received.id,
            "eventType": received.event_type,
            "attempt": received.attempt,
            "signature": signature,
            "verified": received.verdict == Verdict::Verified,
            "answer": received.status.as_u16(),
            "body": serde_json::from_slice::<serde_json::Value>(&received.body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&received.body).into()),
        }))
    }

    fn summary(&self) -> String {
        format!(
            "received {} requests of {} events: {} verified, {} refused, {} failed on purpose",
            self.requests,
            self.ids.len(),
            self.verified,
            self.refused,
            self.failed_on_purpose
        )
    }
}

fn status(text: &str) -> Result<StatusCode, String> {
    text.parse::<StatusCode>()
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .ok_or_else(|| "it must be a status from 200 to 599".to_owned())
}

fn http_url(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url.into()),
        _ => Err("it must be an http or https URL".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{parse, refuse};

    #[test]
    fn every_flag_is_read() {
        let args = parse::<Args>(&[
            "--port",
            "8080",
            "--secret",
            "whsec_a",
            "--secret",
            "whsec_b",
            "--forward",
            "http://127.0.0.1:3000/x",
            "--fail",
            "503",
            "--fail-every",
            "3",
            "-o",
            "jsonl",
        ]);
        assert_eq!((args.port, args.secrets.len(), args.fail_every), (8080, 2, 3));
        assert_eq!((args.fail, args.forward.as_deref()), (Some(StatusCode::SERVICE_UNAVAILABLE), Some("http://127.0.0.1:3000/x")));
        assert_eq!(parse::<Args>(&["--endpoint", "siem"]).endpoint.as_deref(), Some("siem"));
    }

    #[test]
    fn flags_that_make_no_sense_are_refused() {
        for arguments in [
            &["--fail", "999"][..],
            &["--fail-every", "3"],
            &["--fail", "503", "--fail-every", "0"],
            &["--forward", "ftp://x"],
            &["--endpoint", "a", "--secret", "whsec_b"],
        ] {
            assert_eq!(refuse::<Args>(arguments), 2, "{arguments:?}");
        }
    }
}
