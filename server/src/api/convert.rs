//! Shapes shared by the services: times, durations, request ids, pages, and what a failure of the store means to the caller.
//!
//! The only place that turns a [`store::Error`] into an [`Error`]. What a caller cannot mend is logged here, once, with its chain.

use std::borrow::Borrow;
use std::ops::RangeInclusive;
use std::time::Duration;

use gatepost_client::v1;
use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};

use super::access::Call;
use super::page::{self, Query};
use super::{Api, Error, Violation};
use crate::domain::{Time, delivery, endpoint};
use crate::store::page::Page;
use crate::store::requests::{Once, Request};
use crate::store::{self};

/// When to come back after the database did not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// What a failed call of the store was about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// Name of the resource.
    pub(super) resource: &'a str,
    /// The `request_id` or `event_id`; empty: none was sent.
    pub(super) id: &'a str,
}

impl<'a, T: AsRef<str> + ?Sized> From<&'a T> for About<'a> {
    fn from(resource: &'a T) -> Self {
        Self { resource: resource.as_ref(), id: "" }
    }
}

impl Call {
    /// What a failure of the store means to this call.
    pub(super) fn failed<'a>(&self, error: impl Borrow<store::Error>, about: impl Into<About<'a>>) -> Error {
        let (error, about) = (error.borrow(), about.into());
        let resource = || about.resource.to_owned();
        match error {
            store::Error::NotFound => Error::NotFound { resource: resource() },
            store::Error::AlreadyExists => Error::AlreadyExists { resource: resource() },
            store::Error::EtagMismatch => Error::EtagMismatch { resource: resource() },
            store::Error::IdempotencyMismatch => Error::IdempotencyMismatch { id: about.id.to_owned() },
            store::Error::Limit { name, value } => Error::LimitReached { limit: name, value: *value },
            store::Error::WrongState(code) => wrong_state(about.resource, *code),
            store::Error::TokenExpired => Error::ResumeTokenExpired,
            store::Error::Headers(violations) => {
                Error::InvalidFields(violations.iter().map(|violation| Violation::new("endpoint.headers", violation)).collect())
            }
            store::Error::Fields(violations) => Error::InvalidFields(violations.clone()),
            store::Error::BadPosition => Violation::new("page_token", "is not a token of this list").into(),
            store::Error::Overloaded => Error::Overloaded { retry: RETRY },
            store::Error::Unavailable(_) | store::Error::Conflict(_) | store::Error::EpochLost => {
                tracing::warn!(request_id = self.request_id(), error = %crate::telemetry::chain(error), "the database is unavailable");
                Error::StoreUnavailable { retry: RETRY }
            }
            error => self.defect(error),
        }
    }

    /// The first answer to a request that is repeated.
    ///
    /// # Errors
    /// [`Error::Internal`]: what was kept is no such message.
    pub(super) fn replayed<M: prost::Message + Default>(&self, answer: &[u8]) -> Result<M, Error> {
        M::decode(answer).map_err(|error| self.defect(&error))
    }

    /// A failure that no caller can mend.
    pub(super) fn defect(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        tracing::error!(request_id = self.request_id(), error = %crate::telemetry::chain(error), "a call failed");
        Error::Internal { request_id: self.request_id().to_owned() }
    }
}

/// The collection in the name says whose state it is.
fn wrong_state(resource: &str, code: i16) -> Error {
    let (state, description) = if resource.contains("/endpoints/") {
        match endpoint::State::from_code(code) {
            Some(endpoint::State::Disabled) => ("DISABLED", "enable it first"),
            Some(endpoint::State::Paused) => ("PAUSED", "resume it instead"),
            _ => ("ACTIVE", "it is in use"),
        }
    } else if resource.contains("/deliveries/") {
        match delivery::State::from_code(code) {
            Some(delivery::State::Succeeded) => ("SUCCEEDED", "the receiver has it"),
            Some(delivery::State::Dead) => ("DEAD", "it is a dead letter"),
            Some(delivery::State::Cancelled) => ("CANCELLED", "it was withdrawn"),
            Some(delivery::State::Retrying) => ("RETRYING", "it is not finished"),
            _ => ("PENDING", "it is not finished"),
        }
    } else {
        ("DELETING", "it is being removed and accepts nothing")
    };
    Error::WrongState { resource: resource.to_owned(), state: state.to_owned(), description: description.to_owned() }
}

impl Api {
    /// Which page a list request asks for. Both fields may be bad.
    pub(super) fn page(&self, bad: &mut super::Violations, query: &Query<'_>, size: i32, token: &str) -> Option<Page> {
        let size = bad.keep(page::size(size));
        let after = bad.keep(self.tokens.decode(query, token));
        size.zip(after).map(|(size, after)| Page { after, size })
    }

    /// The token of the next page; empty on the last.
    pub(super) fn next_token(&self, query: &Query<'_>, next: Option<Vec<u8>>) -> String {
        next.map(|position| self.tokens.encode(query, &position)).unwrap_or_default()
    }
}

/// A time on the wire.
pub(super) fn timestamp(time: Time) -> Timestamp {
    let millis = time.millis();
    Timestamp { seconds: millis.div_euclid(1000), nanos: i32::try_from(millis.rem_euclid(1000)).unwrap_or(0) * 1_000_000 }
}

/// A time from the wire, cut to milliseconds.
///
/// # Errors
/// It is before 1970, after 9999, or malformed.
pub(super) fn time(field: &str, sent: &Timestamp) -> Result<Time, Violation> {
    if (0..=LAST_SECOND).contains(&sent.seconds) && (0..1_000_000_000).contains(&sent.nanos) {
        Ok(Time::from_millis(sent.seconds * 1000 + i64::from(sent.nanos / 1_000_000)))
    } else {
        Err(Violation::new(field, "must lie between the years 1970 and 9999"))
    }
}

/// A duration on the wire.
pub(super) fn duration(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0) }
}

/// Milliseconds of a row as a duration on the wire.
pub(super) fn millis(millis: i64) -> prost_types::Duration {
    duration(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// A duration from the wire as it stands; negative and malformed ones are refused.
///
/// # Errors
/// It is no duration from now on.
pub(super) fn any_duration(field: &str, sent: &prost_types::Duration) -> Result<Duration, Violation> {
    match (u64::try_from(sent.seconds), u32::try_from(sent.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(Violation::new(field, "must be a duration that is not negative")),
    }
}

/// A duration from the wire within its bounds.
///
/// # Errors
/// It is out of them.
pub(super) fn bounded(field: &str, sent: &prost_types::Duration, bounds: RangeInclusive<Duration>) -> Result<Duration, Violation> {
    any_duration(field, sent).ok().filter(|duration| bounds.contains(duration)).ok_or_else(|| {
        let [shortest, longest] = [bounds.start(), bounds.end()].map(|bound| humantime::format_duration(*bound));
        Violation::new(field, format_args!("must be {shortest} to {longest}"))
    })
}

/// A call to be answered once: the request without its id, hashed. `None` when there is no id.
///
/// `request`: with an empty `request_id`. `tenant`: empty for what belongs to none.
///
/// # Errors
/// The id is no UUID.
pub(super) fn once<'a, M: prost::Message, R>(
    tenant: &str,
    method: &'static str,
    request_id: &str,
    request: &M,
    encode: impl Fn(&R) -> Vec<u8> + Send + Sync + 'a,
) -> Result<Option<Once<'a, R>>, Violation> {
    Ok(checked_request_id(request_id)?.map(|request_id| {
        let hash = Sha256::digest(request.encode_to_vec()).into();
        Once { request: Request { tenant: tenant.to_owned(), method, request_id, hash }, encode: Box::new(encode) }
    }))
}

/// A request id in its one spelling; `None` when it is empty.
///
/// # Errors
/// It is no UUID.
pub(super) fn checked_request_id(request_id: &str) -> Result<Option<String>, Violation> {
    if request_id.is_empty() {
        return Ok(None);
    }
    match uuid::Uuid::try_parse(request_id) {
        Ok(uuid) => Ok(Some(uuid.hyphenated().to_string())),
        Err(_) => Err(Violation::new("request_id", "must be a UUID")),
    }
}

/// The revision that an etag names; `None` when it is empty.
///
/// # Errors
/// [`Error::EtagMismatch`]: no revision is written so.
pub(super) fn revision(resource: &str, etag: &str) -> Result<Option<i64>, Error> {
    if etag.is_empty() {
        return Ok(None);
    }
    let parsed = etag.parse::<i64>().ok().filter(|revision| revision.to_string() == etag);
    parsed.map(Some).ok_or_else(|| Error::EtagMismatch { resource: resource.to_owned() })
}

/// How an attempt ended, as the contract numbers it.
pub(super) fn attempt_class(class: delivery::AttemptClass) -> v1::AttemptClass {
    v1::AttemptClass::try_from(i32::from(class.code())).unwrap_or(v1::AttemptClass::Unspecified)
}

/// A text for people within its length, without control characters but line ends.
pub(super) fn text(field: &str, text: String, most_characters: usize) -> Result<String, Violation> {
    if text.chars().count() > most_characters {
        return Err(Violation::new(field, format_args!("must be at most {most_characters} characters long")));
    }
    if text.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\t')) {
        return Err(Violation::new(field, "must not hold control characters"));
    }
    Ok(text)
}

/// `tenants/{tenant}/endpoints/{endpoint}`.
pub(super) fn endpoint_name(tenant: &str, endpoint: &str) -> String {
    format!("tenants/{tenant}/endpoints/{endpoint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::Caller;

    #[test]
    fn times_keep_their_milliseconds_and_stay_in_bounds() {
        let time_ = Time::from_millis(1_795_597_200_123);
        assert_eq!(time("t", &timestamp(time_)), Ok(time_));
        for (seconds, nanos) in [(-1, 0), (LAST_SECOND + 1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, i32::MAX)] {
            assert_eq!(time("t", &Timestamp { seconds, nanos }).unwrap_err().field, "t");
        }
    }

    #[test]
    fn durations_stay_in_bounds() {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(60);
        let check = |seconds, nanos| bounded("d", &prost_types::Duration { seconds, nanos }, bounds.clone());
        assert_eq!(check(1, 500_000_000), Ok(Duration::from_millis(1_500)));
        assert_eq!(check(0, 999_999_999).unwrap_err().description, "must be 1s to 1m");
        assert!(check(60, 1).is_err() && check(-1, 0).is_err() && check(5, -1).is_err() && check(i64::MAX, i32::MAX).is_err());
    }

    #[test]
    fn a_request_id_has_one_spelling() {
        let id = "0190C0DE-0000-7000-8000-000000000001";
        assert_eq!(checked_request_id(id), Ok(Some(id.to_ascii_lowercase())));
        assert_eq!(checked_request_id(&id.replace('-', "")), Ok(Some(id.to_ascii_lowercase())));
        assert_eq!(checked_request_id(""), Ok(None));
        assert_eq!(checked_request_id("1").unwrap_err().field, "request_id");
    }

    #[test]
    fn an_etag_is_a_revision_or_matches_nothing() {
        assert_eq!(revision("tenants/a", "7"), Ok(Some(7)));
        assert_eq!(revision("tenants/a", ""), Ok(None));
        for etag in ["07", "+7", "x", "99999999999999999999"] {
            assert_eq!(revision("tenants/a", etag), Err(Error::EtagMismatch { resource: "tenants/a".to_owned() }), "{etag}");
        }
    }

    #[test]
    fn what_a_caller_cannot_mend_is_a_request_id_and_nothing_else() {
        let call = Call::of(Caller::new("key_1", []));
        let damaged = store::Error::BadRow { table: "endpoints", row: "secret".into(), problem: "secret".into() };
        assert_eq!(call.failed(damaged, "tenants/a"), Error::Internal { request_id: "req_test".to_owned() });
    }

    #[test]
    fn a_wrong_state_is_named_as_the_contract_names_it() {
        for (resource, code, state) in [
            ("tenants/a/endpoints/b", 3, "DISABLED"),
            ("tenants/a/endpoints/b", 2, "PAUSED"),
            ("tenants/a/deliveries/d", 4, "SUCCEEDED"),
            ("tenants/a", 2, "DELETING"),
        ] {
            let Error::WrongState { state: named, .. } = wrong_state(resource, code) else { panic!("another error") };
            assert_eq!(named, state, "{resource} {code}");
        }
    }
}
