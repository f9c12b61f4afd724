//! The program `gatepost`: arguments in, one command run, exit code out.
//!
//! It installs the TLS provider before anything else, because every later room relies on it. It decides nothing: commands live in
//! `cli`, and what a failure's exit code is says `cli::Failure`.

use std::process::ExitCode;

use gatepost_server::cli::{Cli, Failure};

fn main() -> ExitCode {
    // It fails only when a provider is installed already, which is then the one to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::io("cannot start the runtime", error).report(),
    };
    let result = runtime.block_on(cli.run());
    // A read of the terminal that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
