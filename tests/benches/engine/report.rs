//! What is printed: figures with their ratios to the machine's limits.

use gatepost_tests::Database;

use crate::{
    limits::Limits,
    load::{Figures, Rate},
};

/// What the figures were taken on.
pub(crate) fn machine(log: &str) {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_start_matches([' ', '\t', ':']);
    println!("{cores} cores, {model}; load, receiver, server and database share them; the server logs at `{log}`\n");
}

/// Everything about one database.
pub(crate) fn figures(database: &Database, posts: f64, limits: &Limits, figures: &Figures) {
    let commits = limits.commits_at_once.unwrap_or(limits.commits);
    println!("\n{}", if database.is_postgres() { "PostgreSQL" } else { "SQLite, synchronous=FULL" });
    line("one-row commits, one connection", limits.commits, "/s", "");
    if let Some(at_once) = limits.commits_at_once {
        line("one-row commits, 16 connections", at_once, "/s", "");
    }
    line("rows, 500 a commit, one connection", limits.rows, "/s", "");
    let acks = format!("{:.2} x one-row commits; {}", figures.acks.per_second / commits, cpu(&figures.acks, "acks"));
    line("acks, unary, 256 callers, no endpoint", figures.acks.per_second, "/s", &acks);
    for (name, rate) in [
        ("deliveries, unary, 256 callers", &figures.unary),
        ("deliveries, batches of 100, 16 callers", &figures.batch),
        ("deliveries, 4 streams", &figures.streamed),
        ("deliveries, batches of 100, each event to 10", &figures.fan_out),
    ] {
        line(name, rate.per_second, "/s", &format!("{:.2} x raw POSTs; {}", rate.per_second / posts, cpu(rate, "deliveries")));
    }
    let (p50, p99) = figures.latency;
    println!("{:<48}  {p50:>6.2} / {p99:.2} ms", "publish to arrival at 100/s, p50 / p99");
    line("largest memory of the server", figures.memory_mib, "MiB", "");
    line("deliveries on each connection", figures.per_connection, "", "");
}

fn line(name: &str, value: f64, unit: &str, beside: &str) {
    println!("{name:<48}  {value:>9.0} {unit:<4} {beside}");
}

fn cpu(rate: &Rate, what: &str) -> String {
    let (server, database) = rate.cpu;
    format!("CPU for 1,000 {what}: {:.0} ms (server {server:.0}, database {database:.0})", server + database)
}
