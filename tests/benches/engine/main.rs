//! Measures the engine from outside, beside the limits of the machine it runs on.
//!
//!     cargo bench -p gatepost-tests --bench engine -- [--short|--long] [--database sqlite|postgres] [--only PART] [--seconds N]
//!         [--log FILTER]
//!
//! PART: `load`, `neighbours`, `backlog`, `shaping`, `idle`, or `growth`, which only `--long` has. Each has a database of its own.
//!
//! The load, the receiver, the server and the database share this machine. Absolute figures move from run to run; the ratios to the
//! machine's own limits, measured in the same run, move less. Nothing is asserted.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement that cannot go on fails loudly, and the walls of the server do not stand around it"
)]

mod backlog;
mod growth;
mod idle;
mod limits;
mod load;
mod neighbours;
mod pace;
mod receiver;
mod report;
mod shaping;
mod usage;

use std::time::Duration;

use gatepost_tests::Database;

/// What the command line asks for.
struct Wishes {
    sqlite: bool,
    postgres: bool,
    /// One part, or all.
    only: Option<String>,
    /// Length of each measurement.
    time: Duration,
    /// Deliveries behind the paused endpoint.
    pile: usize,
    /// Events that are stored before growth is measured; 0: it is not.
    growth: u64,
    /// What the server logs besides its address.
    log: String,
}

const USAGE: &str = "[--short|--long] [--database sqlite|postgres] [--only PART] [--seconds N] [--log FILTER]";

fn main() {
    let wishes = wishes(std::env::args().skip(1)).unwrap_or_else(|problem| {
        println!("{problem}\nusage: {USAGE}");
        std::process::exit(2);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        report::machine(&wishes.log);
        let posts = limits::signed_posts(wishes.time).await;
        println!("raw signed POSTs over loopback, same receiver       {posts:>9.0} /s");
        if wishes.sqlite {
            measure(posts, &wishes, async || Some(Database::sqlite())).await;
        }
        if wishes.postgres {
            measure(posts, &wishes, async || Database::postgres("engine").await).await;
        }
    });
}

/// Measures every part that is wished for, each on a new database.
async fn measure(posts: f64, wishes: &Wishes, database: impl AsyncFn() -> Option<Database>) {
    let Wishes { time, log, .. } = wishes;
    let Some(first) = database().await else {
        println!("\nno PostgreSQL answers: not measured");
        return;
    };
    report::database(&first);
    let fresh = async || database().await.expect("it answered before");
    let wished = |part: &str| wishes.only.as_deref().is_none_or(|only| only == part);
    if wished("load") {
        let limits = limits::database(&first, *time).await;
        report::limits(&limits);
        let figures = load::all(&first, *time, log).await;
        report::load(posts, &limits, &figures);
    }
    drop(first);
    if wished("neighbours") {
        report::neighbours(&neighbours::neighbours(&fresh().await, *time, log).await);
    }
    if wished("backlog") {
        report::pile(&backlog::pile(&fresh().await, wishes.pile, *time, log).await);
    }
    if wished("shaping") {
        report::shaping(&shaping::shaping(&fresh().await, *time, log).await);
    }
    if wished("idle") {
        report::idle(idle::idle(&fresh().await, *time, log).await);
    }
    if wished("growth") && wishes.growth > 0 {
        report::growth(&growth::growth(&fresh().await, wishes.growth, *time, log).await);
    }
}

fn wishes(mut arguments: impl Iterator<Item = String>) -> Result<Wishes, String> {
    let time = Duration::from_secs(10);
    let mut wishes = Wishes { sqlite: true, postgres: true, only: None, time, pile: 100_000, growth: 0, log: "info".into() };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What Cargo says to every benchmark.
            "--bench" => {}
            "--short" => (wishes.time, wishes.pile) = (Duration::from_secs(3), 20_000),
            "--long" => (wishes.pile, wishes.growth) = (1_000_000, 5_000_000),
            "--database" => match arguments.next().as_deref() {
                Some("sqlite") => wishes.postgres = false,
                Some("postgres") => wishes.sqlite = false,
                other => return Err(format!("no database {other:?}")),
            },
            "--only" => match arguments.next() {
                Some(part) if PARTS.contains(&part.as_str()) => wishes.only = Some(part),
                other => return Err(format!("no part {other:?}")),
            },
            "--seconds" => {
                let seconds = arguments.next().and_then(|seconds| seconds.parse().ok()).filter(|seconds| *seconds > 0);
                wishes.time = Duration::from_secs(seconds.ok_or("--seconds needs a number")?);
            }
            "--log" => wishes.log = arguments.next().ok_or("--log needs a filter")?,
            other => return Err(format!("no option {other}")),
        }
    }
    Ok(wishes)
}

const PARTS: [&str; 6] = ["load", "neighbours", "backlog", "shaping", "idle", "growth"];
