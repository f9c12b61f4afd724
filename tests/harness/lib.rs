//! What end-to-end tests stand on: a real server process, a real database, real receivers on real sockets.
//!
//! Used by `e2e/`, and by whatever else measures the product from outside. Nothing here reaches into the server: it starts the
//! binary, speaks HTTP as a receiver does, and leaves the API to `gatepost-client`. Every wait has a deadline and says what was
//! missing; nothing sleeps a fixed time and hopes.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails loudly, and the walls of the server do not stand around it"
)]

mod cluster;
mod database;
#[path = "../generator/histories.rs"]
pub mod histories;
mod lines;
pub mod oracle;
mod proxy;
mod receiver;
mod server;
mod wait;
pub mod world;

pub use cluster::Cluster;
pub use database::Database;
pub use lines::{Lines, Program};
pub use proxy::{Fate, Proxy};
pub use receiver::{Answer, Received, Receiver, Span};
pub use server::{PUBLIC_BASE_URL, SCHEMA_BASE_URL, Server, Settings, memory_mib};
pub use wait::{DEADLINE, until, until_within};
pub use world::World;
