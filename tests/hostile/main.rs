//! The server under attack, from outside: whatever comes over the wire, nobody gets in, nothing breaks, and others are served.
//!
//! One file a kind of attack, against a real server process whose memory and log can be looked at. A request that fails a claim is
//! printed with what is needed to send it again.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails loudly, and the walls of the server do not stand around it"
)]

mod connections;
mod consistency;
#[path = "../e2e/contract.rs"]
#[allow(dead_code, reason = "its calls by name belong to the tests of access")]
mod contract;
mod fields;
mod frames;
mod generated;
mod message;
mod nasty;
mod payloads;
mod pool;
mod process;
#[path = "../generator/random.rs"]
mod random;
mod requests;
mod siege;
mod urls;
mod verdict;
mod wire;
