//! An endpoint's fields: checked all at once when they are written, encoded when they are read. Pure but for the address policy.

use std::time::Duration;

use gatepost_client::v1;
use gatepost_client::v1::retry_policy::{Explicit, Exponential, Schedule};
use url::Url;

use super::shape;
use crate::api::Violations;
use crate::api::convert::{self, any_duration, bounded, duration, endpoint_name, timestamp};
use crate::api::mask::Mask;
use crate::api::tenants::MAX_DISPLAY_NAME;
use crate::domain::endpoint::{
    self, ATTEMPT_TIMEOUT, DEFAULT_ATTEMPT_TIMEOUT, DEFAULT_MAX_IN_FLIGHT, EventTypesViolation, HIDDEN, HeaderChange,
    MAX_IN_FLIGHT, MOST_PERMANENT_STATUSES, TypePattern, change_headers, may_be_permanent, parse_event_types, parse_header_changes,
    parse_url,
};
use crate::domain::event_filter::EventFilter;
use crate::domain::retry::{PolicyViolation, RetryPolicy};
use crate::outbound::Egress;
use crate::outbound::address::Refusal;
use crate::store::endpoints::{EndpointChange, EndpointRecord, Health, SecretInfo};

/// What UpdateEndpoint changes.
pub(super) const CHANGEABLE: &[&str] = &[
    "url",
    "display_name",
    "description",
    "event_types",
    "headers",
    "retry_policy",
    "attempt_timeout",
    "max_in_flight",
    "permanent_statuses",
    "hooks_only",
    "filter",
    "format",
    "field_policy",
    "transform",
    "encryption",
    "set_audience",
    "set_families",
    "set_subject",
    "set_own_types",
];

const MAX_DESCRIPTION: usize = 2000;

/// Fields that were checked; those that the mask leaves out are `None`.
pub(super) type Checked = EndpointChange;

/// Whether a field holds more than its default.
pub(super) fn is_set(sent: &v1::Endpoint, field: &str) -> bool {
    match field {
        "url" => !sent.url.is_empty(),
        "display_name" => !sent.display_name.is_empty(),
        "description" => !sent.description.is_empty(),
        "event_types" => !sent.event_types.is_empty(),
        "headers" => !sent.headers.is_empty(),
        "retry_policy" => sent.retry_policy.is_some(),
        "attempt_timeout" => sent.attempt_timeout.is_some(),
        "max_in_flight" => sent.max_in_flight != 0,
        "permanent_statuses" => !sent.permanent_statuses.is_empty(),
        "hooks_only" => sent.hooks_only,
        "filter" => !sent.filter.is_empty(),
        _ => shape::is_set(sent, field),
    }
}

/// Checks the fields of the mask and notes every bad one.
pub(super) fn check(bad: &mut Violations, sent: &v1::Endpoint, mask: &Mask, egress: &Egress) -> Checked {
    let mut checked = Checked::default();
    if mask.has("url") {
        checked.url = check_url(bad, &sent.url, egress);
    }
    if mask.has("display_name") {
        checked.display_name = bad.keep(convert::text("endpoint.display_name", sent.display_name.clone(), MAX_DISPLAY_NAME));
    }
    if mask.has("description") {
        checked.description = bad.keep(convert::text("endpoint.description", sent.description.clone(), MAX_DESCRIPTION));
    }
    if mask.has("event_types") {
        checked.event_types = check_event_types(bad, &sent.event_types);
    }
    if mask.has("headers") {
        checked.headers = check_headers(bad, sent);
    }
    if mask.has("retry_policy") {
        checked.retry = check_retry(bad, sent.retry_policy.as_ref());
    }
    if mask.has("attempt_timeout") {
        checked.attempt_timeout = match &sent.attempt_timeout {
            None => Some(DEFAULT_ATTEMPT_TIMEOUT),
            Some(timeout) => bad.keep(bounded("endpoint.attempt_timeout", timeout, ATTEMPT_TIMEOUT)),
        };
    }
    if mask.has("max_in_flight") {
        checked.max_in_flight = check_max_in_flight(bad, sent.max_in_flight);
    }
    if mask.has("permanent_statuses") {
        checked.permanent_statuses = check_statuses(bad, &sent.permanent_statuses);
    }
    if mask.has("hooks_only") {
        checked.hooks_only = Some(sent.hooks_only);
    }
    if mask.has("filter") {
        checked.filter = check_filter(bad, &sent.filter);
    }
    checked.shape = shape::check(bad, sent, mask);
    checked
}

/// A filter that compiles.
fn check_filter(bad: &mut Violations, text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    // Not every database stores it.
    if !bad.check("endpoint.filter", !text.contains('\0'), "must hold no NUL") {
        return None;
    }
    bad.take("endpoint.filter", EventFilter::compile(text)).map(|_| text.to_owned())
}

fn check_url(bad: &mut Violations, text: &str, egress: &Egress) -> Option<Url> {
    const FIELD: &str = "endpoint.url";
    if !bad.check(FIELD, !text.is_empty(), "is missing") {
        return None;
    }
    let url = match parse_url(text, egress.url_rules()) {
        Ok(url) => url,
        Err(violations) => {
            violations.iter().for_each(|violation| bad.add(FIELD, violation));
            return None;
        }
    };
    match egress.check_url(&url) {
        Ok(()) => Some(url),
        // The configuration's networks are nobody's business.
        Err(Refusal::Denied { .. } | Refusal::Special { .. }) => {
            bad.add(FIELD, "must not name an address that is not public");
            None
        }
        Err(refusal) => {
            bad.add(FIELD, refusal);
            None
        }
    }
}

fn check_event_types(bad: &mut Violations, texts: &[String]) -> Option<Vec<TypePattern>> {
    let violations = match parse_event_types(texts) {
        Ok(patterns) => return Some(patterns),
        Err(violations) => violations,
    };
    for violation in violations {
        match violation {
            EventTypesViolation::TooMany => bad.add("endpoint.event_types", violation),
            EventTypesViolation::Pattern { index, source } => bad.add(format!("endpoint.event_types[{index}]"), source),
        }
    }
    None
}

fn check_headers(bad: &mut Violations, sent: &v1::Endpoint) -> Option<Vec<HeaderChange>> {
    match parse_header_changes(sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
        Ok(changes) => Some(changes),
        Err(violations) => {
            violations.iter().for_each(|violation| bad.add("endpoint.headers", violation));
            None
        }
    }
}

fn check_max_in_flight(bad: &mut Violations, sent: i32) -> Option<u32> {
    if sent == 0 {
        return Some(DEFAULT_MAX_IN_FLIGHT);
    }
    let number = u32::try_from(sent).ok().filter(|number| MAX_IN_FLIGHT.contains(number));
    bad.check("endpoint.max_in_flight", number.is_some(), "must be 1 to 1000, or 0 for 10");
    number
}

fn check_statuses(bad: &mut Violations, sent: &[i32]) -> Option<Vec<u16>> {
    const FIELD: &str = "endpoint.permanent_statuses";
    if !bad.check(FIELD, sent.len() <= MOST_PERMANENT_STATUSES, format_args!("must be at most {MOST_PERMANENT_STATUSES}")) {
        return None;
    }
    let mut statuses = Vec::with_capacity(sent.len());
    for (index, status) in sent.iter().enumerate() {
        match u16::try_from(*status).ok().filter(|status| may_be_permanent(*status)) {
            Some(status) => statuses.push(status),
            None => bad.add(format!("{FIELD}[{index}]"), "must be from 400 to 499 and none of 408, 410 and 429"),
        }
    }
    Some(statuses)
}

fn check_retry(bad: &mut Violations, sent: Option<&v1::RetryPolicy>) -> Option<RetryPolicy> {
    let policy = match sent.and_then(|policy| policy.schedule.as_ref()) {
        None => return Some(RetryPolicy::default()),
        Some(Schedule::Explicit(Explicit { waits })) => {
            // Too many are found below; here the work is bounded.
            RetryPolicy::Explicit { waits: waits.iter().take(51).map(wait).collect() }
        }
        Some(Schedule::Exponential(Exponential { initial, factor, max, max_attempts })) => {
            // In the place of one that is missing stands one that breaks nothing, so that the others are judged.
            let mut read = |name: &str, sent: &Option<prost_types::Duration>, otherwise: u64| {
                bad.check(&format!("endpoint.retry_policy.exponential.{name}"), sent.is_some(), "is missing");
                sent.as_ref().map_or(Duration::from_secs(otherwise), wait)
            };
            let (initial, max) = (read("initial", initial, 1), read("max", max, 7 * 24 * 3600));
            let max_attempts = u32::try_from(*max_attempts).unwrap_or(0);
            RetryPolicy::Exponential { initial, factor: *factor, max, max_attempts }
        }
    };
    let violations = policy.violations();
    for violation in &violations {
        let field = match violation {
            PolicyViolation::TooManyWaits => "explicit.waits".to_owned(),
            PolicyViolation::Wait { index } => format!("explicit.waits[{index}]"),
            PolicyViolation::Initial => "exponential.initial".to_owned(),
            PolicyViolation::Factor => "exponential.factor".to_owned(),
            PolicyViolation::Max => "exponential.max".to_owned(),
            PolicyViolation::MaxAttempts => "exponential.max_attempts".to_owned(),
        };
        bad.add(format!("endpoint.retry_policy.{field}"), violation);
    }
    violations.is_empty().then_some(policy)
}

/// A wait as it was sent; zero, which no bound takes, for one that is no duration.
fn wait(sent: &prost_types::Duration) -> Duration {
    any_duration("", sent).unwrap_or_default()
}

/// Notes what a new endpoint, which has none, cannot keep of its headers.
pub(super) fn check_new_headers(bad: &mut Violations, changes: Option<&Vec<HeaderChange>>) {
    let violations = changes.and_then(|changes| change_headers(changes.clone(), &[]).err()).unwrap_or_default();
    violations.iter().for_each(|violation| bad.add("endpoint.headers", violation));
}

/// As its readers see it: without a secret.
pub(super) fn encode(record: &EndpointRecord) -> v1::Endpoint {
    let endpoint = &record.endpoint;
    v1::Endpoint {
        name: endpoint_name(&endpoint.tenant, &endpoint.id),
        url: endpoint.url.to_string(),
        display_name: record.display_name.clone(),
        description: record.description.clone(),
        event_types: endpoint.event_types.iter().map(ToString::to_string).collect(),
        headers: endpoint.headers.iter().map(|header| (header.name.to_string(), HIDDEN.to_owned())).collect(),
        retry_policy: Some(encode_retry(&endpoint.retry)),
        attempt_timeout: Some(duration(endpoint.attempt_timeout)),
        max_in_flight: i32::try_from(endpoint.max_in_flight).unwrap_or(i32::MAX),
        permanent_statuses: endpoint.permanent_statuses.iter().map(|status| i32::from(*status)).collect(),
        state: encode_state(endpoint.state).into(),
        disabled_reason: record.disabled_reason.map_or(0, |reason| reason.code().into()),
        signing_secrets: record.secrets.iter().map(encode_secret).collect(),
        signing_secret: String::new(),
        health: Some(encode_health(&record.health)),
        create_time: Some(timestamp(record.create_time)),
        update_time: Some(timestamp(record.update_time)),
        etag: record.revision.to_string(),
        hooks_only: endpoint.hooks_only,
        filter: endpoint.filter.as_ref().map(|filter| filter.text().to_owned()).unwrap_or_default(),
        paused_reason: record.paused_reason.map_or(0, |reason| reason.code().into()),
        ..shape::encode(&endpoint.shape)
    }
}

pub(super) fn encode_secret(secret: &SecretInfo) -> v1::endpoint::SigningSecret {
    v1::endpoint::SigningSecret {
        fingerprint: secret.fingerprint.clone(),
        create_time: Some(timestamp(secret.create_time)),
        expire_time: secret.expire_time.map(timestamp),
    }
}

fn encode_state(state: endpoint::State) -> v1::endpoint::State {
    v1::endpoint::State::try_from(i32::from(state.code())).unwrap_or_default()
}

fn encode_health(health: &Health) -> v1::endpoint::Health {
    v1::endpoint::Health {
        last_success_time: health.last_success_time.map(timestamp),
        last_failure_time: health.last_failure_time.map(timestamp),
        consecutive_failures: health.consecutive_failures,
        hold_until_time: health.hold_until.map(timestamp),
    }
}

fn encode_retry(policy: &RetryPolicy) -> v1::RetryPolicy {
    let schedule = match policy {
        RetryPolicy::Explicit { waits } => Schedule::Explicit(Explicit { waits: waits.iter().copied().map(duration).collect() }),
        RetryPolicy::Exponential { initial, factor, max, max_attempts } => Schedule::Exponential(Exponential {
            initial: Some(duration(*initial)),
            factor: *factor,
            max: Some(duration(*max)),
            max_attempts: i32::try_from(*max_attempts).unwrap_or(i32::MAX),
        }),
    };
    v1::RetryPolicy { schedule: Some(schedule) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Error;
    use crate::outbound::EgressConfig;

    fn egress() -> Egress {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Egress::new(EgressConfig::default()).unwrap()
    }

    /// The bad fields of an endpoint that is created with this.
    fn bad_fields(sent: &v1::Endpoint) -> Vec<String> {
        let mut bad = Violations::new();
        check(&mut bad, sent, &Mask::all(CHANGEABLE), &egress());
        match bad.into_result() {
            Err(Error::InvalidFields(fields)) => fields.into_iter().map(|bad| bad.field).collect(),
            _ => Vec::new(),
        }
    }

    fn seconds(seconds: i64) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos: 0 }
    }

    fn good() -> v1::Endpoint {
        v1::Endpoint { url: "https://siem.example.com/hook".to_owned(), ..v1::Endpoint::default() }
    }

    #[test]
    fn an_endpoint_needs_only_its_url() {
        let mut bad = Violations::new();
        let checked = check(&mut bad, &good(), &Mask::all(CHANGEABLE), &egress());
        assert!(bad.is_empty());
        assert_eq!((checked.max_in_flight, checked.attempt_timeout), (Some(10), Some(Duration::from_secs(15))));
        assert_eq!(checked.retry, Some(RetryPolicy::default()));
        assert_eq!(bad_fields(&v1::Endpoint::default()), ["endpoint.url"]);
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let sent = v1::Endpoint {
            url: "http://user@example.com/#x".to_owned(),
            display_name: "x".repeat(201),
            description: "x".repeat(2001),
            event_types: vec!["user.*".to_owned(), "User".to_owned()],
            headers: [("host".to_owned(), "x".to_owned())].into(),
            retry_policy: Some(v1::RetryPolicy { schedule: Some(Schedule::Explicit(Explicit { waits: vec![seconds(0)] })) }),
            attempt_timeout: Some(seconds(61)),
            max_in_flight: 1001,
            permanent_statuses: vec![404, 410],
            ..v1::Endpoint::default()
        };
        assert_eq!(
            bad_fields(&sent),
            [
                "endpoint.url",
                "endpoint.url",
                "endpoint.url",
                "endpoint.display_name",
                "endpoint.description",
                "endpoint.event_types[1]",
                "endpoint.headers",
                "endpoint.retry_policy.explicit.waits[0]",
                "endpoint.attempt_timeout",
                "endpoint.max_in_flight",
                "endpoint.permanent_statuses[1]"
            ]
        );
    }

    #[test]
    fn an_address_that_may_not_be_called_is_refused_when_it_is_written() {
        for url in
            ["https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "https://169.254.169.254/latest", "http://example.com/"]
        {
            assert_eq!(bad_fields(&v1::Endpoint { url: url.to_owned(), ..good() }), ["endpoint.url"], "{url}");
        }
    }

    #[test]
    fn a_retry_policy_names_what_is_wrong_with_it() {
        let policy = |exponential| Some(v1::RetryPolicy { schedule: Some(Schedule::Exponential(exponential)) });
        let empty = Exponential { initial: None, factor: 0.0, max: None, max_attempts: 0 };
        assert_eq!(
            bad_fields(&v1::Endpoint { retry_policy: policy(empty), ..good() }),
            [
                "endpoint.retry_policy.exponential.initial",
                "endpoint.retry_policy.exponential.max",
                "endpoint.retry_policy.exponential.factor",
                "endpoint.retry_policy.exponential.max_attempts"
            ]
        );
        let wild = Exponential { initial: Some(seconds(5)), factor: f64::NAN, max: Some(seconds(1)), max_attempts: -3 };
        assert_eq!(
            bad_fields(&v1::Endpoint { retry_policy: policy(wild), ..good() }),
            [
                "endpoint.retry_policy.exponential.factor",
                "endpoint.retry_policy.exponential.max",
                "endpoint.retry_policy.exponential.max_attempts"
            ]
        );
        let many = Explicit { waits: vec![seconds(1); 100_000] };
        let many = Some(v1::RetryPolicy { schedule: Some(Schedule::Explicit(many)) });
        assert_eq!(bad_fields(&v1::Endpoint { retry_policy: many, ..good() }), ["endpoint.retry_policy.explicit.waits"]);
    }

    #[test]
    fn what_a_mask_leaves_out_is_neither_checked_nor_changed() {
        let mut bad = Violations::new();
        let sent = v1::Endpoint { url: "nonsense".to_owned(), display_name: "new".to_owned(), ..v1::Endpoint::default() };
        let mask = Mask::read(&mut bad, None, CHANGEABLE, |field| field == "display_name");
        let checked = check(&mut bad, &sent, &mask, &egress());
        assert!(bad.is_empty() && checked.url.is_none() && checked.headers.is_none());
        assert_eq!(checked.display_name.as_deref(), Some("new"));
        assert!(CHANGEABLE.iter().all(|field| !is_set(&v1::Endpoint::default(), field)));
        assert!(is_set(&sent, "url") && !is_set(&sent, "name"));
    }
}
