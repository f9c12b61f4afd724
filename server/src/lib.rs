#![doc = include_str!("../ARCHITECTURE.md")]

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod domain;
pub mod feed;
pub mod http;
pub mod keyfile;
pub mod outbound;
pub mod server;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod upkeep;
