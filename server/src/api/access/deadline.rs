//! `grpc-timeout`: how long a caller of a unary RPC waits.
//!
//! Source: gRPC over HTTP/2, "Requests": at most eight digits and a unit.

use std::time::Duration;

use http::HeaderMap;

/// The longest that any unary RPC may take, whatever its caller says: nobody holds a stream by never sending its message.
const LONGEST: Duration = Duration::from_secs(300);

/// How long a stream may take to begin, so that nobody holds one whose request never comes.
pub(super) const BEGIN: Duration = Duration::from_secs(30);

/// The time that a unary call gets. What is no timeout is ignored, as if it were absent.
pub(super) fn of(headers: &HeaderMap) -> Duration {
    let text = headers.get("grpc-timeout").and_then(|value| value.to_str().ok());
    text.and_then(parse).map_or(LONGEST, |timeout| timeout.min(LONGEST))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn timeouts_are_read_in_every_unit_and_bounded() {
        for (text, expected) in [
            ("5S", Some(Duration::from_secs(5))),
            ("2M", Some(Duration::from_secs(120))),
            ("1H", Some(Duration::from_secs(3600))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0S", Some(Duration::ZERO)),
            ("123456789S", None),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1.5S", None),
            ("5s", None),
            ("5é", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        let with =
            |text: &'static str| [(http::HeaderName::from_static("grpc-timeout"), text.parse().unwrap())].into_iter().collect();
        assert_eq!(of(&with("99999999H")), LONGEST);
        assert_eq!(of(&with("soon")), LONGEST);
        assert_eq!(of(&HeaderMap::new()), LONGEST);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = parse(&text);
        }
    }
}
