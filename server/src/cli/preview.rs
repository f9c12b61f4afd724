//! `gatepost endpoints preview`: a stored event as the request that an endpoint would get, or why it would get none.
//!
//! People see headers, a blank line and the body with line breaks; what cannot be read in it, a token or an encrypted body, stands
//! below it in clear.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gatepost_client::v1::preview_delivery_response::Request;
use gatepost_client::v1::{self, PreviewDeliveryResponse};

use super::explain::{values, why};
use super::failure::Failure;
use super::output::{Format, Output, Show, count, id, note};
use super::pretty::pretty;

/// Media type of security event tokens. Source: RFC 8417, section 2.3.
const TOKEN: &str = "application/secevent+jwt";

/// Shows an answer. `body`: only the bodies, byte for byte.
///
/// # Errors
/// A matching event cannot be rendered: exit code 1.
pub(crate) fn show<W: Write>(out: &mut Output<W>, response: &PreviewDeliveryResponse, body: bool) -> Result<(), Failure> {
    if body {
        if response.requests.is_empty() && response.render_error.is_empty() {
            note(nothing(response).trim_end());
        }
        response.requests.iter().try_for_each(|request| out.bytes(&request.body))?;
    } else if out.format() != Format::Table {
        out.item(response)?;
    } else if !response.requests.is_empty() {
        out.text(&requests(&response.requests))?;
    } else if response.render_error.is_empty() {
        out.text(&nothing(response))?;
    }
    match response.render_error.as_str() {
        "" => Ok(()),
        error => Err(Failure::other("the event cannot be rendered for this endpoint", error)),
    }
}

fn nothing(response: &PreviewDeliveryResponse) -> String {
    let found = response.r#match.clone().unwrap_or_default();
    format!("nothing would be sent to {}: {}\n{}", id(&found.endpoint), why(&found), values(&found))
}

fn requests(requests: &[Request]) -> String {
    let one = |(index, request): (usize, &Request)| match requests.len() {
        1 => page(request),
        of => format!("# request {} of {of}\n{}", index + 1, page(request)),
    };
    requests.iter().enumerate().map(one).collect::<Vec<_>>().join("\n")
}

fn page(request: &Request) -> String {
    let mut text: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let body = String::from_utf8_lossy(&request.body);
    text.push_str(&format!("\n{}\n", pretty(&body)));
    let clear = String::from_utf8_lossy(&request.unencrypted_body);
    if !clear.is_empty() {
        text.push_str(&format!("\n# before encryption\n{}\n", pretty(&clear)));
    }
    let sent = if clear.is_empty() { body } else { clear };
    // An encrypted token has another media type, but begins as every token does.
    let named = request.headers.get("content-type").is_some_and(|kind| kind == TOKEN);
    if let Some((header, claims)) = token(&sent).filter(|_| named || !request.unencrypted_body.is_empty()) {
        text.push_str(&format!("\n# the token's header\n{}\n\n# the token's claims\n{}\n", pretty(&header), pretty(&claims)));
    }
    text
}

/// Header and claims of a compact JWS. Source: RFC 7515, section 7.1.
fn token(text: &str) -> Option<(String, String)> {
    let mut parts = text.split('.').map(|part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok());
    let (header, claims) = (parts.next()??, parts.next()??);
    (header.starts_with('{') && claims.starts_with('{')).then_some((header, claims))
}

impl Show for PreviewDeliveryResponse {
    const COLUMNS: &'static [(&'static str, usize)] = &[("ENDPOINT", 24), ("MATCHED", 7), ("REQUESTS", 8)];

    fn row(&self) -> Vec<String> {
        let found = self.r#match.clone().unwrap_or_default();
        let [endpoint, matched] = [0, 1].map(|column| v1::EndpointMatch::row(&found)[column].clone());
        vec![endpoint, matched, count(i64::try_from(self.requests.len()).unwrap_or(i64::MAX))]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        Self::COLUMNS.iter().map(|(name, _)| *name).zip(self.row()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::endpoint_match::{Reason, Value};

    fn request(kind: &str, body: &str) -> Request {
        let headers = [("webhook-id", "evt_1"), ("content-type", kind)].map(|(name, value)| (name.to_owned(), value.to_owned()));
        Request { headers: headers.into(), body: body.as_bytes().to_vec(), ..Request::default() }
    }

    fn compact(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_request_is_headers_a_blank_line_and_a_readable_body() {
        let text = requests(&[request("application/json", r#"{"b":1.50,"a":[]}"#)]);
        assert_eq!(text, "content-type: application/json\nwebhook-id: evt_1\n\n{\n  \"b\": 1.50,\n  \"a\": []\n}\n");
    }

    #[test]
    fn several_requests_are_told_apart_and_tokens_are_opened() {
        let token = compact(r#"{"alg":"RS256"}"#, r#"{"iss":"x"}"#);
        let text = requests(&[request(TOKEN, &token), request(TOKEN, "nonsense")]);
        for part in ["# request 1 of 2\n", "# request 2 of 2\n", &token, "\"alg\": \"RS256\"", "\"iss\": \"x\""] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(text.matches("# the token's claims").count(), 1, "{text}");
    }

    #[test]
    fn an_encrypted_body_is_shown_with_what_is_in_it() {
        let sealed = Request { unencrypted_body: br#"{"a":1}"#.to_vec(), ..request("application/jose", "ey.x.y.z.t") };
        let text = requests(&[sealed]);
        assert!(text.contains("\ney.x.y.z.t\n\n# before encryption\n{\n  \"a\": 1\n}\n"), "{text}");
        let token = compact(r#"{"alg":"RS256"}"#, r#"{"iss":"x"}"#);
        let sealed = Request { unencrypted_body: token.into_bytes(), ..request("application/jose", "ey.x.y.z.t") };
        assert!(requests(&[sealed]).contains("\"iss\": \"x\""));
    }

    #[test]
    fn what_gets_nothing_is_told_why_with_the_values() {
        let found = v1::EndpointMatch {
            endpoint: "tenants/acme/endpoints/siem".into(),
            reason: Reason::FilterFalse.into(),
            values: vec![Value { path: "data.n".into(), value: "1".into() }],
            ..v1::EndpointMatch::default()
        };
        let response = PreviewDeliveryResponse { r#match: Some(found), ..PreviewDeliveryResponse::default() };
        let expected = "nothing would be sent to siem: its filter is false\n\nthe filter of siem read\n  data.n = 1\n";
        assert_eq!(nothing(&response), expected);
    }

    #[test]
    fn an_event_that_cannot_be_rendered_is_a_failure() {
        let response = PreviewDeliveryResponse { render_error: "line 1".into(), ..PreviewDeliveryResponse::default() };
        for body in [true, false] {
            assert_eq!(show(&mut Output::stdout(Format::Table), &response, body).unwrap_err().exit_code(), 1);
        }
    }
}
