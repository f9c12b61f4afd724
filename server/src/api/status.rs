//! Errors of the API and their one way to the wire: the only place that makes a `tonic::Status`.
//!
//! Every status carries an `ErrorInfo` with a reason of `error_reason.proto`; bad fields come as `BadRequest`, a wait that helps as
//! `RetryInfo`, a state in the way as `PreconditionFailure`. What is echoed from a request is cut, as details travel in HTTP/2 headers,
//! which clients bound. Nothing internal may pass: a defect is a request id here and a line in the log there.

use std::collections::HashMap;
use std::time::Duration;

use gatepost_client::v1::{self, ErrorReason, publish_error};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt};

use super::Violation;

/// `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "gatepost";

// Together under 8 KiB of HTTP/2 headers once encoded, which gRPC clients other than Rust's do not take more of by default.
/// Bytes of all the bad fields that one status carries.
const FIELDS_BYTES: usize = 3072;
/// Bytes of the message.
const MESSAGE_BYTES: usize = 512;
/// Bytes of a name, field or description.
const TEXT_BYTES: usize = 200;

/// Why a call failed, as its caller is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// INVALID_ARGUMENT: every bad field.
    #[error("{}", describe(.0))]
    InvalidFields(Vec<Violation>),
    /// INVALID_ARGUMENT: the event's type is one that Gatepost alone publishes.
    #[error("{}", describe(fields))]
    ReservedEventType {
        /// The type.
        event_type: String,
        /// Every bad field.
        fields: Vec<Violation>,
    },
    /// INVALID_ARGUMENT: the payload does not satisfy its type's schema.
    #[error("{}", describe(fields))]
    SchemaViolation {
        /// The type.
        event_type: String,
        /// Version of its schema.
        schema_version: i32,
        /// Every bad field; what does not satisfy the schema is `data` and a JSON pointer.
        fields: Vec<Violation>,
    },
    /// NOT_FOUND: it does not exist, or the caller may not know of it.
    #[error("`{resource}` was not found")]
    NotFound {
        /// Name of the resource.
        resource: String,
    },
    /// ALREADY_EXISTS: a chosen id is taken.
    #[error("`{resource}` exists already")]
    AlreadyExists {
        /// Name of the resource.
        resource: String,
    },
    /// ALREADY_EXISTS: an id that was used with other fields.
    #[error("`{id}` was used before with other fields")]
    IdempotencyMismatch {
        /// The `event_id` or `request_id`.
        id: String,
    },
    /// ABORTED: read it again, then repeat.
    #[error("`{resource}` was changed meanwhile: its etag is another")]
    EtagMismatch {
        /// Name of the resource.
        resource: String,
    },
    /// FAILED_PRECONDITION.
    #[error("`{resource}` is {state}: {description}")]
    WrongState {
        /// Name of the resource.
        resource: String,
        /// Name of its state without prefix, such as `SUCCEEDED`.
        state: String,
        /// What would be needed.
        description: String,
    },
    /// UNAUTHENTICATED: which of no, unknown, revoked and expired is not told.
    #[error("a valid API key is needed")]
    Unauthenticated,
    /// PERMISSION_DENIED.
    #[error("the API key lacks the scope `{scope}`")]
    ScopeMissing {
        /// As scopes are written.
        scope: String,
    },
    /// OUT_OF_RANGE: list, then watch from now.
    #[error("the resume token is older than what is kept")]
    ResumeTokenExpired,
    /// RESOURCE_EXHAUSTED: a limit of the configuration.
    #[error("the limit `{limit}` of {value} is reached")]
    LimitReached {
        /// Name in the configuration, without `limits.`.
        limit: &'static str,
        /// Its value.
        value: u64,
    },
    /// RESOURCE_EXHAUSTED: come back.
    #[error("more work is waiting than the server accepts")]
    Overloaded {
        /// When.
        retry: Duration,
    },
    /// RESOURCE_EXHAUSTED: too many calls of this kind, such as those without a valid key of one peer.
    #[error("there were too many such calls: come back later")]
    RateLimited {
        /// When.
        retry: Duration,
    },
    /// UNAVAILABLE: nothing was written, or a repeat with the same ids finds what was.
    #[error("the database cannot be reached")]
    StoreUnavailable {
        /// When to come back.
        retry: Duration,
    },
    /// UNAVAILABLE: the server drains.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// INTERNAL: a defect.
    #[error("a defect of the server; its log says more under `{request_id}`")]
    Internal {
        /// `req_…`, with which the log names the cause.
        request_id: String,
    },
    /// DEADLINE_EXCEEDED: a write may have happened.
    #[error("the deadline passed before there was an answer")]
    DeadlinePassed,
}

impl Error {
    /// The canonical code.
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidFields(_) | Self::ReservedEventType { .. } | Self::SchemaViolation { .. } => Code::InvalidArgument,
            Self::NotFound { .. } => Code::NotFound,
            Self::AlreadyExists { .. } | Self::IdempotencyMismatch { .. } => Code::AlreadyExists,
            Self::EtagMismatch { .. } => Code::Aborted,
            Self::WrongState { .. } => Code::FailedPrecondition,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::ScopeMissing { .. } => Code::PermissionDenied,
            Self::ResumeTokenExpired => Code::OutOfRange,
            Self::LimitReached { .. } | Self::Overloaded { .. } | Self::RateLimited { .. } => Code::ResourceExhausted,
            Self::StoreUnavailable { .. } | Self::ShuttingDown => Code::Unavailable,
            Self::Internal { .. } => Code::Internal,
            Self::DeadlinePassed => Code::DeadlineExceeded,
        }
    }

    /// The reason that clients branch on.
    pub const fn reason(&self) -> ErrorReason {
        match self {
            Self::InvalidFields(_) => ErrorReason::InvalidFields,
            Self::NotFound { .. } => ErrorReason::ResourceNotFound,
            Self::AlreadyExists { .. } => ErrorReason::ResourceAlreadyExists,
            Self::IdempotencyMismatch { .. } => ErrorReason::IdempotencyMismatch,
            Self::EtagMismatch { .. } => ErrorReason::EtagMismatch,
            Self::WrongState { .. } => ErrorReason::WrongState,
            Self::Unauthenticated => ErrorReason::ApiKeyInvalid,
            Self::ScopeMissing { .. } => ErrorReason::ScopeMissing,
            Self::ResumeTokenExpired => ErrorReason::ResumeTokenExpired,
            Self::LimitReached { .. } => ErrorReason::LimitReached,
            Self::Overloaded { .. } => ErrorReason::Overloaded,
            Self::StoreUnavailable { .. } => ErrorReason::StoreUnavailable,
            Self::ShuttingDown => ErrorReason::ShuttingDown,
            Self::Internal { .. } => ErrorReason::Internal,
            Self::DeadlinePassed => ErrorReason::DeadlinePassed,
            Self::RateLimited { .. } => ErrorReason::RateLimited,
            Self::ReservedEventType { .. } => ErrorReason::ReservedEventType,
            Self::SchemaViolation { .. } => ErrorReason::SchemaViolation,
        }
    }

    /// Every bad field.
    fn fields(&self) -> &[Violation] {
        match self {
            Self::InvalidFields(fields) | Self::ReservedEventType { fields, .. } | Self::SchemaViolation { fields, .. } => fields,
            _ => &[],
        }
    }

    /// The reason as `ErrorInfo` spells it: without the enum's prefix.
    pub fn reason_name(&self) -> &'static str {
        let name = self.reason().as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }

    fn metadata(&self) -> HashMap<String, String> {
        let pairs = match self {
            Self::NotFound { resource } | Self::AlreadyExists { resource } | Self::EtagMismatch { resource } => {
                vec![("resource", short(resource))]
            }
            Self::IdempotencyMismatch { id } => vec![("id", short(id))],
            Self::WrongState { resource, state, .. } => vec![("resource", short(resource)), ("state", short(state))],
            Self::ScopeMissing { scope } => vec![("scope", short(scope))],
            Self::LimitReached { limit, value } => vec![("limit", (*limit).to_owned()), ("value", value.to_string())],
            Self::Internal { request_id } => vec![("request_id", request_id.clone())],
            Self::ReservedEventType { event_type, .. } => vec![("type", short(event_type))],
            Self::SchemaViolation { event_type, schema_version, .. } => {
                vec![("type", short(event_type)), ("schema_version", schema_version.to_string())]
            }
            _ => Vec::new(),
        };
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut details = ErrorDetails::with_error_info(error.reason_name(), DOMAIN, error.metadata());
        match &error {
            Error::InvalidFields(fields) | Error::ReservedEventType { fields, .. } | Error::SchemaViolation { fields, .. } => {
                details.set_bad_request(shown(fields).map(|(field, text)| FieldViolation::new(field, text)).collect::<Vec<_>>());
            }
            Error::WrongState { resource, description, .. } => {
                details.set_precondition_failure(vec![PreconditionViolation::new("STATE", short(resource), short(description))]);
            }
            Error::Overloaded { retry } | Error::RateLimited { retry } | Error::StoreUnavailable { retry } => {
                details.set_retry_info(Some(*retry));
            }
            _ => {}
        }
        Self::with_error_details(error.code(), cut(&error.to_string(), MESSAGE_BYTES), details)
    }
}

/// For one event of several, where the call itself succeeds.
impl From<Error> for v1::PublishError {
    fn from(error: Error) -> Self {
        let (code, reason) = (error.code() as i32, error.reason_name().to_owned());
        let message = cut(&error.to_string(), MESSAGE_BYTES);
        let field_violations =
            shown(error.fields()).map(|(field, description)| publish_error::FieldViolation { field, description }).collect();
        Self { code, reason, message, field_violations }
    }
}

/// The first bad field and how many there are: the message is for people, `BadRequest` for programs.
fn describe(fields: &[Violation]) -> String {
    match fields {
        [] => "the request is invalid".to_owned(),
        [only] => format!("{}: {}", short(&only.field), short(&only.description)),
        [first, rest @ ..] => format!("{}: {} (and {} more)", short(&first.field), short(&first.description), rest.len()),
    }
}

/// Field and description of the first bad fields, as many as a status has room for.
fn shown(fields: &[Violation]) -> impl Iterator<Item = (String, String)> {
    let cut = fields.iter().map(|bad| (short(&bad.field), short(&bad.description)));
    cut.scan(0, |bytes, (field, description)| {
        *bytes += field.len() + description.len();
        (*bytes <= FIELDS_BYTES).then_some((field, description))
    })
}

fn short(text: &str) -> String {
    cut(text, TEXT_BYTES)
}

/// At most so many bytes, with an ellipsis when there were more.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = (0..=limit.saturating_sub('…'.len_utf8())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Error> {
        let resource = || "tenants/acme/endpoints/siem".to_owned();
        let retry = Duration::from_millis(1_500);
        vec![
            Error::InvalidFields(vec![Violation::new("endpoint.url", "is missing"), Violation::new("page_size", "is negative")]),
            Error::NotFound { resource: resource() },
            Error::AlreadyExists { resource: resource() },
            Error::IdempotencyMismatch { id: "evt_1".to_owned() },
            Error::EtagMismatch { resource: resource() },
            Error::WrongState { resource: resource(), state: "DISABLED".to_owned(), description: "enable it first".to_owned() },
            Error::Unauthenticated,
            Error::ScopeMissing { scope: "publish".to_owned() },
            Error::ResumeTokenExpired,
            Error::LimitReached { limit: "endpoints_per_tenant", value: 1000 },
            Error::Overloaded { retry },
            Error::StoreUnavailable { retry },
            Error::ShuttingDown,
            Error::Internal { request_id: "req_1".to_owned() },
            Error::DeadlinePassed,
            Error::RateLimited { retry },
            Error::ReservedEventType {
                event_type: "access.granted".to_owned(),
                fields: vec![Violation::new("type", "is published by Gatepost alone")],
            },
            Error::SchemaViolation {
                event_type: "user.terminated".to_owned(),
                schema_version: 1,
                fields: vec![Violation::new("data/user/id", "is required")],
            },
        ]
    }

    #[test]
    fn every_reason_of_the_contract_has_an_error_and_every_status_its_reason() {
        let reasons: Vec<_> = all().iter().map(|error| error.reason() as i32).collect();
        let contract: Vec<_> = (1..).map_while(|number| ErrorReason::try_from(number).ok()).map(|reason| reason as i32).collect();
        assert_eq!(reasons, contract, "in the order of error_reason.proto");
        for error in all() {
            let status = Status::from(error.clone());
            let info = status.get_details_error_info().expect("an ErrorInfo");
            assert_eq!((info.domain.as_str(), info.reason.as_str()), (DOMAIN, error.reason_name()));
            assert_eq!((status.code(), status.message()), (error.code(), error.to_string().as_str()));
            assert!(!info.reason.starts_with("ERROR"));
        }
    }

    #[test]
    fn metadata_is_what_the_contract_shows() {
        let metadata = |index: usize| {
            let mut pairs: Vec<_> =
                Status::from(all()[index].clone()).get_details_error_info().unwrap().metadata.into_iter().collect();
            pairs.sort();
            pairs
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(metadata(1), [pair("resource", "tenants/acme/endpoints/siem")]);
        assert_eq!(metadata(5), [pair("resource", "tenants/acme/endpoints/siem"), pair("state", "DISABLED")]);
        assert_eq!(metadata(9), [pair("limit", "endpoints_per_tenant"), pair("value", "1000")]);
        assert_eq!(metadata(13), [pair("request_id", "req_1")]);
        assert_eq!(metadata(6), []);
        assert_eq!(metadata(16), [pair("type", "access.granted")]);
        assert_eq!(metadata(17), [pair("schema_version", "1"), pair("type", "user.terminated")]);
    }

    #[test]
    fn details_say_every_bad_field_the_state_and_when_to_come_back() {
        let all = all();
        let [invalid, state, overloaded, unavailable, limited] = [0, 5, 10, 11, 15].map(|index| &all[index]);
        let fields = Status::from(invalid.clone()).get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields.iter().map(|bad| bad.field.as_str()).collect::<Vec<_>>(), ["endpoint.url", "page_size"]);
        let failure = Status::from(state.clone()).get_details_precondition_failure().unwrap();
        assert_eq!(failure.violations[0].subject, "tenants/acme/endpoints/siem");
        for error in [overloaded, unavailable, limited] {
            let retry = Status::from(error.clone()).get_details_retry_info().unwrap().retry_delay;
            assert_eq!(retry, Some(Duration::from_millis(1_500)));
        }
    }

    #[test]
    fn what_a_request_echoes_stays_small() {
        let long = "é".repeat(100_000);
        let fields = vec![Violation::new(long.clone(), &long); 1_000];
        for error in
            [Error::InvalidFields(fields), Error::NotFound { resource: long.clone() }, Error::IdempotencyMismatch { id: long }]
        {
            let status = Status::from(error);
            // Details travel in base64, the message with three letters a byte.
            assert!(status.details().len().div_ceil(3) * 4 + status.message().len() * 3 < 8 * 1024);
        }
        let many: Vec<_> =
            (0..40).map(|number| Violation::new(format!("requests[{number}].data"), "is not a JSON object")).collect();
        let shown = Status::from(Error::InvalidFields(many)).get_details_bad_request().unwrap().field_violations;
        assert_eq!(shown.len(), 40, "forty ordinary bad fields have room");
    }

    #[test]
    fn an_event_of_a_batch_gets_the_same_error() {
        let error = v1::PublishError::from(all()[0].clone());
        assert_eq!((error.code, error.reason.as_str(), error.field_violations.len()), (3, "INVALID_FIELDS", 2));
        let error = v1::PublishError::from(all()[3].clone());
        assert_eq!((error.code, error.reason.as_str(), error.field_violations.len()), (6, "IDEMPOTENCY_MISMATCH", 0));
    }
}
