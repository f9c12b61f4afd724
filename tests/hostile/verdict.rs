//! Whether an answer is one that a caller may get: a typed status of the contract, or the refusal of what is no gRPC at all.
//!
//! Called for every answer to a generated request. It must never pass INTERNAL, UNKNOWN or a status without a reason of the contract.

use std::collections::BTreeMap;

use gatepost_client::v1::{self, publish_result};
use http::{HeaderMap, StatusCode};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::wire::{Answer, messages};

/// What a request is, as far as its answer depends on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Framing {
    /// gRPC, whatever its message holds.
    Sound,
    /// Headers or frames that gRPC or HTTP/2 does not have: the transport may refuse it.
    Broken,
    /// gRPC-web, whose trailers travel in the body.
    Web,
}

/// How often each kind of answer came.
#[derive(Default)]
pub(crate) struct Tally(pub(crate) BTreeMap<String, usize>);

impl Tally {
    pub(crate) fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }
}

/// A short name for a good answer.
///
/// # Errors
/// Why nobody may get such an answer.
pub(crate) fn judge(path: &str, framing: Framing, answer: &Answer) -> Result<String, String> {
    match answer {
        Answer::Left => Ok("a stream".to_owned()),
        Answer::Silence => Err("no answer".to_owned()),
        Answer::Http(status) if framing == Framing::Broken && is_refusal(*status) => Ok(format!("HTTP {}", status.as_u16())),
        Answer::Http(status) => Err(format!("HTTP {status}")),
        Answer::Reset(_) if framing == Framing::Broken => Ok("a reset".to_owned()),
        Answer::Reset(why) => Err(why.clone()),
        Answer::Grpc { headers, body, .. } if framing == Framing::Web => web(path, headers, body),
        Answer::Grpc { headers, trailers, body } => {
            let found = if trailers.contains_key("grpc-status") { trailers } else { headers };
            if path == "/gatepost.v1.EventService/PublishEvents" || path == "/gatepost.v1.EventService/PublishEventStream" {
                results(path, body)?;
            }
            status(path, headers, found)
        }
    }
}

fn is_refusal(status: StatusCode) -> bool {
    use StatusCode as S;
    [S::BAD_REQUEST, S::METHOD_NOT_ALLOWED, S::UNSUPPORTED_MEDIA_TYPE, S::REQUEST_HEADER_FIELDS_TOO_LARGE].contains(&status)
}

fn status(path: &str, headers: &HeaderMap, found: &HeaderMap) -> Result<String, String> {
    let status = Status::from_header_map(found).ok_or("the stream ended without a status")?;
    let code = status.code();
    if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss) {
        return Err(format!("{code:?}: {}", status.message()));
    }
    if code == Code::Ok {
        return Ok("Ok".to_owned());
    }
    if !path.starts_with("/gatepost.v1.") {
        // Health and reflection have statuses of their own.
        return Ok(format!("{code:?} of another contract"));
    }
    if code == Code::Unimplemented && headers.contains_key("grpc-accept-encoding") {
        return Ok("Unimplemented compression".to_owned());
    }
    let info = status.get_details_error_info().ok_or_else(|| format!("{code:?} without an ErrorInfo: {}", status.message()))?;
    reason(code, &info.domain, &info.reason)?;
    if code == Code::InvalidArgument && status.get_details_bad_request().is_none_or(|bad| bad.field_violations.is_empty()) {
        return Err("no field is named".to_owned());
    }
    Ok(format!("{code:?} {}", info.reason))
}

fn reason(code: Code, domain: &str, reason: &str) -> Result<(), String> {
    let known = code_of(reason) == Some(code);
    if domain == "gatepost" && known { Ok(()) } else { Err(format!("{code:?} with the reason {domain}/{reason}")) }
}

/// The code that the contract's comment on a reason begins with: so a new reason needs no word here.
fn code_of(reason: &str) -> Option<Code> {
    const CONTRACT: &str = include_str!("../../proto/gatepost/v1/error_reason.proto");
    let (before, _) = CONTRACT.split_once(&format!("  ERROR_REASON_{reason} = "))?;
    let comment = before.rsplit("\n\n").next()?.trim_start().strip_prefix("// ")?;
    let name = comment.split('.').next()?;
    (1..=16)
        .map(Code::from)
        .find(|code| name == format!("{code:?}").chars().flat_map(upper).collect::<String>().trim_start_matches('_'))
}

/// `NotFound` as `_NOT_FOUND`.
fn upper(letter: char) -> impl Iterator<Item = char> {
    letter.is_ascii_uppercase().then_some('_').into_iter().chain([letter.to_ascii_uppercase()])
}

/// Every event of several has its own verdict.
fn results(path: &str, body: &bytes::Bytes) -> Result<(), String> {
    for message in messages(body.clone()) {
        let results = if path.ends_with("Stream") {
            v1::PublishEventStreamResponse::decode(message).map(|answer| answer.result.into_iter().collect())
        } else {
            v1::PublishEventsResponse::decode(message).map(|answer| answer.results)
        };
        for result in results.map_err(|error| error.to_string())? {
            match result.result {
                Some(publish_result::Result::Response(_)) => {}
                Some(publish_result::Result::Error(error)) => reason(Code::from(error.code), "gatepost", &error.reason)?,
                None => return Err("an empty result".to_owned()),
            }
        }
    }
    Ok(())
}

/// The last frame of a gRPC-web answer holds its trailers as text; a base64 one is only looked at for its length.
fn web(path: &str, headers: &HeaderMap, body: &bytes::Bytes) -> Result<String, String> {
    if headers.contains_key("grpc-status") {
        return status(path, headers, headers);
    }
    let text = String::from_utf8_lossy(body);
    match text.split_once("grpc-status:").map(|(_, rest)| rest.split("\r\n").next().unwrap_or_default().trim()) {
        Some("2" | "13" | "15") => Err(format!("gRPC-web: {text}")),
        _ => Ok("gRPC-web".to_owned()),
    }
}
