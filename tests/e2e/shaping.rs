//! What an endpoint gets of what is published, and how it looks: filters and templates, and what people are shown of both.
//!
//! Formats, field policies and encryption themselves are elsewhere; here they are shown as they are sent.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use gatepost_client::{
    Error, NewEvent, Receipt, Tenant,
    v1::{
        self, AttemptClass, Endpoint, EndpointMatch, FieldPolicy, PreviewDeliveryRequest, PreviewDeliveryResponse,
        UpdateEndpointRequest,
        delivery::State,
        endpoint::{Format, SetFamily},
        endpoint_match::Reason,
        field_policy::{Action, Rule},
    },
};
use gatepost_tests::{
    DEADLINE, Database, Received, Receiver, Settings, World, on_both_databases, until, until_within,
    world::{VERBS, client, event},
};
use serde_json::{Value, json};

use crate::metrics::get;

mod preview;

on_both_databases!(
    filters_choose_by_data_tags_type_and_tenant,
    a_filter_that_fails_lets_nothing_through_and_is_counted_and_explained,
    every_rule_that_keeps_an_event_from_an_endpoint_is_explained,
    what_does_not_compile_is_refused_with_its_place,
    a_template_makes_the_body_that_arrives,
    no_value_of_a_payload_breaks_out_of_its_place,
    a_template_that_fails_is_a_dead_letter_at_once_until_it_is_mended,
    a_template_and_security_event_tokens_do_not_go_together,
    hostile_filters_and_templates_cost_others_nothing,
);

async fn change(world: &World, id: &str, paths: &[&str], endpoint: Endpoint) -> Result<Endpoint, Error> {
    let endpoint = Some(Endpoint { name: id.into(), ..endpoint });
    let update_mask = Some(mask(paths));
    world.tenant.update_endpoint(UpdateEndpointRequest { endpoint, update_mask, validate_only: false }).await
}

/// A second tenant.
async fn globex(world: &World) -> Tenant {
    let request = v1::CreateTenantRequest { tenant_id: "globex".into(), ..Default::default() };
    world.client.create_tenant(request).await.expect("a tenant");
    world.client.tenant("globex")
}

fn mask(paths: &[&str]) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

fn transform(template: &str) -> Endpoint {
    Endpoint { transform: template.into(), ..Default::default() }
}

/// By the endpoint's id.
async fn explain(world: &World, receipt: &Receipt) -> BTreeMap<String, EndpointMatch> {
    let matches: Vec<EndpointMatch> = world.tenant.explain_event(receipt.event_id()).try_collect().await.expect("an explanation");
    matches.into_iter().map(|found| (found.endpoint.rsplit('/').next().unwrap_or_default().to_owned(), found)).collect()
}

async fn preview(world: &World, id: &str, receipt: &Receipt) -> PreviewDeliveryResponse {
    world.tenant.preview_delivery(id, receipt.event_id()).await.expect("a preview")
}

fn values(found: &EndpointMatch) -> Vec<(&str, &str)> {
    found.values.iter().map(|read| (read.path.as_str(), read.value.as_str())).collect()
}

fn fields(error: &Error) -> Vec<&str> {
    let mut fields: Vec<&str> = error.field_violations().iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    fields
}

fn person(rest: &str) -> String {
    format!(r#"{{"user": {{"id": "usr_1", "email": "jane@acme.test"}}{rest}}}"#)
}

/// The value of a metric without labels.
async fn metric(world: &World, name: &str) -> f64 {
    let text = String::from_utf8(get(&format!("{}/metrics", world.server.url())).await.into_body().to_vec()).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().expect("a number")
}

async fn filters_choose_by_data_tags_type_and_tenant(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    for (id, filter) in [
        ("all", ""),
        ("sales", r#"has(data.department) && data.department == "Sales""#),
        ("hr", r#"has(tags.source) && tags.source == "hr""#),
        ("leavers", r#"type == "user.terminated" || type.startsWith("session.")"#),
        ("here", r#"tenant == "acme""#),
        ("there", r#"tenant == "globex""#),
        ("engineers", r#"has(data.roles) && data.roles.exists(role, role.matches("^eng[0-9]$")) && size(data.roles) < 3"#),
    ] {
        world.endpoint(id, &receiver.url(), |endpoint| endpoint.filter = filter.into()).await;
    }
    let terminated =
        |rest: &str| NewEvent::new("user.terminated", person(&format!(r#", "effective_at": "2026-11-25T09:00:00Z"{rest}"#)));
    for (event, wanted) in [
        (event("user.created"), &["all", "here"][..]),
        (event("user.created").tag("source", "hr"), &["all", "here", "hr"]),
        (event("user.created").tag("source", "sap"), &["all", "here"]),
        (terminated(r#", "department": "Sales""#).tag("source", "hr"), &["all", "here", "hr", "leavers", "sales"]),
        (terminated(r#", "department": "sales", "roles": ["eng7", "lead"]"#), &["all", "engineers", "here", "leavers"]),
        (terminated(r#", "department": 7, "roles": ["eng", "xeng7"]"#), &["all", "here", "leavers"]),
        (event("session.revoked"), &["all", "here", "leavers"]),
    ] {
        let receipt = world.tenant.publish(event.clone()).await.expect("a receipt");
        let made = (receipt.delivery_count() as usize, receipt.skipped_count() as usize);
        assert_eq!(made, (wanted.len(), 7 - wanted.len()), "{event:?}");
        let delivered = world.delivered(&receipt).await;
        let mut reached: Vec<&str> = delivered.iter().filter_map(|delivery| delivery.endpoint.rsplit('/').next()).collect();
        reached.sort_unstable();
        assert_eq!(reached, wanted, "{event:?}");
        let explained = explain(&world, &receipt).await;
        let matched: Vec<&str> = explained.iter().filter(|(_, found)| found.matched).map(|(id, _)| id.as_str()).collect();
        assert_eq!(matched, wanted, "{event:?}");
    }
    assert_eq!(metric(&world, "gatepost_filters_failed_total").await, 0.0);
    // What is changed counts for whatever is published after the reply.
    let filter = Endpoint { filter: r#"tenant == "acme""#.into(), ..Default::default() };
    change(&world, "there", &["filter"], filter).await.expect("the endpoint");
    change(&world, "here", &["filter"], Endpoint::default()).await.expect("the endpoint");
    assert_eq!(world.publish("user.created").await.delivery_count(), 3);
    assert_eq!(world.tenant.get_endpoint("here").await.expect("the endpoint").filter, "");
}

async fn a_filter_that_fails_lets_nothing_through_and_is_counted_and_explained(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let filter = r#"data.user.department == "Sales" && tags["source"] != "sap" && data.user.email.size() > 2"#;
    world.endpoint("sales", &receiver.url(), |endpoint| endpoint.filter = filter.into()).await;
    world.endpoint("all", &receiver.url(), |_| {}).await;
    let receipt = world.publish("user.created").await;
    assert_eq!((receipt.delivery_count(), receipt.skipped_count()), (1, 1));
    assert_eq!(metric(&world, "gatepost_filters_failed_total").await, 1.0);
    world.publish_many("user.created", 20).await;
    assert_eq!(metric(&world, "gatepost_filters_failed_total").await, 21.0, "once for each event");

    let explained = explain(&world, &receipt).await.remove("sales").expect("the endpoint");
    for found in [&explained, &preview(&world, "sales", &receipt).await.r#match.expect("a match")] {
        assert_eq!((found.matched, found.reason()), (false, Reason::FilterFailed));
        assert!(found.detail.contains("data.user.department"), "it says what is not there: {found:?}");
        assert!(!found.detail.contains("jane"), "and no value: {found:?}");
        let read =
            [("data.user.department", "(absent)"), (r#"tags["source"]"#, "(absent)"), ("data.user.email", r#""jane@acme.test""#)];
        assert_eq!(values(found), read);
        assert!(found.deliveries.is_empty());
    }
    assert!(preview(&world, "sales", &receipt).await.requests.is_empty());
    // Explaining asks the filter, and counts nothing.
    assert_eq!(metric(&world, "gatepost_filters_failed_total").await, 21.0);
    // What it read is shown up to a length.
    let long = NewEvent::new("user.created", format!(r#"{{"user": {{"id": "u1", "department": "{}"}}}}"#, "é".repeat(5000)));
    let receipt = world.tenant.publish(long).await.expect("a receipt");
    let found = explain(&world, &receipt).await.remove("sales").expect("the endpoint");
    let (_, value) = values(&found)[0];
    assert!(value.chars().count() == 200 && value.starts_with("\"éé") && value.ends_with('…'), "{value}");
}

async fn every_rule_that_keeps_an_event_from_an_endpoint_is_explained(database: Database) {
    let world = World::with(Settings::on(&database).set("GATEPOST_PUBLIC_BASE_URL", "https://gatepost.acme.test")).await;
    let receiver = Receiver::ok().await;
    let set = |endpoint: &mut Endpoint| {
        endpoint.format = Format::Set.into();
        endpoint.set_audience = vec!["https://rp.acme.test".into()];
    };
    world.endpoint("a-match", &receiver.url(), |endpoint| endpoint.filter = r#"data.user.id == "usr_1""#.into()).await;
    world.endpoint("b-hooks", &receiver.url(), |endpoint| endpoint.hooks_only = true).await;
    world.endpoint("c-disabled", &receiver.url(), |_| {}).await;
    world.endpoint("d-type", &receiver.url(), |endpoint| endpoint.event_types = vec!["session.*".into()]).await;
    // Creation of a user is a SCIM event alone.
    world.endpoint("e-tokens", &receiver.url(), set).await;
    world.endpoint("f-false", &receiver.url(), |endpoint| endpoint.filter = r#"data.user.id == "usr_2""#.into()).await;
    world.endpoint("g-failed", &receiver.url(), |endpoint| endpoint.filter = "data.user.age > 17".into()).await;
    world
        .endpoint("h-scim", &receiver.url(), |endpoint| {
            set(endpoint);
            endpoint.set_families = vec![SetFamily::Scim.into()];
        })
        .await;
    world.endpoint("i-paused", &receiver.url(), |_| {}).await;
    world.tenant.disable_endpoint("c-disabled").await.expect("the endpoint");
    world.tenant.pause_endpoint("i-paused").await.expect("the endpoint");
    let receipt = world.publish("user.created").await;
    assert_eq!((receipt.delivery_count(), receipt.skipped_count()), (3, 6));
    let reasons = |explained: &BTreeMap<String, EndpointMatch>| -> Vec<(String, bool, Reason, usize)> {
        explained.iter().map(|(id, found)| (id.clone(), found.matched, found.reason(), found.deliveries.len())).collect()
    };
    let expected = [
        ("a-match", true, Reason::Unspecified, 1),
        ("b-hooks", false, Reason::HooksOnly, 0),
        ("c-disabled", false, Reason::Disabled, 0),
        ("d-type", false, Reason::EventType, 0),
        ("e-tokens", false, Reason::NoSecurityEvent, 0),
        ("f-false", false, Reason::FilterFalse, 0),
        ("g-failed", false, Reason::FilterFailed, 0),
        ("h-scim", true, Reason::Unspecified, 1),
        ("i-paused", true, Reason::Unspecified, 1),
    ];
    let expected: Vec<_> = expected.map(|(id, matched, reason, made)| (id.to_owned(), matched, reason, made)).into();
    let explained = explain(&world, &receipt).await;
    assert_eq!(reasons(&explained), expected);
    assert_eq!(values(&explained["f-false"]), [("data.user.id", r#""usr_1""#)]);
    assert_eq!(values(&explained["d-type"]), [], "its filter was not asked");
    let mut made: Vec<String> = world.deliveries("").await.into_iter().map(|delivery| delivery.name).collect();
    made.sort_unstable();
    let mut told: Vec<String> = explained.values().flat_map(|found| found.deliveries.clone()).collect();
    told.sort_unstable();
    assert_eq!(told, made);
    for (id, matched, reason, _) in &expected {
        let shown = preview(&world, id, &receipt).await;
        let found = shown.r#match.expect("a match");
        assert_eq!((found.matched, found.reason(), shown.requests.is_empty()), (*matched, *reason, !matched), "{id}");
        assert!(found.deliveries.is_empty(), "a preview tells of none");
    }
    // In pages it is the same.
    let mut paged = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ExplainEventRequest { name: receipt.event().into(), page_size: 2, page_token };
        let page = world.client.event_service().explain_event(request).await.expect("a page").into_inner();
        assert!(page.matches.len() <= 2);
        paged.extend(page.matches);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, explained.values().cloned().collect::<Vec<_>>());

    // Judged by the settings of now; what was made then stays.
    let filter = Endpoint { filter: "false".into(), ..Default::default() };
    change(&world, "a-match", &["filter"], filter).await.expect("the endpoint");
    world.tenant.enable_endpoint("c-disabled").await.expect("the endpoint");
    change(&world, "b-hooks", &["hooks_only"], Endpoint::default()).await.expect("the endpoint");
    world.tenant.delete_endpoint("d-type").await.expect("it is deleted");
    let now = reasons(&explain(&world, &receipt).await);
    assert_eq!(now[0], ("a-match".to_owned(), false, Reason::FilterFalse, 1));
    assert_eq!(now[1], ("b-hooks".to_owned(), true, Reason::Unspecified, 0));
    assert_eq!(now[2], ("c-disabled".to_owned(), true, Reason::Unspecified, 0));
    assert_eq!(now.len(), 8);
    let missing: Result<Vec<EndpointMatch>, Error> = world.tenant.explain_event("nothing").try_collect().await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
}

async fn what_does_not_compile_is_refused_with_its_place(database: Database) {
    let world = World::on(&database).await;
    let create = async |endpoint: Endpoint| {
        let request = v1::CreateEndpointRequest { endpoint_id: "siem".into(), endpoint: Some(endpoint), ..Default::default() };
        world.tenant.create_endpoint(request).await
    };
    let wrong = Endpoint {
        url: "nonsense".into(),
        filter: "type == 'a' &&\n  data.x = 7".into(),
        transform: "{\n  \"a\": {{ data.user.id | shout }}\n}".into(),
        format: 99,
        max_in_flight: -1,
        ..Default::default()
    };
    let error = create(wrong.clone()).await.expect_err("everything is wrong");
    let named = ["endpoint.filter", "endpoint.format", "endpoint.max_in_flight", "endpoint.transform", "endpoint.url"];
    assert_eq!(fields(&error), named);
    let told = |field: &str| {
        let found = error.field_violations().iter().find(|violation| violation.field == field);
        found.expect("the field").description.clone()
    };
    assert!(told("endpoint.filter").contains("line 2, column 10"), "{error:?}");
    assert!(told("endpoint.transform").contains("line 2") && told("endpoint.transform").contains("shout"), "{error:?}");

    let url = "https://receiver.example.com/".to_owned();
    for (filter, place) in [
        ("data.x ==", "line 1"),
        ("nothing.here", "`nothing`"),
        ("data.user.name", ""),
        ("1 + 1", "line 1, column"),
        ("tags.source == 7", "line 1, column"),
        ("data.x.shout()", "`shout`"),
        ("data.x.matches('(')", "line 1, column"),
        ("data.x.matches(data.y)", "line 1, column"),
        (&"(".repeat(2000), "deep"),
        (&format!("type == '{}'", "x".repeat(4096)), "4096"),
    ] {
        let created = create(Endpoint { url: url.clone(), filter: filter.into(), ..Default::default() }).await;
        // That it is no question shows when it is asked.
        if place.is_empty() {
            created.expect("a name of data may be true or false");
            world.tenant.delete_endpoint("siem").await.expect("it is deleted");
            continue;
        }
        let error = created.expect_err(filter);
        assert_eq!(fields(&error), ["endpoint.filter"], "{filter}");
        assert!(error.field_violations()[0].description.contains(place), "{filter}: {error:?}");
    }
    for (template, place) in [
        ("{{ data", "line 1"),
        ("{\n{% for x in data %}\n}", "line"),
        ("{% include 'other' %}", "line 1"),
        ("{% import 'other' as o %}", "line 1"),
        ("{% extends 'other' %}", "line 1"),
        ("{% macro f(x) %}{{ x }}{% endmacro %}{}", "line 1"),
        ("{\"a\": {{ range(1000000000) }} }", "functions"),
        ("{\"a\": {{ data.user.id.__class__.mro() }} }", "functions"),
        ("{\"a\": {{ data.items[0:100] }} }", "slices"),
        ("{\"a\": {{ 2 ** 1000 }} }", "`**`"),
        ("{\"a\": \"{{ data.user.id }}\"}", "quotes"),
        ("{% for x in data.items recursive %}{{ loop(x) }}{% endfor %}", "recursive"),
        (&"{% if true %}".repeat(2000), "deep"),
        (&format!("{{\"a\": {{{{ {} }}}} }}", "[".repeat(2000)), "deep"),
        (&format!("\"{}\"", "x".repeat(64 * 1024)), "65536"),
    ] {
        let error = create(Endpoint { url: url.clone(), ..transform(template) }).await.expect_err(template);
        assert_eq!(fields(&error), ["endpoint.transform"], "{template:.80}");
        assert!(error.field_violations()[0].description.contains(place), "{template:.80}: {error:?}");
    }
    // Updates are held to the same, and change nothing then.
    let receiver = Receiver::ok().await;
    let made = world.endpoint("siem", &receiver.url(), |_| {}).await;
    let error = change(&world, "siem", &["filter", "transform"], wrong).await.expect_err("both are wrong");
    assert_eq!(fields(&error), ["endpoint.filter", "endpoint.transform"]);
    assert_eq!(world.tenant.get_endpoint("siem").await.expect("the endpoint").etag, made.etag);
}

async fn a_template_makes_the_body_that_arrives(database: Database) {
    let world = World::on(&database).await;
    let (receiver, plain) = (Receiver::ok().await, Receiver::ok().await);
    let template = r#"{"text": {{ "Left: " ~ data.user.email ~ " at " ~ timestamp }}, "id": {{ id }}, "kind": {{ type | upper }},
 "team": {{ data.team | default("none") }}, "roles": [{% for role in data.roles %}{{ role.name }}{% if not loop.last %}, {% endif %}{% endfor %}],
 "user": {{ data.user }}, "count": {{ data.roles | length }}, "all": {{ payload.data.user.id }}, "when": {{ timestamp | epoch }} }"#;
    let endpoint = world.endpoint("chat", &receiver.url(), |endpoint| endpoint.transform = template.into()).await;
    world.endpoint("plain", &plain.url(), |_| {}).await;
    assert_eq!(endpoint.transform, template);
    let data = person(r#", "roles": [{"name": "dev"}, {"name": "ops", "since": 1}]"#);
    let occurred = std::time::UNIX_EPOCH + Duration::from_secs(1_795_597_200);
    let receipt = world.tenant.publish(NewEvent::new("user.created", data.clone()).occurred(occurred)).await.expect("a receipt");
    let request = receiver.wait_for(1).await.remove(0);
    let expected = json!({
        "text": "Left: jane@acme.test at 2026-11-25T09:00:00.000Z",
        "id": receipt.event_id(),
        "kind": "USER.CREATED",
        "team": "none",
        "roles": ["dev", "ops"],
        "user": {"id": "usr_1", "email": "jane@acme.test"},
        "count": 2,
        "all": "usr_1",
        "when": 1_795_597_200,
    });
    assert_eq!(request.json(), expected);
    assert_eq!((request.header("content-type"), request.id()), ("application/json", receipt.event_id()));
    assert!(request.is_signed_with(&endpoint.signing_secret), "the signature is over what is sent");
    // The other endpoint gets it as ever.
    assert!(plain.wait_for(1).await[0].body.ends_with(format!("\"data\":{data}}}").as_bytes()));

    // It makes its body of the format that the endpoint has, after what its policy withholds.
    let policy =
        FieldPolicy { default_action: 0, rules: vec![Rule { pointer: "/user/email".into(), action: Action::Omit.into() }] };
    let changed = Endpoint { format: Format::CloudeventsStructured.into(), field_policy: Some(policy), ..Default::default() };
    let changed = Endpoint {
        transform: r#"{"of": {{ source }}, "mail": {{ data.user.email | default(none) }}, "user": {{ data.user }} }"#.into(),
        ..changed
    };
    change(&world, "chat", &["format", "field_policy", "transform"], changed).await.expect("the endpoint");
    world.publish("user.created").await;
    let request = receiver.wait_for(2).await.remove(1);
    assert_eq!(request.json(), json!({"of": "/tenants/acme", "mail": null, "user": {"id": "usr_1"}}));
    assert_eq!(request.header("content-type"), "application/cloudevents+json");
}

async fn no_value_of_a_payload_breaks_out_of_its_place(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let template = r#"{"a": {{ data.note }}, "b": {{ "x " ~ data.note ~ " y" }}, "c": {{ data.more }}, "d": {{ [data.note, {"k": data.note}] }},
 "e": {% for key in data.more %}{{ key | upper | lower }}{% endfor %}, "f": {{ data.note | replace("q", data.note) | tojson | string }} }"#;
    world.endpoint("chat", &receiver.url(), |endpoint| endpoint.transform = template.into()).await;
    let values = [
        "\"",
        "\\",
        "\\\"",
        "\", \"admin\": true, \"z\": \"",
        "\"}, {\"a\": 1",
        "a\nb\r\n\tc",
        "\u{0}\u{1}\u{1f}\u{7f}\u{80}",
        "\u{2028}\u{2029}\u{feff}",
        "{{ 7 * 7 }}",
        "{{ data.user.email }}",
        "{% for x in data %}{{ x }}{% endfor %}",
        "{# comment #}",
        "{% raw %}",
        "</script><script>",
        "%s%n ${jndi:ldap://x} `id` $(id)",
        "\u{1f600} é Zoë ﷽",
        "null",
        "1e999",
        "",
    ];
    let mut receipts = Vec::new();
    for value in values {
        let data = json!({"user": {"id": "u1"}, "note": value, "more": {value: [value, {value: value}]}});
        receipts.push(world.tenant.publish(NewEvent::new("user.created", data.to_string())).await.expect("a receipt"));
    }
    let received = receiver.wait_for_ids(DEADLINE, receipts.iter().map(Receipt::event_id)).await;
    for (value, receipt) in values.into_iter().zip(&receipts) {
        let request = received.iter().find(|request| request.id() == receipt.event_id()).expect("it came");
        let more = json!({value: [value, {value: value}]});
        let key = value.to_uppercase().to_lowercase();
        let quoted = json!(value.replace('q', value)).to_string();
        let expected = json!({
            "a": value,
            "b": format!("x {value} y"),
            "c": more,
            "d": [value, {"k": value}],
            "e": key,
            "f": quoted,
        });
        assert_eq!(request.json(), expected, "{value:?}");
    }
}

async fn a_template_that_fails_is_a_dead_letter_at_once_until_it_is_mended(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    // All eleven attempts of the schedule that an endpoint has without its own.
    world
        .endpoint("chat", &receiver.url(), |endpoint| {
            endpoint.transform = "{\"mail\": {{ data.user.email }},\n\n \"nick\": {{ data.user.nickname }} }".into()
        })
        .await;
    let receipt = world.publish("user.created").await;
    assert_eq!(receipt.delivery_count(), 1);
    let dead = world.until(&receipt, State::Dead).await;
    assert_eq!((dead.attempt_count, dead.last_status, dead.last_class()), (1, 0, AttemptClass::Unrenderable), "{dead:?}");
    let attempts = world.attempts(&dead).await;
    assert_eq!((attempts.len(), attempts[0].class(), attempts[0].response_status), (1, AttemptClass::Unrenderable, 0));
    let detail = &attempts[0].detail;
    assert!(detail.contains("line 3") && detail.contains("user.nickname"), "{detail}");
    assert!(!detail.contains("jane"), "no value of the payload: {detail}");
    let shown = preview(&world, "chat", &receipt).await;
    assert!(shown.requests.is_empty() && shown.r#match.is_some_and(|found| found.matched));
    assert_eq!(&shown.render_error, detail, "a preview says the same");
    // As it is, it fails again.
    world.tenant.retry_delivery(&dead.name).await.expect("the delivery");
    let dead = world.until_delivery(&receipt, "a second attempt", |delivery| delivery.attempt_count == 2).await;
    assert_eq!(dead.state(), State::Dead);
    assert_eq!(receiver.count(), 0, "nothing went out");

    let mended = transform("{\"mail\": {{ data.user.email }}, \"nick\": {{ data.user.nickname | default(none) }} }");
    change(&world, "chat", &["transform"], mended).await.expect("the endpoint");
    world.tenant.retry_delivery(&dead.name).await.expect("the delivery");
    let delivery = world.until(&receipt, State::Succeeded).await;
    let classes: Vec<AttemptClass> = world.attempts(&delivery).await.iter().map(|attempt| attempt.class()).collect();
    assert_eq!(classes, [AttemptClass::Unrenderable, AttemptClass::Unrenderable, AttemptClass::Success]);
    let request = receiver.wait_for(1).await.remove(0);
    assert_eq!((request.json(), request.attempt()), (json!({"mail": "jane@acme.test", "nick": null}), 3));

    // Other ways to fail: what it makes is no JSON, or too large.
    for (template, word) in [
        ("{\"a\": {{ data.user.id }}, }", "JSON"),
        ("{\"a\": {{ data.user.id }} } {}", "JSON"),
        (" ", "empty"),
        ("{\"a\": {{ 1 / (data.zero | int) }} }", "number"),
        ("{\"a\": {{ data.user | upper | int }} }", "int"),
        ("[{% for letter in data.text | split(\"\") %}{{ data.text }},{% endfor %}1]", ""),
    ] {
        change(&world, "chat", &["transform"], transform(template)).await.expect(template);
        let data = person(&format!(r#", "zero": 0, "text": "{}""#, "abc".repeat(3000)));
        let receipt = world.tenant.publish(NewEvent::new("user.created", data)).await.expect("a receipt");
        let dead = world.until(&receipt, State::Dead).await;
        let detail = world.attempts(&dead).await.remove(0).detail;
        assert!(
            dead.last_class() == AttemptClass::Unrenderable && detail.contains(word) && !detail.is_empty(),
            "{template}: {detail}"
        );
    }
    assert_eq!(receiver.count(), 1);
}

async fn a_template_and_security_event_tokens_do_not_go_together(database: Database) {
    let world = World::with(Settings::on(&database).set("GATEPOST_PUBLIC_BASE_URL", "https://gatepost.acme.test")).await;
    let receiver = Receiver::ok().await;
    let tokens =
        || Endpoint { format: Format::Set.into(), set_audience: vec!["https://rp.acme.test".into()], ..Default::default() };
    let both = Endpoint { url: receiver.url(), transform: "{}".into(), ..tokens() };
    for validate_only in [true, false] {
        let endpoint = Some(both.clone());
        let request = v1::CreateEndpointRequest { endpoint, validate_only, ..Default::default() };
        assert_eq!(fields(&world.tenant.create_endpoint(request).await.expect_err("both")), ["endpoint.transform"]);
    }
    world.endpoint("tokens", &receiver.url(), |endpoint| *endpoint = Endpoint { url: endpoint.url.clone(), ..tokens() }).await;
    world.endpoint("chat", &receiver.url(), |endpoint| endpoint.transform = "{}".into()).await;
    let refused = [
        change(&world, "tokens", &["transform"], transform("{}")).await,
        change(&world, "chat", &["format", "set_audience"], tokens()).await,
        change(&world, "chat", &["format", "set_audience", "transform"], Endpoint { transform: "[]".into(), ..tokens() }).await,
    ];
    for refused in refused {
        assert_eq!(fields(&refused.expect_err("both")), ["endpoint.transform"]);
    }
    let read = world.tenant.get_endpoint("tokens").await.expect("the endpoint");
    assert_eq!((read.format(), read.transform.as_str()), (Format::Set, ""));
    let read = world.tenant.get_endpoint("chat").await.expect("the endpoint");
    assert_eq!((read.format(), read.transform.as_str()), (Format::Standard, "{}"));
    // One for the other at once is fine, both ways.
    change(&world, "chat", &["format", "set_audience", "transform"], tokens()).await.expect("the endpoint");
    let back = Endpoint { transform: "{}".into(), ..Default::default() };
    change(&world, "chat", &["format", "set_audience", "transform"], back).await.expect("the endpoint");
}

/// Filters and templates that ask for more than their share.
async fn hostile_filters_and_templates_cost_others_nothing(database: Database) {
    /// How long an honest call and its delivery may take beside them: a debug build on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// What memory may grow by, in MiB: a rendering may take 64.
    const ROOM: f64 = 160.0;
    let filters = [
        "data.items.all(x, data.items.all(y, data.items.all(z, true)))",
        "data.items.map(x, data.items.map(y, [x, y, [x, y]])).size() == 1",
        "data.items.all(x, (data.text + data.text + data.text).size() > 0)",
        "data.items.all(x, data.text.matches('(a|b|ab)*c') || true)",
        "data.items.exists(x, data.items == data.items && false)",
    ];
    let doubled = format!("{}{{\"a\": {{{{ a }}}} }}", "{% set a = data.text %}".to_owned() + &"{% set a = a ~ a %}".repeat(40));
    let loops = "{% for a in data.items %}{% for b in data.items %}{% for c in data.items %}{% for d in data.items %}1,\
                 {% endfor %}{% endfor %}{% endfor %}{% endfor %}";
    let printed = format!("[{}1]", "{{ payload }},".repeat(2000));
    let replaced = format!("{{\"a\": {{{{ data.text{} }}}} }}", " | replace(\"a\", \"aaaaaaaaaaaaaaaa\")".repeat(20));
    let sorted = format!("[{}1]", "{{ data.items | sort | reverse | unique | join(\",\") }},".repeat(1000));
    let joined = "{\"a\": {{ data.items | join(data.text) }} }".to_owned();
    let compared = format!("[{}1]", "{{ data.items == data.items and data.text == data.text }},".repeat(1000));
    let templates = [doubled, format!("[{loops}1]"), printed, replaced, sorted, joined, compared];

    let world = World::on(&database).await;
    let globex = globex(&world).await;
    let (nasty, honest) = (Receiver::ok().await, Receiver::ok().await);
    let endpoint = Endpoint { url: honest.url(), ..transform(r#"{"who": {{ data.user.id }} }"#) };
    let request = v1::CreateEndpointRequest { endpoint: Some(endpoint), ..Default::default() };
    globex.create_endpoint(request).await.expect("an endpoint");
    for (number, filter) in filters.into_iter().enumerate() {
        world.endpoint(&format!("filter-{number}"), &nasty.url(), |endpoint| endpoint.filter = filter.into()).await;
    }
    for (number, template) in templates.iter().enumerate() {
        world.endpoint(&format!("template-{number}"), &nasty.url(), |endpoint| endpoint.transform = template.clone()).await;
    }
    world.endpoint("plain", &nasty.url(), |_| {}).await;
    let payloads = [
        json!({"user": {"id": "u1"}, "items": (0..30_000).collect::<Vec<_>>(), "text": "a".repeat(1000)}),
        json!({"user": {"id": "u1"}, "items": vec!["ab"; 100], "text": "a".repeat(250_000)}),
        json!({"user": {"id": "u1"}, "items": vec![json!([[]]); 30_000], "text": "ab"}),
    ];
    world.publish("session.revoked").await;
    globex.publish(event("user.created")).await.expect("a receipt");
    honest.wait_for(1).await;
    let before = world.server.memory_mib();
    let (mut published, mut arrived, mut largest) = (Duration::ZERO, Duration::ZERO, before);
    let attack = async {
        let mut receipts = Vec::new();
        for _ in 0..2 {
            for payload in &payloads {
                let event = NewEvent::new("user.created", payload.to_string());
                receipts.push(world.tenant.publish(event).await.expect("a receipt"));
            }
        }
        for receipt in &receipts {
            let name = format!("event == \"{}\"", receipt.event_id());
            until_within(DEADLINE * 2, "every delivery to be over", async || {
                let open = |delivery: &v1::Delivery| !matches!(delivery.state(), State::Succeeded | State::Dead);
                match world.deliveries(&name).await.into_iter().filter(open).count() {
                    0 => Ok(()),
                    open => Err(open),
                }
            })
            .await;
        }
        receipts
    };
    let others = async {
        loop {
            let begun = Instant::now();
            let receipt = globex.publish(event("user.created")).await.expect("a receipt");
            published = published.max(begun.elapsed());
            honest.wait_for_ids(DEADLINE * 2, [receipt.event_id()]).await;
            arrived = arrived.max(begun.elapsed());
            largest = largest.max(world.server.memory_mib());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let receipts = tokio::select! {
        receipts = attack => receipts,
        () = others => Vec::new(),
    };
    println!("another tenant's calls took at most {published:?}, its deliveries {arrived:?}; {before} MiB, then {largest} MiB");
    assert!(published < PATIENCE && arrived < PATIENCE, "another tenant waited {published:?} and {arrived:?}");
    assert!(largest - before < ROOM, "{before} MiB before, {largest} MiB while it went on");
    // Each has been stopped by its bounds at least once, and nobody else.
    let mut explained = Vec::new();
    for receipt in &receipts[..payloads.len()] {
        explained.push(explain(&world, receipt).await);
    }
    for (number, filter) in filters.into_iter().enumerate() {
        let stopped = |found: &EndpointMatch| found.reason() == Reason::FilterFailed && found.detail.contains("work");
        assert!(explained.iter().any(|found| stopped(&found[&format!("filter-{number}")])), "{filter}");
    }
    for (number, template) in templates.iter().enumerate() {
        let dead = world.deliveries(&format!("endpoint == \"template-{number}\" && state == \"DEAD\"")).await;
        assert!(
            !dead.is_empty() && dead.iter().all(|delivery| delivery.last_class() == AttemptClass::Unrenderable),
            "{template:.80}"
        );
    }
    assert_eq!(world.deliveries(r#"endpoint == "plain" && state == "SUCCEEDED""#).await.len(), receipts.len() + 1);
}

/// What one node is told of filters and templates, the other goes by: filters at once, as matching reads the version of the settings in its
/// own commit, and templates within a second or so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_goes_by_changed_filters_and_templates() {
    let test = "shaping::a_second_node_goes_by_changed_filters_and_templates";
    let Some(database) = Database::postgres(test).await else { return };
    let world = World::on(&database).await;
    let second = world.server.join().await;
    let other = client(&second, second.key()).tenant("acme");
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let mut receipt = other.publish(event("user.created")).await.expect("a receipt");
    receiver.wait_for(1).await;
    for (filter, made) in [("false", 0), ("true", 1), (r#"type == "user.deleted""#, 0), ("", 1)] {
        let changed = Endpoint { filter: filter.into(), ..Default::default() };
        change(&world, "siem", &["filter"], changed).await.expect("the endpoint");
        receipt = other.publish(event("user.created")).await.expect("a receipt");
        assert_eq!(receipt.delivery_count(), made, "{filter}");
    }
    for round in 0..3 {
        change(&world, "siem", &["transform"], transform(&format!("{{\"round\": {round}}}"))).await.expect("the endpoint");
        let begun = Instant::now();
        until("the other node to use the template", async || {
            let receipt = other.publish(event("user.created")).await.expect("a receipt");
            let received = receiver.wait_for_ids(DEADLINE, [receipt.event_id()]).await;
            let body = received.iter().find(|request| request.id() == receipt.event_id()).expect("it came").json();
            if body == json!({ "round": round }) { Ok(()) } else { Err(body) }
        })
        .await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
    // A preview reads what is stored.
    change(&world, "siem", &["transform"], transform("{\"round\": 9}")).await.expect("the endpoint");
    let shown = other.preview_delivery("siem", receipt.event_id()).await.expect("a preview");
    let body: Value = serde_json::from_slice(&shown.requests[0].body).expect("JSON");
    assert_eq!(body, json!({"round": 9}));
}
