//! Why a command failed: what is printed on stderr, and the exit code.
//!
//! Every command returns a [`Failure`] and `main` reports it, once. A reader of stdout that went away is not reported at all. No
//! variant holds a key or a secret.

use std::io;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use gatepost_client::{Code, NotDelivered};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The arguments do not make sense together. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The configuration is wrong: every problem at once. Exit code 64.
    #[error("the configuration is not valid")]
    Configuration(Vec<String>),
    /// No server at this address. Exit code 5.
    #[error("cannot reach the server at {url}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What happened.
        #[source]
        source: gatepost_client::Error,
    },
    /// The server refused the call.
    #[error(transparent)]
    Call(#[from] gatepost_client::Error),
    /// It would be refused, and something else helps.
    #[error("{what}")]
    Refused {
        /// What, and by whom.
        what: String,
        /// What helps.
        hint: String,
    },
    /// An event was not delivered.
    #[error(transparent)]
    NotDelivered(#[from] NotDelivered),
    /// Some of several things failed; each was named on stderr. Exit code 6.
    #[error("{failed} of {of} failed")]
    Partly {
        /// How many.
        failed: u64,
        /// Of how many.
        of: u64,
    },
    /// A file, a socket or the terminal.
    #[error("{what}")]
    Io {
        /// What was attempted.
        what: String,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// Whoever read our output has seen enough, as `head` does: nothing failed.
    #[error("the reader of the output went away")]
    ClosedPipe,
    /// Anything else.
    #[error("{what}")]
    Other {
        /// What was attempted.
        what: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Failure {
    /// A file, socket or terminal that did not do what was asked.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// Anything that no other variant says.
    pub fn other(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other { what: what.into(), source: source.into() }
    }

    /// A write to stdout that failed.
    pub(crate) fn output(source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::io("cannot write the output", source),
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Io { .. } | Self::Other { .. } | Self::Refused { .. } => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 5,
            Self::Call(error) | Self::NotDelivered(NotDelivered::Call(error)) => call_exit_code(error),
            Self::NotDelivered(NotDelivered::Timeout { .. }) => 5,
            Self::NotDelivered(_) | Self::Partly { .. } => 6,
            Self::Configuration(_) => 64,
        }
    }

    /// Prints it on stderr and returns the exit code.
    pub fn report(&self) -> ExitCode {
        if !matches!(self, Self::ClosedPipe) {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            // Nobody is left to tell when stderr is gone too.
            let _ = io::Write::write_all(&mut anstream::stderr(), format!("{red}error{red:#}: {}", self.text()).as_bytes());
        }
        ExitCode::from(self.exit_code())
    }

    /// Everything there is to say, a line each.
    fn text(&self) -> String {
        let mut text = format!("{self}\n");
        let mut line = |name: &str, value: &str| text.push_str(&format!("  {name}: {value}\n"));
        match self {
            Self::Configuration(problems) => problems.iter().for_each(|problem| line("problem", problem)),
            Self::Refused { hint, .. } => line("hint", hint),
            Self::Unreachable { .. } => line("hint", "`gatepost dev` starts one; --url or GATEPOST_URL says where it is"),
            Self::NotDelivered(NotDelivered::Failed { deliveries } | NotDelivered::Timeout { deliveries }) => {
                for delivery in deliveries {
                    line(&delivery.name, delivery.state().as_str_name().trim_start_matches("STATE_"));
                }
            }
            _ => {}
        }
        if let Some(error) = self.call() {
            if !matches!(error, gatepost_client::Error::Setup { .. }) {
                line("code", &code_name(error.code()));
            }
            if let Some(reason) = error.reason() {
                line("reason", reason);
            }
            for violation in error.field_violations() {
                line(&violation.field, &violation.description);
            }
            if let Some(id) = error.request_id() {
                line("request id", id);
            }
            if error.code() == Code::Unauthenticated {
                line("hint", "give a key with --key-file, GATEPOST_KEY or GATEPOST_KEY_FILE");
            }
        }
        // A transport error's chain ends where the cause is: a refused connection, a certificate. Links often repeat each other.
        let mut last = self.to_string();
        for cause in std::iter::successors(std::error::Error::source(self), |cause| cause.source()) {
            let cause = cause.to_string();
            if !last.contains(&cause) {
                line("cause", &cause);
                last = cause;
            }
        }
        text
    }

    fn call(&self) -> Option<&gatepost_client::Error> {
        match self {
            Self::Call(error) | Self::NotDelivered(NotDelivered::Call(error)) => Some(error),
            _ => None,
        }
    }
}

/// One line about an error of one of several calls.
pub(crate) fn brief(error: &gatepost_client::Error) -> String {
    let mut text = error.to_string();
    if let Some(reason) = error.reason() {
        text.push_str(&format!(" [{reason}]"));
    }
    for violation in error.field_violations() {
        text.push_str(&format!("; {}: {}", violation.field, violation.description));
    }
    text
}

fn call_exit_code(error: &gatepost_client::Error) -> u8 {
    match error.code() {
        Code::NotFound => 3,
        Code::PermissionDenied | Code::Unauthenticated => 4,
        Code::Unavailable | Code::DeadlineExceeded => 5,
        _ if matches!(error, gatepost_client::Error::Setup { .. }) => 64,
        _ if error.is_transient() => 5,
        _ => 1,
    }
}

/// `NotFound` as the documentation spells it: `NOT_FOUND`.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_client::{Answer, Error, FieldViolation};

    fn answer(code: Code, reason: &str) -> Box<Answer> {
        let metadata = [("request_id".to_owned(), "req_1".to_owned())].into();
        Box::new(Answer { code, reason: Some(reason.into()), message: "said".into(), metadata })
    }

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        let not_found = Error::NotFound { resource: None, answer: answer(Code::NotFound, "RESOURCE_NOT_FOUND") };
        let denied = Error::PermissionDenied { scope: None, answer: answer(Code::PermissionDenied, "SCOPE_MISSING") };
        let stranger = Error::Unauthenticated { answer: answer(Code::Unauthenticated, "API_KEY_INVALID") };
        let down = Error::Unavailable { retry_after: None, answer: answer(Code::Unavailable, "SHUTTING_DOWN") };
        let setup = Error::Setup { what: "no".into(), source: None };
        for (failure, code) in [
            (Failure::Call(not_found), 3),
            (Failure::Call(denied), 4),
            (Failure::Call(stranger), 4),
            (Failure::Call(down), 5),
            (Failure::Call(setup), 64),
            (Failure::Usage("no".into()), 2),
            (Failure::Refused { what: "no".into(), hint: "yes".into() }, 1),
            (Failure::Configuration(vec![]), 64),
            (Failure::Partly { failed: 1, of: 2 }, 6),
            (Failure::NotDelivered(NotDelivered::Failed { deliveries: vec![] }), 6),
            (Failure::NotDelivered(NotDelivered::Timeout { deliveries: vec![] }), 5),
            (Failure::output(io::ErrorKind::BrokenPipe.into()), 0),
            (Failure::output(io::ErrorKind::StorageFull.into()), 1),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
        }
    }

    #[test]
    fn an_error_shows_code_reason_every_field_and_the_request_id() {
        let violations = ["endpoint.url", "endpoint_id"]
            .map(|field| FieldViolation { field: field.into(), description: "is wrong".into() })
            .to_vec();
        let error = Error::InvalidArgument { violations, answer: answer(Code::InvalidArgument, "INVALID_FIELDS") };
        let text = Failure::Call(error).text();
        for part in [
            "code: INVALID_ARGUMENT",
            "reason: INVALID_FIELDS",
            "endpoint.url: is wrong",
            "endpoint_id: is wrong",
            "request id: req_1",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn the_cause_of_a_missing_server_is_told() {
        let source = Error::Transport { sent: false, source: std::sync::Arc::new(io::Error::other("connection refused")) };
        let text = Failure::Unreachable { url: "http://127.0.0.1:7070".into(), source }.text();
        assert!(text.contains("http://127.0.0.1:7070") && text.contains("connection refused"), "{text}");
    }
}
