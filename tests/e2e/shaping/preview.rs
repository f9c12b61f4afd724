//! What PreviewDelivery shows is what is sent, and showing it sends nothing.

use super::*;

on_both_databases!(
    a_preview_is_byte_for_byte_what_arrives,
    a_preview_shows_settings_that_are_not_saved_and_sends_nothing,
    a_preview_needs_both_scopes_and_stays_within_its_tenant,
);

/// Headers that belong to the connection.
const OF_THE_CONNECTION: [&str; 2] = ["host", "content-length"];

/// Held against what came: every header and the body.
fn assert_shown(shown: &v1::preview_delivery_response::Request, request: &Received) {
    let mut expected: BTreeMap<String, String> = request
        .headers
        .iter()
        .filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().expect("text").to_owned()))
        .collect();
    for hidden in ["webhook-signature", "webhook-timestamp", "x-api-key", "authorization"] {
        if expected.contains_key(hidden) {
            expected.insert(hidden.to_owned(), "<hidden>".to_owned());
        }
    }
    let headers: BTreeMap<String, String> = shown.headers.clone().into_iter().collect();
    assert_eq!(headers, expected);
    assert_eq!(String::from_utf8_lossy(&shown.body), String::from_utf8_lossy(&request.body));
    assert!(shown.unencrypted_body.is_empty());
}

async fn a_preview_is_byte_for_byte_what_arrives(database: Database) {
    let settings = Settings::on(&database)
        .set("GATEPOST_PUBLIC_BASE_URL", "https://gatepost.acme.test")
        .set("GATEPOST_SCHEMA_BASE_URL", "https://schemas.acme.test");
    let world = World::with(settings).await;
    let formats = [Format::Standard, Format::CloudeventsStructured, Format::CloudeventsBinary, Format::Set, Format::LumosSiem];
    let policy = FieldPolicy {
        default_action: 0,
        rules: [("/user/email", Action::Hash), ("/user/given_name", Action::Omit), ("/secret", Action::Omit)]
            .map(|(pointer, action)| Rule { pointer: pointer.into(), action: action.into() })
            .into(),
    };
    let mut endpoints = Vec::new();
    for format in formats {
        for (kind, field_policy, template) in [
            ("plain", None, ""),
            ("policy", Some(policy.clone()), ""),
            ("template", None, r#"{"all": {{ payload }}, "said": [{{ payload | tojson | string }}] }"#),
            ("both", Some(policy.clone()), r#"{"all": {{ payload }} }"#),
        ] {
            if format == Format::Set && !template.is_empty() {
                continue;
            }
            let receiver = Receiver::ok().await;
            let id = format!("{}-{kind}", format.as_str_name().trim_start_matches("FORMAT_").to_lowercase());
            world
                .endpoint(&id, &receiver.url(), |endpoint| {
                    endpoint.format = format.into();
                    endpoint.field_policy = field_policy;
                    endpoint.transform = template.into();
                    endpoint.headers =
                        [("x-api-key".to_owned(), "canary".to_owned()), ("authorization".to_owned(), "Bearer canary".to_owned())]
                            .into();
                    if format == Format::Set {
                        endpoint.set_audience = vec!["https://rp.acme.test".into(), "https://dir.acme.test".into()];
                        endpoint.set_families = vec![SetFamily::Caep.into(), SetFamily::Risc.into(), SetFamily::Scim.into()];
                    }
                })
                .await;
            endpoints.push((id, receiver, if format == Format::Set { 3 } else { 1 }));
        }
    }
    let data = "{\"user\": {\"id\": \"usr_1\", \"email\": \"jane@acme.test\", \"given_name\": \"Zo\\u00eb \\\"Z\\\"\"}, \"secret\" : [1.10, 1e2],\n \
                \"effective_at\": \"2026-11-25T09:00:00.000Z\", \"reason\": \"involuntary\"}";
    let event = NewEvent::new("user.terminated", data).subject("person/ü 1").tag("source", "hr");
    let receipt = world.tenant.publish(event).await.expect("a receipt");
    let canary = |response: &PreviewDeliveryResponse| format!("{response:?}").contains("canary");
    for (id, receiver, parts) in &endpoints {
        let mut received = receiver.wait_for(*parts).await;
        let shown = preview(&world, id, &receipt).await;
        assert!(shown.render_error.is_empty() && shown.requests.len() == *parts && !canary(&shown), "{id}: {shown:?}");
        let numbers: Vec<i32> = shown.requests.iter().map(|request| request.part).collect();
        assert!(numbers.is_sorted() && (numbers[0] == 0 || *parts > 1), "{id}: {numbers:?}");
        for request in &shown.requests {
            let at = received.iter().position(|arrived| arrived.id() == request.headers["webhook-id"]);
            assert_shown(request, &received.remove(at.unwrap_or_else(|| panic!("{id}: {request:?}"))));
        }
        // And again: it is a function of the event and the settings.
        assert_eq!(preview(&world, id, &receipt).await, shown, "{id}");
    }
}

async fn a_preview_shows_settings_that_are_not_saved_and_sends_nothing(database: Database) {
    let world = World::on(&database).await;
    let (receiver, late) = (Receiver::ok().await, Receiver::ok().await);
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let receipt = world.publish("user.created").await;
    let delivery = world.delivered(&receipt).await.remove(0);
    let stored = world.tenant.get_endpoint("siem").await.expect("the endpoint");
    let settings = Endpoint {
        transform: r#"{"text": {{ data.user.email }} }"#.into(),
        filter: r#"data.user.id == "usr_1""#.into(),
        headers: [("x-more".to_owned(), "canary".to_owned())].into(),
        description: "not looked at".into(),
        ..Default::default()
    };
    let paths = ["transform", "filter", "headers"];
    let request = |endpoint: &Endpoint, paths: Option<&[&str]>| PreviewDeliveryRequest {
        name: "siem".into(),
        event: receipt.event_id().into(),
        endpoint: Some(endpoint.clone()),
        update_mask: paths.map(mask),
    };
    let shown = world.tenant.preview_delivery_with(request(&settings, Some(&paths))).await.expect("a preview");
    assert_eq!(shown.requests[0].body, br#"{"text": "jane@acme.test" }"#);
    assert_eq!(shown.requests[0].headers["x-more"], "<hidden>");
    // Without a mask: what is set.
    let unmasked = world.tenant.preview_delivery_with(request(&settings, None)).await.expect("a preview");
    assert_eq!(unmasked, shown);
    let elsewhere = Endpoint { filter: "false".into(), ..Default::default() };
    let skipped = world.tenant.preview_delivery_with(request(&elsewhere, None)).await.expect("a preview");
    assert!(skipped.requests.is_empty() && skipped.r#match.is_some_and(|found| found.reason() == Reason::FilterFalse));
    let wrong = Endpoint { filter: "data.".into(), transform: "{{".into(), ..Default::default() };
    let error = world.tenant.preview_delivery_with(request(&wrong, None)).await.expect_err("neither compiles");
    assert_eq!(fields(&error), ["endpoint.filter", "endpoint.transform"]);
    let error = world.tenant.preview_delivery_with(request(&wrong, Some(&["state"]))).await.expect_err("output only");
    assert_eq!(fields(&error), ["update_mask"]);
    let tokens = Endpoint { format: Format::Set.into(), ..Default::default() };
    let error = world.tenant.preview_delivery_with(request(&tokens, None)).await.expect_err("no audience and no address");
    assert_eq!(fields(&error), ["endpoint.format", "endpoint.set_audience"]);
    let read = world.tenant.get_endpoint("siem").await.expect("the endpoint");
    assert_eq!((read.etag, read.transform), (stored.etag, String::new()), "nothing is saved");

    // An endpoint that came after the event gets none of it, and is shown it all the same.
    world.endpoint("late", &late.url(), |_| {}).await;
    assert_eq!(preview(&world, "late", &receipt).await.requests[0].body, receiver.received()[0].body.as_ref());
    assert_eq!(world.deliveries("").await, std::slice::from_ref(&delivery), "nothing is made");
    assert_eq!((receiver.count(), late.count()), (1, 0), "nothing is sent");

    // Saved, they are what arrives.
    change(&world, "siem", &paths, settings).await.expect("the endpoint");
    world.tenant.retry_delivery(&delivery.name).await.expect("the delivery");
    let request = receiver.wait_for(2).await.remove(1);
    assert_eq!(request.body.as_ref(), shown.requests[0].body);
    assert_eq!(shown.requests[0].headers["content-digest"], request.header("content-digest"));
}

async fn a_preview_needs_both_scopes_and_stays_within_its_tenant(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    let foreign = globex(&world).await.publish(event("user.created")).await.expect("a receipt");
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let receipt = world.publish("user.created").await;
    for missing in ["deliveries.read", "endpoints.write"] {
        let scopes: Vec<&str> = VERBS.into_iter().filter(|verb| *verb != missing).chain(["tenants:acme"]).collect();
        let without = client(&world.server, &world.key(&scopes).await.key).tenant("acme");
        let refused = without.preview_delivery("siem", receipt.event_id()).await.expect_err(missing);
        assert!(matches!(&refused, Error::PermissionDenied { scope: Some(scope), .. } if scope == missing), "{refused:?}");
    }
    let both = world.key(&["deliveries.read", "endpoints.write", "tenants:acme"]).await.key;
    let both = client(&world.server, &both).tenant("acme");
    assert_eq!(both.preview_delivery("siem", receipt.event_id()).await.expect("a preview").requests.len(), 1);
    for tenant in [&world.tenant, &both] {
        let error = tenant.preview_delivery("siem", foreign.event()).await.expect_err("of another tenant");
        assert_eq!(fields(&error), ["event"]);
        assert!(matches!(tenant.preview_delivery("siem", "nothing").await, Err(Error::NotFound { .. })));
        assert!(matches!(tenant.preview_delivery("nothing", receipt.event_id()).await, Err(Error::NotFound { .. })));
    }
    let stranger = client(&world.server, &world.key(&["admin", "tenants:globex"]).await.key).tenant("acme");
    assert!(matches!(stranger.preview_delivery("siem", receipt.event_id()).await, Err(Error::NotFound { .. })));
}
