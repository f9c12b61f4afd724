//! What a receiver's answer to a token means.
//!
//! Asked before the rules that hold for every format: a receiver of tokens says in its answer's body whether a repeat could help.
//! The body is hostile: it is read up to a bound, and what is no JSON object with a known `err` says nothing.
//!
//! Source: RFC 8935, sections 2.2 to 2.4; Shared Signals Framework 1.0.

use std::fmt;

use crate::domain::format::data::Object;

/// Bytes of a body that are looked at: an error object is far smaller.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 202: the receiver has it.
    Accepted,
    /// 200, 201 or 204: the receiver has it, and says so as no standard does. Counts as success, with the warning
    /// `nonstandard_success`.
    AcceptedNonstandard,
    /// No repeat changes it: a dead letter at once.
    Permanent(Refusal),
    /// The retry schedule goes on.
    Retry(Option<Refusal>),
    /// The receiver does not trust this endpoint's requests: the endpoint is paused and the delivery kept.
    Pause(Refusal),
}

/// Why a receiver refused a token: the `err` of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It is no token that the receiver can read.
    InvalidRequest,
    /// The key is not known or does not fit: the receiver may have old keys.
    InvalidKey,
    /// Another issuer was expected.
    InvalidIssuer,
    /// The token is for somebody else.
    InvalidAudience,
    /// The receiver does not know this sender.
    AuthenticationFailed,
    /// The receiver does not let this sender send to it.
    AccessDenied,
    /// The state of a verification is not the expected one.
    InvalidState,
}

impl Refusal {
    /// Every code.
    pub const ALL: [Self; 7] = [
        Self::InvalidRequest,
        Self::InvalidKey,
        Self::InvalidIssuer,
        Self::InvalidAudience,
        Self::AuthenticationFailed,
        Self::AccessDenied,
        Self::InvalidState,
    ];

    /// Its name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidIssuer => "invalid_issuer",
            Self::InvalidAudience => "invalid_audience",
            Self::AuthenticationFailed => "authentication_failed",
            Self::AccessDenied => "access_denied",
            Self::InvalidState => "invalid_state",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an answer means. `body`: as much of it as was kept.
///
/// `None`: the answer says nothing about tokens, and the rules of every format hold. A 2xx that is not named above is no success:
/// the schedule goes on.
pub fn read(status: u16, body: &[u8]) -> Option<Answer> {
    Some(match status {
        202 => Answer::Accepted,
        200 | 201 | 204 => Answer::AcceptedNonstandard,
        200..=299 => Answer::Retry(None),
        400 => match refusal(body) {
            Some(
                refusal @ (Refusal::InvalidRequest | Refusal::InvalidAudience | Refusal::InvalidIssuer | Refusal::InvalidState),
            ) => Answer::Permanent(refusal),
            Some(refusal @ (Refusal::AuthenticationFailed | Refusal::AccessDenied)) => Answer::Pause(refusal),
            other => Answer::Retry(other),
        },
        _ => return None,
    })
}

/// A longer body is cut, which leaves no JSON.
fn refusal(body: &[u8]) -> Option<Refusal> {
    let body = Object::read(body.get(..MAX_BODY_BYTES).unwrap_or(body));
    let err = body.text("err")?;
    Refusal::ALL.into_iter().find(|refusal| refusal.name() == err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_has_its_meaning() {
        let table: &[(u16, &str, Option<Answer>)] = &[
            (202, "", Some(Answer::Accepted)),
            (202, r#"{"err":"invalid_request"}"#, Some(Answer::Accepted)),
            (200, "", Some(Answer::AcceptedNonstandard)),
            (201, "", Some(Answer::AcceptedNonstandard)),
            (204, "", Some(Answer::AcceptedNonstandard)),
            (203, "", Some(Answer::Retry(None))),
            (206, "", Some(Answer::Retry(None))),
            // RFC 8935, section 2.3, examples.
            (
                400,
                r#"{"err":"invalid_key","description":"Key ID 12345 has been revoked."}"#,
                Some(Answer::Retry(Some(Refusal::InvalidKey))),
            ),
            (
                400,
                r#"{"err":"authentication_failed","description":"Access token has expired."}"#,
                Some(Answer::Pause(Refusal::AuthenticationFailed)),
            ),
            (400, "{\n\"err\":\"invalid_issuer\"}", Some(Answer::Permanent(Refusal::InvalidIssuer))),
            (400, r#"{"err":"access_denied"}"#, Some(Answer::Pause(Refusal::AccessDenied))),
            (400, r#"{"err":"invalid_request"}"#, Some(Answer::Permanent(Refusal::InvalidRequest))),
            (400, r#"{"err":"invalid_audience"}"#, Some(Answer::Permanent(Refusal::InvalidAudience))),
            (400, r#"{"err":"invalid_state"}"#, Some(Answer::Permanent(Refusal::InvalidState))),
            (400, r#"{"err":"invalid_key"}"#, Some(Answer::Retry(Some(Refusal::InvalidKey)))),
            (400, r#"{"err":"jwtParse"}"#, Some(Answer::Retry(None))),
            (400, r#"{"err":"INVALID_REQUEST"}"#, Some(Answer::Retry(None))),
            (400, r#"{"err":["invalid_request"]}"#, Some(Answer::Retry(None))),
            (400, r#"{"error":"invalid_request"}"#, Some(Answer::Retry(None))),
            (400, r#"["invalid_request"]"#, Some(Answer::Retry(None))),
            (400, "<html>invalid_request</html>", Some(Answer::Retry(None))),
            (400, "", Some(Answer::Retry(None))),
            (401, r#"{"err":"access_denied"}"#, None),
            (410, "", None),
            (429, "", None),
            (503, r#"{"err":"invalid_request"}"#, None),
        ];
        for (status, body, expected) in table {
            assert_eq!(read(*status, body.as_bytes()), *expected, "{status} {body}");
        }
    }

    #[test]
    fn a_hostile_body_says_nothing() {
        for body in [vec![b'['; 1 << 20], [b"{\"err\":\"".to_vec(), vec![b'x'; 1 << 20]].concat(), vec![0xff; 64]] {
            assert_eq!(read(400, &body), Some(Answer::Retry(None)));
        }
        let deep = format!(r#"{{"x":{}1{},"err":"invalid_request"}}"#, "[".repeat(4000), "]".repeat(4000));
        assert_eq!(read(400, deep.as_bytes()), Some(Answer::Permanent(Refusal::InvalidRequest)));
    }
}
