//! Statuses that tonic makes itself, without details, get a reason of the contract: what cannot be decoded or is too large, and
//! services that do not exist.

use axum::response::Response;
use http::HeaderMap;
use tonic::{Code, Status};

use super::{refuse, status_of};
use crate::api::{Error, Violation};

/// Gives the statuses that tonic makes itself a reason of the contract. An unknown compression stays UNIMPLEMENTED, as the protocol
/// demands, with the list of what is known.
pub(super) fn explain(response: Response, message_bytes: usize) -> Response {
    match unexplained(response.headers()) {
        Some(Code::InvalidArgument) => refuse(unreadable()),
        Some(Code::NotFound) => refuse(Error::NotFound { resource: "service".to_owned() }),
        Some(code) => undecoded(code, message_bytes).map_or(response, refuse),
        None => response,
    }
}

/// The same for the trailers of a stream, whose messages are decoded when its answers have begun. What health and reflection say in
/// theirs is left alone.
pub(super) fn explain_end(trailers: &mut HeaderMap, message_bytes: usize) {
    let Some(error) = unexplained(trailers).and_then(|code| undecoded(code, message_bytes)) else { return };
    let mut explained = HeaderMap::new();
    if Status::from(error).add_header(&mut explained).is_ok() {
        *trailers = explained;
    }
}

/// The code of a status that was made without details, so by tonic.
fn unexplained(headers: &HeaderMap) -> Option<Code> {
    status_of(headers).filter(|code| *code != Code::Ok && !headers.contains_key(Status::GRPC_STATUS_DETAILS))
}

/// What tonic means by the code with which it refuses a message.
fn undecoded(code: Code, message_bytes: usize) -> Option<Error> {
    match code {
        Code::Internal => Some(unreadable()),
        Code::OutOfRange | Code::ResourceExhausted => {
            Some(Error::LimitReached { limit: "message_bytes", value: message_bytes as u64 })
        }
        _ => None,
    }
}

fn unreadable() -> Error {
    Error::InvalidFields(vec![Violation::new("request", "cannot be decoded")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access::plain;
    use http::StatusCode;
    use tonic_types::StatusExt as _;

    /// What becomes of an answer with this status, as tonic makes it or as we do.
    fn explained(response: Response) -> Status {
        Status::from_header_map(explain(response, 4096).headers()).unwrap()
    }

    fn bare(code: Code) -> Response {
        let mut response = plain(StatusCode::OK);
        response.headers_mut().insert(Status::GRPC_STATUS, (code as i32).into());
        response
    }

    #[test]
    fn statuses_that_tonic_makes_get_a_reason() {
        for (response, code, reason) in [
            (bare(Code::Internal), Code::InvalidArgument, "INVALID_FIELDS"),
            (bare(Code::OutOfRange), Code::ResourceExhausted, "LIMIT_REACHED"),
            (bare(Code::NotFound), Code::NotFound, "RESOURCE_NOT_FOUND"),
            (refuse(Error::ShuttingDown), Code::Unavailable, "SHUTTING_DOWN"),
            (refuse(Error::Internal { request_id: "req_1".into() }), Code::Internal, "INTERNAL"),
        ] {
            let status = explained(response);
            assert_eq!((status.code(), status.get_details_error_info().unwrap().reason.as_str()), (code, reason));
        }
        assert_eq!(explained(bare(Code::Unimplemented)).code(), Code::Unimplemented, "an unknown compression");
    }

    #[test]
    fn a_stream_that_tonic_ends_gets_a_reason_and_one_that_we_end_keeps_its_own() {
        let ended = |mut trailers: HeaderMap| {
            explain_end(&mut trailers, 4096);
            Status::from_header_map(&trailers).unwrap()
        };
        for (code, expected, reason) in [
            (Code::Internal, Code::InvalidArgument, "INVALID_FIELDS"),
            (Code::OutOfRange, Code::ResourceExhausted, "LIMIT_REACHED"),
        ] {
            let status = ended(bare(code).headers().clone());
            assert_eq!((status.code(), status.get_details_error_info().unwrap().reason.as_str()), (expected, reason));
        }
        let own = refuse(Error::Internal { request_id: "req_1".into() });
        assert_eq!(ended(own.headers().clone()).code(), Code::Internal);
        for code in [Code::Ok, Code::NotFound] {
            assert_eq!(ended(bare(code).headers().clone()).code(), code, "reflection's own words");
        }
    }
}
