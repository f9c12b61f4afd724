//! What can go wrong in a call, one variant for each thing that a caller does differently.
//!
//! Every RPC of this crate ends here: `read` makes an [`Error`] of a `tonic::Status`, from its code and from the reason in its
//! `google.rpc.ErrorInfo`, never from its message. No variant holds a key or a secret, so `Display` and `Debug` never show one.

mod read;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tonic::Code;

#[allow(unused_imports, reason = "for the documentation")]
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
}
