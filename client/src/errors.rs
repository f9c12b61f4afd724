//! What can go wrong in a call, one variant for each thing that a caller does differently.
//!
//! Every RPC of this crate ends here: a `tonic::Status` becomes an [`Error`] in `From`, from its code and from the reason in its
//! `google.rpc.ErrorInfo`, never from its message. No variant holds a key or a secret, so `Display` and `Debug` never show one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tonic::Code;
use tonic_types::StatusExt;

use crate::v1;

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// At least one field is wrong. No repeat changes that.
    #[error("invalid argument: {}", answer.message)]
    InvalidArgument {
        /// Every bad field.
        violations: Vec<FieldViolation>,
        /// What the server said.
        answer: Box<Answer>,
    },

    /// The resource does not exist, or this key may not know whether it does.
    #[error("not found: {}", answer.message)]
    NotFound {
        /// Its name, when the server told it.
        resource: Option<String>,
        /// What the server said.
        answer: Box<Answer>,
    },

    /// The id chosen for a new resource is taken.
    #[error("already exists: {}", answer.message)]
    AlreadyExists {
        /// The name that is taken, when the server told it.
        resource: Option<String>,
        /// What the server said.
        answer: Box<Answer>,
    },

    /// The event id or request id was used before with other fields.
    #[error("id used before with other fields: {}", answer.message)]
    IdempotencyMismatch {
        /// That id, when the server told it.
        id: Option<String>,
        /// What the server said.
        answer: Box<Answer>,
    },

    /// Somebody changed the resource in between: read it again, then repeat.
    #[error("changed in between: {}", answer.message)]
    EtagMismatch {
        /// What the server said.
        answer: Box<Answer>,
    },

    /// The resource's state does not allow this.
    #[error("wrong state: {}", answer.message)]
    WrongState {
        /// The state it is in, when the server told it.
        state: Option<String>,
        /// What the server said.
        answer: Box<Answer>,
    },

    /// No API key, or one that is unknown, revoked or expired.
    #[error("not authenticated: {}", answer.message)]
    Unauthenticated {
        /// What the server said.
        answer: Box<Answer>,
    },

    /// The API key lacks a scope.
    #[error("permission denied: {}", answer.message)]
    PermissionDenied {
        /// The scope that the call needs, when the server told it.
        scope: Option<String>,
        /// What the server said.
        answer: Box<Answer>,
    },

    /// The watch cannot go on from this token: list what you need, then watch from now.
    #[error("resume token expired: {}", answer.message)]
    ResumeTokenExpired {
        /// What the server said.
        answer: Box<Answer>,
    },

    /// A limit is reached.
    #[error("resource exhausted: {}", answer.message)]
    ResourceExhausted {
        /// How long to wait; absent when waiting does not help.
        retry_after: Option<Duration>,
        /// What the server said.
        answer: Box<Answer>,
    },

    /// The server cannot answer now. A write may have happened: repeat it with the same ids.
    #[error("unavailable: {}", answer.message)]
    Unavailable {
        /// How long to wait, when the server told it.
        retry_after: Option<Duration>,
        /// What the server said.
        answer: Box<Answer>,
    },

    /// The deadline passed before there was an answer. A write may have happened: repeat it with the same ids.
    #[error("the deadline passed before there was an answer")]
    DeadlineExceeded {
        /// What the server said; absent when this side stopped waiting.
        answer: Option<Box<Answer>>,
    },

    /// A defect of the server. [`Error::request_id`] finds it in the server's log.
    #[error("internal error of the server: {}", answer.message)]
    Internal {
        /// What the server said.
        answer: Box<Answer>,
    },

    /// The server could not be reached, or the connection broke.
    #[error("{}", if *sent { "the connection broke" } else { "cannot reach the server" })]
    Transport {
        /// Whether the request may have reached the server.
        sent: bool,
        /// What happened.
        #[source]
        source: Source,
    },

    /// The client itself is set up wrongly: its URI, its key, its certificates.
    #[error("cannot set up the client: {what}")]
    Setup {
        /// What is wrong.
        what: String,
        /// Why, when another library found it.
        #[source]
        source: Option<Source>,
    },

    /// Any other answer, such as one of a proxy.
    #[error("{:?}: {}", answer.code, answer.message)]
    Other {
        /// What the server said.
        answer: Box<Answer>,
    },
}

/// One bad field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, such as `endpoint.url`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// What a server said when it refused a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The gRPC code.
    pub code: Code,
    /// Name of a [`v1::ErrorReason`] without its prefix, such as `WRONG_STATE`; absent when the answer is not Gatepost's.
    pub reason: Option<String>,
    /// For people. Never branch on it.
    pub message: String,
    /// Further facts of the reason: see `error_reason.proto`.
    pub metadata: BTreeMap<String, String>,
}

impl Error {
    /// What the server said; `None` when it said nothing.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::InvalidArgument { answer, .. }
            | Self::NotFound { answer, .. }
            | Self::AlreadyExists { answer, .. }
            | Self::IdempotencyMismatch { answer, .. }
            | Self::EtagMismatch { answer }
            | Self::WrongState { answer, .. }
            | Self::Unauthenticated { answer }
            | Self::PermissionDenied { answer, .. }
            | Self::ResumeTokenExpired { answer }
            | Self::ResourceExhausted { answer, .. }
            | Self::Unavailable { answer, .. }
            | Self::Internal { answer }
            | Self::Other { answer } => Some(answer),
            Self::DeadlineExceeded { answer } => answer.as_deref(),
            Self::Transport { .. } | Self::Setup { .. } => None,
        }
    }

    /// The gRPC code. An error that no server sent has the code it would have had.
    pub fn code(&self) -> Code {
        match self {
            Self::Transport { .. } => Code::Unavailable,
            Self::Setup { .. } => Code::InvalidArgument,
            Self::DeadlineExceeded { .. } => Code::DeadlineExceeded,
            _ => self.answer().map_or(Code::Unknown, |answer| answer.code),
        }
    }

    /// Name of a [`v1::ErrorReason`] without its prefix, such as `WRONG_STATE`.
    pub fn reason(&self) -> Option<&str> {
        self.answer()?.reason.as_deref()
    }

    /// Every bad field; empty when the fields were not the matter.
    pub fn field_violations(&self) -> &[FieldViolation] {
        match self {
            Self::InvalidArgument { violations, .. } => violations,
            _ => &[],
        }
    }

    /// The id that finds the call in the server's log.
    pub fn request_id(&self) -> Option<&str> {
        self.answer()?.metadata.get("request_id").map(String::as_str)
    }

    /// How long the server asks to wait before a repeat.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ResourceExhausted { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether a repeat with the same ids may succeed without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Transport { .. } => true,
            Self::ResourceExhausted { retry_after, .. } => retry_after.is_some(),
            _ => false,
        }
    }

    /// Whether the server certainly did nothing of what was asked.
    pub(crate) fn is_certainly_undone(&self) -> bool {
        matches!(self, Self::Transport { sent: false, .. } | Self::ResourceExhausted { .. })
    }

    pub(crate) fn setup(what: impl Into<String>) -> Self {
        Self::Setup { what: what.into(), source: None }
    }

    pub(crate) fn setup_because(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Setup { what: what.into(), source: Some(Arc::new(source)) }
    }

    /// The peer ended a stream that had more to say; the next try tells why, if it goes on.
    pub(crate) fn ended() -> Self {
        Self::Transport { sent: true, source: Arc::new(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)) }
    }

    /// The server broke the contract.
    pub(crate) fn protocol(message: &str) -> Self {
        let answer = Answer { code: Code::Internal, reason: None, message: message.to_owned(), metadata: BTreeMap::new() };
        Self::Internal { answer: Box::new(answer) }
    }

    fn from_answer(answer: Answer, violations: Vec<FieldViolation>, retry_after: Option<Duration>) -> Self {
        let fact = |key: &str| answer.metadata.get(key).cloned();
        let reason = answer.reason.as_deref();
        match (answer.code, reason) {
            (Code::InvalidArgument, _) => Self::InvalidArgument { violations, answer: Box::new(answer) },
            (Code::NotFound, _) => Self::NotFound { resource: fact("resource"), answer: Box::new(answer) },
            (Code::AlreadyExists, Some("IDEMPOTENCY_MISMATCH")) => {
                Self::IdempotencyMismatch { id: fact("id"), answer: Box::new(answer) }
            }
            (Code::AlreadyExists, _) => Self::AlreadyExists { resource: fact("resource"), answer: Box::new(answer) },
            (Code::Aborted, Some("ETAG_MISMATCH")) => Self::EtagMismatch { answer: Box::new(answer) },
            (Code::FailedPrecondition, _) => Self::WrongState { state: fact("state"), answer: Box::new(answer) },
            (Code::Unauthenticated, _) => Self::Unauthenticated { answer: Box::new(answer) },
            (Code::PermissionDenied, _) => Self::PermissionDenied { scope: fact("scope"), answer: Box::new(answer) },
            (Code::OutOfRange, Some("RESUME_TOKEN_EXPIRED")) => Self::ResumeTokenExpired { answer: Box::new(answer) },
            (Code::ResourceExhausted, _) => Self::ResourceExhausted { retry_after, answer: Box::new(answer) },
            (Code::Unavailable, _) => Self::Unavailable { retry_after, answer: Box::new(answer) },
            (Code::DeadlineExceeded, _) => Self::DeadlineExceeded { answer: Some(Box::new(answer)) },
            (Code::Internal, _) => Self::Internal { answer: Box::new(answer) },
            _ => Self::Other { answer: Box::new(answer) },
        }
    }
}

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
        Self::from_answer(answer, violations, details.retry_info().and_then(|info| info.retry_delay))
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
        Self::from_answer(answer, violations, retry_after)
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
