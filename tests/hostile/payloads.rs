//! Payloads that are not what they should be are refused by name; every other one arrives as it was sent, byte for byte.

use bytes::Bytes;
use gatepost_client::{Error, NewEvent, v1};
use gatepost_tests::{DEADLINE, Database, Receiver, World, on_both_databases, world::PERSON};

use super::{fields::bad_fields, process};

on_both_databases!(
    what_is_no_json_object_is_refused_and_what_is_arrives_byte_for_byte,
    a_subject_that_cannot_be_kept_is_not_taken_from_a_payload,
    labels_and_subjects_are_refused_by_name,
);

/// A payload that has what its type asks for, and these members: so nothing but them is judged.
fn with_user(members: &str) -> String {
    format!("{{\"user\":{{\"id\":\"u1\"}},{members}}}")
}

fn nested(depth: usize) -> String {
    // The object is the first level.
    with_user(&format!("\"a\":{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1)))
}

fn of_length(bytes: usize) -> String {
    let text = with_user(&format!("\"a\":\"{}\"", "x".repeat(bytes - with_user("\"a\":\"\"").len())));
    assert_eq!(text.len(), bytes);
    text
}

async fn what_is_no_json_object_is_refused_and_what_is_arrives_byte_for_byte(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let refused: Vec<Vec<u8>> = vec![
        b"".into(),
        b" ".into(),
        b"user=1".into(),
        b"<a/>".into(),
        b"[]".into(),
        b"\"a\"".into(),
        b"7".into(),
        b"null".into(),
        b"{".into(),
        b"{}}".into(),
        b"{} {}".into(),
        b"{}\0".into(),
        b"{'a':1}".into(),
        b"{a:1}".into(),
        b"{\"a\":1,}".into(),
        b"{\"a\":01}".into(),
        b"{\"a\":NaN}".into(),
        b"{\"a\":Infinity}".into(),
        b"{\"a\":\"\n\"}".into(),
        b"{\"a\":\"\0\"}".into(),
        b"{\"a\":\"\\x00\"}".into(),
        b"{\"a\":\"\\u12\"}".into(),
        b"\xef\xbb\xbf{}".into(),
        b"{\"a\":\"\xff\"}".into(),
        b"{\"a\":\"\xc0\x80\"}".into(),
        b"{\"a\":\"\xed\xa0\x80\"}".into(),
        b"\xff\xfe{\0}\0".into(),
        b"\x0c{}".into(),
        "\u{a0}{}".into(),
        nested(65).into(),
        nested(100_000).into(),
        "{\"a\":".repeat(100_000).into(),
        "[".repeat(262_144).into(),
        of_length((256 << 10) + 1).into(),
        of_length(3 << 20).into(),
        // JSON that parsers do not read alike. Source: RFC 7493, section 2.
        with_user("\"a\":1e999999").into(),
        with_user("\"a\":\"\\ud800\"").into(),
    ];
    for data in refused {
        let shown = data[..data.len().min(60)].escape_ascii().to_string();
        let error = world.tenant.publish(NewEvent::new("user.created", data)).await.expect_err(&shown);
        assert_eq!(bad_fields(&error), ["data"], "{shown}: {error:?}");
        assert_eq!(error.reason(), Some("INVALID_FIELDS"), "it is no JSON, whatever its type asks for: {shown}: {error:?}");
    }
    // What is larger than a message is not read at all.
    let error = world.tenant.publish(NewEvent::new("user.created", of_length(4 << 20))).await.expect_err("too large");
    assert!(matches!(&error, Error::ResourceExhausted { .. }), "{error:?}");

    let accepted: Vec<Vec<u8>> = vec![
        b"{\"user\":{\"id\":\"u1\"}}".into(),
        b" \t\r\n{ \"user\" :\r\n{\"id\"\n:\"u1\" } } \n".into(),
        with_user("\"a\":1,\"a\":2,\"a\":{\"b\":1,\"b\":2}").into(),
        with_user("\"a\":1e99,\"b\":-0.0,\"c\":1E+2,\"d\":123456789012345678901234567890.10").into(),
        with_user("\"a\":\"\\u0000\\ud800\\udc00\",\"\\u0000\":\"\\/\"").into(),
        with_user("\"\u{202e}\u{2066}\u{feff}\":\"é\u{301}𝕬\u{ffff}\"").into(),
        with_user("\"__proto__\":{\"a\":1},\"constructor\":null,\"\":\"\"").into(),
        with_user("\"a\":\"{{webhook_id}} ${x} \\r\\nwebhook-id: 1\"").into(),
        with_user("\"account\":[],\"group\":null").into(),
        nested(64).into(),
        of_length(256 << 10).into(),
    ];
    for (number, data) in accepted.iter().enumerate() {
        let shown = data[..data.len().min(60)].escape_ascii().to_string();
        let id = format!("p-{number}");
        world.tenant.publish(NewEvent::new("user.created", data.clone()).id(&*id)).await.expect(&shown);
        let arrived = receiver.wait_for_ids(DEADLINE, [&*id]).await;
        let body = &arrived.iter().find(|request| request.id() == id).expect("it arrived").body;
        let expected = [b",\"data\":", data.as_slice(), b"}"].concat();
        assert!(body.ends_with(&expected), "{shown}: {}", body.escape_ascii());
        let read = world.tenant.get_event(&id).await.expect("the event");
        assert_eq!(read.data, Bytes::from(data.clone()), "{shown}");
    }
    assert_eq!(process::defects(&world.server), Vec::<String>::new());
}

async fn a_subject_that_cannot_be_kept_is_not_taken_from_a_payload(database: Database) {
    let world = World::on(&database).await;
    let long = format!("{{\"user\":{{\"id\":\"{}\"}},\"group\":{{\"id\":\"g1\"}}}}", "x".repeat(10_000));
    let request = r#"{"access_request":{"target_user":{"id":"\u0000"},"application":{"app_id":"a1"},"permissions":[{"id":"p1"}]},"device":{"id":"d1"}}"#;
    for (event_type, data, subject) in [
        ("user.created", r#"{"user":{"id":"u1"}}"#, "user/u1"),
        ("user.created", r#"{"user":{"id":"u\u0000"},"group":{"id":"g1"}}"#, "group/g1"),
        ("user.created", r#"{"user":{"id":"u\r\nx: y"}}"#, "tenant/acme"),
        ("user.created", r#"{"user":{"id":"\u0085"}}"#, "tenant/acme"),
        ("user.created", r#"{"user":{"id":""},"account":{"id":"a1"}}"#, "account/a1"),
        ("permission.deleted", r#"{"application":{"app_id":"\u0000"},"permission":{"id":"p1"}}"#, "tenant/acme"),
        ("access_request.created", request, "device/d1"),
        ("user.created", &long, "group/g1"),
    ] {
        let receipt = world.tenant.publish(NewEvent::new(event_type, data.to_owned())).await.expect(data);
        let read = world.tenant.get_event(receipt.event_id()).await.expect("the event");
        assert_eq!(read.subject, subject, "{}", &data[..data.len().min(80)]);
    }
    assert_eq!(process::defects(&world.server), Vec::<String>::new());
}

async fn labels_and_subjects_are_refused_by_name(database: Database) {
    let world = World::on(&database).await;
    let mut service = world.client.event_service();
    let sound = || v1::PublishEventRequest {
        parent: "tenants/acme".into(),
        r#type: "user.created".into(),
        data: PERSON.into(),
        ..Default::default()
    };
    let long = "é".repeat(257);
    let mut requests = Vec::new();
    for subject in ["a\0", "a\n", "a\u{7f}", "a\u{85}", &long] {
        requests.push((v1::PublishEventRequest { subject: subject.into(), ..sound() }, "subject".to_owned()));
    }
    for (key, value, field) in [
        ("", "v", "tags"),
        ("A", "v", "tags"),
        ("a b", "v", "tags"),
        ("a\0", "v", "tags"),
        ("é", "v", "tags"),
        ("a", "v\0", "tags[a]"),
        ("a", &*long, "tags[a]"),
    ] {
        let tags = [(key.to_owned(), value.to_owned())].into();
        requests.push((v1::PublishEventRequest { tags, ..sound() }, field.to_owned()));
    }
    for r#type in [
        "",
        "user",
        "user.",
        ".created",
        "user..created",
        "User.created",
        "user.created\0",
        "a.b.c.d.e.f.g",
        "user.*",
        "ｕser.created",
    ] {
        requests.push((v1::PublishEventRequest { r#type: r#type.into(), ..sound() }, "type".to_owned()));
    }
    for event_id in ["a.b", "a b", "a/b", "\0", "é", &"a".repeat(129)] {
        requests.push((v1::PublishEventRequest { event_id: event_id.into(), ..sound() }, "event_id".to_owned()));
    }
    for (request, field) in requests {
        let status = service.publish_event(request.clone()).await.expect_err("a bad field");
        assert_eq!(bad_fields(&Error::from(status)), [field], "{request:?}");
    }
}
