//! The program `gatepost`: arguments in, one command run, exit code out.
//!
//! The TLS provider is chosen before anything else, because every later room relies on it. Nothing is decided here: commands live in
//! `cli`, and what a failure's exit code is says `cli::Failure`. The end-to-end tests build this file a second time, with what they
//! depend on.

use std::process::ExitCode;

use gatepost_server::cli::{self, Cli, Failure};

/// A delivery is many small allocations that end on another thread than they began on: the system's allocator spends a fifth of the
/// server's time on that, and keeps more memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::choose_tls_provider();
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
