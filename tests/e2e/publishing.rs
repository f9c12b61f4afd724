//! Publishing several events at once, in a batch or a stream, and what is refused with which words.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use gatepost_client::{
    Code, Error, NewEvent,
    v1::{self, PublishEventRequest, PublishEventStreamRequest, PublishEventsRequest, publish_result},
};
use gatepost_tests::{
    DEADLINE, Database, Receiver, World, on_both_databases,
    world::{PERSON, event},
};

on_both_databases!(
    a_batch_reports_on_each_event_in_order,
    a_stream_answers_each_event_in_order,
    a_stream_answers_before_it_ends,
    every_bad_field_is_named_at_once,
    a_payload_is_a_json_object_within_its_limits,
    a_message_is_at_most_four_mebibytes,
);

/// Wrong in two ways.
fn wrong() -> NewEvent {
    NewEvent::new("nonsense", "[]")
}

fn assert_wrong<T: std::fmt::Debug>(result: &Result<T, Error>) {
    let Err(error @ Error::InvalidArgument { .. }) = result else { panic!("{result:?}") };
    let fields: Vec<&str> = error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["type", "data"], "{error:?}");
}

async fn a_batch_reports_on_each_event_in_order(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let is_wrong = |number: usize| number % 100 == 7;
    let events =
        (0..1000).map(|number| if is_wrong(number) { wrong() } else { event("user.updated").id(format!("batch-{number}")) });
    let results = world.tenant.publish_batch(events).await;
    let mut sequence = 0;
    for (number, result) in results.iter().enumerate() {
        match result {
            Ok(receipt) if !is_wrong(number) => {
                assert_eq!(receipt.event_id(), format!("batch-{number}"));
                assert!(receipt.sequence() > sequence, "in the order of the batch");
                sequence = receipt.sequence();
            }
            other if is_wrong(number) => assert_wrong(other),
            other => panic!("{number}: {other:?}"),
        }
    }
    receiver.wait_for_ids(DEADLINE, results.iter().flatten().map(gatepost_client::Receipt::event_id)).await;

    let batch = async |parent: &str, requests: Vec<PublishEventRequest>| {
        let request = PublishEventsRequest { parent: parent.into(), requests };
        world.client.event_service().publish_events(request).await.map(tonic::Response::into_inner).map_err(Error::from)
    };
    let one = PublishEventRequest { r#type: "user.created".into(), data: PERSON.into(), ..Default::default() };
    for count in [0, 1001] {
        let refused = batch("tenants/acme", vec![one.clone(); count]).await.expect_err("1 to 1000 events");
        assert_eq!(refused.field_violations()[0].field, "requests", "{refused:?}");
    }
    assert_eq!(batch("tenants/acme", vec![one.clone(); 1000]).await.expect("an answer").results.len(), 1000);
    // The parent of an event may be left out or be the same; another one is that event's error.
    let [mut same, mut other] = [one.clone(), one];
    same.parent = "tenants/acme".into();
    other.parent = "tenants/globex".into();
    let answer = batch("tenants/acme", vec![same, other]).await.expect("an answer");
    let [first, second] = answer.results.try_into().expect("two results");
    assert!(matches!(first.result, Some(publish_result::Result::Response(_))), "{first:?}");
    let Some(publish_result::Result::Error(error)) = second.result else { panic!("{second:?}") };
    assert_eq!((error.code, error.field_violations[0].field.as_str()), (Code::InvalidArgument as i32, "parent"), "{error:?}");
}

async fn a_stream_answers_each_event_in_order(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.max_in_flight = 50).await;
    let events = (0..5000).map(|number| match number {
        2500 => wrong(),
        _ => event("user.updated").id(format!("stream-{number}")),
    });
    let results: Vec<_> = world.tenant.publish_stream(stream::iter(events)).collect().await;
    assert_eq!(results.len(), 5000);
    for (number, result) in results.iter().enumerate() {
        match (number, result) {
            (2500, result) => assert_wrong(result),
            (_, result) => assert_eq!(result.as_ref().expect("a receipt").event_id(), format!("stream-{number}")),
        }
    }
    let receipts: Vec<_> = results.into_iter().flatten().collect();
    assert!(receipts.is_sorted_by_key(gatepost_client::Receipt::sequence), "published in the order of the stream");
    let ids = receipts.iter().map(gatepost_client::Receipt::event_id);
    receiver.wait_for_ids(Duration::from_secs(60), ids).await;
}

async fn a_stream_answers_before_it_ends(database: Database) {
    let world = World::on(&database).await;
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let message = |parent: &str, event_type: &str| PublishEventStreamRequest {
        request: Some(PublishEventRequest {
            parent: parent.into(),
            r#type: event_type.into(),
            data: PERSON.into(),
            ..Default::default()
        }),
    };
    let mut service = world.client.event_service();
    let call = tokio::spawn(async move { service.publish_event_stream(receiver).await });
    sender.unbounded_send(message("tenants/acme", "user.created")).expect("the call is open");
    let mut answers = call.await.expect("no panic").expect("answers").into_inner();
    let mut next = async || match answers.try_next().await.expect("no error").and_then(|answer| answer.result?.result) {
        Some(publish_result::Result::Response(response)) => Ok(response.event),
        Some(publish_result::Result::Error(error)) => Err((error.code, error.reason)),
        None => panic!("an answer without a result"),
    };
    assert!(next().await.is_ok());
    sender.unbounded_send(message("tenants/nowhere", "user.created")).expect("the call is open");
    assert_eq!(next().await, Err((Code::NotFound as i32, "RESOURCE_NOT_FOUND".to_owned())));
    sender.unbounded_send(PublishEventStreamRequest { request: None }).expect("the call is open");
    assert_eq!(next().await.expect_err("no event").0, Code::InvalidArgument as i32);
    sender.unbounded_send(message("tenants/acme", "user.created")).expect("the call is open");
    assert!(next().await.is_ok(), "a wrong event does not end the stream");
    drop(sender);
    assert!(answers.try_next().await.expect("no error").is_none(), "the end of the events is the end of the answers");
}

async fn every_bad_field_is_named_at_once(database: Database) {
    let world = World::on(&database).await;
    let tags = (0..21).map(|number| (format!("tag{number}"), String::new()));
    let request = PublishEventRequest {
        parent: world.tenant.name().into(),
        event_id: "a.b".into(),
        r#type: "User.Created".into(),
        data: "{".into(),
        content_type: "text/xml".into(),
        subject: "x".repeat(257),
        tags: tags.collect(),
        occurred_time: Some(prost_types::Timestamp { seconds: -1, nanos: 0 }),
        request_id: "4711".into(),
        ..Default::default()
    };
    let refused = Error::from(world.client.event_service().publish_event(request).await.expect_err("everything is wrong"));
    let mut fields: Vec<&str> = refused.field_violations().iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    let expected = ["content_type", "data", "event_id", "occurred_time", "request_id", "subject", "tags", "type"];
    assert_eq!(fields, expected, "{refused:?}");
    assert_eq!((refused.code(), refused.reason()), (Code::InvalidArgument, Some("INVALID_FIELDS")));

    for (event, field) in [
        (event("user"), "type"),
        (event("user.created").id("x".repeat(129)), "event_id"),
        (event("user.created").tag("Upper", "x"), "tags"),
        (event("user.created").tag("x", "y".repeat(257)), "tags[x]"),
        (event("user.created").subject("a\nb"), "subject"),
    ] {
        let refused = world.tenant.publish(event).await.expect_err(field);
        assert_eq!(refused.field_violations().iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(), [field]);
    }
    let parent = "tenants/Not A Name".to_owned();
    let request = PublishEventRequest { parent, r#type: "user.created".into(), data: PERSON.into(), ..Default::default() };
    let refused = Error::from(world.client.event_service().publish_event(request).await.expect_err("no such name"));
    assert!(matches!(refused.code(), Code::InvalidArgument | Code::NotFound), "{refused:?}");
}

async fn a_payload_is_a_json_object_within_its_limits(database: Database) {
    let world = World::on(&database).await;
    // What its type asks for is there, so that nothing but the limits decides.
    let with_user = |rest: &str| format!("{{\"user\":{{\"id\":\"u1\"}},{rest}}}");
    let padded = |length: usize| with_user(&format!("\"a\":\"{}\"", "x".repeat(length - with_user("\"a\":\"\"").len())));
    let nested = |depth: usize| with_user(&format!("\"a\":{}{}", "{\"a\":".repeat(depth - 2) + "{}", "}".repeat(depth - 2)));
    let limit = 256 * 1024;
    for (data, taken) in [
        (Bytes::from(padded(limit)), true),
        (padded(limit + 1).into(), false),
        (nested(64).into(), true),
        (nested(65).into(), false),
        (with_user(&format!("\"a\":{}1{}", "[".repeat(64), "]".repeat(64))).into(), false),
        (b"{\"user\":{\"id\":\"u1\"},\"a\":\"\xff\"}".to_vec().into(), false),
        ("[1]".into(), false),
        ("null".into(), false),
        ("\"text\"".into(), false),
        ("".into(), false),
        (format!("{PERSON} {PERSON}").into(), false),
        (with_user("\"a\":1,").into(), false),
        (format!("\u{feff}{PERSON}").into(), false),
        (" \t\r\n{ \"user\" : { \"id\" : \"u1\" } } ".into(), true),
        (with_user("\"a\":\"\u{0}\"").into(), false),
        (with_user("\"a\":\"\\u0000\\ud83d\\ude00\",\"a\":1e99").into(), true),
        (with_user("\"a\":1e999").into(), false),
    ] {
        let shown = String::from_utf8_lossy(&data[..data.len().min(40)]).into_owned();
        match world.tenant.publish(NewEvent::new("user.created", data.clone())).await {
            Ok(receipt) if taken => assert_eq!(world.tenant.get_event(receipt.event_id()).await.expect("the event").data, data),
            Err(refused) if !taken => {
                let why = (refused.reason(), refused.field_violations()[0].field.as_str());
                assert_eq!(why, (Some("INVALID_FIELDS"), "data"), "{shown}: {refused:?}");
            }
            other => panic!("{shown}: {other:?}"),
        }
    }
}

async fn a_message_is_at_most_four_mebibytes(database: Database) {
    let world = World::on(&database).await;
    let limits = world.client.server_info().await.expect("facts").limits.expect("limits");
    let expected = v1::server_info::Limits {
        event_data_bytes: 256 * 1024,
        endpoints_per_tenant: 1000,
        message_bytes: 4 * 1024 * 1024,
        events_per_batch: 1000,
    };
    assert_eq!(limits, expected);
    let data = Bytes::from(format!("{{\"user\":{{\"id\":\"u1\"}},\"a\":\"{}\"}}", "x".repeat(250 * 1024)));
    let one = PublishEventRequest { r#type: "user.created".into(), data: data.clone(), ..Default::default() };
    let mut service = world.client.event_service();
    let request = PublishEventsRequest { parent: world.tenant.name().into(), requests: vec![one; 17] };
    let refused = Error::from(service.publish_events(request).await.expect_err("more than 4 MiB"));
    assert_eq!((refused.code(), refused.reason()), (Code::ResourceExhausted, Some("LIMIT_REACHED")), "{refused:?}");
    // The client cuts what is too large for one message.
    let results = world.tenant.publish_batch((0..40).map(|_| NewEvent::new("user.created", data.clone()))).await;
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|result| result.is_err()));
}
