//! What goes to stdout: tables for people, the protobuf JSON mapping for programs.
//!
//! A message says with [`Show`] how it looks in a table; its JSON comes from the descriptors of the contract. A write that fails
//! because the reader went away ends the command quietly and never panics.

use std::io::{IsTerminal, Write};
use std::sync::LazyLock;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use futures::{Stream, StreamExt};
use gatepost_client::Error;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage};

use super::failure::Failure;
use super::pretty::pretty;

static DESCRIPTORS: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(include_bytes!(concat!(env!("OUT_DIR"), "/gatepost.binpb")).as_slice()).ok());

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
}

/// How a message looks to people.
pub(crate) trait Show: Message + Name {
    /// Heads of the columns and how wide each is at least while rows are streamed.
    const COLUMNS: &'static [(&'static str, usize)];

    /// A cell for each column.
    fn row(&self) -> Vec<String>;

    /// Everything about it, a name and a value a line; empty values are left out.
    fn details(&self) -> Vec<(&'static str, String)>;
}

/// Where data goes.
pub(crate) struct Output<W> {
    format: Format,
    colour: bool,
    out: W,
    rows: usize,
}

impl Output<std::io::Stdout> {
    pub(crate) fn stdout(format: Format) -> Self {
        let out = std::io::stdout();
        // Source: no-color.org.
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { format, colour: wanted && out.is_terminal(), out, rows: 0 }
    }
}

impl<W: Write> Output<W> {
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// One message with everything about it.
    pub(crate) fn item<M: Show>(&mut self, message: &M) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let details: Vec<_> = message.details().into_iter().map(|(name, value)| (name, harmless(&value))).collect();
                let width = details.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
                for (name, value) in details.iter().filter(|(_, value)| !value.is_empty()) {
                    let value = value.replace('\n', &format!("\n{:width$}  ", ""));
                    self.write(&format!("{name:width$}  {}\n", self.painted(&value)))?;
                }
                Ok(())
            }
            Format::Json => self.write(&format!("{:#}\n", json(message)?)),
            Format::Jsonl => self.write(&format!("{}\n", json(message)?)),
        }
    }

    /// Text for people, without what could steer a terminal. Ends its last line.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.write(&ended(harmless(text)))
    }

    /// A document that is JSON itself, such as a schema: with line breaks for people, as it is for programs.
    pub(crate) fn document(&mut self, json: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table => self.text(&pretty(json)),
            Format::Json | Format::Jsonl => self.write(&ended(json.to_owned())),
        }
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).and_then(|()| self.out.flush()).map_err(Failure::output)
    }

    /// A list to its end, or to `limit` items; 0 is no limit.
    pub(crate) async fn list<M: Show>(
        &mut self,
        mut items: impl Stream<Item = Result<M, Error>> + Unpin,
        limit: usize,
    ) -> Result<(), Failure> {
        let mut count = 0;
        let mut rows = Vec::new();
        while let Some(item) = items.next().await {
            if limit > 0 && count == limit {
                note(&format!("there are more than {limit}; --limit 0 shows all"));
                break;
            }
            count += 1;
            let item = item?;
            match self.format {
                Format::Table => rows.push(item.row()),
                Format::Jsonl => self.item(&item)?,
                // The array is written as it comes, so that a long list needs no memory.
                Format::Json => self.write(&format!("{}{:#}", if count == 1 { "[" } else { ",\n" }, json(&item)?))?,
            }
        }
        match self.format {
            Format::Table => self.table(M::COLUMNS, rows),
            Format::Json => self.write(if count == 0 { "[]\n" } else { "]\n" }),
            Format::Jsonl => Ok(()),
        }
    }

    /// One row of a table that grows, or one line of JSON.
    pub(crate) fn line<M: Show>(&mut self, message: &M) -> Result<(), Failure> {
        if self.format != Format::Table {
            return self.write(&format!("{}\n", json(message)?));
        }
        self.columns(M::COLUMNS, &message.row())
    }

    /// One row of a table that grows; its head goes before the first.
    pub(crate) fn columns(&mut self, columns: &[(&str, usize)], cells: &[String]) -> Result<(), Failure> {
        if self.rows == 0 {
            let head: Vec<String> = columns.iter().map(|(name, width)| format!("{name:width$}")).collect();
            self.write(&format!("{}\n", head.join("  ").trim_end()))?;
        }
        self.rows += 1;
        // Padded before it is painted: colours have no width.
        let cells: Vec<String> =
            columns.iter().zip(cells).map(|((_, width), cell)| self.painted(&format!("{:width$}", harmless(cell)))).collect();
        self.write(&format!("{}\n", cells.join("  ").trim_end()))
    }

    /// Any JSON value on one line.
    pub(crate) fn value(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        self.write(&format!("{value}\n"))
    }

    fn table(&mut self, columns: &[(&str, usize)], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if self.colour {
            table.enforce_styling();
        }
        table.set_header(columns.iter().map(|(name, _)| *name));
        table.add_rows(rows.iter().map(|row| {
            row.iter().map(|cell| harmless(cell)).map(|cell| match colour(&cell).filter(|_| self.colour) {
                Some(colour) => Cell::new(cell).fg(table_colour(colour)),
                None => Cell::new(cell),
            })
        }));
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 1));
        });
        let lines: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        self.write(&lines)
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    fn painted(&self, text: &str) -> String {
        match colour(text.trim()).filter(|_| self.colour) {
            Some(colour) => {
                let style = anstyle::Style::new().fg_color(Some(colour.into()));
                format!("{style}{text}{style:#}")
            }
            None => text.to_owned(),
        }
    }
}

/// A line of data on stdout.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    anstream::stdout().write_all(format!("{text}\n").as_bytes()).map_err(Failure::output)
}

/// A word to the user, beside the data.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The protobuf JSON mapping of a message. Source: protobuf.dev, "ProtoJSON Format".
pub(crate) fn json<M: Message + Name>(message: &M) -> Result<serde_json::Value, Failure> {
    let unknown = || Failure::other("cannot write JSON", format!("the contract does not know {}", M::full_name()));
    let descriptor = DESCRIPTORS.as_ref().and_then(|pool| pool.get_message_by_name(&M::full_name())).ok_or_else(unknown)?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| Failure::other("cannot write JSON", error))?;
    serde_json::to_value(&dynamic).map_err(|error| Failure::other("cannot write JSON", error))
}

/// Reads the protobuf JSON mapping of a message. Members that it does not have are an error.
pub(crate) fn from_json<M: Message + Name + Default>(text: &str) -> Result<M, Box<dyn std::error::Error + Send + Sync>> {
    let unknown = || format!("the contract does not know {}", M::full_name());
    let descriptor = DESCRIPTORS.as_ref().and_then(|pool| pool.get_message_by_name(&M::full_name())).ok_or_else(unknown)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let dynamic = DynamicMessage::deserialize(descriptor, &mut reader)?;
    reader.end()?;
    Ok(dynamic.transcode_to()?)
}

/// A name of an enum of the contract without what all its names begin with; nothing for the one that says nothing.
pub(crate) fn short(name: &str, prefix: &str) -> String {
    match name.strip_prefix(prefix).unwrap_or(name) {
        "UNSPECIFIED" => String::new(),
        name => name.to_owned(),
    }
}

/// The last part of a resource's name.
pub(crate) fn id(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_owned()
}

/// RFC 3339 in UTC to the second; empty when it is absent.
pub(crate) fn time(time: Option<&prost_types::Timestamp>) -> String {
    let Some(time) = time else { return String::new() };
    match jiff::Timestamp::new(time.seconds, time.nanos) {
        Ok(time) => format!("{time:.0}"),
        Err(_) => format!("{} s", time.seconds),
    }
}

/// A duration in milliseconds or more, such as `1s 20ms`; empty when it is absent.
pub(crate) fn duration(duration: Option<&prost_types::Duration>) -> String {
    match duration.map(|duration| std::time::Duration::try_from(*duration)) {
        Some(Ok(duration)) if duration < std::time::Duration::from_millis(1) => format!("{}us", duration.as_micros()),
        Some(Ok(duration)) => {
            let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            humantime::format_duration(std::time::Duration::from_millis(millis)).to_string()
        }
        _ => String::new(),
    }
}

/// A count, or nothing for zero.
pub(crate) fn count(number: i64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

/// `yes`, or nothing.
pub(crate) fn yes(value: bool) -> String {
    if value { "yes".to_owned() } else { String::new() }
}

/// Without control characters: a receiver's answer must not steer the terminal of whoever reads it.
fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter }).collect()
}

fn ended(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Words that stand for something good, bad or waiting.
fn colour(text: &str) -> Option<anstyle::AnsiColor> {
    match text {
        "ACTIVE" | "SUCCEEDED" | "SUCCESS" | "verified" => Some(anstyle::AnsiColor::Green),
        "DEAD" | "DELETING" | "DISABLED" => Some(anstyle::AnsiColor::Red),
        "RETRYING" | "HELD" | "PAUSED" => Some(anstyle::AnsiColor::Yellow),
        _ => None,
    }
}

fn table_colour(colour: anstyle::AnsiColor) -> Color {
    match colour {
        anstyle::AnsiColor::Green => Color::Green,
        anstyle::AnsiColor::Red => Color::Red,
        _ => Color::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_client::v1::{Event, Tenant, tenant};

    fn tenants() -> Vec<Tenant> {
        ["acme", "globex"]
            .map(|id| Tenant {
                name: format!("tenants/{id}"),
                state: tenant::State::Active.into(),
                create_time: Some(prost_types::Timestamp { seconds: 1_795_597_200, nanos: 5_000_000 }),
                ..Tenant::default()
            })
            .to_vec()
    }

    async fn listed(format: Format, tenants: Vec<Tenant>, limit: usize) -> String {
        let mut output = Output { format, colour: false, out: Vec::new(), rows: 0 };
        output.list(futures::stream::iter(tenants.into_iter().map(Ok)), limit).await.unwrap();
        String::from_utf8(output.out).unwrap()
    }

    #[tokio::test]
    async fn json_is_the_protobuf_mapping_in_one_document() {
        let document: serde_json::Value = serde_json::from_str(&listed(Format::Json, tenants(), 0).await).unwrap();
        assert_eq!(document[1]["name"], "tenants/globex");
        assert_eq!(document[0]["state"], "STATE_ACTIVE");
        assert_eq!(document[0]["createTime"], "2026-11-25T09:00:00.005Z");
        assert_eq!(listed(Format::Json, vec![], 0).await, "[]\n");
    }

    #[tokio::test]
    async fn jsonl_is_one_document_a_line() {
        let text = listed(Format::Jsonl, tenants(), 0).await;
        let names: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["tenants/acme", "tenants/globex"]);
    }

    #[tokio::test]
    async fn a_table_has_a_head_and_a_row_each() {
        let text = listed(Format::Table, tenants(), 0).await;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].starts_with("ID") && lines[0].contains("STATE") && lines[1].contains("acme") && lines[1].contains("ACTIVE"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "no colour outside a terminal");
    }

    #[tokio::test]
    async fn a_limit_is_kept() {
        assert_eq!(listed(Format::Jsonl, tenants(), 1).await.lines().count(), 1);
    }

    #[test]
    fn payload_bytes_and_large_numbers_follow_the_mapping() {
        let event = Event { data: (&b"{}"[..]).into(), sequence: 1 << 60, ..Event::default() };
        let value = json(&event).unwrap();
        assert_eq!(value["data"], "e30=");
        assert_eq!(value["sequence"], (1i64 << 60).to_string());
    }

    #[test]
    fn messages_are_read_as_they_are_written() {
        let event = Event { data: (&b"{}"[..]).into(), sequence: 1 << 60, ..Event::default() };
        assert_eq!(from_json::<Event>(&json(&event).unwrap().to_string()).unwrap(), event);
        for wrong in ["", "{} {}", r#"{"nam": "x"}"#, r#"{"sequence": "x"}"#] {
            assert!(from_json::<Event>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output { format: Format::Jsonl, colour: false, out: Gone, rows: 0 };
        assert_eq!(output.line(&tenants()[0]).unwrap_err().exit_code(), 0);
    }

    #[test]
    fn what_a_receiver_answered_cannot_steer_the_terminal() {
        let mut output = Output { format: Format::Table, colour: false, out: Vec::new(), rows: 0 };
        output.item(&Tenant { name: "tenants/a\u{1b}[2Jb".into(), ..Tenant::default() }).unwrap();
        output.text("a\u{1b}[2Jb").unwrap();
        output.document("\"a\u{9b}2Jb\"").unwrap();
        let text = String::from_utf8(output.out).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{9b}']) && text.ends_with("2Jb\"\n"), "{text:?}");
    }

    #[test]
    fn durations_and_times_are_readable() {
        assert_eq!(duration(Some(&prost_types::Duration { seconds: 1, nanos: 20_300_000 })), "1s 20ms");
        assert_eq!(duration(Some(&prost_types::Duration { seconds: 0, nanos: 20_000 })), "20us");
        assert_eq!(time(Some(&prost_types::Timestamp { seconds: 1_795_597_200, nanos: 5 })), "2026-11-25T09:00:00Z");
        assert_eq!([duration(None), time(None), count(0), id("tenants/a/events/e")], ["", "", "", "e"]);
    }
}
