//! What must hold of settings whose types are right: bounds, files that can be read, and settings that need each other.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Config, Problem};

const MAX_GRACE: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_secs(86_400);

/// Adds every problem of the settings.
pub(super) fn check(config: &Config, problems: &mut Vec<Problem>) {
    let mut problem = |key: &str, holds: bool, text: &str| {
        if !holds {
            problems.push(Problem::new(key, text));
        }
    };
    let safe = config.listen.ip().is_loopback() || config.tls.is_some() || config.insecure_plaintext;
    problem(
        "listen",
        safe,
        "is not a loopback address: set `tls`, or `insecure_plaintext = true` where something in front ends TLS",
    );
    let apart = config.admin_listen.is_none_or(|admin| admin.port() == 0 || admin != config.listen);
    problem("admin_listen", apart, "is the same as `listen`");
    problem("roles", !config.roles.is_empty(), "names no role");
    problem("shutdown_grace", config.shutdown_grace <= MAX_GRACE, "is longer than 10 minutes");
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.filter);
    problem("log.filter", filter.is_ok(), "is not a list of directives such as `info,gatepost_server=debug`");
    problem("retention.events_days", config.retention.events_days > 0, "is 0");
    let (days, journal_days) = (config.retention.events_days, config.retention.journal_days);
    let fits = journal_days > 0 && (journal_days <= days || days == 0);
    problem("retention.journal_days", fits, "is not between 1 and `retention.events_days`");

    let limits = &config.limits;
    let mut bound = |key: &str, value: usize, range: RangeInclusive<usize>| {
        let text = format!("is {value}, not between {} and {}", range.start(), range.end());
        problem(key, range.contains(&value), &text);
    };
    bound("database.max_connections", config.database.max_connections as usize, 4..=1000);
    bound("limits.event_data_bytes", limits.event_data_bytes, 1024..=4 * 1024 * 1024);
    bound("limits.message_bytes", limits.message_bytes, 64 * 1024..=64 * 1024 * 1024);
    bound("limits.endpoints_per_tenant", limits.endpoints_per_tenant as usize, 1..=100_000);
    bound("limits.event_types_per_tenant", limits.event_types_per_tenant as usize, 0..=1000);
    bound("limits.events_per_batch", limits.events_per_batch, 1..=1000);
    bound("limits.max_sockets", limits.max_sockets, 1..=100_000);
    bound("limits.watchers_per_key", limits.watchers_per_key, 1..=100_000);
    bound("limits.publish_queue", limits.publish_queue, 1..=1_000_000);
    bound("limits.delivery_queue", limits.delivery_queue, 1..=1_000_000);
    bound("limits.streams_per_connection", limits.streams_per_connection as usize, 1..=100_000);
    bound("limits.failed_authentications", limits.failed_authentications as usize, 1..=1_000_000);
    bound("limits.connections_per_peer", limits.connections_per_peer, 1..=10_000);
    for (key, value, longest) in [
        ("limits.connection_idle", limits.connection_idle, DAY),
        ("limits.connection_age", limits.connection_age, 7 * DAY),
        ("limits.stalled_stream", limits.stalled_stream, DAY / 24),
    ] {
        let text = format!("is {}, not between 1s and {}", humantime::format_duration(value), humantime::format_duration(longest));
        problem(key, (Duration::from_secs(1)..=longest).contains(&value), &text);
    }
    problem(
        "limits.event_data_bytes",
        // The rest of an event's request is bounded by its own limits, well under 64 KiB.
        limits.event_data_bytes + 64 * 1024 <= limits.message_bytes.max(64 * 1024 + 1024),
        "leaves less than 64 KiB of `limits.message_bytes` for the rest of a request",
    );

    if let Some(tls) = &config.tls {
        let chain = certificates("tls.cert_file", &tls.cert_file, problems);
        match PrivateKeyDer::from_pem_file(&tls.key_file) {
            Ok(key) if !chain.is_empty() => fit("tls.key_file", &tls.key_file, chain, key, problems),
            Ok(_) => {}
            Err(error) => problems.push(Problem::new("tls.key_file", &pem_problem(&tls.key_file, &error))),
        }
    }
    if let Some(file) = &config.outbound.ca_file {
        certificates("outbound.ca_file", file, problems);
    }
}

/// The certificates of a file; none where there is a problem.
fn certificates(key: &str, file: &Path, problems: &mut Vec<Problem>) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    let problem = match read {
        Ok(found) if found.is_empty() => format!("{}: holds no certificate", file.display()),
        Ok(found) => return found,
        Err(error) => pem_problem(file, &error),
    };
    problems.push(Problem::new(key, &problem));
    Vec::new()
}

/// Whether a key is that of the chain's first certificate, and of a kind that can be used.
fn fit(key: &str, file: &Path, chain: Vec<CertificateDer<'static>>, private: PrivateKeyDer<'static>, problems: &mut Vec<Problem>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let served = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
    if let Err(error) = served {
        problems.push(Problem::new(key, &format!("{}: cannot be used with `tls.cert_file`: {error}", file.display())));
    }
}

fn pem_problem(file: &Path, error: &rustls_pki_types::pem::Error) -> String {
    format!("{}: {error}", file.display())
}
