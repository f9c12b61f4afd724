//! `gatepost publish`: one event from the command line; a file of them is `publish_lines`' matter.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use gatepost_client::{NewEvent, v1};

use super::connect::Remote;
use super::endpoint_settings::pair;
use super::failure::Failure;
use super::output::{Show, id, note};
use super::publish_lines;

/// Arguments of `gatepost publish`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Type of the event, such as `user.terminated`.
    #[arg(value_name = "TYPE", required_unless_present = "jsonl", conflicts_with = "jsonl")]
    event_type: Option<String>,

    /// Payload: a JSON object, `@FILE`, or `-` for standard input. Sent byte for byte.
    #[arg(short, long, required_unless_present = "jsonl", conflicts_with = "jsonl")]
    data: Option<String>,

    /// Who or what it is about, `{kind}/{id}`.
    #[arg(long, conflicts_with = "jsonl")]
    subject: Option<String>,

    /// Your id for the event; publishing it again then changes nothing.
    #[arg(long, value_name = "ID", conflicts_with = "jsonl")]
    event_id: Option<String>,

    /// Label; may be repeated.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "jsonl")]
    tags: Vec<(String, String)>,

    /// Wait until every delivery succeeded, and show them; exit code 6 when one failed, 5 when the time was up.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s",
        value_parser = humantime::parse_duration, conflicts_with = "jsonl")]
    wait: Option<Duration>,

    /// Publish many: a file of JSON lines, or `-` for standard input. Each line is an object with `type` and `data`, and may have
    /// `event_id`, `subject`, `tags` and `occurred_time`.
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,

    #[command(flatten)]
    remote: Remote,
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
    let mut event = NewEvent::new(event_type, payload(&data)?);
    if let Some(id) = args.event_id {
        event = event.id(id);
    }
    if let Some(subject) = args.subject {
        event = event.subject(subject);
    }
    event = args.tags.into_iter().fold(event, |event, (key, value)| event.tag(key, value));
    let (tenant, mut out) = (args.remote.tenant().await?, args.remote.out());
    let receipt = tenant.publish(event).await?;
    let Some(wait) = args.wait else { return out.item(receipt.response()) };
    note(&format!("published {}, waiting for {} deliveries", receipt.event_id(), receipt.delivery_count()));
    let deliveries = receipt.delivered(wait).await?;
    out.list(futures::stream::iter(deliveries.into_iter().map(Ok)), 0).await
}

fn payload(text: &str) -> Result<Bytes, Failure> {
    if let Some(file) = text.strip_prefix('@') {
        return std::fs::read(file).map(Bytes::from).map_err(|error| Failure::io(format!("cannot read {file}"), error));
    }
    if text == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| Failure::io("cannot read standard input", error))?;
        return Ok(bytes.into());
    }
    Ok(text.to_owned().into())
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

fn yes(value: bool) -> String {
    if value { "yes".to_owned() } else { String::new() }
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
            "--wait",
        ]);
        assert_eq!((args.event_type.as_deref(), args.data.as_deref()), (Some("user.terminated"), Some("{}")));
        assert_eq!((args.subject.as_deref(), args.event_id.as_deref()), (Some("user/1"), Some("hr-1")));
        assert_eq!(args.tags, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d=e".to_owned())]);
        assert_eq!(args.wait, Some(Duration::from_secs(30)));
        assert_eq!(parse::<Args>(&["a.b", "-d", "{}", "--wait=2s"]).wait, Some(Duration::from_secs(2)));
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
            &["a.b", "-d", "{}", "--tag", "x"],
        ] {
            assert_eq!(refuse::<Args>(arguments), 2, "{arguments:?}");
        }
    }

    #[test]
    fn a_payload_is_taken_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.json");
        std::fs::write(&file, "{ \"a\" : 1 }\n").unwrap();
        assert_eq!(&payload(&format!("@{}", file.display())).unwrap()[..], b"{ \"a\" : 1 }\n");
        assert_eq!(&payload("{ }").unwrap()[..], b"{ }");
        assert_eq!(payload("@/nowhere").unwrap_err().exit_code(), 1);
    }
}
