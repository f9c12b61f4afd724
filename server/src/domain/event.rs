//! What happened: an event as a publisher hands it in, checked, and as it is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::event_type::is_event_type;
use super::format::Envelope;
use super::registered::{Known, MOST_VIOLATIONS, RegisteredTypes, TypeProblem};
use super::violation::Violation;
use super::{Time, catalogue, format, id, signature};

/// JSON deeper than this is refused, as receivers' parsers are rarely hardened.
pub const MAX_JSON_DEPTH: usize = 64;
/// Labels of an event.
pub const MAX_TAGS: usize = 20;

/// What a publisher sent, before any check.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The publisher's id; empty: none.
    pub event_id: String,
    /// Event type.
    pub event_type: String,
    /// The payload.
    pub data: Bytes,
    /// Media type; empty: `application/json`.
    pub content_type: String,
    /// Who or what it is about; empty: derived from the payload.
    pub subject: String,
    /// Labels.
    pub tags: BTreeMap<String, String>,
    /// When it happened, as seconds and nanoseconds; `None`: at acceptance.
    pub occurred: Option<(i64, i32)>,
    /// UUID that makes a repeat without an event id return the first answer; empty: none.
    pub request_id: String,
    /// Version of the type's schema; 0: the newest.
    pub schema_version: i32,
}

/// Why an event is refused, with every bad field at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What its publisher should know first.
    pub reason: InvalidReason,
    /// Every bad field, named as in `PublishEventRequest`; what does not satisfy the schema is `data` and a JSON pointer.
    pub violations: Vec<Violation>,
}

/// What is wrong with an event above all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidReason {
    /// Fields are bad.
    Fields,
    /// Its type is one that Gatepost alone publishes.
    Reserved,
    /// Its payload does not satisfy its type's schema, the version of which this is.
    Schema(i32),
}

/// An event that passed every check and waits to be stored.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its tenant.
    pub tenant: Arc<str>,
    /// Its id: the publisher's, or a fresh one.
    pub id: String,
    /// Whether the publisher chose the id.
    pub chosen_id: bool,
    /// The publisher's request id.
    pub request_id: Option<String>,
    /// SHA-256 over what the publisher sent, ids aside: what makes a repeat the same event.
    pub hash: [u8; 32],
    /// Its type.
    pub event_type: String,
    /// Who or what it is about.
    pub subject: String,
    /// Labels, as a JSON object.
    pub tags: String,
    /// When it happened; `None`: when it is accepted.
    pub occurred_time: Option<Time>,
    /// The payload as it came.
    pub data: Bytes,
    /// Version of the schema that the payload satisfies.
    pub schema_version: i32,
    /// `txn` of the event that caused this one; `None`: its own id.
    pub txn: Option<String>,
}

impl NewEvent {
    /// An event of Gatepost's own, which nobody repeats. `data`: a JSON object that satisfies the newest schema of its type.
    pub fn own(tenant: Arc<str>, id: String, event_type: &str, data: Bytes, txn: Option<String>) -> Self {
        let hash = Sha256::digest(id.as_bytes()).into();
        let schema_version = catalogue::find(event_type).map_or(1, catalogue::EventType::latest_version);
        Self {
            hash,
            subject: format::derive_subject(&data, &tenant),
            tenant,
            id,
            chosen_id: false,
            request_id: None,
            event_type: event_type.to_owned(),
            tags: "{}".to_owned(),
            occurred_time: None,
            data,
            schema_version,
            txn,
        }
    }

    /// Checks everything at once.
    ///
    /// `fresh_id`: used when the publisher chose none. `max_data_bytes`: bound of the payload. `types`: those that the tenant registered.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn check(
        tenant: &Arc<str>,
        sent: Published,
        fresh_id: String,
        max_data_bytes: usize,
        types: &RegisteredTypes,
    ) -> Result<Self, Invalid> {
        let mut bad = Vec::new();
        let mut reason = InvalidReason::Fields;
        if !sent.event_id.is_empty() && !id::is_event_id(&sent.event_id) {
            bad.push(Violation::new("event_id", "must be at most 128 characters of [A-Za-z0-9_:-]"));
        }
        let known = check_type(&sent, types, &mut reason, &mut bad);
        if !sent.content_type.is_empty() && !sent.content_type.eq_ignore_ascii_case("application/json") {
            bad.push(Violation::new("content_type", "must be application/json"));
        }
        match (check_data(&sent.data, max_data_bytes), known) {
            (Err(problem), _) => bad.push(Violation::new("data", problem)),
            (Ok(data), Some(known)) => {
                let violations = known.schema.violations(&data, MOST_VIOLATIONS);
                if !violations.is_empty() {
                    reason = InvalidReason::Schema(known.version);
                    bad.extend(violations.into_iter().map(|found| Violation::new(format!("data{}", found.pointer), found.message)));
                }
            }
            (Ok(_), None) => {}
        }
        if !format::is_subject(&sent.subject) {
            bad.push(Violation::new("subject", "must be at most 256 characters without control characters"));
        }
        check_tags(&sent.tags, &mut bad);
        let occurred_time = match sent.occurred {
            None => None,
            Some((seconds, nanos)) if (0..=MAX_SECONDS).contains(&seconds) && (0..1_000_000_000).contains(&nanos) => {
                Some(Time::from_millis(seconds * 1000 + i64::from(nanos / 1_000_000)))
            }
            Some(_) => {
                bad.push(Violation::new("occurred_time", "must lie between the years 1970 and 9999"));
                None
            }
        };
        let request_id = if sent.request_id.is_empty() {
            None
        } else if let Ok(uuid) = uuid::Uuid::try_parse(&sent.request_id) {
            // In its one spelling, or a repeat in another one would be another request.
            Some(uuid.hyphenated().to_string())
        } else {
            bad.push(Violation::new("request_id", "must be a UUID"));
            None
        };
        let (true, Some(known)) = (bad.is_empty(), known) else { return Err(Invalid { reason, violations: bad }) };
        let tags = serde_json::to_string(&sent.tags).unwrap_or_default();
        let hash = hash(&sent, &tags);
        let subject = if sent.subject.is_empty() { format::derive_subject(&sent.data, tenant) } else { sent.subject };
        let chosen_id = !sent.event_id.is_empty();
        Ok(Self {
            tenant: Arc::clone(tenant),
            id: if chosen_id { sent.event_id } else { fresh_id },
            chosen_id,
            request_id,
            hash,
            event_type: sent.event_type,
            subject,
            tags,
            occurred_time,
            data: sent.data,
            schema_version: known.version,
            txn: None,
        })
    }
}

/// What the payload must satisfy; `None` with what is wrong with the type noted.
fn check_type<'a>(
    sent: &Published,
    types: &'a RegisteredTypes,
    reason: &mut InvalidReason,
    bad: &mut Vec<Violation>,
) -> Option<Known<'a>> {
    if !is_event_type(&sent.event_type) {
        bad.push(Violation::new("type", "must be two to six dot-separated segments of [a-z0-9_], at most 128 characters"));
        return None;
    }
    let version = (sent.schema_version != 0).then_some(sent.schema_version);
    match types.find(&sent.event_type, version) {
        Ok(known) => Some(known),
        Err(problem) => {
            if problem == TypeProblem::Reserved {
                *reason = InvalidReason::Reserved;
            }
            bad.push(Violation::new(problem.field(), problem));
            None
        }
    }
}

/// Last second of the year 9999.
const MAX_SECONDS: i64 = 253_402_300_799;

/// An event as it is kept: what a delivery is rendered from.
#[derive(Debug)]
pub struct Event {
    /// Its place in the order of acceptance.
    pub seq: i64,
    /// Its tenant.
    pub tenant: Arc<str>,
    /// Its id.
    pub id: Arc<str>,
    /// Its type.
    pub event_type: Arc<str>,
    /// Who or what it is about.
    pub subject: String,
    /// When it happened.
    pub occurred_time: Time,
    /// When it was accepted.
    pub create_time: Time,
    /// One value for all events with one cause.
    pub txn: String,
    /// Version of the payload's schema.
    pub schema_version: i32,
    /// The payload as it was published.
    pub data: Bytes,
    /// The `STANDARD` body, rendered once for all of its deliveries.
    pub standard: std::sync::OnceLock<Standard>,
}

/// A rendered body and its digest.
#[derive(Debug)]
pub struct Standard {
    body: Bytes,
    digest: String,
}

impl Event {
    /// The body in format `STANDARD`.
    pub fn standard_body(&self) -> &Bytes {
        &self.standard().body
    }

    /// The `content-digest` of that body.
    pub fn standard_digest(&self) -> &str {
        &self.standard().digest
    }

    /// What every format is made of.
    pub fn envelope(&self) -> Envelope<'_> {
        Envelope {
            id: &self.id,
            event_type: &self.event_type,
            timestamp: self.occurred_time,
            tenant: &self.tenant,
            subject: &self.subject,
            sequence: self.seq,
            txn: &self.txn,
            schema_version: self.schema_version,
            data: &self.data,
            partition_key: format::partition_key(None, &self.subject),
        }
    }

    fn standard(&self) -> &Standard {
        self.standard.get_or_init(|| {
            let body = format::standard(&self.envelope());
            let digest = signature::content_digest(&body);
            Standard { body, digest }
        })
    }
}

fn check_tags(tags: &BTreeMap<String, String>, bad: &mut Vec<Violation>) {
    if tags.len() > MAX_TAGS {
        bad.push(Violation::new("tags", format!("must be at most {MAX_TAGS}")));
    }
    for (key, value) in tags.iter().take(MAX_TAGS) {
        let named = !key.is_empty()
            && key.len() <= 63
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-'));
        if !named {
            bad.push(Violation::new("tags", "keys must be 1 to 63 characters of [a-z0-9_.-]"));
        }
        if value.chars().count() > 256 || value.contains('\0') {
            bad.push(Violation::new(format!("tags[{key}]"), "must be at most 256 characters, none of them NUL"));
        }
    }
}

/// A payload, parsed. It must be JSON that every parser reads alike: no number that is out of a double's range, no half of a surrogate pair.
///
/// # Errors
/// What is wrong with it as such. Source: RFC 7493, section 2.
pub(super) fn check_data(data: &[u8], max_bytes: usize) -> Result<serde_json::Value, String> {
    if data.is_empty() {
        return Err("must be a JSON object".to_owned());
    }
    if data.len() > max_bytes {
        return Err(format!("must be at most {max_bytes} bytes, not {}", data.len()));
    }
    // Depth first: the parser below recurses.
    if depth(data) > MAX_JSON_DEPTH {
        return Err(format!("must be nested at most {MAX_JSON_DEPTH} deep"));
    }
    let text = std::str::from_utf8(data).map_err(|error| format!("must be UTF-8: {error}"))?;
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("must be JSON: {error}"))?;
    if value.is_object() { Ok(value) } else { Err("must be a JSON object".to_owned()) }
}

/// Deepest nesting of brackets outside strings; of text that may be no JSON at all.
fn depth(data: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in data {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Each part is preceded by its length, so that no two different events hash the same text.
fn hash(sent: &Published, tags: &str) -> [u8; 32] {
    let occurred = sent.occurred.map(|(seconds, nanos)| format!("{seconds}.{nanos}")).unwrap_or_default();
    let mut hasher = Sha256::new();
    for part in [sent.event_type.as_bytes(), &sent.data, sent.subject.as_bytes(), tags.as_bytes(), occurred.as_bytes()] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    // Left out where none was named, so that events of before it could be still hash alike.
    if sent.schema_version != 0 {
        hasher.update(sent.schema_version.to_be_bytes());
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(sent: Published) -> Result<NewEvent, Invalid> {
        NewEvent::check(&Arc::from("acme"), sent, "evt_fresh".to_owned(), 1024, &RegisteredTypes::default())
    }

    fn fields(invalid: &Invalid) -> Vec<&str> {
        invalid.violations.iter().map(|violation| violation.field.as_str()).collect()
    }

    fn sample() -> Published {
        Published {
            event_type: "user.created".to_owned(),
            data: Bytes::from_static(br#"{"user":{"id":"u1"}}"#),
            ..Published::default()
        }
    }

    #[test]
    fn a_good_event_gets_an_id_and_a_subject() {
        let event = check(sample()).unwrap();
        assert_eq!((event.id.as_str(), event.chosen_id, event.subject.as_str()), ("evt_fresh", false, "user/u1"));
    }

    #[test]
    fn a_request_id_has_one_spelling() {
        let id = "0190163d-8694-739b-aea5-966c26f8ad91";
        for spelled in [id.to_owned(), id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}")] {
            let event = check(Published { request_id: spelled.clone(), ..sample() }).unwrap();
            assert_eq!(event.request_id.as_deref(), Some(id), "{spelled}");
        }
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let bad = check(Published {
            event_id: "a.b".to_owned(),
            event_type: "User".to_owned(),
            data: Bytes::from_static(b"[1]"),
            content_type: "text/plain".to_owned(),
            subject: "x\n".to_owned(),
            tags: BTreeMap::from([("K".to_owned(), "v".to_owned())]),
            occurred: Some((-1, 0)),
            request_id: "1".to_owned(),
            schema_version: 0,
        })
        .unwrap_err();
        assert_eq!(bad.reason, InvalidReason::Fields);
        assert_eq!(fields(&bad), ["event_id", "type", "content_type", "data", "subject", "tags", "occurred_time", "request_id"]);
    }

    #[test]
    fn a_type_must_be_known_and_a_callers() {
        for (event_type, schema_version, reason, field) in [
            ("ticket.opened", 0, InvalidReason::Fields, "type"),
            ("access.granted", 0, InvalidReason::Reserved, "type"),
            ("webhook.verification", 0, InvalidReason::Reserved, "type"),
            ("user.created", 2, InvalidReason::Fields, "schema_version"),
            ("user.created", -1, InvalidReason::Fields, "schema_version"),
        ] {
            let bad = check(Published { event_type: event_type.to_owned(), schema_version, ..sample() }).unwrap_err();
            assert_eq!((bad.reason, fields(&bad)), (reason, vec![field]), "{event_type}");
        }
        assert_eq!(check(Published { schema_version: 1, ..sample() }).unwrap().schema_version, 1);
    }

    #[test]
    fn a_payload_that_its_schema_refuses_is_told_by_pointer_with_the_other_bad_fields() {
        let data = Bytes::from_static(br#"{"user":{"email":7},"start_at":"soon"}"#);
        let bad = check(Published { data, subject: "x\n".to_owned(), ..sample() }).unwrap_err();
        assert_eq!(bad.reason, InvalidReason::Schema(1));
        let mut found = fields(&bad);
        found.sort_unstable();
        assert_eq!(found, ["data/start_at", "data/user/email", "data/user/id", "subject"]);
    }

    #[test]
    fn payloads_that_are_no_json_object_are_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
        let wide = format!("{{\"a\":\"{}\"}}", "x".repeat(2000));
        for data in ["", "{", "[]", "null", "{\"a\":1}x", "{\"a\":\u{1}}", "\u{feff}{}", deep.as_str(), wide.as_str()] {
            let sent = Published { data: Bytes::copy_from_slice(data.as_bytes()), ..sample() };
            assert!(check(sent).is_err(), "{data}");
        }
        let sent = Published { data: Bytes::from_static(b"{\"a\":\"\xff\"}"), ..sample() };
        assert!(check(sent).is_err(), "not UTF-8");
        let brackets_in_text = format!("{{\"user\":{{\"id\":\"u1\"}},\"a\":\"{}\"}}", "[".repeat(100));
        assert!(check(Published { data: brackets_in_text.into(), ..sample() }).is_ok());
    }

    #[test]
    fn a_repeat_hashes_alike_and_any_other_field_does_not() {
        let first = check(sample()).unwrap().hash;
        assert_eq!(first, check(Published { event_id: "other".to_owned(), ..sample() }).unwrap().hash);
        for other in [
            Published { event_type: "user.deleted".to_owned(), ..sample() },
            Published { schema_version: 1, ..sample() },
            Published { subject: "user/u2".to_owned(), ..sample() },
            Published { occurred: Some((0, 0)), ..sample() },
            Published { tags: BTreeMap::from([("a".to_owned(), "b".to_owned())]), ..sample() },
            Published { data: Bytes::from_static(br#"{"user":{"id":"u1"} }"#), ..sample() },
        ] {
            assert_ne!(first, check(other).unwrap().hash);
        }
    }

    proptest! {
        #[test]
        fn any_payload_is_judged_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = check(Published { data: data.into(), ..sample() });
        }
    }
}
