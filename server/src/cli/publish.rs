//! `gatepost publish`: one event from the command line; a file of them is `publish_lines`' matter.

use std::path::PathBuf;
use std::time::Duration;

use gatepost_client::{NewEvent, Tenant, v1};

use super::connect::Remote;
use super::endpoint_settings::pair;
use super::failure::Failure;
use super::output::{Show, id, note, yes};
use super::{input, publish_lines};

/// Arguments of `gatepost publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Type of the event, such as `user.terminated`.
    #[arg(value_name = "TYPE", required_unless_present = "jsonl")]
    event_type: Option<String>,

    /// Payload: a JSON object, `@FILE`, or `-` for standard input. Sent byte for byte.
    #[arg(short, long, required_unless_present = "jsonl")]
    data: Option<String>,

    #[command(flatten)]
    options: Options,

    /// Publish many: a file of JSON lines, or `-` for standard input. Each line is an object with `type` and `data`, and may have
    /// `event_id`, `subject`, `tags`, `occurred_time` and `schema_version`.
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["event_type", "data", "subject", "event_id", "tags", "schema_version", "wait"])]
    jsonl: Option<PathBuf>,

    #[command(flatten)]
    remote: Remote,
}

/// What an event has beside its type and its payload, and whether to wait for it.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Who or what it is about, `{kind}/{id}`.
    #[arg(long)]
    subject: Option<String>,

    /// Your id for the event; publishing it again then changes nothing.
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,

    /// Label; may be repeated.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = pair)]
    tags: Vec<(String, String)>,

    /// Version of the type's schema that the payload is written for; the newest when it is absent.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) schema_version: Option<i32>,

    /// Wait until every delivery succeeded, and show them; exit code 6 when one failed, 5 when the time was up.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s",
        value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
}

/// Runs `gatepost publish`.
///
/// # Errors
/// What the server refused; exit code 6 when that was so for some of many.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (Some(event_type), Some(data)) = (args.event_type, args.data) else {
        let file = args.jsonl.ok_or_else(|| Failure::Usage("a type and its data are missing".to_owned()))?;
        return publish_lines::run(&args.remote, &file).await;
    };
    let event = NewEvent::new(event_type, input::bytes(&data)?);
    let tenant = args.remote.tenant().await?;
    args.options.publish(&args.remote, &tenant, event).await
}

impl Options {
    /// Publishes the event with these options, and shows its receipt, or its deliveries when they are waited for.
    ///
    /// # Errors
    /// What the server refused, and what became of the deliveries.
    pub(crate) async fn publish(self, remote: &Remote, tenant: &Tenant, mut event: NewEvent) -> Result<(), Failure> {
        if let Some(id) = self.event_id {
            event = event.id(id);
        }
        if let Some(subject) = self.subject {
            event = event.subject(subject);
        }
        if let Some(version) = self.schema_version {
            event = event.schema_version(version);
        }
        event = self.tags.into_iter().fold(event, |event, (key, value)| event.tag(key, value));
        let mut out = remote.out();
        let receipt = tenant.publish(event).await?;
        let Some(wait) = self.wait else { return out.item(receipt.response()) };
        note(&format!("published {}, waiting for {} deliveries", receipt.event_id(), receipt.delivery_count()));
        let deliveries = receipt.delivered(wait).await?;
        out.list(futures::stream::iter(deliveries.into_iter().map(Ok)), 0).await
    }
}

impl Show for v1::PublishEventResponse {
    const COLUMNS: &'static [(&'static str, usize)] =
        &[("EVENT", 30), ("DELIVERIES", 10), ("SKIPPED", 7), ("DUPLICATE", 9), ("SEQUENCE", 10)];

    fn row(&self) -> Vec<String> {
        let counts = [self.delivery_count, self.skipped_count].map(|number| number.to_string());
        let [deliveries, skipped] = counts;
        vec![id(&self.event), deliveries, skipped, yes(self.duplicate), self.sequence.to_string()]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![
            ("event", self.event.clone()),
            ("deliveries", self.delivery_count.to_string()),
            ("skipped", self.skipped_count.to_string()),
            ("duplicate", yes(self.duplicate)),
            ("sequence", self.sequence.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{parse, refuse};

    #[test]
    fn every_flag_is_read() {
        let args = parse::<Args>(&[
            "user.terminated",
            "-d",
            "{}",
            "--subject",
            "user/1",
            "--event-id",
            "hr-1",
            "--tag",
            "a=b",
            "--tag",
            "c=d=e",
            "--schema-version",
            "2",
            "--wait",
        ]);
        assert_eq!((args.event_type.as_deref(), args.data.as_deref()), (Some("user.terminated"), Some("{}")));
        let options = args.options;
        assert_eq!((options.subject.as_deref(), options.event_id.as_deref()), (Some("user/1"), Some("hr-1")));
        assert_eq!(options.tags, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d=e".to_owned())]);
        assert_eq!((options.wait, options.schema_version), (Some(Duration::from_secs(30)), Some(2)));
        assert_eq!(parse::<Args>(&["a.b", "-d", "{}", "--wait=2s"]).options.wait, Some(Duration::from_secs(2)));
        assert_eq!(parse::<Args>(&["--jsonl", "-"]).jsonl, Some(PathBuf::from("-")));
    }

    #[test]
    fn one_event_and_a_file_of_them_exclude_each_other() {
        for arguments in [
            &[][..],
            &["user.created"],
            &["-d", "{}"],
            &["user.created", "--jsonl", "-"],
            &["--jsonl", "-", "--wait"],
            &["--jsonl", "-", "-d", "{}"],
            &["--jsonl", "-", "--tag", "a=b"],
            &["--jsonl", "-", "--schema-version", "1"],
            &["a.b", "-d", "{}", "--tag", "x"],
        ] {
            assert_eq!(refuse::<Args>(arguments), 2, "{arguments:?}");
        }
    }
}
