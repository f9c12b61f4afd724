//! Trials: what the product promises when processes die, databases fall silent and nodes are cut off, tried under load.
//!
//! One file a trial; each is a test with its claims. The short form runs with all other tests. `GATEPOST_TRIAL=long` gives the long one,
//! which `trials/run` runs on a release build. Every trial prints its figures: `cargo test --test trials -- --nocapture` shows them.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails loudly, and the walls of the server do not stand around it"
)]

mod clerk;
mod crashes;
mod evidence;
mod load;
mod nodes;
mod postgres;
mod receivers;
mod rolling;
mod watching;

/// The short or the long form of a figure.
pub(crate) fn form<T>(short: T, long: T) -> T {
    if std::env::var("GATEPOST_TRIAL").is_ok_and(|form| form == "long") { long } else { short }
}
