//! `gatepost migrate`: the database's schema, shown, brought up, taken back.

use super::failure::Failure;
use super::output::{line, note};
use super::settings::{self, Settings};
use crate::clock::Clock;
use crate::store::schema::Schema;

/// Arguments of `gatepost migrate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Apply every migration that the database lacks.
    Up {
        /// Say what would be applied, change nothing.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Take the last migration back, with all data in its tables.
    Down {
        /// Yes, remove the data.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// List the migrations of this release.
    Status {
        #[command(flatten)]
        settings: Settings,
    },
}

/// Runs one action on the configured database.
///
/// # Errors
/// A bad configuration; a database that cannot be used, or that another process has open.
pub async fn run(args: Args) -> Result<(), Failure> {
    let (Action::Up { settings, .. } | Action::Down { settings, .. } | Action::Status { settings }) = &args.action;
    let config = settings.load()?;
    // A new SQLite file gets its key before it has anything in it.
    settings::key_ring(&config)?;
    let schema = Schema::open(config.database.url.expose(), Clock::system())
        .await
        .map_err(|error| Failure::other("cannot open the database", error))?;
    let failed = |error| Failure::other("the migration failed", error);
    match args.action {
        Action::Status { .. } => {
            for step in schema.status().await.map_err(failed)? {
                line(&format!("{}  {}", if step.applied { "applied" } else { "missing" }, step.name))?;
            }
        }
        Action::Up { dry_run, .. } => {
            let missing: Vec<_> = schema.status().await.map_err(failed)?.into_iter().filter(|step| !step.applied).collect();
            for step in &missing {
                line(&format!("{}  {}", if dry_run { "would apply" } else { "applying" }, step.name))?;
            }
            if !dry_run && !missing.is_empty() {
                schema.up().await.map_err(failed)?;
            }
            note(if missing.is_empty() { "the schema is up to date" } else { "done" });
        }
        Action::Down { yes: false, .. } => {
            return Err(Failure::Usage("this removes data for good: add --yes".to_owned()));
        }
        Action::Down { .. } => {
            schema.down().await.map_err(failed)?;
            note("the last migration was taken back");
        }
    }
    schema.close().await;
    Ok(())
}
