//! `gatepost events`: events that were published.

use clap::Subcommand;
use gatepost_client::v1;

use super::connect::Remote;
use super::failure::Failure;
use super::output::{Show, count, id, time};

/// Arguments of `gatepost events`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List events, newest first, without payloads.
    List {
        /// Such as `type == "user.terminated"`.
        #[arg(long, default_value = "")]
        filter: String,
        /// Most to show; 0 shows all.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show an event with its payload.
    Get {
        /// Its id.
        id: String,
    },
}

/// Runs `gatepost events`.
///
/// # Errors
/// What the server refused.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (tenant, mut out) = (args.remote.tenant().await?, args.remote.out());
    match args.action {
        Action::List { filter, limit } => out.list(tenant.events(filter), limit).await,
        Action::Get { id } => out.item(&tenant.get_event(id).await?),
    }
}

impl Show for v1::Event {
    const COLUMNS: &'static [(&'static str, usize)] =
        &[("ID", 30), ("TYPE", 24), ("SUBJECT", 20), ("CREATED", 20), ("DELIVERIES", 10)];

    fn row(&self) -> Vec<String> {
        vec![
            id(&self.name),
            self.r#type.clone(),
            self.subject.clone(),
            time(self.create_time.as_ref()),
            self.delivery_count.to_string(),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let tags: Vec<String> = self.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        vec![
            ("name", self.name.clone()),
            ("type", self.r#type.clone()),
            ("schema version", count(self.schema_version.into())),
            ("subject", self.subject.clone()),
            ("tags", tags.join("\n")),
            ("occurred", time(self.occurred_time.as_ref())),
            ("created", time(self.create_time.as_ref())),
            ("sequence", self.sequence.to_string()),
            ("txn", self.txn.clone()),
            ("deliveries", self.delivery_count.to_string()),
            ("data", String::from_utf8_lossy(&self.data).into_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;

    #[test]
    fn every_action_is_read() {
        let Action::List { filter, limit } = parse::<Args>(&["list", "--filter", "type == \"a.b\"", "--limit", "5"]).action else {
            panic!("not list")
        };
        assert_eq!((filter.as_str(), limit), ("type == \"a.b\"", 5));
        assert!(matches!(parse::<Args>(&["get", "evt_1"]).action, Action::Get { id } if id == "evt_1"));
    }

    #[test]
    fn the_payload_is_shown_as_text() {
        let event = v1::Event { data: (&br#"{"user":1}"#[..]).into(), ..v1::Event::default() };
        assert!(event.details().contains(&("data", r#"{"user":1}"#.to_owned())));
    }
}
