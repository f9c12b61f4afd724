//! End-to-end tests: what a user relies on, one file a behaviour, through the public client to a real server process, a real
//! database and real receiver sockets. Each behaviour runs on SQLite and on PostgreSQL.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails loudly, and the walls of the server do not stand around it"
)]

mod access;
mod callers;
mod command_line;
mod connections;
mod contract;
mod dead_letters;
mod deliver;
mod event_types;
mod formats;
mod harness;
mod histories;
mod idempotency;
mod isolation;
mod judges;
mod metrics;
mod oracles;
mod own_events;
mod pause;
mod privacy;
mod publishing;
mod resources;
mod restart;
mod retry;
mod secrets;
mod security_event_tokens;
mod shaping;
mod shaping_commands;
mod shell;
mod tls;
mod watching;
