//! How an event becomes the body of a request, and what its envelope's `subject` is.
//!
//! Called by the dispatcher before it signs. A body is a function of the event alone: the same event gives the same bytes on every
//! attempt and on every node, so `data` is embedded as it was published and never parsed and written again.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Time;

/// Content type of [`render_standard`]'s body.
pub const STANDARD_CONTENT_TYPE: &str = "application/json";

/// An event as it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Unique in the tenant; no `.` in it.
    pub id: &'a str,
    /// Event type name.
    pub event_type: &'a str,
    /// When it happened, as the publisher says; else when it was accepted.
    pub timestamp: Time,
    /// Id of the tenant.
    pub tenant: &'a str,
    /// What it is about, see [`derive_subject`].
    pub subject: &'a str,
    /// Its number in the order of acceptance.
    pub sequence: i64,
    /// One value for all events with one cause.
    pub txn: &'a str,
    /// Version of the schema of `data`, from 1.
    pub schema_version: i32,
    /// A JSON object, embedded byte for byte.
    pub data: &'a [u8],
}

/// The `STANDARD` body: the nine members in their order, without insignificant space outside `data`.
pub fn render_standard(envelope: &Envelope<'_>) -> Bytes {
    use std::io::Write as _;

    let texts = envelope.id.len() + envelope.event_type.len() + envelope.tenant.len() + envelope.subject.len() + envelope.txn.len();
    let mut body = Vec::with_capacity(192 + texts + envelope.data.len());
    member(&mut body, "{\"id\":", envelope.id);
    member(&mut body, ",\"type\":", envelope.event_type);
    member(&mut body, ",\"timestamp\":", &envelope.timestamp.rfc3339());
    member(&mut body, ",\"tenant\":", envelope.tenant);
    member(&mut body, ",\"subject\":", envelope.subject);
    // Zero-padded text, so that receivers may compare sequences as strings and lose no digits to floating point.
    let _ = write!(body, ",\"sequence\":\"{:020}\"", envelope.sequence);
    member(&mut body, ",\"txn\":", envelope.txn);
    let _ = write!(body, ",\"schema_version\":{},\"data\":", envelope.schema_version);
    body.extend_from_slice(envelope.data);
    body.push(b'}');
    body.into()
}

/// `opening`: what stands before the value. Writing to memory and a string's JSON cannot fail.
fn member(body: &mut Vec<u8>, opening: &str, value: &str) {
    body.extend_from_slice(opening.as_bytes());
    let _ = serde_json::to_writer(body, value);
}

/// The subject of an event whose publisher names none.
///
/// `{kind}/{id}` of the first of `user`, `account`, `access_request`, `device`, `application`, `group` in `data` that has an id which
/// makes a subject (an application's is `app_id`); an access request without one gives `user/{target_user.id}`; else `tenant/{tenant}`.
pub fn derive_subject(data: &[u8], tenant: &str) -> String {
    let find = || {
        let data: Data<'_> = serde_json::from_slice(data).ok()?;
        let of = |kind: &str, id: Option<std::borrow::Cow<'_, str>>| {
            let subject = format!("{kind}/{}", id.filter(|id| !id.is_empty())?);
            // A payload may hold what no subject may, such as an escaped NUL, which not every database stores.
            is_subject(&subject).then_some(subject)
        };
        None.or_else(|| of("user", parse(data.user?)?.id))
            .or_else(|| of("account", parse(data.account?)?.id))
            .or_else(|| of("access_request", parse(data.access_request?)?.id))
            .or_else(|| of("user", parse(parse(data.access_request?)?.target_user?)?.id))
            .or_else(|| of("device", parse(data.device?)?.id))
            .or_else(|| of("application", parse(data.application?)?.app_id))
            .or_else(|| of("group", parse(data.group?)?.id))
    };
    find().unwrap_or_else(|| format!("tenant/{tenant}"))
}

/// Characters of a subject.
const MAX_SUBJECT_CHARS: usize = 256;

/// Whether a text may be a subject, whoever wrote it.
pub fn is_subject(text: &str) -> bool {
    text.chars().count() <= MAX_SUBJECT_CHARS && !text.chars().any(char::is_control)
}

/// The members of `data` that can be a subject, unread: registered types may put anything there.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    user: Option<&'a RawValue>,
    #[serde(borrow, default)]
    account: Option<&'a RawValue>,
    #[serde(borrow, default)]
    access_request: Option<&'a RawValue>,
    #[serde(borrow, default)]
    device: Option<&'a RawValue>,
    #[serde(borrow, default)]
    application: Option<&'a RawValue>,
    #[serde(borrow, default)]
    group: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    app_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    target_user: Option<&'a RawValue>,
}

/// `None` for what has no text where an id belongs.
fn parse(member: &RawValue) -> Option<Named<'_>> {
    serde_json::from_str(member.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &[u8] = br#"{ "user": {"id": "usr_1", "n": 1.10},  "x":"\u00e9" }"#;

    fn envelope<'a>() -> Envelope<'a> {
        Envelope {
            id: "evt_01",
            event_type: "user.terminated",
            timestamp: Time::from_millis(1_795_597_200_000),
            tenant: "acme",
            subject: "user/usr_1",
            sequence: 42,
            txn: "evt_01",
            schema_version: 1,
            data: DATA,
        }
    }

    #[test]
    fn the_standard_body_has_nine_members_in_order_and_data_as_published() {
        let expected = concat!(
            r#"{"id":"evt_01","type":"user.terminated","timestamp":"2026-11-25T09:00:00.000Z","tenant":"acme","#,
            r#""subject":"user/usr_1","sequence":"00000000000000000042","txn":"evt_01","schema_version":1,"#,
            r#""data":{ "user": {"id": "usr_1", "n": 1.10},  "x":"\u00e9" }}"#
        );
        assert_eq!(std::str::from_utf8(&render_standard(&envelope())).unwrap(), expected);
    }

    #[test]
    fn texts_are_escaped_and_every_body_is_json() {
        let odd = Envelope { subject: "user/\"\\\n\u{1}é💡", sequence: i64::MAX, ..envelope() };
        let body = render_standard(&odd);
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["subject"], "user/\"\\\n\u{1}é💡");
        assert_eq!(read["sequence"], "09223372036854775807");
        assert_eq!(read.as_object().unwrap().len(), 9);
    }

    #[test]
    fn the_subject_is_the_first_that_has_an_id() {
        for (data, subject) in [
            (r#"{"user":{"id":"usr_1","email":"a@b"},"account":{"id":"acc"}}"#, "user/usr_1"),
            (r#"{"account":{"id":"acc"},"user":{"id":"usr_1"}}"#, "user/usr_1"),
            (r#"{"account":{"id":"acc","application":{"app_id":"a"}},"group":{"id":"g"}}"#, "account/acc"),
            (r#"{"access_request":{"id":"ar","target_user":{"id":"usr_1"}}}"#, "access_request/ar"),
            (r#"{"access_request":{"target_user":{"id":"usr_1"}},"device":{"id":"d"}}"#, "user/usr_1"),
            (r#"{"access_request":{},"device":{"id":"d"}}"#, "device/d"),
            (r#"{"application":{"app_id":"github"},"group":{"id":"g"}}"#, "application/github"),
            (r#"{"group":{"id":"g"},"user":null}"#, "group/g"),
            (r#"{"user":{"email":"a@b"},"group":{"id":"g"}}"#, "group/g"),
            (r#"{"user":"jane","device":{"id":7},"group":{"id":"g"}}"#, "group/g"),
            (r#"{"user":{"id":"a\u002fb\"c"}}"#, "user/a/b\"c"),
            (r#"{"review":{"id":"r"}}"#, "tenant/acme"),
            (r#"{"user":{"id":"a\u0000"},"group":{"id":"g"}}"#, "group/g"),
            (r#"{"user":{"id":"a\nb"}}"#, "tenant/acme"),
            (r#"{"user":{"id":""},"account":{"id":"acc"}}"#, "account/acc"),
            ("{}", "tenant/acme"),
            ("[]", "tenant/acme"),
            ("no json", "tenant/acme"),
        ] {
            assert_eq!(derive_subject(data.as_bytes(), "acme"), subject, "{data}");
        }
    }
}
