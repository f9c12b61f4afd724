//! An endpoint as delivery needs it: where to send, what, how, and with which secrets.
//!
//! Built by the store from a row, shared in an `Arc` by the matcher and the dispatcher, never changed in place. What users write comes
//! in through [`parse_url`], [`parse_headers`] and [`parse_event_types`], each of which names every violation at once.

mod custom_headers;
mod url_rules;

use std::sync::Arc;
use std::time::Duration;

use url::Url;

pub use self::custom_headers::{
    CustomHeader, HIDDEN, HeaderChange, HeaderViolation, change_headers, parse_header_changes, parse_headers,
};
pub use self::url_rules::{UrlRules, UrlViolation, parse_url};
use super::delivery::Policy;
use super::event_filter::EventFilter;
pub use super::event_type::{PatternError, TypePattern, is_event_type, is_sent_unasked};
use super::retry::RetryPolicy;
use super::shape::{Parts, Shape};
use super::signature::SigningSecret;
use super::{Time, Violation};

/// Bounds and default of `attempt_timeout`.
pub const ATTEMPT_TIMEOUT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
/// The timeout of an endpoint that names none.
pub const DEFAULT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// Bounds of `max_in_flight`.
pub const MAX_IN_FLIGHT: std::ops::RangeInclusive<u32> = 1..=1_000;
/// Requests on the wire at once, on each node, of an endpoint that names no number.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 10;
/// The most `event_types` of an endpoint.
pub const MOST_EVENT_TYPES: usize = 100;
/// The most `permanent_statuses` of an endpoint.
pub const MOST_PERMANENT_STATUSES: usize = 50;
/// The most signing secrets that are active at once.
pub const MOST_SECRETS: usize = 5;

/// Whether an endpoint gets anything. The numbers are those of the contract and of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum State {
    /// Gets events.
    Active = 1,
    /// Holds its deliveries until it is resumed.
    Paused = 2,
    /// New events skip it; its backlog is held.
    Disabled = 3,
}

impl State {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Active, Self::Paused, Self::Disabled];

    /// Its number in rows and in the contract.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Reads a number that [`State::code`] wrote.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// A receiver with its settings.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its number in the database.
    pub key: i64,
    /// Id of its tenant.
    pub tenant: Arc<str>,
    /// Its id, unique in the tenant.
    pub id: Arc<str>,
    /// Where deliveries are posted, as it was parsed and checked.
    pub url: Url,
    /// Types it gets; empty: every type that is sent unasked.
    pub event_types: Vec<TypePattern>,
    /// Headers of its own on every request.
    pub headers: Vec<CustomHeader>,
    /// When a failed delivery is tried again.
    pub retry: RetryPolicy,
    /// From the name lookup to the last byte of the answer.
    pub attempt_timeout: Duration,
    /// Requests on the wire at once, on each node.
    pub max_in_flight: u32,
    /// Statuses from 400 to 499 that end a delivery at once.
    pub permanent_statuses: Vec<u16>,
    /// Whether it gets anything.
    pub state: State,
    /// What signs its requests, newest first.
    pub secrets: Vec<ActiveSecret>,
    /// It gets no event, only what hooks ask of it.
    pub hooks_only: bool,
    /// Which events it gets beyond their type; `None`: all of them.
    pub filter: Option<Arc<EventFilter>>,
    /// How events become its requests.
    pub shape: Shape,
}

/// A signing secret in use.
#[derive(Debug, Clone)]
pub struct ActiveSecret {
    /// The secret.
    pub secret: SigningSecret,
    /// When it stops signing; `None` for the newest.
    pub expire: Option<Time>,
}

impl Endpoint {
    /// Whether an event of this type is for it, whatever its state.
    pub fn accepts(&self, event_type: &str) -> bool {
        accepts(&self.event_types, event_type)
    }

    /// The secrets that sign at this time, newest first.
    pub fn signing_secrets(&self, now: Time) -> impl Iterator<Item = &SigningSecret> {
        self.secrets.iter().filter(move |active| active.expire.is_none_or(|expire| now < expire)).map(|active| &active.secret)
    }

    /// What it says about failures.
    pub fn policy(&self) -> Policy<'_> {
        Policy { retry: &self.retry, permanent_statuses: &self.permanent_statuses, format: self.shape.format }
    }

    /// What keeps an event of this type from it, its filter aside. `Ok`: the parts of the deliveries that it gets.
    ///
    /// # Errors
    /// The first rule that says no.
    pub fn admits(&self, event_type: &str) -> Result<Parts, Mismatch> {
        if self.hooks_only {
            return Err(Mismatch::HooksOnly);
        }
        if self.state == State::Disabled {
            return Err(Mismatch::Disabled);
        }
        if !self.accepts(event_type) {
            return Err(Mismatch::EventType);
        }
        let parts = self.shape.parts(event_type);
        if parts.is_empty() { Err(Mismatch::NoSecurityEvent) } else { Ok(parts) }
    }

    /// Bytes of memory that its filter and its template take, about.
    pub fn program_bytes(&self) -> usize {
        let filter = self.filter.as_ref().map_or(0, |filter| filter.bytes());
        filter + self.shape.transform.as_ref().map_or(0, |transform| transform.text().len() * 8)
    }

    /// Settings that do not go together, as the contract names them.
    pub fn conflicts(&self) -> Vec<Violation> {
        self.shape.conflicts()
    }
}

/// A rule that keeps an event from an endpoint. The numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum Mismatch {
    /// It gets hooks alone.
    HooksOnly = 1,
    /// It is disabled.
    Disabled = 2,
    /// Its `event_types` do not name the type.
    EventType = 3,
    /// The type has no security event of the families it chose.
    NoSecurityEvent = 4,
    /// Its filter is false.
    FilterFalse = 5,
    /// Its filter failed.
    FilterFailed = 6,
}

/// Whether an endpoint with these `event_types` gets this type.
pub fn accepts(event_types: &[TypePattern], event_type: &str) -> bool {
    if event_types.is_empty() { is_sent_unasked(event_type) } else { event_types.iter().any(|pattern| pattern.matches(event_type)) }
}

/// Something wrong with a list of `event_types`; `Display` is for the caller who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventTypesViolation {
    /// More than 100.
    #[error("must hold at most {MOST_EVENT_TYPES} event types")]
    TooMany,
    /// `event_types[index]` is no pattern.
    #[error("{source}")]
    Pattern {
        /// Which one, from 0.
        index: usize,
        /// Why.
        source: PatternError,
    },
}

/// Reads a list of event types and families.
///
/// # Errors
/// Every violation, in the order of the list.
pub fn parse_event_types<S: AsRef<str>>(texts: &[S]) -> Result<Vec<TypePattern>, Vec<EventTypesViolation>> {
    if texts.len() > MOST_EVENT_TYPES {
        return Err(vec![EventTypesViolation::TooMany]);
    }
    let mut patterns = Vec::with_capacity(texts.len());
    let mut violations = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match TypePattern::parse(text.as_ref()) {
            Ok(pattern) => patterns.push(pattern),
            Err(source) => violations.push(EventTypesViolation::Pattern { index, source }),
        }
    }
    if violations.is_empty() { Ok(patterns) } else { Err(violations) }
}

/// Whether a status may stand in `permanent_statuses`: 400 to 499 without those that mean something of their own (408, 410, 429).
pub fn may_be_permanent(status: u16) -> bool {
    (400..=499).contains(&status) && !matches!(status, 408 | 410 | 429)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(event_types: &[&str]) -> Endpoint {
        Endpoint {
            key: 1,
            tenant: "acme".into(),
            id: "siem".into(),
            url: Url::parse("https://siem.acme.test/hook").unwrap(),
            event_types: parse_event_types(event_types).unwrap(),
            headers: parse_headers([("x-token", "canary")]).unwrap(),
            retry: RetryPolicy::default(),
            attempt_timeout: DEFAULT_ATTEMPT_TIMEOUT,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
            permanent_statuses: Vec::new(),
            state: State::Active,
            secrets: Vec::new(),
            hooks_only: false,
            filter: None,
            shape: Shape::plain("acme"),
        }
    }

    #[test]
    fn an_endpoint_gets_what_it_names_or_what_is_sent_unasked() {
        let all = endpoint(&[]);
        assert!(all.accepts("user.created") && !all.accepts("webhook.verification"));
        let some = endpoint(&["user.*", "webhook.endpoint_disabled"]);
        assert!(some.accepts("user.created") && some.accepts("webhook.endpoint_disabled"));
        assert!(!some.accepts("group.member_added") && !some.accepts("webhook.verification"));
    }

    #[test]
    fn a_secret_signs_until_it_expires() {
        let now = Time::from_millis(5_000);
        let mut endpoint = endpoint(&[]);
        let (new, old, gone) =
            (SigningSecret::generate([1; 32]), SigningSecret::generate([2; 32]), SigningSecret::generate([3; 32]));
        endpoint.secrets = vec![
            ActiveSecret { secret: new.clone(), expire: None },
            ActiveSecret { secret: old.clone(), expire: Some(Time::from_millis(5_001)) },
            ActiveSecret { secret: gone, expire: Some(now) },
        ];
        assert_eq!(endpoint.signing_secrets(now).collect::<Vec<_>>(), [&new, &old]);
    }

    #[test]
    fn every_bad_pattern_is_named() {
        let violations = parse_event_types(&["user.*", "user", "a.b", "*"]).unwrap_err();
        let pattern = |index| EventTypesViolation::Pattern { index, source: PatternError };
        assert_eq!(violations, [pattern(1), pattern(3)]);
        assert_eq!(parse_event_types(&vec!["a.b"; 101]).unwrap_err(), [EventTypesViolation::TooMany]);
    }

    #[test]
    fn debug_shows_neither_secrets_nor_header_values() {
        let mut endpoint = endpoint(&[]);
        endpoint.secrets = vec![ActiveSecret { secret: SigningSecret::generate([7; 32]), expire: None }];
        let text = format!("{endpoint:?}");
        assert!(!text.contains("canary") && !text.contains("[7, 7"), "{text}");
    }

    #[test]
    fn codes_are_those_of_the_contract() {
        for state in State::ALL {
            assert_eq!(State::from_code(state.code()), Some(state));
            let name = gatepost_client::v1::endpoint::State::try_from(i32::from(state.code())).unwrap().as_str_name();
            assert_eq!(name, format!("STATE_{state:?}").to_uppercase());
        }
    }

    #[test]
    fn statuses_with_a_meaning_of_their_own_are_never_permanent() {
        assert!(may_be_permanent(400) && may_be_permanent(404) && may_be_permanent(499));
        assert!([408, 410, 429, 399, 500, 200].into_iter().all(|status| !may_be_permanent(status)));
    }
}
