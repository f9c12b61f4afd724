//! `gatepost config`: the configuration that a server would run with, checked or shown.

use super::failure::Failure;
use super::output::{line, note};
use super::settings::Settings;

/// Arguments of `gatepost config`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Name every problem at once.
    Check {
        #[command(flatten)]
        settings: Settings,
    },
    /// Show the settings in force, without secrets.
    Show {
        #[command(flatten)]
        settings: Settings,
    },
}

/// Loads the configuration from all of its sources.
///
/// # Errors
/// [`Failure::Configuration`] with every problem.
pub async fn run(args: Args) -> Result<(), Failure> {
    match args.action {
        Action::Check { settings } => {
            settings.load()?;
            note("the configuration is good");
            Ok(())
        }
        Action::Show { settings } => line(&format!("{:#?}", settings.load()?)),
    }
}
