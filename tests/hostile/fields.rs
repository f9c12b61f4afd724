//! A request with many bad fields learns all of them at once, whichever RPC it is for.

use gatepost_client::{Error, v1};
use gatepost_tests::{Database, World, on_both_databases, world::seconds};
use prost_types::{FieldMask, Timestamp};
use tonic::{Response, Status};

use super::process;

on_both_databases!(every_bad_field_is_named_at_once, a_filter_is_no_way_into_the_database);

/// The fields that an error names, in order.
pub(crate) fn bad_fields(error: &Error) -> Vec<String> {
    match error {
        Error::InvalidArgument { violations, .. } => violations.iter().map(|violation| violation.field.clone()).collect(),
        other => panic!("{other:?}"),
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Vec<String> {
    let mut fields = bad_fields(&Error::from(answer.expect_err("bad fields")));
    fields.sort_unstable();
    fields
}

async fn every_bad_field_is_named_at_once(database: Database) {
    let world = World::on(&database).await;
    let client = &world.client;
    let (mut tenants, mut admin) = (client.tenant_service(), client.admin_service());
    let (mut endpoints, mut events, mut deliveries) =
        (client.endpoint_service(), client.event_service(), client.delivery_service());
    let bad = || "NOT A NAME\0".to_owned();
    let long = || "x".repeat(10_000);
    let never = Some(Timestamp { seconds: i64::MAX, nanos: -1 });
    let mask = |paths: &[&str]| Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });

    let tenant = || Some(v1::Tenant { name: bad(), display_name: long(), ..Default::default() });
    let request = v1::CreateTenantRequest { tenant_id: bad(), tenant: tenant(), request_id: bad() };
    assert_eq!(refused(tenants.create_tenant(request).await), ["request_id", "tenant.display_name", "tenant_id"]);
    let request = v1::UpdateTenantRequest { tenant: tenant(), update_mask: mask(&["display_name", "state", "state", "a.b"]) };
    assert_eq!(refused(tenants.update_tenant(request).await), ["tenant.display_name", "tenant.name", "update_mask"]);
    let request = v1::ListTenantsRequest { page_size: -1, page_token: bad() };
    assert_eq!(refused(tenants.list_tenants(request).await), ["page_size", "page_token"]);

    let scopes = vec!["publish".into(), "root".into(), "tenants:".into(), bad()];
    let api_key = Some(v1::ApiKey { display_name: long(), scopes, expire_time: never, ..Default::default() });
    let request = v1::CreateApiKeyRequest { api_key, request_id: bad() };
    let expected = [
        "api_key.display_name",
        "api_key.expire_time",
        "api_key.scopes[1]",
        "api_key.scopes[2]",
        "api_key.scopes[3]",
        "request_id",
    ];
    assert_eq!(refused(admin.create_api_key(request).await), expected);
    let request = v1::ListApiKeysRequest { page_size: i32::MIN, page_token: long() };
    assert_eq!(refused(admin.list_api_keys(request).await), ["page_size", "page_token"]);

    let endpoint = |schedule| {
        Some(v1::Endpoint {
            name: bad(),
            url: "ftp://ann@127.0.0.1:22/#x".into(),
            display_name: long(),
            description: long(),
            event_types: vec!["user.*".into(), bad()],
            headers: [("host".into(), "a".into()), ("x-a".into(), "a\r\nb".into())].into(),
            retry_policy: Some(v1::RetryPolicy { schedule: Some(schedule) }),
            attempt_timeout: seconds(61),
            max_in_flight: -1,
            permanent_statuses: vec![404, 200, i32::MIN],
            signing_secret: bad(),
            ..Default::default()
        })
    };
    use v1::retry_policy::{Explicit, Exponential, Schedule};
    let waits = Schedule::Explicit(Explicit { waits: vec![seconds(1).unwrap(), seconds(0).unwrap(), seconds(-1).unwrap()] });
    let grows = Schedule::Exponential(Exponential { initial: None, factor: f64::NAN, max: seconds(-1), max_attempts: -1 });
    let of_endpoint = |retry: &[&str], further: &[&str]| {
        let usual = [
            "attempt_timeout",
            "description",
            "display_name",
            "event_types[1]",
            "headers",
            "max_in_flight",
            "permanent_statuses[1]",
            "permanent_statuses[2]",
            "url",
        ];
        let fields = usual.iter().map(|field| (*field).to_owned()).chain(retry.iter().map(|field| format!("retry_policy.{field}")));
        let mut fields: Vec<String> = fields.map(|field| format!("endpoint.{field}")).collect();
        fields.extend(further.iter().map(|field| (*field).to_owned()));
        fields.sort_unstable();
        fields
    };
    let explicit = ["explicit.waits[1]", "explicit.waits[2]"];
    let exponential = ["exponential.factor", "exponential.initial", "exponential.max", "exponential.max_attempts"];
    for (schedule, retry) in [(waits, &explicit[..]), (grows, &exponential)] {
        let request = v1::CreateEndpointRequest {
            parent: bad(),
            endpoint_id: bad(),
            endpoint: endpoint(schedule.clone()),
            request_id: bad(),
            validate_only: false,
        };
        let mut fields = refused(endpoints.create_endpoint(request).await);
        fields.dedup();
        assert_eq!(fields, of_endpoint(retry, &["endpoint.signing_secret", "endpoint_id", "parent", "request_id"]));
        let paths = mask(&[
            "url",
            "display_name",
            "description",
            "event_types",
            "headers",
            "retry_policy",
            "attempt_timeout",
            "max_in_flight",
            "permanent_statuses",
            "state",
            "",
        ]);
        let request = v1::UpdateEndpointRequest { endpoint: endpoint(schedule), update_mask: paths, validate_only: true };
        let mut fields = refused(endpoints.update_endpoint(request).await);
        fields.dedup();
        assert_eq!(fields, of_endpoint(retry, &["endpoint.name", "update_mask"]));
    }
    let request =
        v1::RotateEndpointSecretRequest { name: bad(), signing_secret: bad(), overlap_duration: seconds(-1), request_id: bad() };
    let expected = ["name", "overlap_duration", "request_id", "signing_secret"];
    assert_eq!(refused(endpoints.rotate_endpoint_secret(request).await), expected);
    let request = v1::GetEndpointStatsRequest { name: bad(), window_duration: seconds(61) };
    assert_eq!(refused(endpoints.get_endpoint_stats(request).await), ["name", "window_duration"]);
    let list = ["filter", "page_size", "page_token", "parent"];
    let request = v1::ListEndpointsRequest { parent: bad(), page_size: -1, page_token: bad(), filter: bad() };
    assert_eq!(refused(endpoints.list_endpoints(request).await), list);

    let event = v1::PublishEventRequest {
        parent: bad(),
        event_id: bad(),
        r#type: bad(),
        data: vec![0xff].into(),
        content_type: bad(),
        subject: bad(),
        tags: [(bad(), "v".into()), ("a".into(), long())].into(),
        occurred_time: never,
        request_id: bad(),
        ..Default::default()
    };
    let expected =
        ["content_type", "data", "event_id", "occurred_time", "parent", "request_id", "subject", "tags", "tags[a]", "type"];
    assert_eq!(refused(events.publish_event(event.clone()).await), expected);
    let request = v1::PublishEventsRequest { parent: "tenants/acme".into(), requests: vec![event.clone()] };
    let results = events.publish_events(request).await.expect("an answer for each").into_inner().results;
    let Some(v1::publish_result::Result::Error(error)) = &results[0].result else { panic!("{results:?}") };
    let mut fields: Vec<&str> = error.field_violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, expected);
    let request = v1::PublishEventsRequest { parent: bad(), requests: Vec::new() };
    assert_eq!(refused(events.publish_events(request).await), ["parent", "requests"]);
    let request = v1::ListEventsRequest { parent: bad(), page_size: -1, page_token: bad(), filter: bad() };
    assert_eq!(refused(events.list_events(request).await), list);

    let request = v1::ListDeliveriesRequest { parent: bad(), page_size: -1, page_token: bad(), filter: bad() };
    assert_eq!(refused(deliveries.list_deliveries(request).await), list);
    let request = v1::ListAttemptsRequest { parent: bad(), page_size: -1, page_token: bad() };
    assert_eq!(refused(deliveries.list_attempts(request).await), ["page_size", "page_token", "parent"]);
    let request = v1::WatchDeliveriesRequest { parent: bad(), filter: bad(), resume_token: String::new(), since_time: never };
    assert_eq!(refused(deliveries.watch_deliveries(request).await), ["filter", "parent", "since_time"]);
    let request = v1::RetryDeliveryRequest { name: bad(), request_id: bad() };
    assert_eq!(refused(deliveries.retry_delivery(request).await), ["name", "request_id"]);
    assert_eq!(process::defects(&world.server), Vec::<String>::new());
}

async fn a_filter_is_no_way_into_the_database(database: Database) {
    let world = World::on(&database).await;
    let (mut events, mut deliveries) = (world.client.event_service(), world.client.delivery_service());
    let mut endpoints = world.client.endpoint_service();
    let parent = || "tenants/acme".to_owned();
    let values = [r"\u0000", r"a\x00b", r"\000", r"' OR 1=1 --", r"%", r"\U0010ffff", r"\ud800", "\u{202e}", r"\\", r"\'"];
    for value in values {
        for op in ["==", "!=", "in"] {
            for field in ["event", "endpoint", "event_type", "type", "subject", "state", "create_time"] {
                let filter =
                    if op == "in" { format!("{field} in [\"{value}\", \"x\"]") } else { format!("{field} {op} \"{value}\"") };
                let answers = [
                    events
                        .list_events(v1::ListEventsRequest { parent: parent(), filter: filter.clone(), ..Default::default() })
                        .await
                        .err(),
                    deliveries
                        .list_deliveries(v1::ListDeliveriesRequest {
                            parent: parent(),
                            filter: filter.clone(),
                            ..Default::default()
                        })
                        .await
                        .err(),
                    endpoints
                        .list_endpoints(v1::ListEndpointsRequest { parent: parent(), filter: filter.clone(), ..Default::default() })
                        .await
                        .err(),
                ];
                for status in answers.into_iter().flatten() {
                    assert_eq!(bad_fields(&Error::from(status)), ["filter"], "{filter}");
                }
            }
        }
    }
    assert_eq!(process::defects(&world.server), Vec::<String>::new());
}
