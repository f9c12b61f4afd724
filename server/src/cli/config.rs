//! `gatepost config`: is the configuration right, and what does it come to. Secrets are never shown.

use clap::Subcommand;

use super::failure::Failure;
use super::output::note;
use super::settings::{self, Settings};

/// Arguments of `gatepost config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell every problem at once; exit code 64 when there is any.
    Check {
        #[command(flatten)]
        settings: Settings,
    },
    /// Show every setting, secrets redacted.
    Show {
        #[command(flatten)]
        settings: Settings,
    },
}

/// Runs `gatepost config`.
///
/// # Errors
/// The configuration is wrong.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.action {
        Action::Check { settings } => {
            settings::load(settings.sources())?;
            note("the configuration is valid");
            Ok(())
        }
        Action::Show { settings } => {
            use std::io::Write as _;
            let config = settings::load(settings.sources())?;
            writeln!(std::io::stdout(), "{config:#?}").map_err(Failure::output)
        }
    }
}
