//! Tenants, endpoints and keys: how they are created, read, changed, listed and deleted.

use std::time::Duration;

use futures::TryStreamExt;
use gatepost_client::{
    Client, Error,
    v1::{self, Endpoint, delivery::State, endpoint, retry_policy},
};
use gatepost_tests::{
    Answer, DEADLINE, Database, Receiver, Settings, World, on_both_databases, until,
    world::{VERBS, client, event, seconds, waits},
};

on_both_databases!(
    a_tenant_lives_and_its_id_is_never_given_again,
    an_endpoint_is_created_with_what_was_sent_and_defaults_for_the_rest,
    every_bad_field_of_an_endpoint_is_named_at_once,
    an_update_changes_what_its_mask_names,
    a_dry_run_checks_everything_and_changes_nothing,
    lists_are_cut_into_pages_that_belong_to_their_query,
    secrets_are_shown_when_they_are_made_and_to_who_may_reveal_them,
    a_test_of_an_endpoint_shows_what_came_back,
    stats_count_deliveries_and_attempts,
);

fn create(id: &str, endpoint: Endpoint) -> v1::CreateEndpointRequest {
    v1::CreateEndpointRequest { endpoint_id: id.into(), endpoint: Some(endpoint), ..Default::default() }
}

fn at(url: &str) -> Endpoint {
    Endpoint { url: url.into(), ..Default::default() }
}

fn update(endpoint: Endpoint, paths: Option<&[&str]>) -> v1::UpdateEndpointRequest {
    let paths = paths.map(|paths| paths.iter().map(|path| (*path).to_owned()).collect());
    let update_mask = paths.map(|paths| prost_types::FieldMask { paths });
    v1::UpdateEndpointRequest { endpoint: Some(endpoint), update_mask, validate_only: false }
}

fn fields(error: &Error) -> Vec<&str> {
    let mut fields: Vec<&str> = error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}

async fn a_tenant_lives_and_its_id_is_never_given_again(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let new = |id: &str, name: &str| v1::CreateTenantRequest {
        tenant_id: id.into(),
        tenant: Some(v1::Tenant { display_name: name.into(), ..Default::default() }),
        ..Default::default()
    };
    let made = world.client.create_tenant(new("globex", "Globex")).await.expect("a tenant");
    assert_eq!((made.name.as_str(), made.display_name.as_str()), ("tenants/globex", "Globex"));
    assert!(made.state() == v1::tenant::State::Active && made.create_time.is_some() && !made.etag.is_empty(), "{made:?}");
    let named = world.client.create_tenant(new("", "")).await.expect("a tenant").name;
    assert!(named.starts_with("tenants/") && named.len() > "tenants/".len(), "{named}");
    for id in ["Globex", "-a", "a.b", &"x".repeat(64)] {
        assert_eq!(fields(&world.client.create_tenant(new(id, "")).await.expect_err(id)), ["tenant_id"]);
    }
    let taken = world.client.create_tenant(new("globex", "")).await.expect_err("taken");
    assert!(matches!(&taken, Error::AlreadyExists { resource: Some(name), .. } if name == "tenants/globex"), "{taken:?}");

    let change = async |etag: &str, paths: &[&str]| {
        let tenant = v1::Tenant { name: made.name.clone(), display_name: "New".into(), etag: etag.into(), ..Default::default() };
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = v1::UpdateTenantRequest { tenant: Some(tenant), update_mask: Some(prost_types::FieldMask { paths }) };
        world.client.update_tenant(request).await
    };
    let changed = change(&made.etag, &["display_name"]).await.expect("the tenant");
    assert!(changed.display_name == "New" && changed.etag != made.etag, "{changed:?}");
    assert!(matches!(change(&made.etag, &["*"]).await, Err(Error::EtagMismatch { .. })));
    assert_eq!(fields(&change("", &["state"]).await.expect_err("output only")), ["update_mask"]);
    let globex = world.client.tenant("globex");
    assert_eq!(globex.get().await.expect("the tenant"), changed);

    let endpoint = globex.create_endpoint(create("siem", at(&receiver.url()))).await.expect("an endpoint");
    let receipt = globex.publish(event("user.created")).await.expect("a receipt");
    receipt.delivered(DEADLINE).await.expect("it arrives");
    let deleted = world.client.delete_tenant("globex").await.expect("the tenant");
    assert_eq!(deleted.state(), v1::tenant::State::Deleting);
    let refusals = [
        globex.publish(event("user.created")).await.map(drop),
        globex.create_endpoint(create("other", at(&receiver.url()))).await.map(drop),
        globex.get_endpoint(&endpoint.name).await.map(drop),
        globex.reveal_endpoint_secrets("siem").await.map(drop),
        globex.get_event(receipt.event_id()).await.map(drop),
    ];
    for (number, refused) in refusals.into_iter().enumerate() {
        assert!(matches!(refused, Err(Error::NotFound { .. } | Error::WrongState { .. })), "{number}: {refused:?}");
    }
    assert_eq!(receiver.count(), 1, "from the reply on it accepts nothing");
    assert_eq!(globex.get().await.expect("as long as anything of it is left").state(), v1::tenant::State::Deleting);
    assert!(matches!(world.client.create_tenant(new("globex", "")).await, Err(Error::AlreadyExists { .. })));
}

async fn an_endpoint_is_created_with_what_was_sent_and_defaults_for_the_rest(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let plain = world.endpoint("plain", &receiver.url(), |_| {}).await;
    assert_eq!(plain.name, "tenants/acme/endpoints/plain");
    assert_eq!((plain.state(), plain.disabled_reason()), (endpoint::State::Active, endpoint::DisabledReason::Unspecified));
    assert_eq!((plain.attempt_timeout, plain.max_in_flight), (seconds(15), 10));
    assert!(plain.event_types.is_empty() && plain.headers.is_empty() && plain.permanent_statuses.is_empty());
    assert!(plain.signing_secret.starts_with("whsec_") && plain.signing_secrets.len() == 1, "{plain:?}");
    let made = world.endpoint("", &receiver.url(), |_| {}).await;
    assert!(made.name.starts_with("tenants/acme/endpoints/ep_"), "{}", made.name);

    let exponential = retry_policy::Exponential { initial: seconds(5), factor: 2.0, max: seconds(60), max_attempts: 7 };
    let full = Endpoint {
        url: receiver.url(),
        display_name: "SIEM".into(),
        description: "Where the\nalerts go".into(),
        event_types: vec!["user.*".into(), "group.deleted".into()],
        headers: [("x-key".to_owned(), "secret value".to_owned())].into(),
        retry_policy: Some(v1::RetryPolicy { schedule: Some(retry_policy::Schedule::Exponential(exponential)) }),
        attempt_timeout: seconds(60),
        max_in_flight: 1000,
        permanent_statuses: vec![400, 422],
        signing_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
        ..Default::default()
    };
    let made = world.tenant.create_endpoint(create("full", full.clone())).await.expect("an endpoint");
    let expected = Endpoint {
        name: made.name.clone(),
        state: made.state,
        signing_secrets: made.signing_secrets.clone(),
        create_time: made.create_time,
        update_time: made.update_time,
        etag: made.etag.clone(),
        health: made.health,
        format: endpoint::Format::Standard.into(),
        headers: [("x-key".to_owned(), "<hidden>".to_owned())].into(),
        ..full
    };
    assert_eq!(made, expected);
    let read = world.tenant.get_endpoint("full").await.expect("the endpoint");
    assert_eq!(read, Endpoint { signing_secret: String::new(), ..made });
    let taken = world.tenant.create_endpoint(create("full", at(&receiver.url()))).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    let nowhere = world.client.tenant("nowhere").create_endpoint(create("", at(&receiver.url()))).await;
    assert!(matches!(nowhere, Err(Error::NotFound { .. })), "{nowhere:?}");
}

async fn every_bad_field_of_an_endpoint_is_named_at_once(database: Database) {
    let world = World::on(&database).await;
    let everything = Endpoint {
        url: "ftp://example.com".into(),
        display_name: "x".repeat(201),
        description: "x".repeat(2001),
        event_types: vec!["user.created".into(), "user".into()],
        headers: [("Host".to_owned(), "x".to_owned())].into(),
        retry_policy: waits(&[0]),
        attempt_timeout: seconds(61),
        max_in_flight: -1,
        permanent_statuses: vec![410],
        signing_secret: "whsec_short".into(),
        ..Default::default()
    };
    let request = v1::CreateEndpointRequest { request_id: "4711".into(), ..create("Not An Id", everything) };
    let refused = world.tenant.create_endpoint(request).await.expect_err("everything is wrong");
    let named = fields(&refused);
    for field in [
        "endpoint.attempt_timeout",
        "endpoint.description",
        "endpoint.display_name",
        "endpoint.event_types",
        "endpoint.headers",
        "endpoint.max_in_flight",
        "endpoint.permanent_statuses",
        "endpoint.retry_policy",
        "endpoint.signing_secret",
        "endpoint.url",
        "endpoint_id",
        "request_id",
    ] {
        assert!(named.iter().any(|named| named.starts_with(field)), "{field} is not in {named:?}");
    }
    for (header, value) in [
        ("webhook-id", "x"),
        ("Gatepost-Attempt", "x"),
        ("content-type", "x"),
        ("x y", "x"),
        ("", "x"),
        ("x", "a\r\nb: c"),
        ("x", "\0"),
    ] {
        let endpoint = Endpoint { headers: [(header.to_owned(), value.to_owned())].into(), ..at("https://example.com") };
        let refused = world.tenant.create_endpoint(create("", endpoint)).await.expect_err(header);
        assert!(fields(&refused)[0].starts_with("endpoint.headers"), "{header}: {refused:?}");
    }
}

async fn an_update_changes_what_its_mask_names(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let made = world
        .endpoint("siem", &receiver.url(), |endpoint| {
            endpoint.display_name = "SIEM".into();
            endpoint.event_types = vec!["user.*".into()];
            endpoint.headers = [("x-key".to_owned(), "secret value".to_owned())].into();
            endpoint.max_in_flight = 5;
        })
        .await;
    let named = |endpoint: Endpoint| Endpoint { name: "siem".into(), ..endpoint };

    // Only what is named, even to its default.
    let sent = named(Endpoint { display_name: "ignored".into(), ..Default::default() });
    let changed = world.tenant.update_endpoint(update(sent, Some(&["event_types"]))).await.expect("the endpoint");
    let expected = Endpoint {
        event_types: vec![],
        signing_secret: String::new(),
        etag: changed.etag.clone(),
        update_time: changed.update_time,
        ..made.clone()
    };
    assert_eq!(changed, expected);
    assert_ne!(changed.etag, made.etag);
    // Without a mask: what is set.
    let sent = named(Endpoint { max_in_flight: 7, ..Default::default() });
    let changed = world.tenant.update_endpoint(update(sent, None)).await.expect("the endpoint");
    assert_eq!((changed.max_in_flight, changed.display_name.as_str(), changed.headers.len()), (7, "SIEM", 1));
    // A star: everything.
    let sent = named(Endpoint { etag: changed.etag.clone(), ..at(&receiver.url()) });
    let replaced = world.tenant.update_endpoint(update(sent, Some(&["*"]))).await.expect("the endpoint");
    assert_eq!((replaced.max_in_flight, replaced.display_name.as_str(), replaced.headers.len()), (10, "", 0));

    for (sent, paths, field) in [
        (Endpoint::default(), &["nonsense"][..], "update_mask"),
        (Endpoint::default(), &["state"], "update_mask"),
        (Endpoint::default(), &["signing_secret", "url"], "update_mask"),
        (Endpoint::default(), &["url"], "endpoint.url"),
        (Endpoint { max_in_flight: 1001, ..Default::default() }, &["max_in_flight"], "endpoint.max_in_flight"),
    ] {
        let refused = world.tenant.update_endpoint(update(named(sent), Some(paths))).await.expect_err(field);
        assert!(fields(&refused).contains(&field), "{paths:?}: {refused:?}");
    }
    for etag in [made.etag.as_str(), "nonsense"] {
        let sent = named(Endpoint { display_name: "late".into(), etag: etag.into(), ..Default::default() });
        let late = world.tenant.update_endpoint(update(sent, None)).await;
        assert!(matches!(late, Err(Error::EtagMismatch { .. })), "{late:?}");
        let request = v1::DeleteEndpointRequest { name: made.name.clone(), etag: etag.into() };
        let late = Error::from(world.client.endpoint_service().delete_endpoint(request).await.expect_err("another etag"));
        assert!(matches!(late, Error::EtagMismatch { .. }), "{late:?}");
    }
    assert_eq!(world.tenant.get_endpoint("siem").await.expect("the endpoint"), replaced);
}

async fn a_dry_run_checks_everything_and_changes_nothing(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let dry = |endpoint: Endpoint| v1::CreateEndpointRequest { validate_only: true, ..create("siem", endpoint) };
    let would = world.tenant.create_endpoint(dry(at(&receiver.url()))).await.expect("what would be");
    assert_eq!((would.name.as_str(), would.signing_secret.as_str()), ("tenants/acme/endpoints/siem", ""), "{would:?}");
    assert!(matches!(world.tenant.get_endpoint("siem").await, Err(Error::NotFound { .. })));
    assert_eq!(fields(&world.tenant.create_endpoint(dry(at("nonsense"))).await.expect_err("no URL")), ["endpoint.url"]);
    let made = world.endpoint("siem", &receiver.url(), |_| {}).await;
    assert!(matches!(world.tenant.create_endpoint(dry(at(&receiver.url()))).await, Err(Error::AlreadyExists { .. })));
    let sent = Endpoint { name: "siem".into(), display_name: "New".into(), ..Default::default() };
    let request = v1::UpdateEndpointRequest { validate_only: true, ..update(sent, None) };
    assert_eq!(world.tenant.update_endpoint(request).await.expect("what would be").display_name, "New");
    assert_eq!(world.tenant.get_endpoint("siem").await.expect("the endpoint").etag, made.etag);
    assert_eq!(world.tenant.endpoints("").try_collect::<Vec<_>>().await.expect("a list").len(), 1);
}

async fn lists_are_cut_into_pages_that_belong_to_their_query(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    for number in 0..7 {
        world.endpoint(&format!("ep-{number}"), &receiver.url(), |_| {}).await;
    }
    for id in ["ep-2", "ep-5"] {
        world.tenant.pause_endpoint(id).await.expect("the endpoint");
    }
    let list = async |parent: &str, page_size: i32, page_token: &str, filter: &str| {
        let request =
            v1::ListEndpointsRequest { parent: parent.into(), page_size, page_token: page_token.into(), filter: filter.into() };
        world.client.endpoint_service().list_endpoints(request).await.map(tonic::Response::into_inner).map_err(Error::from)
    };
    let acme = world.tenant.name();
    let ids = |page: &v1::ListEndpointsResponse| -> Vec<String> {
        page.endpoints.iter().map(|endpoint| endpoint.name.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    };
    let first = list(acme, 3, "", "").await.expect("a page");
    assert_eq!(ids(&first), ["ep-0", "ep-1", "ep-2"]);
    // The size may change from page to page; what was added before the token is not shown, what comes after it is.
    world.endpoint("ep-00", &receiver.url(), |_| {}).await;
    let second = list(acme, 1000, &first.next_page_token, "").await.expect("a page");
    assert_eq!((ids(&second).join(" ").as_str(), second.next_page_token.as_str()), ("ep-3 ep-4 ep-5 ep-6", ""));
    assert_eq!(ids(&list(acme, 5000, "", "").await.expect("a page")).len(), 8);
    assert_eq!(ids(&list(acme, 0, "", r#"state == "PAUSED""#).await.expect("a page")), ["ep-2", "ep-5"]);
    let paused = list(acme, 1, "", r#"state == "PAUSED""#).await.expect("a page");
    for (parent, size, token, filter, field) in [
        (acme, -1, "", "", "page_size"),
        (acme, 3, "nonsense", "", "page_token"),
        (acme, 3, &*first.next_page_token, r#"state == "PAUSED""#, "page_token"),
        ("tenants/globex", 3, &*first.next_page_token, "", "page_token"),
        (acme, 3, &*paused.next_page_token, "", "page_token"),
        (acme, 3, "", r#"url == "x""#, "filter"),
        (acme, 3, "", r#"state == "GONE""#, "filter"),
        (acme, 3, "", r#"state == "PAUSED" || true"#, "filter"),
        (acme, 3, "", "state", "filter"),
        ("acme", 3, "", "", "parent"),
    ] {
        let refused = list(parent, size, token, filter).await.expect_err(field);
        assert_eq!(fields(&refused), [field], "{refused:?}");
    }

    // Every list comes whole through the client.
    for id in ["ep-2", "ep-5"] {
        world.tenant.resume_endpoint(id).await.expect("the endpoint");
    }
    let receipts = world.publish_many("user.updated", 30).await;
    for receipt in &receipts {
        world.delivered(receipt).await;
    }
    let events: Vec<v1::Event> = world.tenant.events("").try_collect().await.expect("a list");
    let newest_first: Vec<&str> = receipts.iter().rev().map(gatepost_client::Receipt::event).collect();
    assert_eq!(events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), newest_first);
    assert!(events.iter().all(|event| event.data.is_empty() && event.delivery_count == 8), "{:?}", events[0]);
    let narrow = format!(r#"type == "user.updated" && subject == "user/usr_1" && create_time >= "{}""#, "2020-01-01T00:00:00Z");
    assert_eq!(world.tenant.events(narrow).try_collect::<Vec<_>>().await.expect("a list").len(), 30);
    assert_eq!(world.tenant.events(r#"type == "user.created""#).try_collect::<Vec<_>>().await.expect("a list").len(), 0);
    let mut deliveries = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListDeliveriesRequest { parent: acme.into(), page_size: 7, page_token, filter: String::new() };
        let page = world.client.delivery_service().list_deliveries(request).await.expect("a page").into_inner();
        assert!(page.deliveries.len() <= 7);
        deliveries.extend(page.deliveries);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    let mut names: Vec<&str> = deliveries.iter().map(|delivery| delivery.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), deliveries.len()), (240, 240));
    assert_eq!(world.deliveries(r#"endpoint == "ep-3" && state == "SUCCEEDED""#).await.len(), 30);
}

async fn secrets_are_shown_when_they_are_made_and_to_who_may_reveal_them(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let secret = world.endpoint("siem", &receiver.url(), |_| {}).await.signing_secret;
    let shown = |endpoint: &Endpoint| format!("{endpoint:?}").contains(secret.trim_start_matches("whsec_"));
    let listed: Vec<Endpoint> = world.tenant.endpoints("").try_collect().await.expect("a list");
    let sent = Endpoint { name: "siem".into(), display_name: "SIEM".into(), ..Default::default() };
    for endpoint in [
        world.tenant.get_endpoint("siem").await.expect("the endpoint"),
        listed[0].clone(),
        world.tenant.update_endpoint(update(sent, None)).await.expect("the endpoint"),
        world.tenant.pause_endpoint("siem").await.expect("the endpoint"),
        world.tenant.resume_endpoint("siem").await.expect("the endpoint"),
        world.tenant.disable_endpoint("siem").await.expect("the endpoint"),
        world.tenant.enable_endpoint("siem").await.expect("the endpoint"),
    ] {
        assert!(endpoint.signing_secret.is_empty() && !shown(&endpoint), "{endpoint:?}");
        assert_eq!(endpoint.signing_secrets[0].fingerprint.len(), 16);
    }
    let all_but_reveal: Vec<&str> = VERBS.into_iter().filter(|verb| *verb != "secrets.reveal").chain(["tenants:acme"]).collect();
    let with = async |scopes: &[&str]| {
        let client: Client = client(&world.server, &world.key(scopes).await.key);
        client.tenant("acme").reveal_endpoint_secrets("siem").await
    };
    let refused = with(&all_but_reveal).await.expect_err("another verb");
    assert!(matches!(&refused, Error::PermissionDenied { scope: Some(scope), .. } if scope == "secrets.reveal"), "{refused:?}");
    let revealed = with(&["secrets.reveal", "tenants:acme"]).await.expect("the secrets");
    assert_eq!(revealed.len(), 1);
    assert_eq!(revealed[0].signing_secret, secret);

    for _ in 0..4 {
        world.tenant.rotate_endpoint_secret("siem", None, None).await.expect("the endpoint");
    }
    let sixth = world.tenant.rotate_endpoint_secret("siem", None, None).await;
    assert!(sixth.is_err(), "at most 5 are active at once: {sixth:?}");
    let made = world.tenant.rotate_endpoint_secret("siem", None, Some(Duration::ZERO)).await.expect("the endpoint");
    assert_eq!(made.signing_secrets.len(), 1);
}

async fn a_test_of_an_endpoint_shows_what_came_back(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|number, _| match number {
        0 => Answer::status(201).header("x-say", "hello").body("welcome"),
        _ => Answer::status(500),
    })
    .await;
    let secret =
        world.endpoint("siem", &receiver.url(), |endpoint| endpoint.event_types = vec!["user.*".into()]).await.signing_secret;
    world.tenant.disable_endpoint("siem").await.expect("the endpoint");
    let tested = world.tenant.test_endpoint("siem").await.expect("an answer");
    let attempt = tested.attempt.expect("an attempt");
    assert!(tested.success && attempt.class() == v1::AttemptClass::Success && attempt.name.is_empty(), "{attempt:?}");
    assert_eq!((attempt.response_status, attempt.response_body.as_slice()), (201, &b"welcome"[..]));
    assert_eq!(attempt.response_headers.get("x-say").map(String::as_str), Some("hello"));
    let request = receiver.wait_for(1).await.remove(0);
    assert!(request.is_signed_with(&secret) && request.header("gatepost-event-type") == "webhook.verification");
    let body = request.json();
    assert_eq!(
        (body["type"].as_str(), body["data"]["endpoint_id"].as_str()),
        (Some("webhook.verification"), Some("siem")),
        "{body}"
    );
    assert!(body["data"]["state"].is_string(), "{body}");
    let tested = world.tenant.test_endpoint("siem").await.expect("an answer");
    assert!(!tested.success && tested.attempt.expect("an attempt").response_status == 500);
    drop(receiver);
    let tested = world.tenant.test_endpoint("siem").await.expect("an answer");
    assert!(!tested.success && tested.attempt.expect("an attempt").class() == v1::AttemptClass::Connect);
    let tests = world.tenant.events(r#"type == "webhook.verification""#).try_collect::<Vec<_>>().await.expect("a list");
    assert!(tests.is_empty(), "nothing is stored");
}

async fn stats_count_deliveries_and_attempts(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, request| match request.header("gatepost-event-type") {
        "user.deleted" => Answer::status(404),
        "user.suspended" => Answer::status(500),
        _ => Answer::status(200),
    })
    .await;
    world
        .endpoint("siem", &receiver.url(), |endpoint| {
            endpoint.permanent_statuses = vec![404];
            endpoint.retry_policy = waits(&[600]);
        })
        .await;
    for receipt in world.publish_many("user.created", 10).await {
        world.until(&receipt, State::Succeeded).await;
    }
    let retrying = world.publish("user.suspended").await;
    for receipt in world.publish_many("user.deleted", 2).await {
        world.until(&receipt, State::Dead).await;
    }
    let retrying = world.until(&retrying, State::Retrying).await;
    let stats = until("the attempts to be counted", async || {
        let stats = world.tenant.endpoint_stats("siem", Some(Duration::from_secs(600))).await.expect("stats");
        if stats.succeeded_attempt_count + stats.failed_attempt_count == 13 { Ok(stats) } else { Err(stats) }
    })
    .await;
    assert_eq!((stats.succeeded_attempt_count, stats.failed_attempt_count), (10, 3), "{stats:?}");
    assert_eq!((stats.pending_count, stats.retrying_count, stats.dead_count), (0, 1, 2), "{stats:?}");
    assert_eq!((stats.oldest_pending_time, stats.in_flight_count), (retrying.create_time, 0), "{stats:?}");
    assert!(stats.mean_duration.is_some() && stats.max_duration.is_some(), "{stats:?}");
    let health = world.tenant.get_endpoint("siem").await.expect("the endpoint").health.expect("its health");
    assert!(health.last_success_time.is_some() && health.last_failure_time.is_some(), "{health:?}");
    for window in [Duration::from_secs(59), Duration::from_secs(90), Duration::from_secs(24 * 3600 + 60)] {
        let refused = world.tenant.endpoint_stats("siem", Some(window)).await.expect_err("whole minutes up to a day");
        assert_eq!(fields(&refused), ["window_duration"], "{window:?}");
    }
}

/// On a server whose configuration allows nothing more than the public internet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_that_lead_inside_are_refused() {
    let database = Database::sqlite();
    let settings =
        Settings::on(&database).set("GATEPOST_OUTBOUND__ALLOW_HTTP", "false").set("GATEPOST_OUTBOUND__ALLOW_CIDRS", "[]");
    let world = World::with(settings).await;
    let dry = |url: &str| v1::CreateEndpointRequest { validate_only: true, ..create("siem", at(url)) };
    for url in [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "example.com",
        "",
        "https://",
        "https://user:secret@example.com/",
        "https://example.com/#fragment",
        "https://example.com:22/",
        "https://example.com:80/",
        "https://example.com:6667/",
        "https://localhost/",
        "https://printer/",
        "https://router.local/",
        "https://db.internal/",
        "https://x.localhost/",
        "https://nas.lan/",
        "https://secret.onion/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://192.0.2.1/",
        "https://198.18.0.1/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fc00::1]/",
        "https://[fe80::1]/",
        "https://[2001:db8::1]/",
        "https://[ff02::1]/",
        "https://example.com/ path",
        "https://exa\tmple.com/",
        &format!("https://example.com/{}", "x".repeat(2040)),
    ] {
        match world.tenant.create_endpoint(dry(url)).await {
            Err(refused) => assert_eq!(fields(&refused), ["endpoint.url"], "{url}: {refused:?}"),
            Ok(_) => panic!("{url} is taken"),
        }
    }
    for (url, stored) in [
        ("https://example.com", "https://example.com/"),
        ("https://example.com:8443/a?b=c", "https://example.com:8443/a?b=c"),
        ("HTTPS://EXAMPLE.com:443/%7Ea", "https://example.com/%7Ea"),
        ("https://bücher.example.com/", "https://xn--bcher-kva.example.com/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
    ] {
        let made = world.tenant.create_endpoint(dry(url)).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        assert_eq!(made.url, stored);
    }
    // A name is judged by what it resolves to, when it is dialled.
    assert!(matches!(world.tenant.get_endpoint("siem").await, Err(Error::NotFound { .. })));
}
