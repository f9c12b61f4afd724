//! From the contract's events to the store's and back: what a request asks becomes a [`NewEvent`], a [`Verdict`] becomes its answer.
//!
//! Called by the three ways to publish, for each event. Payloads are never copied here.

use std::sync::Arc;

use gatepost_client::v1;

use super::pipeline::Submit;
use crate::api::access::Call;
use crate::api::{Error, Violation};
use crate::clock::Clock;
use crate::domain::event::{Invalid, InvalidReason, NewEvent, Published};
use crate::domain::id::{self, Kind};
use crate::domain::registered::RegisteredTypes;
use crate::store::publish::{Accepted, Verdict};

/// The log line of the commit says why.
#[derive(Debug, thiserror::Error)]
#[error("the database refuses an event")]
struct Refused;

/// What checks of an event need to know.
#[derive(Debug, Clone)]
pub(super) struct Checker {
    /// Dates the ids that are made.
    pub(super) clock: Clock,
    /// Bound of a payload.
    pub(super) max_data_bytes: usize,
}

impl Checker {
    /// An event of a parent that was read, with every bad field of both. `types`: of [`types`].
    ///
    /// # Errors
    /// [`Error::InvalidFields`], [`Error::ReservedEventType`], [`Error::SchemaViolation`].
    pub(super) fn check_all(
        &self,
        parent: Result<Arc<str>, Violation>,
        request: v1::PublishEventRequest,
        types: &RegisteredTypes,
    ) -> Result<NewEvent, Error> {
        let event_type = request.r#type.clone();
        match parent {
            Ok(tenant) => self.check(&tenant, request, types).map_err(|invalid| refusal(invalid, event_type)),
            Err(violation) => {
                let mut bad = vec![violation];
                bad.extend(self.check(&Arc::default(), request, types).err().map(|invalid| invalid.violations).unwrap_or_default());
                Err(Error::InvalidFields(bad))
            }
        }
    }

    /// Checks an event of a tenant; one without an id gets a fresh one.
    ///
    /// # Errors
    /// Every bad field but `parent`, as the contract names them.
    fn check(&self, tenant: &Arc<str>, request: v1::PublishEventRequest, types: &RegisteredTypes) -> Result<NewEvent, Invalid> {
        let fresh_id = if request.event_id.is_empty() { id::make(Kind::Event, self.clock.uuid()) } else { String::new() };
        let sent = Published {
            event_id: request.event_id,
            event_type: request.r#type,
            data: request.data,
            content_type: request.content_type,
            subject: request.subject,
            tags: request.tags,
            occurred: request.occurred_time.map(|time| (time.seconds, time.nanos)),
            request_id: request.request_id,
            schema_version: request.schema_version,
        };
        NewEvent::check(tenant, sent, fresh_id, self.max_data_bytes, types)
    }
}

/// The types that an event of this parent may have, beside those of the catalogue. None of a tenant that the caller may not know of, nor of
/// one that does not exist: both answer alike.
///
/// # Errors
/// [`Error::StoreUnavailable`].
pub(super) async fn types(
    source: &impl Submit,
    call: &Call,
    parent: &Result<Arc<str>, Violation>,
    request: &v1::PublishEventRequest,
) -> Result<Arc<RegisteredTypes>, Error> {
    match parent {
        Ok(tenant) if call.caller().sees(tenant) => source
            .types(tenant, &request.r#type, request.schema_version)
            .await
            .map_err(|error| call.failed(error, &format!("tenants/{tenant}"))),
        _ => Ok(Arc::default()),
    }
}

fn refusal(invalid: Invalid, event_type: String) -> Error {
    let fields = invalid.violations;
    match invalid.reason {
        InvalidReason::Fields => Error::InvalidFields(fields),
        InvalidReason::Reserved => Error::ReservedEventType { event_type, fields },
        InvalidReason::Schema(schema_version) => Error::SchemaViolation { event_type, schema_version, fields },
    }
}

/// The id by which a repeat of the event is found, so the one that a mismatch is about. Empty when it has none.
pub(super) fn repeat_id(event: &NewEvent) -> String {
    if event.chosen_id { event.id.clone() } else { event.request_id.clone().unwrap_or_default() }
}

/// The answer to an event. `repeat_id`: of [`repeat_id`].
///
/// # Errors
/// [`Error::IdempotencyMismatch`]; [`Error::NotFound`]: no such tenant; [`Error::InvalidFields`]: its type was removed meanwhile;
/// [`Error::Internal`]: the database refuses the event.
pub(super) fn answer(call: &Call, tenant: &str, repeat_id: String, verdict: Verdict) -> Result<v1::PublishEventResponse, Error> {
    match verdict {
        Verdict::Accepted(accepted) => Ok(response(tenant, &accepted)),
        Verdict::Mismatch => Err(Error::IdempotencyMismatch { id: repeat_id }),
        Verdict::NoTenant => Err(no_tenant(tenant)),
        Verdict::NoType(problem) => Err(Error::from(Violation::new(problem.field(), problem))),
        Verdict::Refused => Err(call.defect(&Refused)),
    }
}

fn no_tenant(tenant: &str) -> Error {
    Error::NotFound { resource: format!("tenants/{tenant}") }
}

/// The answer to one event of several.
pub(super) fn result(answer: Result<v1::PublishEventResponse, Error>) -> v1::PublishResult {
    let result = match answer {
        Ok(response) => v1::publish_result::Result::Response(response),
        Err(error) => v1::publish_result::Result::Error(error.into()),
    };
    v1::PublishResult { result: Some(result) }
}

fn response(tenant: &str, accepted: &Accepted) -> v1::PublishEventResponse {
    v1::PublishEventResponse {
        event: ["tenants/", tenant, "/events/", accepted.event_id.as_str()].concat(),
        delivery_count: accepted.delivery_count,
        skipped_count: accepted.skipped_count,
        duplicate: accepted.duplicate,
        sequence: accepted.seq,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request() -> v1::PublishEventRequest {
        v1::PublishEventRequest {
            r#type: "user.created".to_owned(),
            data: Bytes::from_static(br#"{"user":{"id":"u1"}}"#),
            ..Default::default()
        }
    }

    fn call() -> Call {
        Call::of(crate::domain::caller::Caller::new("key_1", []))
    }

    fn checker() -> Checker {
        Checker { clock: Clock::system(), max_data_bytes: 1024 }
    }

    fn check(request: v1::PublishEventRequest) -> Result<NewEvent, Invalid> {
        checker().check(&Arc::from("acme"), request, &RegisteredTypes::default())
    }

    #[test]
    fn an_event_without_an_id_gets_one_and_the_payload_is_not_copied() {
        let data = Bytes::from(br#"{"user":{"id":"u1"}}"#.to_vec());
        let event = check(v1::PublishEventRequest { data: data.clone(), ..request() }).unwrap();
        assert!(event.id.starts_with("evt_") && !event.chosen_id);
        assert_eq!(event.data.as_ptr(), data.as_ptr());
        assert_ne!(event.id, check(request()).unwrap().id);
    }

    #[test]
    fn a_bad_parent_is_told_with_the_other_bad_fields() {
        let parent = crate::api::names::tenant("parent", "acme");
        let Err(Error::InvalidFields(bad)) =
            checker().check_all(parent, v1::PublishEventRequest::default(), &RegisteredTypes::default())
        else {
            panic!("bad")
        };
        assert_eq!(bad.iter().map(|bad| bad.field.as_str()).collect::<Vec<_>>(), ["parent", "type", "data"]);
    }

    #[test]
    fn a_mismatch_names_the_id_that_was_used_before() {
        let uuid = "0190163d-8694-739b-aea5-966c26f8ad91";
        let chosen = check(v1::PublishEventRequest { event_id: "hr_1".to_owned(), request_id: uuid.to_owned(), ..request() });
        let asked = check(v1::PublishEventRequest { request_id: uuid.to_owned(), ..request() });
        let ids = [chosen, asked, check(request())].map(|event| repeat_id(&event.unwrap()));
        assert_eq!(ids, ["hr_1", uuid, ""]);
        let error = answer(&call(), "acme", "hr_1".to_owned(), Verdict::Mismatch).unwrap_err();
        assert_eq!(error, Error::IdempotencyMismatch { id: "hr_1".to_owned() });
    }

    #[test]
    fn an_accepted_event_is_answered_with_its_name() {
        let accepted = Accepted { event_id: "hr_1".to_owned(), seq: 7, delivery_count: 2, skipped_count: 1, duplicate: true };
        let expected = v1::PublishEventResponse {
            event: "tenants/acme/events/hr_1".to_owned(),
            delivery_count: 2,
            skipped_count: 1,
            duplicate: true,
            sequence: 7,
        };
        assert_eq!(answer(&call(), "acme", String::new(), Verdict::Accepted(accepted)), Ok(expected));
    }
}
