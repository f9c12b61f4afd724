//! `gatepost explain`: which endpoints an event is for, and which rule with which values says no.

use futures::TryStreamExt;
use gatepost_client::v1::{self, endpoint_match::Reason};

use super::connect::Remote;
use super::failure::Failure;
use super::output::{Format, Show, id, note, yes};

/// Arguments of `gatepost explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The event's id.
    event: String,

    #[command(flatten)]
    remote: Remote,
}

/// Runs `gatepost explain`.
///
/// # Errors
/// What the server refused.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let (tenant, mut out) = (args.remote.tenant().await?, args.remote.out());
    let pages = tenant.explain_event(args.event);
    if out.format() != Format::Table {
        return out.list(pages, 0).await;
    }
    let matches: Vec<v1::EndpointMatch> = pages.try_collect().await?;
    if matches.is_empty() {
        note("the tenant has no endpoint: `gatepost endpoints create URL` makes one");
        return Ok(());
    }
    let read: String = matches.iter().map(values).collect();
    out.list(futures::stream::iter(matches.into_iter().map(Ok)), 0).await?;
    if read.is_empty() { Ok(()) } else { out.text(&read) }
}

/// Why an event is not for an endpoint, in words that go on from its id: `siem: its filter is false`. Empty when it is.
pub(crate) fn why(found: &v1::EndpointMatch) -> String {
    let reason = match found.reason() {
        Reason::Unspecified => "",
        Reason::HooksOnly => "it is for hooks only",
        Reason::Disabled => "it is disabled",
        Reason::EventType => "its event types do not name this one",
        Reason::NoSecurityEvent => "no family of its tokens has this type",
        Reason::FilterFalse => "its filter is false",
        Reason::FilterFailed => "its filter fails",
    };
    [reason, &found.detail].iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>().join(": ")
}

/// What a filter read, a line each; nothing when it was not asked.
pub(crate) fn values(found: &v1::EndpointMatch) -> String {
    let lines: String = found.values.iter().map(|value| format!("  {} = {}\n", value.path, value.value)).collect();
    if lines.is_empty() { lines } else { format!("\nthe filter of {} read\n{lines}", id(&found.endpoint)) }
}

impl Show for v1::EndpointMatch {
    const COLUMNS: &'static [(&'static str, usize)] = &[("ENDPOINT", 24), ("MATCHED", 7), ("WHY", 36), ("DELIVERIES", 33)];

    fn row(&self) -> Vec<String> {
        let deliveries: Vec<String> = self.deliveries.iter().map(|name| id(name)).collect();
        let why = match (self.matched, deliveries.is_empty()) {
            (true, true) => "it did not when the event was published".to_owned(),
            _ => why(self),
        };
        vec![id(&self.endpoint), if self.matched { yes(true) } else { "no".to_owned() }, why, deliveries.join(" ")]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().map(|(name, _)| *name).zip(self.row()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::parse;
    use v1::endpoint_match::Value;

    fn refused(reason: Reason, detail: &str) -> v1::EndpointMatch {
        v1::EndpointMatch {
            endpoint: "tenants/acme/endpoints/siem".into(),
            reason: reason.into(),
            detail: detail.into(),
            ..v1::EndpointMatch::default()
        }
    }

    #[test]
    fn an_event_is_named() {
        assert_eq!(parse::<Args>(&["evt_1", "-o", "json"]).event, "evt_1");
    }

    #[test]
    fn every_reason_has_words() {
        for reason in (1..=6).map(|code| Reason::try_from(code).unwrap()) {
            assert!(!why(&refused(reason, "")).is_empty(), "{reason:?}");
        }
        assert!(Reason::try_from(7).is_err(), "a new reason needs words");
        assert_eq!(why(&refused(Reason::FilterFailed, "no such key: user")), "its filter fails: no such key: user");
    }

    #[test]
    fn a_row_tells_today_from_then() {
        let matched = v1::EndpointMatch { matched: true, ..refused(Reason::Unspecified, "") };
        assert_eq!(matched.row(), ["siem", "yes", "it did not when the event was published", ""]);
        let made = v1::EndpointMatch { deliveries: vec!["tenants/acme/deliveries/dlv_1".into()], ..matched };
        assert_eq!(made.row(), ["siem", "yes", "", "dlv_1"]);
        assert_eq!(refused(Reason::FilterFalse, "").row()[1..3], ["no", "its filter is false"]);
    }

    #[test]
    fn what_a_filter_read_is_told() {
        let value = |path: &str, value: &str| Value { path: path.into(), value: value.into() };
        let read = vec![value("data.user.department", "\"Finance\""), value("tags.source", "(absent)")];
        let found = v1::EndpointMatch { values: read, ..refused(Reason::FilterFalse, "") };
        let expected = "\nthe filter of siem read\n  data.user.department = \"Finance\"\n  tags.source = (absent)\n";
        assert_eq!(values(&found), expected);
        assert_eq!(values(&refused(Reason::Disabled, "")), "");
    }
}
