//! Reads what a server answered: the status of a call, or what became of one event of several.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tonic::Code;
use tonic_types::StatusExt;

use super::{Answer, Error, FieldViolation};
use crate::v1;

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        // A status with a source was made on this side: an answer from the wire has none.
        if std::error::Error::source(&status).is_some() {
            if has_in_chain::<tonic::TimeoutExpired>(&status) {
                return Self::DeadlineExceeded { answer: None };
            }
            // A `ConnectError` says that there was no connection at all, so that nothing was sent.
            let sent = !has_in_chain::<tonic::ConnectError>(&status);
            return Self::Transport { sent, source: Arc::new(status) };
        }
        let details = status.get_error_details();
        let (reason, mut metadata) = match details.error_info() {
            Some(info) => (Some(info.reason.clone()), info.metadata.clone().into_iter().collect()),
            None => (None, BTreeMap::new()),
        };
        if let Some(info) = details.request_info() {
            metadata.entry("request_id".to_owned()).or_insert_with(|| info.request_id.clone());
        }
        let violations = details.bad_request().map_or_else(Vec::new, |bad| {
            bad.field_violations
                .iter()
                .map(|violation| FieldViolation { field: violation.field.clone(), description: violation.description.clone() })
                .collect()
        });
        let answer = Answer { code: status.code(), reason, message: status.message().to_owned(), metadata };
        from_answer(answer, violations, details.retry_info().and_then(|info| info.retry_delay))
    }
}

impl From<tonic::transport::Error> for Error {
    fn from(error: tonic::transport::Error) -> Self {
        Self::Transport { sent: false, source: Arc::new(error) }
    }
}

impl From<v1::PublishError> for Error {
    fn from(error: v1::PublishError) -> Self {
        let violations = error
            .field_violations
            .into_iter()
            .map(|violation| FieldViolation { field: violation.field, description: violation.description })
            .collect();
        let answer = Answer {
            code: Code::from(error.code),
            reason: Some(error.reason).filter(|reason| !reason.is_empty()),
            message: error.message,
            metadata: BTreeMap::new(),
        };
        // One overloaded event of several may be sent again at once; the backoff of the repeat spaces it out.
        let retry_after = (answer.reason.as_deref() == Some("OVERLOADED")).then_some(Duration::ZERO);
        from_answer(answer, violations, retry_after)
    }
}

/// The code and the reason decide.
fn from_answer(answer: Answer, violations: Vec<FieldViolation>, retry_after: Option<Duration>) -> Error {
    let fact = |key: &str| answer.metadata.get(key).cloned();
    let reason = answer.reason.as_deref();
    match (answer.code, reason) {
        (Code::InvalidArgument, _) => Error::InvalidArgument { violations, answer: Box::new(answer) },
        (Code::NotFound, _) => Error::NotFound { resource: fact("resource"), answer: Box::new(answer) },
        (Code::AlreadyExists, Some("IDEMPOTENCY_MISMATCH")) => {
            Error::IdempotencyMismatch { id: fact("id"), answer: Box::new(answer) }
        }
        (Code::AlreadyExists, _) => Error::AlreadyExists { resource: fact("resource"), answer: Box::new(answer) },
        (Code::Aborted, Some("ETAG_MISMATCH")) => Error::EtagMismatch { answer: Box::new(answer) },
        (Code::FailedPrecondition, _) => Error::WrongState { state: fact("state"), answer: Box::new(answer) },
        (Code::Unauthenticated, _) => Error::Unauthenticated { answer: Box::new(answer) },
        (Code::PermissionDenied, _) => Error::PermissionDenied { scope: fact("scope"), answer: Box::new(answer) },
        (Code::OutOfRange, Some("RESUME_TOKEN_EXPIRED")) => Error::ResumeTokenExpired { answer: Box::new(answer) },
        (Code::ResourceExhausted, _) => Error::ResourceExhausted { retry_after, answer: Box::new(answer) },
        (Code::Unavailable, _) => Error::Unavailable { retry_after, answer: Box::new(answer) },
        (Code::DeadlineExceeded, _) => Error::DeadlineExceeded { answer: Some(Box::new(answer)) },
        (Code::Internal, _) => Error::Internal { answer: Box::new(answer) },
        _ => Error::Other { answer: Box::new(answer) },
    }
}

fn has_in_chain<T: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<T>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use tonic::Status;
    use tonic_types::ErrorDetails;

    fn answered(code: Code, reason: &str, metadata: &[(&str, &str)], edit: impl FnOnce(&mut ErrorDetails)) -> Error {
        let metadata: HashMap<String, String> = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let mut details = ErrorDetails::with_error_info(reason, "gatepost", metadata);
        edit(&mut details);
        // Through the header form, as it travels.
        let sent = Status::with_error_details(code, "said", details);
        let mut headers = http::HeaderMap::new();
        sent.add_header(&mut headers).unwrap();
        Error::from(Status::from_header_map(&headers).unwrap())
    }

    #[test]
    fn every_bad_field_arrives() {
        let error = answered(Code::InvalidArgument, "INVALID_FIELDS", &[], |details| {
            details.add_bad_request_violation("endpoint.url", "must be https").add_bad_request_violation("endpoint_id", "too long");
        });
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(error.reason(), Some("INVALID_FIELDS"));
        let fields: Vec<&str> = error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["endpoint.url", "endpoint_id"]);
    }

    #[test]
    fn the_reason_decides_between_errors_of_one_code() {
        let mismatch = answered(Code::AlreadyExists, "IDEMPOTENCY_MISMATCH", &[("id", "evt_1")], |_| ());
        assert!(matches!(&mismatch, Error::IdempotencyMismatch { id: Some(id), .. } if id == "evt_1"));
        let taken = answered(Code::AlreadyExists, "RESOURCE_ALREADY_EXISTS", &[("resource", "tenants/acme")], |_| ());
        assert!(matches!(&taken, Error::AlreadyExists { resource: Some(name), .. } if name == "tenants/acme"));
        assert!(matches!(answered(Code::Aborted, "ETAG_MISMATCH", &[], |_| ()), Error::EtagMismatch { .. }));
        assert!(matches!(answered(Code::Aborted, "", &[], |_| ()), Error::Other { .. }));
        assert!(matches!(answered(Code::OutOfRange, "RESUME_TOKEN_EXPIRED", &[], |_| ()), Error::ResumeTokenExpired { .. }));
        let state = answered(Code::FailedPrecondition, "WRONG_STATE", &[("state", "SUCCEEDED")], |_| ());
        assert!(matches!(&state, Error::WrongState { state: Some(state), .. } if state == "SUCCEEDED"));
        let scope = answered(Code::PermissionDenied, "SCOPE_MISSING", &[("scope", "publish")], |_| ());
        assert!(matches!(&scope, Error::PermissionDenied { scope: Some(scope), .. } if scope == "publish"));
    }

    #[test]
    fn waiting_helps_only_where_the_server_says_so() {
        let overloaded = answered(Code::ResourceExhausted, "OVERLOADED", &[], |details| {
            details.set_retry_info(Some(Duration::from_millis(250)));
        });
        assert!(overloaded.is_transient());
        assert_eq!(overloaded.retry_after(), Some(Duration::from_millis(250)));
        let limit = answered(Code::ResourceExhausted, "LIMIT_REACHED", &[], |_| ());
        assert!(!limit.is_transient());
        assert!(answered(Code::Unavailable, "SHUTTING_DOWN", &[], |_| ()).is_transient());
    }

    #[test]
    fn a_defect_carries_its_request_id() {
        let error = answered(Code::Internal, "INTERNAL", &[("request_id", "req_1")], |_| ());
        assert_eq!(error.request_id(), Some("req_1"));
        assert!(matches!(error, Error::Internal { .. }));
    }

    #[test]
    fn an_answer_without_details_keeps_its_code() {
        let error = Error::from(Status::with_error_details(Code::DataLoss, "gone", ErrorDetails::new()));
        assert_eq!((error.code(), error.reason()), (Code::DataLoss, None));
        assert_eq!(error.to_string(), "DataLoss: gone");
    }

    #[allow(clippy::disallowed_methods, reason = "makes what the transport makes")]
    #[test]
    fn no_connection_means_nothing_was_sent() {
        let refused = tonic::ConnectError(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
        let error = Error::from(Status::from_error(Box::new(refused)));
        assert!(matches!(error, Error::Transport { sent: false, .. }), "{error:?}");
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(matches!(Error::from(Status::from_error(Box::new(broken))), Error::Transport { sent: true, .. }));
        let late = Error::from(Status::from_error(Box::new(tonic::TimeoutExpired(()))));
        assert!(matches!(late, Error::DeadlineExceeded { answer: None }));
    }
}
