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
        /// Say what would be taken back, change nothing.
        #[arg(long)]
        dry_run: bool,
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
        Action::Down { dry_run, yes, .. } => {
            let Some(last) = schema.status().await.map_err(failed)?.into_iter().rfind(|step| step.applied) else {
                note("there is nothing to take back");
                return Ok(());
            };
            if !dry_run && !yes {
                return Err(Failure::Usage(format!("this removes the data of {} for good: add --yes", last.name)));
            }
            line(&format!("{}  {}", if dry_run { "would take back" } else { "taking back" }, last.name))?;
            if !dry_run {
                schema.down().await.map_err(failed)?;
            }
        }
    }
    schema.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{parse, refuse};

    #[test]
    fn every_action_is_read() {
        assert!(matches!(parse::<Args>(&["up", "--dry-run"]).action, Action::Up { dry_run: true, .. }));
        assert!(matches!(parse::<Args>(&["status", "--database", "sqlite://x.db"]).action, Action::Status { .. }));
        assert!(matches!(parse::<Args>(&["down", "--yes"]).action, Action::Down { yes: true, dry_run: false, .. }));
        assert_eq!(refuse::<Args>(&[]), 2);
    }

    #[tokio::test]
    async fn a_schema_goes_up_and_down_again() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("g.db").display());
        let applied = async || {
            let schema = Schema::open(&url, Clock::system()).await.unwrap();
            let applied = schema.status().await.unwrap().iter().filter(|step| step.applied).count();
            schema.close().await;
            applied
        };
        let migrate = async |arguments: &[&str]| run(parse::<Args>(&[arguments, &["--database", &url]].concat())).await;
        migrate(&["up", "--dry-run"]).await.unwrap();
        assert_eq!(applied().await, 0, "a dry run changes nothing");
        migrate(&["up"]).await.unwrap();
        let all = applied().await;
        assert!(all > 0);
        assert_eq!(migrate(&["down"]).await.unwrap_err().exit_code(), 2, "nothing is removed without a yes");
        migrate(&["down", "--dry-run"]).await.unwrap();
        assert_eq!(applied().await, all);
        migrate(&["down", "--yes"]).await.unwrap();
        assert_eq!(applied().await, all - 1);
    }
}
