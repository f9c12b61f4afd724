//! The formats against the examples of the event catalogue, and against any `data` at all.

use proptest::prelude::*;
use serde_json::Value;

use super::set::{Delivery, Options, Part, UserSubject};
use super::*;
use crate::domain::catalogue::{self, SetFamily};

/// 2026-11-25T09:00:00Z.
pub(super) const NINE: Time = Time::from_millis(1_795_597_200_000);

pub(super) fn envelope<'a>(event_type: &'a str, data: &'a str) -> Envelope<'a> {
    Envelope {
        id: "evt_01",
        event_type,
        timestamp: NINE,
        tenant: "acme",
        subject: "user/usr_1",
        partition_key: "usr_1",
        sequence: 42,
        txn: "evt_01",
        schema_version: 1,
        data: data.as_bytes(),
    }
}

/// JSON without insignificant space.
fn tight(json: &str) -> String {
    data::compact(serde_json::from_str(json).expect("JSON")).expect("JSON").get().to_owned()
}

fn text(body: &Bytes) -> &str {
    std::str::from_utf8(body).expect("UTF-8")
}

pub(super) fn read(body: &Bytes) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

#[test]
fn codes_read_back_and_never_move() {
    assert_eq!(Format::ALL.map(Format::code), [1, 2, 3, 4, 5]);
    for format in Format::ALL {
        assert_eq!(Format::from_code(format.code()), Some(format));
    }
    for subject in UserSubject::ALL {
        assert_eq!(UserSubject::from_code(subject.code()), Some(subject));
    }
    assert_eq!((Format::from_code(0), Format::from_code(6), UserSubject::from_code(0)), (None, None, None));
}

/// `data` of an example, without insignificant space.
pub(super) fn example_data(example: &str) -> String {
    tight(data::Object::read(example.as_bytes()).raw("data").expect("data").get())
}

pub(super) const STANDARD: &str = include_str!("examples/standard.json");

#[test]
fn the_example_of_standard_is_rendered() {
    assert_eq!(text(&standard(&envelope("user.terminated", &example_data(STANDARD)))), tight(STANDARD));
}

#[test]
fn the_example_of_structured_cloudevents_is_rendered() {
    let example = include_str!("examples/structured.json");
    let data = example_data(example);
    let envelope = Envelope {
        id: "evt_77",
        timestamp: Time::parse_rfc3339("2026-11-25T11:20:02Z").expect("a time"),
        sequence: 77,
        txn: "evt_76",
        ..envelope("access.revoked", &data)
    };
    assert_eq!(text(&cloudevents::structured(&envelope, Some("https://schemas.acme.test"))), tight(example));
}

#[test]
fn the_example_of_binary_cloudevents_is_rendered() {
    let envelope = Envelope {
        id: "evt_78",
        timestamp: Time::parse_rfc3339("2026-11-25T12:00:00Z").expect("a time"),
        sequence: 78,
        txn: "evt_78",
        ..envelope("user.updated", include_str!("examples/binary.json"))
    };
    let mut lines = format!("content-type: {}\n", Format::CloudEventsBinary.content_type());
    for (name, value) in cloudevents::binary_headers(&envelope, None) {
        lines += &format!("{name}: {value}\n");
    }
    assert_eq!(lines, include_str!("examples/binary.http"));
    let with_schema = cloudevents::binary_headers(&envelope, Some("https://schemas.acme.test"));
    assert!(with_schema.contains(&("ce-dataschema", "https://schemas.acme.test/events/user.updated/1.json".to_owned())));
    let odd = Envelope { subject: "user/Zoë \"100%\"\n", partition_key: "Zoë \"100%\"\n", ..envelope };
    let headers = cloudevents::binary_headers(&odd, None);
    assert!(headers.contains(&("ce-subject", "user/Zo%C3%AB%20%22100%25%22%0A".to_owned())));
    assert!(headers.contains(&("ce-partitionkey", "Zo%C3%AB%20%22100%25%22%0A".to_owned())));
}

/// Any JSON value, with the names that formats look for more often than others.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        proptest::sample::select(WORDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from), object(inner).prop_map(Value::Object)]
    })
}

fn object(value: impl Strategy<Value = Value>) -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let name = prop_oneof![4 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => ".{0,8}"];
    prop::collection::vec((name, value), 0..12).prop_map(|members| members.into_iter().collect())
}

const WORDS: &[&str] = &[
    "user",
    "account",
    "application",
    "group",
    "device",
    "session",
    "grant",
    "access_request",
    "permission",
    "permissions",
    "id",
    "app_id",
    "instance_id",
    "email",
    "external_id",
    "changes",
    "field",
    "actor",
    "type",
    "principal",
    "principal_id",
    "current_level",
    "old_value",
    "identifier_type",
    "reason_admin",
    "reason_user",
    "initiating_entity",
    "attributes",
    "label",
    "confirmed_by",
    "manual",
    "phone_number",
    "duration_seconds",
    "amr",
    "user_message",
    "en",
    "admin",
    "high",
    "department",
    "state",
];

proptest! {
    #[test]
    fn any_data_under_any_type_is_json_in_every_format(
        data in object(json()),
        which in 0..catalogue::all().count() + 1,
        email: bool,
        subject in "\\PC{1,40}",
    ) {
        let data = Value::Object(data).to_string();
        let event_type = catalogue::all().nth(which).map_or("acme.own_type", |known| known.name);
        let envelope = Envelope { subject: &subject, partition_key: &subject, ..envelope(event_type, &data) };
        prop_assert_eq!(read(&standard(&envelope)).as_object().unwrap().len(), 9);
        prop_assert_eq!(read(&cloudevents::structured(&envelope, Some("https://s"))).as_object().unwrap().len(), 13);
        for (_, value) in cloudevents::binary_headers(&envelope, None) {
            prop_assert!(!value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        let siem = read(&siem::render(&envelope));
        prop_assert_eq!(siem["event"].as_object().unwrap().len(), 8);
        prop_assert_eq!(siem["event"]["event_metadata"].as_object().unwrap().len(), 10);
        let options = Options {
            issuer: "https://gatepost.acme.test/tenants/acme".to_owned(),
            audience: vec!["https://rp.acme.test".to_owned()],
            families: vec![SetFamily::Caep, SetFamily::Risc, SetFamily::Scim],
            subject: if email { UserSubject::Email } else { UserSubject::IssSub },
            own_types: true,
            schema_base_url: Some("https://s".to_owned()),
        };
        let delivery = Delivery { id: "dlv_1", endpoint_id: "ep_1", accepted: NINE };
        let parts = set::parts(event_type, &options);
        prop_assert!(!parts.is_empty());
        for part in parts {
            let claims = read(&set::claims(&envelope, &part, &delivery, &options));
            prop_assert_eq!(claims.as_object().unwrap().len(), 8);
            prop_assert!(claims["sub_id"]["format"].is_string() && claims["sub_id"].as_object().unwrap().len() > 1);
            prop_assert_eq!(claims["events"].as_object().unwrap().len(), 1);
            prop_assert!(claims["events"][&*part.uri].is_object());
        }
    }

    #[test]
    fn even_data_that_was_never_checked_is_no_panic(data in prop::collection::vec(any::<u8>(), 0..64)) {
        let envelope = Envelope { data: &data, ..envelope("session.revoked", "") };
        let _ = (standard(&envelope), cloudevents::structured(&envelope, None), siem::render(&envelope));
        let options = Options {
            issuer: String::new(),
            audience: Vec::new(),
            families: Vec::new(),
            subject: UserSubject::Email,
            own_types: true,
            schema_base_url: None,
        };
        for number in [Part::OWN, 1] {
            let part = Part { number, uri: "https://s/event-type/session.revoked".into() };
            let delivery = Delivery { id: "dlv_1", endpoint_id: "ep_1", accepted: NINE };
            read(&set::claims(&envelope, &part, &delivery, &options));
        }
    }
}
