//! What is printed: figures with their ratios to the machine's limits.

use gatepost_tests::Database;

use crate::{
    backlog::Pile,
    growth::Growth,
    limits::Limits,
    load::{Figures, Rate},
    neighbours::Neighbours,
};

/// What the figures were taken on.
pub(crate) fn machine(log: &str) {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_start_matches([' ', '\t', ':']);
    println!("{cores} cores, {model}; load, receiver, server and database share them; the server logs at `{log}`\n");
}

/// Which database the lines after this are about.
pub(crate) fn database(database: &Database) {
    println!("\n{}", if database.is_postgres() { "PostgreSQL" } else { "SQLite, synchronous=FULL" });
}

/// What it costs to shape payloads, beyond a plain delivery.
pub(crate) fn shaping(figures: &[(&'static str, Rate)]) {
    let total = |rate: &Rate| rate.cpu.0 + rate.cpu.1;
    let Some((_, plain)) = figures.first() else { return };
    for (name, rate) in figures {
        // Milliseconds for a thousand are microseconds for one.
        let beyond = total(rate) - total(plain);
        let note = format!("CPU for one: {:.0} µs, {beyond:+.0} µs beside a plain one", total(rate));
        line(&format!("deliveries, batches, {name}"), rate.per_second, "/s", &note);
    }
}

/// What the database does alone.
pub(crate) fn limits(limits: &Limits) {
    line("one-row commits, one connection", limits.commits, "/s", "");
    if let Some(at_once) = limits.commits_at_once {
        line("one-row commits, 16 connections", at_once, "/s", "");
    }
    line("rows, 500 a commit, one connection", limits.rows, "/s", "");
}

/// Rates and latency.
pub(crate) fn load(posts: f64, limits: &Limits, figures: &Figures) {
    let commits = limits.commits_at_once.unwrap_or(limits.commits);
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
    text("publish to arrival at 100/s, p50 / p99", &figures.latency.to_string());
    line("largest memory of the server", figures.memory_mib, "MiB", "");
    line("deliveries on each connection", figures.per_connection, "", "");
    if let Some(share) = figures.hot_share {
        line("updates of deliveries that touch no index", share * 100.0, "%", "");
    }
}

/// Healthy endpoints beside bad ones.
pub(crate) fn neighbours(neighbours: &Neighbours) {
    text("publish to arrival, 100 endpoints, all well", &neighbours.alone.to_string());
    let ratio = format!("p99 {:.2} x", neighbours.beside.p99 / neighbours.alone.p99);
    text("  beside 10 that hang, 10 that drip, 10 that fail", &format!("{}; {ratio}", neighbours.beside));
    text("  largest memory", &format!("{:.0} MiB; {:.0} MiB beside them", neighbours.memory_mib.0, neighbours.memory_mib.1));
}

/// A pile behind one endpoint.
pub(crate) fn pile(pile: &Pile) {
    let memory = format!("largest memory {:.0} MiB, {:.0} MiB while it grew", pile.memory_mib.1, pile.memory_mib.0);
    line(&format!("drain of {} backlog rows", pile.rows), pile.drain, "/s", &memory);
    let [alone, beside, meanwhile] = pile.other;
    text("  another endpoint without, beside, while it drains", &format!("{alone}; {beside}; {meanwhile}"));
}

/// Nothing to do.
pub(crate) fn idle((server, database): (f64, f64)) {
    text("idle with 1,000 endpoints", &format!("{server:.2} % of a core; database {database:.2} %"));
}

/// Little stored, and much.
pub(crate) fn growth(growth: &Growth) {
    let ratio = format!("{:.2} x of {:.0} /s at none", growth.after / growth.before, growth.before);
    line(&format!("deliveries, batches, at {} events", growth.events), growth.after, "/s", &ratio);
}

fn text(name: &str, value: &str) {
    println!("{name:<50}  {value}");
}

fn line(name: &str, value: f64, unit: &str, beside: &str) {
    println!("{name:<50}  {value:>9.0} {unit:<4} {beside}");
}

fn cpu(rate: &Rate, what: &str) -> String {
    let (server, database) = rate.cpu;
    format!("CPU for 1,000 {what}: {:.0} ms (server {server:.0}, database {database:.0})", server + database)
}
