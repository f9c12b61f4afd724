//! Measures the engine from outside, beside the limits of the machine it runs on.
//!
//!     cargo bench -p gatepost-tests --bench engine -- [--short] [--database sqlite|postgres] [--seconds N] [--log FILTER]
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

mod limits;
mod load;
mod receiver;
mod report;
mod usage;

use std::time::Duration;

use gatepost_tests::Database;

/// What the command line asks for.
struct Wishes {
    sqlite: bool,
    postgres: bool,
    /// Length of each measurement.
    time: Duration,
    /// What the server logs besides its address.
    log: String,
}

fn main() {
    let wishes = wishes(std::env::args().skip(1)).unwrap_or_else(|problem| {
        println!("{problem}\nusage: [--short] [--database sqlite|postgres] [--seconds N] [--log FILTER]");
        std::process::exit(2);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        report::machine(&wishes.log);
        let posts = limits::signed_posts(wishes.time).await;
        println!("raw signed POSTs over loopback, same receiver     {posts:>9.0} /s");
        if wishes.sqlite {
            measure(&Database::sqlite(), posts, &wishes).await;
        }
        if wishes.postgres {
            match Database::postgres("engine").await {
                Some(database) => measure(&database, posts, &wishes).await,
                None => println!("\nno PostgreSQL answers: not measured"),
            }
        }
    });
}

async fn measure(database: &Database, posts: f64, wishes: &Wishes) {
    let limits = limits::database(database, wishes.time).await;
    let figures = load::all(database, wishes.time, &wishes.log).await;
    report::figures(database, posts, &limits, &figures);
}

fn wishes(mut arguments: impl Iterator<Item = String>) -> Result<Wishes, String> {
    let mut wishes = Wishes { sqlite: true, postgres: true, time: Duration::from_secs(10), log: "info".into() };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What Cargo says to every benchmark.
            "--bench" => {}
            "--short" => wishes.time = Duration::from_secs(3),
            "--database" => match arguments.next().as_deref() {
                Some("sqlite") => wishes.postgres = false,
                Some("postgres") => wishes.sqlite = false,
                other => return Err(format!("no database {other:?}")),
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
