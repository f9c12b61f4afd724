//! `gatepost deliveries`: one event for one endpoint, and the attempts to deliver it.

use clap::Subcommand;
use gatepost_client::{Tenant, v1};

use super::connect::Remote;
use super::failure::{Failure, brief};
use super::output::{Show, count, duration, id, note, time};

/// Arguments of `gatepost deliveries`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List deliveries, newest event first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Most to show; 0 shows all.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show a delivery.
    Get {
        /// Its id.
        id: String,
    },
    /// List the attempts of a delivery, first to last.
    Attempts {
        /// The delivery's id.
        id: String,
    },
    /// Send finished deliveries again, or make waiting ones due now.
    Retry {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Withdraw unfinished or dead deliveries.
    Cancel {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// Which deliveries: the parts are joined by `&&`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// Such as `state in ["RETRYING", "DEAD"] && endpoint == "siem"`.
    #[arg(long)]
    filter: Option<String>,
    /// Only deliveries in this state, such as DEAD.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only deliveries to this endpoint.
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Only deliveries of this event.
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only deliveries of events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
}

impl Filter {
    /// The filter as the server reads it.
    pub(crate) fn expression(&self) -> String {
        let state = self.state.as_ref().map(|state| state.to_uppercase());
        let parts = [("state", &state), ("endpoint", &self.endpoint), ("event", &self.event), ("event_type", &self.event_type)];
        // JSON quotes a string as CEL does.
        let parts = parts.into_iter().filter_map(|(field, value)| Some((field, value.as_ref()?)));
        let parts = parts.map(|(field, value)| format!("{field} == {}", serde_json::Value::from(value.as_str())));
        self.filter.iter().cloned().chain(parts).collect::<Vec<_>>().join(" && ")
    }
}

/// Runs `gatepost deliveries`.
///
/// # Errors
/// What the server refused; exit code 6 when that was so for some of several deliveries.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (tenant, mut out) = (args.remote.tenant().await?, args.remote.out());
    match args.action {
        Action::List { filter, limit } => out.list(tenant.deliveries(filter.expression()), limit).await,
        Action::Get { id } => out.item(&tenant.get_delivery(id).await?),
        Action::Attempts { id } => out.list(tenant.attempts(id), 0).await,
        Action::Retry { ids } => each(&tenant, ids, &mut out, async |tenant, id| tenant.retry_delivery(id).await).await,
        Action::Cancel { ids } => each(&tenant, ids, &mut out, async |tenant, id| tenant.cancel_delivery(id).await).await,
    }
}

/// Does it to each; one that fails is named and does not stop the others.
async fn each(
    tenant: &Tenant,
    ids: Vec<String>,
    out: &mut super::output::Output<std::io::Stdout>,
    act: impl AsyncFn(&Tenant, &str) -> Result<v1::Delivery, gatepost_client::Error>,
) -> Result<(), Failure> {
    let of = ids.len() as u64;
    let mut failed = 0;
    for id in ids {
        match act(tenant, &id).await {
            Ok(delivery) => out.line(&delivery)?,
            Err(error) if of == 1 => return Err(error.into()),
            Err(error) => {
                failed += 1;
                note(&format!("{id}: {}", brief(&error)));
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Partly { failed, of }) }
}

impl Show for v1::Delivery {
    const COLUMNS: &'static [(&'static str, usize)] = &[
        ("ID", 33),
        ("STATE", 9),
        ("TRIES", 5),
        ("LAST", 12),
        ("ENDPOINT", 16),
        ("TYPE", 22),
        ("EVENT", 30),
        ("NEXT ATTEMPT", 20),
    ];

    fn row(&self) -> Vec<String> {
        vec![
            id(&self.name),
            state(self),
            self.attempt_count.to_string(),
            last(self.last_status, self.last_class()),
            id(&self.endpoint),
            self.event_type.clone(),
            id(&self.event),
            time(self.next_attempt_time.as_ref()),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("event", self.event.clone()),
            ("event type", self.event_type.clone()),
            ("endpoint", self.endpoint.clone()),
            ("state", state(self)),
            ("attempts", self.attempt_count.to_string()),
            ("last attempt", last(self.last_status, self.last_class())),
            ("next attempt", time(self.next_attempt_time.as_ref())),
            ("created", time(self.create_time.as_ref())),
            ("updated", time(self.update_time.as_ref())),
            ("revision", self.revision.to_string()),
        ]
    }
}

impl Show for v1::Attempt {
    const COLUMNS: &'static [(&'static str, usize)] =
        &[("NO", 3), ("RESULT", 14), ("STATUS", 6), ("ENDED", 20), ("TOTAL", 8), ("FIRST BYTE", 10), ("DETAIL", 20)];

    fn row(&self) -> Vec<String> {
        vec![
            self.number.to_string(),
            class(self.class()),
            count(self.response_status.into()),
            time(self.end_time.as_ref()),
            duration(self.total_duration.as_ref()),
            duration(self.first_byte_duration.as_ref()),
            self.detail.clone(),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let headers: Vec<String> = self.response_headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        vec![
            ("attempt", self.number.to_string()),
            ("result", class(self.class())),
            ("status", count(self.response_status.into())),
            ("detail", self.detail.clone()),
            ("ended", time(self.end_time.as_ref())),
            ("total", duration(self.total_duration.as_ref())),
            ("name lookup", duration(self.dns_duration.as_ref())),
            ("connected", duration(self.connect_duration.as_ref())),
            ("first byte", duration(self.first_byte_duration.as_ref())),
            ("headers", headers.join("\n")),
            ("body", String::from_utf8_lossy(&self.response_body).into_owned()),
        ]
    }
}

fn state(delivery: &v1::Delivery) -> String {
    delivery.state().as_str_name().trim_start_matches("STATE_").to_owned()
}

/// The status of an answer, else why there was none.
fn last(status: i32, how: v1::AttemptClass) -> String {
    if status == 0 { class(how) } else { status.to_string() }
}

fn class(class: v1::AttemptClass) -> String {
    match class {
        v1::AttemptClass::Unspecified => String::new(),
        class => class.as_str_name().trim_start_matches("ATTEMPT_CLASS_").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;

    #[test]
    fn every_action_is_read() {
        assert!(matches!(parse::<Args>(&["get", "dlv_1"]).action, Action::Get { .. }));
        assert!(matches!(parse::<Args>(&["attempts", "dlv_1"]).action, Action::Attempts { .. }));
        assert!(matches!(parse::<Args>(&["retry", "a", "b"]).action, Action::Retry { ids } if ids == ["a", "b"]));
        assert!(matches!(parse::<Args>(&["cancel", "a"]).action, Action::Cancel { .. }));
        assert!(matches!(parse::<Args>(&["list", "--limit", "0"]).action, Action::List { limit: 0, .. }));
    }

    #[test]
    fn filters_are_joined_and_quoted() {
        let arguments =
            ["--state", "dead", "--endpoint", "siem", "--event", "a\"b", "--type", "user.created", "--filter", "x == 1"];
        assert_eq!(
            parse::<Filter>(&arguments).expression(),
            r#"x == 1 && state == "DEAD" && endpoint == "siem" && event == "a\"b" && event_type == "user.created""#
        );
        assert_eq!(Filter::default().expression(), "");
    }

    #[test]
    fn the_last_attempt_is_its_status_or_why_there_was_none() {
        assert_eq!(last(503, v1::AttemptClass::ServerError), "503");
        assert_eq!(last(0, v1::AttemptClass::Timeout), "TIMEOUT");
        assert_eq!(last(0, v1::AttemptClass::Unspecified), "");
    }
}
