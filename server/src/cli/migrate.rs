//! `gatepost migrate`: the database's schema, as a step of its own. SQLite databases migrate when the server starts.

use clap::Subcommand;

use super::connect::confirm;
use super::failure::Failure;
use super::output::note;
use super::settings::{self, Settings};
use crate::clock::Clock;
use crate::store;
use crate::store::schema::{Schema, Step};

/// Arguments of `gatepost migrate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Apply what is missing.
    Up {
        /// Say what would be done.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Say which migrations are applied.
    Status {
        #[command(flatten)]
        settings: Settings,
    },
    /// Take the last migration back, with all data of its tables.
    Down {
        /// Say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        settings: Settings,
    },
}

/// Runs `gatepost migrate`.
///
/// # Errors
/// The configuration is wrong (exit code 64), the database is in use or does not answer.
pub async fn run(args: Args) -> Result<(), Failure> {
    let (Action::Up { settings, .. } | Action::Status { settings } | Action::Down { settings, .. }) = &args.action;
    let config = settings::load(settings.sources())?;
    let schema = Schema::open(config.database.url.expose(), Clock::system()).await.map_err(failed)?;
    let result = act(&args.action, &schema, &config.database.url.to_string()).await;
    schema.close().await;
    result
}

async fn act(action: &Action, schema: &Schema, database: &str) -> Result<(), Failure> {
    let steps = schema.status().await.map_err(failed)?;
    match action {
        Action::Status { .. } => print(&steps, |step| if step.applied { "applied" } else { "missing" }),
        Action::Up { dry_run, .. } => {
            let missing: Vec<Step> = steps.into_iter().filter(|step| !step.applied).collect();
            if missing.is_empty() {
                note("the schema is up to date");
                return Ok(());
            }
            if !dry_run {
                schema.up().await.map_err(failed)?;
            }
            print(&missing, |_| if *dry_run { "would be applied" } else { "applied" })
        }
        Action::Down { dry_run, yes, .. } => {
            let last: Vec<Step> = steps.into_iter().rfind(|step| step.applied).into_iter().collect();
            let Some(step) = last.first() else {
                note("there is nothing to take back");
                return Ok(());
            };
            if !dry_run {
                confirm(&format!("take back {} of {database} with all data of its tables", step.name), *yes)?;
                schema.down().await.map_err(failed)?;
            }
            print(&last, |_| if *dry_run { "would be taken back" } else { "taken back" })
        }
    }
}

fn print(steps: &[Step], what: impl Fn(&Step) -> &'static str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    steps.iter().try_for_each(|step| writeln!(out, "{} {}", step.name, what(step))).map_err(Failure::output)
}

fn failed(error: store::Error) -> Failure {
    Failure::other("the schema cannot be used", error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{parse, refuse};

    #[test]
    fn every_action_is_read() {
        assert!(matches!(parse::<Args>(&["up", "--dry-run"]).action, Action::Up { dry_run: true, .. }));
        assert!(matches!(parse::<Args>(&["status", "--database", "x.db"]).action, Action::Status { .. }));
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
        let migrate = async |arguments: &[&str]| run(parse::<Args>(&[arguments, &["--database", &url]].concat())).await.unwrap();
        migrate(&["up", "--dry-run"]).await;
        assert_eq!(applied().await, 0, "a dry run changes nothing");
        migrate(&["up"]).await;
        let all = applied().await;
        assert!(all > 0);
        migrate(&["down", "--yes", "--dry-run"]).await;
        assert_eq!(applied().await, all);
        migrate(&["down", "--yes"]).await;
        assert_eq!(applied().await, all - 1);
    }
}
