//! Headers that users put on every request of their endpoint, and those they may not.
//!
//! Names are refused that HTTP, the signature or another part of the request needs; values are secrets (they often hold tokens), so
//! neither `Debug` nor a violation shows one. `{{webhook_id}}` in a value becomes the request's `webhook-id`.

use std::collections::HashSet;
use std::fmt;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

/// The most headers of an endpoint.
const MOST: usize = 50;
/// The most bytes of all names and values together.
const LARGEST: usize = 8 * 1_024;
/// What readers see in the place of a value; in an update it stands for the value that is stored.
pub const HIDDEN: &str = "<hidden>";
const WEBHOOK_ID: &str = "{{webhook_id}}";

/// What each request already carries, and what belongs to the connection or to other means of authentication.
const RESERVED: [&str; 20] = [
    "accept",
    "connection",
    "content-digest",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "signature",
    "signature-input",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "http2-settings",
];
const RESERVED_PREFIXES: [&str; 4] = ["webhook-", "gatepost-", "ce-", "proxy-"];

/// A header of the user's own.
#[derive(Clone)]
pub struct CustomHeader {
    /// Its name, in lower case.
    pub name: HeaderName,
    value: Value,
}

#[derive(Clone)]
enum Value {
    /// Ready to send, marked as sensitive.
    Fixed(HeaderValue),
    /// Holds `{{webhook_id}}`.
    Template(SecretString),
}

impl CustomHeader {
    /// The value to send with this `webhook-id`; `None` when the id is no header text, which no id is.
    pub fn render(&self, webhook_id: &str) -> Option<HeaderValue> {
        match &self.value {
            Value::Fixed(value) => Some(value.clone()),
            Value::Template(template) => sensitive(&template.expose_secret().replace(WEBHOOK_ID, webhook_id)),
        }
    }

    /// The value as the user wrote it, for the row alone: no reader of an endpoint gets it.
    pub fn value(&self) -> SecretString {
        match &self.value {
            // A value is ASCII, or it would not have been taken.
            Value::Fixed(value) => SecretString::from(value.to_str().unwrap_or_default()),
            Value::Template(template) => template.clone(),
        }
    }
}

impl fmt::Debug for CustomHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: [REDACTED]", self.name)
    }
}

/// A header as an update writes it.
#[derive(Debug, Clone)]
pub enum HeaderChange {
    /// With this value.
    Set(CustomHeader),
    /// As it is stored: its writer sent [`HIDDEN`].
    Keep(HeaderName),
}

/// Something wrong with the headers of an endpoint; `Display` is for the caller who wrote them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderViolation {
    /// More than 50.
    #[error("must hold at most {MOST} headers")]
    TooMany,
    /// More than 8 KiB.
    #[error("must hold at most {LARGEST} bytes")]
    TooLarge,
    /// No header name by RFC 9110.
    #[error("{name:?} is not a header name")]
    Name {
        /// The name as written.
        name: String,
    },
    /// A name that users may not set.
    #[error("{name:?} is set by Gatepost or by HTTP")]
    Reserved {
        /// The name as written.
        name: String,
    },
    /// Two names that differ in case only.
    #[error("{name:?} is there twice")]
    Twice {
        /// The name as written the second time.
        name: String,
    },
    /// [`HIDDEN`] for a header that is not stored.
    #[error("the value of {name:?} stands for one that is stored, and none is: send the value itself")]
    NothingToKeep {
        /// The name.
        name: String,
    },
    /// Control characters, or letters beyond ASCII.
    #[error("the value of {name:?} holds something other than printable ASCII")]
    Value {
        /// The name as written.
        name: String,
    },
}

/// Reads headers as an update writes them, with the bounds of [`parse_headers`].
///
/// # Errors
/// Every violation at once.
pub fn parse_header_changes<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<HeaderChange>, Vec<HeaderViolation>> {
    let change = |header: CustomHeader| match &header.value {
        Value::Fixed(value) if value == HIDDEN => HeaderChange::Keep(header.name),
        _ => HeaderChange::Set(header),
    };
    Ok(parse_headers(headers)?.into_iter().map(change).collect())
}

/// The headers after an update of those that are stored.
///
/// # Errors
/// [`HeaderViolation::NothingToKeep`] for each that is to be kept and is not there; [`HeaderViolation::TooLarge`] with what is kept.
pub fn change_headers(changes: Vec<HeaderChange>, stored: &[CustomHeader]) -> Result<Vec<CustomHeader>, Vec<HeaderViolation>> {
    let (mut headers, mut violations) = (Vec::with_capacity(changes.len()), Vec::new());
    for change in changes {
        match change {
            HeaderChange::Set(header) => headers.push(header),
            HeaderChange::Keep(name) => match stored.iter().find(|header| header.name == name) {
                Some(header) => headers.push(header.clone()),
                None => violations.push(HeaderViolation::NothingToKeep { name: name.to_string() }),
            },
        }
    }
    let bytes: usize = headers.iter().map(|header| header.name.as_str().len() + header.value().expose_secret().len()).sum();
    if bytes > LARGEST {
        violations.push(HeaderViolation::TooLarge);
    }
    if violations.is_empty() { Ok(headers) } else { Err(violations) }
}

/// Reads the headers of an endpoint: at most 50, at most 8 KiB together, values of printable ASCII.
///
/// # Errors
/// Every violation at once.
pub fn parse_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<CustomHeader>, Vec<HeaderViolation>> {
    let mut parsed = Vec::new();
    let mut violations = Vec::new();
    let mut seen = HashSet::new();
    let mut bytes = 0;
    for (count, (name, value)) in headers.into_iter().enumerate() {
        // The work is bounded before the input is looked at.
        bytes += name.len() + value.len();
        if count >= MOST || bytes > LARGEST {
            violations.push(if count >= MOST { HeaderViolation::TooMany } else { HeaderViolation::TooLarge });
            break;
        }
        match parse_header(name, value) {
            Ok(header) if seen.insert(header.name.clone()) => parsed.push(header),
            Ok(_) => violations.push(HeaderViolation::Twice { name: name.to_owned() }),
            Err(found) => violations.extend(found),
        }
    }
    if violations.is_empty() { Ok(parsed) } else { Err(violations) }
}

fn parse_header(written: &str, value: &str) -> Result<CustomHeader, Vec<HeaderViolation>> {
    let mut violations = Vec::new();
    let name = HeaderName::from_bytes(written.as_bytes()).ok();
    match &name {
        None => violations.push(HeaderViolation::Name { name: written.to_owned() }),
        Some(name) if is_reserved(name.as_str()) => violations.push(HeaderViolation::Reserved { name: written.to_owned() }),
        Some(_) => {}
    }
    let fixed = sensitive(value);
    if fixed.is_none() {
        violations.push(HeaderViolation::Value { name: written.to_owned() });
    }
    match (name, fixed) {
        (Some(name), Some(fixed)) if violations.is_empty() => {
            let value = if value.contains(WEBHOOK_ID) { Value::Template(value.into()) } else { Value::Fixed(fixed) };
            Ok(CustomHeader { name, value })
        }
        _ => Err(violations),
    }
}

/// `name`: in lower case.
fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let mut value = printable.then(|| HeaderValue::from_str(value).ok())??;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use HeaderViolation as V;
    use proptest::prelude::*;

    #[test]
    fn a_header_is_sent_as_written_with_the_id_filled_in() {
        let headers =
            parse_headers([("X-Token", "Bearer a b"), ("x-id", "<{{webhook_id}}> {{webhook_id}}"), ("authorization", "")]).unwrap();
        let sent: Vec<_> = headers.iter().map(|header| (header.name.as_str(), header.render("evt_1").unwrap())).collect();
        assert_eq!(sent[0], ("x-token", HeaderValue::from_static("Bearer a b")));
        assert_eq!(sent[1], ("x-id", HeaderValue::from_static("<evt_1> evt_1")));
        assert_eq!(sent[2], ("authorization", HeaderValue::from_static("")));
        assert!(sent.iter().all(|(_, value)| value.is_sensitive()));
        assert_eq!(headers[1].value().expose_secret(), "<{{webhook_id}}> {{webhook_id}}");
        assert_eq!(format!("{:?}", headers[0]), "x-token: [REDACTED]");
    }

    #[test]
    fn every_violation_is_named_at_once() {
        let name = |name: &str| name.to_owned();
        let violations =
            parse_headers([("a b", "x"), ("Host", "y\n"), ("x-a", "1"), ("X-A", "2"), ("x-b", "é"), ("", "x")]).unwrap_err();
        let expected = [
            V::Name { name: name("a b") },
            V::Reserved { name: name("Host") },
            V::Value { name: name("Host") },
            V::Twice { name: name("X-A") },
            V::Value { name: name("x-b") },
            V::Name { name: name("") },
        ];
        assert_eq!(violations, expected);
    }

    #[test]
    fn what_http_or_the_signature_needs_is_refused() {
        for name in RESERVED.into_iter().chain([
            "Content-Type",
            "webhook-id",
            "Webhook-Signature",
            "webhook-anything",
            "gatepost-event-type",
            "ce-id",
            "proxy-authorization",
            "Proxy-Connection",
        ]) {
            assert_eq!(parse_headers([(name, "x")]).unwrap_err(), [V::Reserved { name: name.to_owned() }], "{name}");
        }
        assert!(parse_headers([("authorization", "x"), ("x-webhook-id", "x"), ("cell", "x"), ("gatepost", "x")]).is_ok());
    }

    #[test]
    fn values_hold_no_line_breaks_and_no_controls() {
        for value in ["a\r\nb", "a\nb", "a\rb", "a\0b", "a\tb", "\u{7f}", "ü", "\u{85}"] {
            assert_eq!(parse_headers([("x-a", value)]).unwrap_err(), [V::Value { name: "x-a".to_owned() }], "{value:?}");
        }
    }

    #[test]
    fn fifty_headers_and_eight_kibibytes_are_the_most() {
        let names: Vec<_> = (0..51).map(|number| format!("x-{number:02}")).collect();
        assert!(parse_headers(names.iter().take(50).map(|name| (name.as_str(), "x"))).is_ok());
        assert_eq!(parse_headers(names.iter().map(|name| (name.as_str(), "x"))).unwrap_err(), [V::TooMany]);
        let long = "v".repeat(LARGEST - 3);
        assert!(parse_headers([("x-a", &*long)]).is_ok());
        assert_eq!(parse_headers([("x-ab", &*long)]).unwrap_err(), [V::TooLarge]);
    }

    #[test]
    fn a_hidden_value_keeps_the_stored_one_and_nothing_else() {
        let stored = parse_headers([("x-a", "old"), ("x-b", "{{webhook_id}}")]).unwrap();
        let change = |pairs: &[(&'static str, &'static str)]| {
            let changes = parse_header_changes(pairs.iter().copied()).unwrap();
            let changed = change_headers(changes, &stored)?;
            Ok::<_, Vec<V>>(changed.iter().map(|header| header.value().expose_secret().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(change(&[("X-A", HIDDEN), ("x-b", HIDDEN), ("x-c", "new")]).unwrap(), ["old", "{{webhook_id}}", "new"]);
        assert_eq!(change(&[("x-a", "<hidden> x")]).unwrap(), ["<hidden> x"], "only the whole value");
        assert_eq!(change(&[("x-d", HIDDEN)]).unwrap_err(), [V::NothingToKeep { name: "x-d".to_owned() }]);
        let large = "x".repeat(LARGEST - 10);
        let stored = parse_headers([("x-a", &*large)]).unwrap();
        let changes = parse_header_changes([("x-a", HIDDEN), ("x-b", "0123456789")]).unwrap();
        assert_eq!(change_headers(changes, &stored).unwrap_err(), [V::TooLarge]);
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic_and_a_taken_one_can_be_sent(name in ".{0,12}", value in ".{0,40}", id in "[A-Za-z0-9_:-]{1,20}") {
            if let Ok(headers) = parse_headers([(&*name, &*value)]) {
                prop_assert!(headers.iter().all(|header| header.render(&id).is_some()));
            }
        }
    }
}
