//! The command line: one file a command group, all of it a client of the public API except the commands that run the server.
//!
//! `main` parses [`Cli`] and runs it. Data goes to stdout, everything else to stderr; a [`Failure`] says what to print and the exit
//! code. Nothing here knows the database or the rooms of the server but `serve`, `dev`, `migrate` and `bootstrap`.

pub mod bootstrap;
pub mod config;
mod connect;
mod deliveries;
pub mod dev;
mod endpoint_payload;
mod endpoint_settings;
mod endpoint_tables;
mod endpoints;
mod event_types;
mod events;
mod explain;
mod failure;
mod info;
mod input;
mod keys;
pub mod listen;
pub mod migrate;
mod output;
mod pretty;
mod preview;
mod publish;
mod publish_lines;
mod receiver;
pub mod serve;
mod settings;
mod signing_keys;
mod tenants;
#[cfg(test)]
mod testing;
mod trigger;
mod watch;

use std::process::ExitCode;

pub use failure::Failure;

/// Durable delivery of identity lifecycle events as signed webhooks.
#[derive(Debug, clap::Parser)]
#[command(name = "gatepost", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run a server with everything to try it: database file, demo tenant, receiver, a first event.
    Dev(dev::Args),
    /// Run a server.
    Serve(serve::Args),
    /// Bring the database's schema up or down.
    Migrate(migrate::Args),
    /// Check or show the server's configuration.
    Config(config::Args),
    /// Publish one event, or a file of them.
    Publish(publish::Args),
    /// Publish the example of an event type.
    Trigger(trigger::Args),
    /// Receive webhooks here, verify them and show them.
    Listen(listen::Args),
    /// Follow deliveries as they change.
    Watch(watch::Args),
    /// Tenants: the customer organisations.
    Tenants(tenants::Args),
    /// Endpoints: the receivers' URLs with their settings.
    Endpoints(Box<endpoints::Args>),
    /// Event types: what can be published, with schemas and examples.
    EventTypes(event_types::Args),
    /// Events that were published.
    Events(events::Args),
    /// Say which endpoints an event is for, and why not the others.
    Explain(explain::Args),
    /// Deliveries: one event for one endpoint.
    Deliveries(deliveries::Args),
    /// API keys.
    Keys(keys::Args),
    /// Facts about the server that answers.
    Info(info::Args),
}

/// Chooses what TLS of this process is made of: the first thing that happens in it.
pub fn choose_tls_provider() {
    // It fails only when a provider is installed already, which is then the one to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Cli {
    /// Reads the program's arguments.
    ///
    /// # Errors
    /// The exit code, after help, version or what is wrong with them was printed.
    pub fn read() -> Result<Self, ExitCode> {
        clap::Parser::try_parse().map_err(|error| {
            // Help and version go to stdout and are no failure; a closed pipe is none either.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        })
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// What to print and the exit code; see [`Failure`].
    pub async fn run(self) -> Result<(), Failure> {
        // Boxed, so that the largest command does not set the size of all.
        match self.command {
            Command::Dev(args) => Box::pin(dev::run(args)).await,
            Command::Serve(args) => Box::pin(serve::run(args)).await,
            Command::Migrate(args) => Box::pin(migrate::run(args)).await,
            Command::Config(args) => Box::pin(config::run(args)).await,
            Command::Publish(args) => Box::pin(publish::run(args)).await,
            Command::Trigger(args) => Box::pin(trigger::run(args)).await,
            Command::Listen(args) => Box::pin(listen::run(args)).await,
            Command::Watch(args) => Box::pin(watch::run(args)).await,
            Command::Tenants(args) => Box::pin(tenants::run(args)).await,
            Command::Endpoints(args) => Box::pin(endpoints::run(*args)).await,
            Command::EventTypes(args) => Box::pin(event_types::run(args)).await,
            Command::Events(args) => Box::pin(events::run(args)).await,
            Command::Explain(args) => Box::pin(explain::run(args)).await,
            Command::Deliveries(args) => Box::pin(deliveries::run(args)).await,
            Command::Keys(args) => Box::pin(keys::run(args)).await,
            Command::Info(args) => Box::pin(info::run(args)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_commands_are_declared_without_contradiction() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_missing_command_is_a_usage_error() {
        assert_eq!(Cli::try_parse_from(["gatepost"]).unwrap_err().exit_code(), 2);
        assert_eq!(Cli::try_parse_from(["gatepost", "nonsense"]).unwrap_err().exit_code(), 2);
        assert_eq!(Cli::try_parse_from(["gatepost", "--help"]).unwrap_err().exit_code(), 0);
    }
}
