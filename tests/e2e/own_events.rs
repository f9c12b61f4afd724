//! What Gatepost tells of itself: events about endpoints and dead letters, each in the commit of what it tells of.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use gatepost_client::{
    Receipt, Tenant,
    v1::{
        self, AttemptClass, Delivery, Endpoint,
        delivery::State,
        endpoint::{self, DisabledReason},
        endpoint_match::Reason,
    },
};
use gatepost_tests::{Answer, DEADLINE, Database, Received, Receiver, World, on_both_databases, until, until_within, world::waits};
use serde_json::{Value, json};

on_both_databases!(
    a_disabled_endpoint_and_its_return_are_told_to_whoever_names_it,
    an_endpoint_that_is_gone_is_told,
    a_dead_letter_is_told_with_its_cause,
    endpoints_for_hooks_get_nothing_of_it,
    a_dead_letter_about_dead_letters_is_told_to_nobody,
    receivers_that_are_gone_tell_nothing_of_each_other,
    a_watch_sees_what_gatepost_tells,
    a_dead_letter_and_its_event_survive_a_crash_together,
    a_flood_of_dead_letters_stays_fast,
);

const DISABLED: &str = "webhook.endpoint_disabled";
const RECOVERED: &str = "webhook.endpoint_recovered";
const DEAD: &str = "webhook.delivery_dead_lettered";

fn names(types: &[&str]) -> impl FnOnce(&mut Endpoint) {
    let types = types.iter().map(|name| (*name).to_owned()).collect();
    move |endpoint| endpoint.event_types = types
}

/// One that ends as dead letters what it refuses with 422.
fn refusing(types: &[&str]) -> impl FnOnce(&mut Endpoint) {
    let name = names(types);
    move |endpoint| {
        name(endpoint);
        endpoint.permanent_statuses = vec![422];
    }
}

/// Every event of Gatepost's own, newest first, with its payload.
async fn told(world: &World) -> Vec<v1::Event> {
    let events: Vec<v1::Event> = world.tenant.events("").try_collect().await.expect("a list of events");
    let mut told = Vec::new();
    for event in events.into_iter().filter(|event| event.r#type.starts_with("webhook.")) {
        told.push(world.tenant.get_event(&event.name).await.expect("the event"));
    }
    told
}

/// A second tenant.
async fn globex(world: &World) -> Tenant {
    let request = v1::CreateTenantRequest { tenant_id: "globex".into(), ..Default::default() };
    world.client.create_tenant(request).await.expect("a tenant");
    world.client.tenant("globex")
}

fn data(event: &v1::Event) -> Value {
    serde_json::from_slice(&event.data).expect("JSON")
}

fn of_type<'a>(received: &'a [Received], event_type: &str) -> Vec<&'a Received> {
    received.iter().filter(|request| request.header("gatepost-event-type") == event_type).collect()
}

/// As far as the schemas of these types go: what is required is there, and each member is of its type or one of its values.
async fn assert_satisfies_its_schema(world: &World, event_type: &str, data: &Value) {
    let schema = world.tenant.get_event_type(event_type, None).await.expect("the type").schema;
    let schema: Value = serde_json::from_str(&schema).expect("a schema");
    for name in schema["required"].as_array().expect("a list") {
        assert!(data.get(name.as_str().expect("a name")).is_some(), "{event_type} without {name}: {data}");
    }
    for (name, value) in data.as_object().expect("an object") {
        let member = &schema["properties"][name];
        let holds = match member["type"].as_str() {
            Some("integer") => value.is_u64(),
            Some("string") => value.is_string(),
            _ => member["enum"].as_array().is_some_and(|values| values.contains(value)),
        };
        assert!(holds, "{event_type}: {name} is {value}, not {member}");
    }
}

async fn until_told(world: &World, count: usize) -> Vec<v1::Event> {
    until("events of Gatepost's own", async || {
        let told = told(world).await;
        if told.len() >= count { Ok(told) } else { Err(told.len()) }
    })
    .await
}

async fn a_disabled_endpoint_and_its_return_are_told_to_whoever_names_it(database: Database) {
    let world = World::on(&database).await;
    let [family, exact, all, others, itself] = [(); 5].map(|()| Receiver::ok());
    let (family, exact, all, others, itself) = (family.await, exact.await, all.await, others.await, itself.await);
    world.endpoint("family", &family.url(), names(&["webhook.*"])).await;
    world.endpoint("exact", &exact.url(), names(&[RECOVERED])).await;
    world.endpoint("all", &all.url(), |_| {}).await;
    world.endpoint("others", &others.url(), names(&["user.*", "hook.*"])).await;
    let siem = world.endpoint("siem", &itself.url(), names(&["webhook.*", "user.*"])).await;
    let disabled = world.tenant.disable_endpoint("siem").await.expect("the endpoint");
    assert_eq!(disabled.state(), endpoint::State::Disabled);
    world.tenant.disable_endpoint("siem").await.expect("as it is");
    let request = family.wait_for(1).await.remove(0);
    let body = request.json();
    let id = request.id().to_owned();
    assert_eq!(body["data"], json!({"endpoint_id": "siem", "reason": "manual"}));
    for (member, value) in [
        ("id", json!(id)),
        ("type", json!(DISABLED)),
        ("tenant", json!("acme")),
        ("subject", json!("tenant/acme")),
        ("txn", json!(id)),
        ("schema_version", json!(1)),
    ] {
        assert_eq!(body[member], value, "{body}");
    }
    assert!(id.starts_with("evt_") && request.attempt() == 1);
    assert_satisfies_its_schema(&world, DISABLED, &body["data"]).await;
    let stored = world.tenant.get_event(&id).await.expect("the event");
    assert_eq!((stored.r#type.as_str(), stored.delivery_count, data(&stored)), (DISABLED, 1, body["data"].clone()));
    let sequence = stored.sequence;
    assert_eq!(body["sequence"], format!("{sequence:020}"));
    assert!(world.publish("user.created").await.sequence() > sequence, "it has its place in the order");

    world.tenant.enable_endpoint("siem").await.expect("the endpoint");
    world.tenant.enable_endpoint("siem").await.expect("as it is");
    let received = family.wait_for(2).await;
    let body = of_type(&received, RECOVERED)[0].json();
    assert_eq!(body["data"]["endpoint_id"], "siem");
    assert_satisfies_its_schema(&world, RECOVERED, &body["data"]).await;
    exact.wait_for(1).await;
    // Holding it back and letting it go is nothing to tell of.
    world.tenant.pause_endpoint("siem").await.expect("the endpoint");
    world.tenant.resume_endpoint("siem").await.expect("the endpoint");
    // What comes later has come, and nobody else has got anything of it.
    world.delivered(&world.publish("user.deleted").await).await;
    assert_eq!(told(&world).await.len(), 2, "once for each move");
    for (name, receiver, expected) in
        [("family", &family, 2), ("exact", &exact, 1), ("all", &all, 0), ("others", &others, 0), ("siem", &itself, 0)]
    {
        let received = receiver.received();
        let own = received.iter().filter(|request| request.header("gatepost-event-type").starts_with("webhook.")).count();
        assert_eq!(own, expected, "{name}");
    }
    assert!(family.received().iter().all(|request| !request.is_signed_with(&siem.signing_secret)));
    // A tenant hears of its own alone.
    let foreign: Vec<v1::Event> = globex(&world).await.events("").try_collect().await.expect("a list");
    assert!(foreign.is_empty());
}

async fn an_endpoint_that_is_gone_is_told(database: Database) {
    let world = World::on(&database).await;
    let (watcher, gone) = (Receiver::ok().await, Receiver::answering(|_, _| Answer::status(410)).await);
    world.endpoint("watcher", &watcher.url(), names(&["webhook.*"])).await;
    world.endpoint("siem", &gone.url(), |endpoint| endpoint.max_in_flight = 20).await;
    // Several answers at once are one move.
    world.publish_many("user.created", 20).await;
    let body = watcher.wait_for(1).await[0].json();
    assert_eq!((body["type"].as_str(), &body["data"]), (Some(DISABLED), &json!({"endpoint_id": "siem", "reason": "gone"})));
    assert_satisfies_its_schema(&world, DISABLED, &body["data"]).await;
    let siem = world.tenant.get_endpoint("siem").await.expect("the endpoint");
    assert_eq!(siem.disabled_reason(), DisabledReason::Gone);
    until("what was on the wire to be over", async || {
        let stats = world.tenant.endpoint_stats("siem", None).await.expect("stats");
        if stats.in_flight_count == 0 { Ok(()) } else { Err(stats) }
    })
    .await;
    assert_eq!(told(&world).await.len(), 1);
    assert_eq!(watcher.count(), 1);
}

async fn a_dead_letter_is_told_with_its_cause(database: Database) {
    let world = World::on(&database).await;
    let watcher = Receiver::ok().await;
    let failing = Receiver::answering(|_, _| Answer::status(503)).await;
    let refused = Receiver::answering(|_, _| Answer::status(422)).await;
    world.endpoint("watcher", &watcher.url(), names(&[DEAD])).await;
    world
        .endpoint("failing", &failing.url(), |endpoint| {
            endpoint.retry_policy = waits(&[1]);
            endpoint.event_types = vec!["user.created".into()];
        })
        .await;
    world.endpoint("refused", &refused.url(), refusing(&["user.deleted"])).await;
    world
        .endpoint("template", &refused.url(), |endpoint| {
            endpoint.transform = "{{ data.nothing }}".into();
            endpoint.event_types = vec!["user.suspended".into()];
        })
        .await;
    for (event_type, endpoint_id, attempt_count, failure_class) in [
        ("user.created", "failing", 2, "server_error"),
        ("user.deleted", "refused", 1, "client_error"),
        ("user.suspended", "template", 1, "unrenderable"),
    ] {
        let receipt = world.publish(event_type).await;
        let dead = world.until(&receipt, State::Dead).await;
        let about = |request: &Received| request.json()["data"]["event_id"] == receipt.event_id();
        let received = watcher.wait_until("word of the dead letter", DEADLINE, |all| all.iter().any(about)).await;
        let body = received.iter().find(|request| about(request)).expect("it came").json();
        let expected = json!({
            "delivery_id": dead.name.rsplit('/').next(),
            "endpoint_id": endpoint_id,
            "event_id": receipt.event_id(),
            "event_type": event_type,
            "attempt_count": attempt_count,
            "failure_class": failure_class,
        });
        assert_eq!(body["data"], expected);
        assert_eq!((body["type"].as_str(), body["txn"].as_str()), (Some(DEAD), Some(receipt.event_id())), "{body}");
        assert_satisfies_its_schema(&world, DEAD, &body["data"]).await;
        let stored = world.tenant.get_event(body["id"].as_str().expect("an id")).await.expect("the event");
        assert_eq!((stored.txn.as_str(), stored.delivery_count), (receipt.event_id(), 1));
    }
    assert_eq!(told(&world).await.len(), 3);
    // Sent again by hand and dead again: that is another move.
    let dead = world.deliveries(r#"endpoint == "refused""#).await.remove(0);
    world.tenant.retry_delivery(&dead.name).await.expect("the delivery");
    let told = until_told(&world, 4).await;
    assert_eq!(
        (data(&told[0])["attempt_count"].as_i64(), data(&told[0])["delivery_id"].as_str()),
        (Some(2), dead.name.rsplit('/').next())
    );
    // One that somebody cancels is no dead letter.
    world.tenant.cancel_delivery(&dead.name).await.expect("the delivery");
    world.delivered(&world.publish("session.revoked").await).await;
    assert_eq!(until_told(&world, 4).await.len(), 4);
}

async fn endpoints_for_hooks_get_nothing_of_it(database: Database) {
    let world = World::on(&database).await;
    let (hooks, watcher) = (Receiver::ok().await, Receiver::ok().await);
    world
        .endpoint("hooks", &hooks.url(), |endpoint| {
            endpoint.hooks_only = true;
            endpoint.event_types = vec!["webhook.*".into(), "user.*".into()];
        })
        .await;
    world.endpoint("watcher", &watcher.url(), names(&["webhook.*"])).await;
    world.endpoint("idle", &watcher.url(), names(&["session.*"])).await;
    world.tenant.disable_endpoint("idle").await.expect("the endpoint");
    let own = watcher.wait_for(1).await[0].id().to_owned();
    let receipt = world.publish("user.created").await;
    assert_eq!((receipt.delivery_count(), receipt.skipped_count()), (0, 3));
    assert_eq!(world.tenant.get_event(&own).await.expect("the event").delivery_count, 1);
    let matches: Vec<v1::EndpointMatch> = world.tenant.explain_event(&own).try_collect().await.expect("an explanation");
    let found = matches.iter().find(|found| found.endpoint.ends_with("/hooks")).expect("the endpoint");
    assert_eq!((found.matched, found.reason()), (false, Reason::HooksOnly));
    assert_eq!(hooks.count(), 0);
    // But its own verification.
    assert!(world.tenant.test_endpoint("hooks").await.expect("an answer").success);
    assert_eq!(hooks.received()[0].header("gatepost-event-type"), "webhook.verification");
}

async fn a_dead_letter_about_dead_letters_is_told_to_nobody(database: Database) {
    let world = World::on(&database).await;
    let refused = Receiver::answering(|_, _| Answer::status(422)).await;
    world.endpoint("siem", &refused.url(), refusing(&["user.*"])).await;
    // Two that would tell each other for ever, and one whose template fails.
    world.endpoint("one", &refused.url(), refusing(&["webhook.*"])).await;
    world.endpoint("two", &refused.url(), refusing(&["webhook.*"])).await;
    world
        .endpoint("three", &refused.url(), |endpoint| {
            endpoint.event_types = vec!["webhook.*".into()];
            endpoint.transform = "{{ data.nothing }}".into();
        })
        .await;
    let receipts = world.publish_many("user.created", 5).await;
    let all_dead = async |count: usize| {
        until("all deliveries to be dead", async || {
            let deliveries = world.deliveries("").await;
            let dead = deliveries.iter().filter(|delivery| delivery.state() == State::Dead).count();
            if dead == count && deliveries.len() == count { Ok(()) } else { Err((dead, deliveries.len())) }
        })
        .await;
    };
    // Each of five dead letters is told to three, and ends there.
    all_dead(5 + 5 * 3).await;
    assert_eq!(told(&world).await.len(), 5);
    // Whatever was still to come would have come before this.
    world.publish("user.deleted").await;
    all_dead(6 + 6 * 3).await;
    let told = told(&world).await;
    assert!(told.len() == 6 && told.iter().all(|event| event.r#type == DEAD && data(event)["event_type"] != DEAD), "{told:?}");
    assert!(receipts.iter().all(|receipt| told.iter().any(|event| event.txn == receipt.event_id())));
}

async fn receivers_that_are_gone_tell_nothing_of_each_other(database: Database) {
    let world = World::on(&database).await;
    let gone = Receiver::answering(|_, _| Answer::status(410)).await;
    for number in 0..4 {
        world.endpoint(&format!("watcher-{number}"), &gone.url(), names(&["webhook.*"])).await;
    }
    world.endpoint("idle", &gone.url(), names(&["session.*"])).await;
    world.tenant.disable_endpoint("idle").await.expect("the endpoint");
    until("every watcher to be disabled", async || {
        let left: Vec<Endpoint> = world.tenant.endpoints(r#"state == "ACTIVE""#).try_collect().await.expect("a list");
        if left.is_empty() { Ok(()) } else { Err(left.len()) }
    })
    .await;
    // What a person did is told. What came of telling it is not, or it would be told on and on.
    let told = told(&world).await;
    assert_eq!((told.len(), data(&told[0])), (1, json!({"endpoint_id": "idle", "reason": "manual"})), "{told:?}");
}

async fn a_watch_sees_what_gatepost_tells(database: Database) {
    let world = World::on(&database).await;
    let (watcher, refused) = (Receiver::ok().await, Receiver::answering(|_, _| Answer::status(422)).await);
    world.endpoint("watcher", &watcher.url(), names(&["webhook.*"])).await;
    world.endpoint("siem", &refused.url(), refusing(&["user.*"])).await;
    let mut watch = world.tenant.watch().start().await.expect("a watch");
    let receipt = world.publish("user.created").await;
    world.until(&receipt, State::Dead).await;
    world.tenant.disable_endpoint("siem").await.expect("the endpoint");
    let mut seen: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
    let reading = async {
        // Two of its own to the end, and the dead letter.
        let ended =
            |story: &Vec<Delivery>| matches!(story.last().map(Delivery::state), Some(State::Succeeded | State::Dead | State::Held));
        while seen.len() < 3 || !seen.values().all(ended) {
            let item = watch.try_next().await.expect("no error").expect("a watch does not end");
            for delivery in item.changes.into_iter().filter_map(|change| change.delivery) {
                let story = seen.entry(delivery.name.clone()).or_default();
                story.push(delivery);
                story.sort_by_key(|delivery| delivery.revision);
                story.dedup_by_key(|delivery| delivery.revision);
            }
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("the watch shows all of it: {seen:?}"));
    let mut own = Vec::new();
    for (name, story) in seen {
        let states: Vec<State> = story.iter().map(Delivery::state).collect();
        if story[0].event == receipt.event() {
            assert_eq!(states, [State::Pending, State::Dead]);
            continue;
        }
        assert_eq!(states, [State::Pending, State::Succeeded], "{story:?}");
        assert_eq!(story[1], world.tenant.get_delivery(&name).await.expect("the delivery"));
        own.push(story[0].event_type.clone());
    }
    own.sort_unstable();
    assert_eq!(own, [DEAD, DISABLED]);
}

async fn a_dead_letter_and_its_event_survive_a_crash_together(database: Database) {
    const EVENTS: usize = 200;
    let mut world = World::on(&database).await;
    let (watcher, refused) = (Receiver::ok().await, Receiver::answering(|_, _| Answer::status(422)).await);
    world.endpoint("watcher", &watcher.url(), names(&["webhook.*"])).await;
    world
        .endpoint("siem", &refused.url(), |endpoint| {
            refusing(&["user.*"])(endpoint);
            endpoint.max_in_flight = 4;
        })
        .await;
    let receipts = world.publish_many("user.created", EVENTS).await;
    // Somewhere in the middle of the commits that tell of them.
    refused.wait_for(EVENTS / 3).await;
    world.server.kill().await;
    world.server.restart().await;
    // Neither is without the other, at any moment.
    let dead = world.deliveries(r#"endpoint == "siem" && state == "DEAD""#).await;
    let known: Vec<Value> = told(&world).await.iter().map(data).collect();
    for dead in &dead {
        let id = dead.name.rsplit('/').next().expect("an id");
        assert_eq!(known.iter().filter(|told| told["delivery_id"] == id).count(), 1, "{dead:?}");
    }
    // What was left is done, by whoever finds it left.
    until_within(DEADLINE * 3, "every dead letter, and word of it", async || {
        let dead = world.deliveries(r#"endpoint == "siem" && state == "DEAD""#).await.len();
        let told = world.deliveries(r#"endpoint == "watcher" && state == "SUCCEEDED""#).await.len();
        if (dead, told) == (EVENTS, EVENTS) { Ok(()) } else { Err((dead, told)) }
    })
    .await;
    let told = told(&world).await;
    let mut about: Vec<String> = told.iter().map(|event| data(event)["event_id"].as_str().expect("an id").to_owned()).collect();
    about.sort_unstable();
    let mut published: Vec<&str> = receipts.iter().map(Receipt::event_id).collect();
    published.sort_unstable();
    assert_eq!(about, published, "once for each");
    watcher.wait_for_ids(DEADLINE, told.iter().filter_map(|event| event.name.rsplit('/').next())).await;
}

async fn a_flood_of_dead_letters_stays_fast(database: Database) {
    const EVENTS: usize = 500;
    let world = World::on(&database).await;
    let (watcher, other) = (Receiver::ok().await, Receiver::ok().await);
    let refused = Receiver::answering(|_, _| Answer::status(422)).await;
    world.endpoint("watcher", &watcher.url(), names(&["webhook.*"])).await;
    world.endpoint("other", &other.url(), names(&["session.*"])).await;
    world
        .endpoint("siem", &refused.url(), |endpoint| {
            refusing(&["user.*"])(endpoint);
            endpoint.max_in_flight = 100;
        })
        .await;
    world.delivered(&world.publish("session.revoked").await).await;
    let begun = Instant::now();
    let receipts = world.publish_many("user.created", EVENTS).await;
    let mut slowest = Duration::ZERO;
    while watcher.count() < EVENTS {
        assert!(begun.elapsed() < DEADLINE, "{} of {EVENTS} were told of within {DEADLINE:?}", watcher.count());
        let asked = Instant::now();
        let receipt = world.publish("session.revoked").await;
        other.wait_for_ids(DEADLINE, [receipt.event_id()]).await;
        slowest = slowest.max(asked.elapsed());
    }
    let took = begun.elapsed();
    println!("{EVENTS} dead letters in {took:?}, another endpoint's event at most {slowest:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(slowest < Duration::from_secs(2), "another endpoint's event took {slowest:?}");
    let mut told: Vec<String> =
        watcher.received().iter().filter_map(|request| request.json()["txn"].as_str().map(str::to_owned)).collect();
    told.sort_unstable();
    let mut published: Vec<&str> = receipts.iter().map(Receipt::event_id).collect();
    published.sort_unstable();
    assert_eq!(told, published, "each is told of once");
    let dead = world.deliveries(r#"endpoint == "siem" && state == "DEAD""#).await;
    assert!(dead.len() == EVENTS && dead.iter().all(|dead| dead.last_class() == AttemptClass::ClientError));
}
