//! `gatepost publish --jsonl`: a file of events over one publish stream.
//!
//! Lines are read only as fast as events are stored. A line that is no event is named and skipped, one that the server refuses is
//! named with its reason; neither stops the others. Payloads are sent byte for byte as they stand in their line.

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures::{Stream, StreamExt};
use gatepost_client::NewEvent;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

use super::connect::Remote;
use super::failure::{Failure, brief};
use super::output::{Format, note};

/// One line.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default, alias = "eventId")]
    event_id: Option<String>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default, alias = "occurredTime")]
    occurred_time: Option<String>,
    #[serde(default, alias = "schemaVersion")]
    schema_version: i32,
}

/// What the reader of the lines tells the reader of the answers.
#[derive(Default)]
struct Reading {
    /// Numbers of the lines that were sent and have no answer yet.
    sent: VecDeque<u64>,
    /// Lines that are no event, and why.
    unreadable: Vec<(u64, String)>,
    /// Whether the end was reached.
    finished: bool,
    /// Why the file could not be read to its end.
    broken: Option<std::io::Error>,
}

type Shared = Arc<Mutex<Reading>>;

/// Publishes every line of the file, `-` for standard input.
pub(crate) async fn run(remote: &Remote, file: &Path) -> Result<(), Failure> {
    let tenant = remote.tenant().await?;
    let mut out = remote.out();
    let (lines, bytes): (Box<dyn AsyncBufRead + Send + Unpin>, Option<u64>) = if file == Path::new("-") {
        (Box::new(BufReader::new(tokio::io::stdin())), None)
    } else {
        let cannot = |error| Failure::io(format!("cannot read {}", file.display()), error);
        let opened = tokio::fs::File::open(file).await.map_err(cannot)?;
        let bytes = opened.metadata().await.map_err(cannot)?.len();
        (Box::new(BufReader::new(opened)), Some(bytes))
    };
    let bar = progress(bytes);
    let shared = Shared::default();
    let mut results = tenant.publish_stream(events(lines, shared.clone(), bar.clone()));
    let mut tally = Tally::default();
    let begun = tokio::time::Instant::now();
    let mut last_error = None;
    while let Some(result) = results.next().await {
        let (number, unreadable) = take(&shared);
        for (number, why) in unreadable {
            tally.failed(&bar, number, &why);
        }
        match result {
            Ok(receipt) => {
                tally.stored += 1;
                tally.duplicates += u64::from(receipt.duplicate());
                // People get the summary, programs every answer.
                if out.format() != Format::Table {
                    out.line(receipt.response())?;
                }
            }
            Err(error) => {
                tally.failed(&bar, number, &brief(&error));
                last_error = Some(error);
            }
        }
        bar.set_message(format!("{} events", tally.stored));
    }
    drop(results);
    let (_, unreadable) = take(&shared);
    for (number, why) in unreadable {
        tally.failed(&bar, number, &why);
    }
    bar.finish_and_clear();
    note(&tally.summary(begun.elapsed()));
    let mut reading = lock(&shared);
    if let Some(error) = reading.broken.take() {
        return Err(Failure::io(format!("cannot read {} to its end", file.display()), error));
    }
    match last_error {
        // The stream gave up, or nothing was ever accepted: that is one reason and no list of bad lines.
        Some(error) if !reading.finished || (tally.stored == 0 && error.field_violations().is_empty()) => Err(error.into()),
        _ if tally.failures > 0 => Err(Failure::Partly { failed: tally.failures, of: tally.stored + tally.failures }),
        _ => Ok(()),
    }
}

/// The events of the lines. Every one has its number noted before it is handed on.
fn events(
    lines: impl AsyncBufRead + Send + Unpin + 'static,
    shared: Shared,
    bar: ProgressBar,
) -> impl Stream<Item = NewEvent> + Send + 'static {
    async_stream::stream! {
        let mut lines = lines.lines();
        let mut number = 0;
        loop {
            let line = match lines.next_line().await {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    lock(&shared).broken = Some(error);
                    break;
                }
            };
            number += 1;
            bar.inc(line.len() as u64 + 1);
            if line.trim().is_empty() {
                continue;
            }
            match read(&line) {
                Ok(event) => {
                    lock(&shared).sent.push_back(number);
                    yield event;
                }
                Err(why) => lock(&shared).unreadable.push((number, why)),
            }
        }
        lock(&shared).finished = true;
    }
}

fn read(line: &str) -> Result<NewEvent, String> {
    let line: Line<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut event = NewEvent::new(line.event_type, line.data.get().to_owned()).schema_version(line.schema_version);
    if let Some(id) = line.event_id {
        event = event.id(id);
    }
    if let Some(subject) = line.subject {
        event = event.subject(subject);
    }
    if let Some(time) = line.occurred_time {
        let time: jiff::Timestamp = time.parse().map_err(|_| "occurred_time is not RFC 3339".to_owned())?;
        event = event.occurred(SystemTime::from(time));
    }
    Ok(line.tags.into_iter().fold(event, |event, (key, value)| event.tag(key, value)))
}

/// The number of the line that the next answer is for, and the unreadable lines so far.
fn take(shared: &Shared) -> (u64, Vec<(u64, String)>) {
    let mut reading = lock(shared);
    (reading.sent.pop_front().unwrap_or_default(), std::mem::take(&mut reading.unreadable))
}

/// Every change of it is one statement, so a poisoned lock holds nothing half done.
fn lock(shared: &Shared) -> MutexGuard<'_, Reading> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn progress(bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(bytes, ProgressDrawTarget::hidden());
    }
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{bar:40} {percent:>3} %  {msg}  {elapsed}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
    };
    // The templates are constants; a bar without its style is still a bar.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[derive(Default)]
struct Tally {
    stored: u64,
    duplicates: u64,
    failures: u64,
}

impl Tally {
    fn failed(&mut self, bar: &ProgressBar, number: u64, why: &str) {
        self.failures += 1;
        bar.suspend(|| note(&format!("line {number}: {why}")));
    }

    fn summary(&self, took: Duration) -> String {
        let rate = self.stored as f64 / took.as_secs_f64().max(0.001);
        format!(
            "published {} events in {:.1} s ({rate:.0} a second), {} of them known before; {} lines failed",
            self.stored,
            took.as_secs_f64(),
            self.duplicates,
            self.failures
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_its_payload_byte_for_byte() {
        let line = r#"{"event_id":"e-1","type":"user.created","subject":"user/1","occurred_time":"2026-11-25T09:00:00Z","schema_version":2,"tags":{"a":"b"},"data":{ "x" : 1.50 }}"#;
        let mut expected = NewEvent::new("user.created", r#"{ "x" : 1.50 }"#).id("e-1").subject("user/1").tag("a", "b");
        expected = expected.occurred(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_597_200)).schema_version(2);
        assert_eq!(read(line).unwrap(), expected);
        assert!(read(r#"{"type":"user.created","data":{}}"#).unwrap().event_id().starts_with("evt_"));
    }

    #[test]
    fn a_line_that_is_no_event_says_why() {
        for (line, why) in [
            ("nonsense", "expected"),
            (r#"{"data":{}}"#, "type"),
            (r#"{"type":"a.b"}"#, "data"),
            (r#"{"type":"a.b","data":{},"evnt_id":"x"}"#, "evnt_id"),
            (r#"{"type":"a.b","data":{},"occurred_time":"today"}"#, "occurred_time"),
        ] {
            let said = read(line).unwrap_err();
            assert!(said.contains(why), "{line}: {said}");
        }
    }

    #[tokio::test]
    async fn every_event_is_noted_with_the_number_of_its_line() {
        let text = "{\"type\":\"a.b\",\"data\":{}}\n\nbroken\n{\"type\":\"c.d\",\"data\":{}}";
        let shared = Shared::default();
        let bar = ProgressBar::hidden();
        let events: Vec<NewEvent> = events(text.as_bytes(), shared.clone(), bar).collect().await;
        assert_eq!(events.len(), 2);
        let reading = lock(&shared);
        assert_eq!(reading.sent, [1, 4]);
        assert_eq!(reading.unreadable[0].0, 3);
        assert!(reading.finished && reading.broken.is_none());
    }
}
