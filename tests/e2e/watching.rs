//! A watch shows every change of a tenant's deliveries, across broken connections, restarts and crashes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use futures::{TryStreamExt, future::join_all};
use gatepost_client::{
    Code, Error, NotDelivered, Watch,
    v1::{CreateTenantRequest, Delivery, WatchDeliveriesRequest, delivery::State},
};
use gatepost_tests::{
    Answer, DEADLINE, Database, Receiver, World, on_both_databases, until,
    world::{event, waits},
};

on_both_databases!(
    a_watch_from_now_sees_deliveries_come_and_succeed,
    a_filter_shows_what_it_names_and_nothing_else,
    a_watch_can_begin_in_the_past,
    a_token_goes_on_where_a_watch_was_left,
    a_watcher_that_resumes_sees_every_change_across_restarts_and_crashes,
    a_token_that_is_not_of_this_watch_is_refused,
    a_silent_watch_gets_heartbeats,
    a_watch_ends_with_unavailable_when_the_server_stops,
    a_receipt_waits_until_its_event_is_delivered,
);

async fn a_watch_from_now_sees_deliveries_come_and_succeed(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|number, _| Answer::status(if number == 1 { 500 } else { 200 })).await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.retry_policy = waits(&[1])).await;
    world.delivered(&world.publish("user.created").await).await;

    let mut watch = world.tenant.watch().start().await.expect("a watch");
    let first = watch.try_next().await.expect("no error").expect("a first message");
    assert!(first.checkpoint && first.changes.is_empty() && !first.resume_token.is_empty(), "{first:?}");
    let receipt = world.publish("user.terminated").await;
    let seen = read_until(&mut watch, |seen| seen.iter().any(|delivery| delivery.state() == State::Succeeded)).await;
    let mut seen: Vec<_> = seen.into_iter().filter(|delivery| delivery.event == receipt.event()).collect();
    seen.sort_by_key(|delivery| delivery.revision);
    seen.dedup_by_key(|delivery| delivery.revision);
    let story: Vec<_> = seen.iter().map(|delivery| (delivery.state(), delivery.attempt_count, delivery.last_status)).collect();
    assert_eq!(story, [(State::Pending, 0, 0), (State::Retrying, 1, 500), (State::Succeeded, 2, 200)]);
    assert!(seen[1].next_attempt_time.is_some() && seen[2].next_attempt_time.is_none());
    // A change is the delivery as a read would have shown it.
    assert_eq!(seen[2], world.delivery(&receipt).await);
}

async fn a_filter_shows_what_it_names_and_nothing_else(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|_, request| {
        Answer::status(if request.header("gatepost-event-type") == "user.deleted" { 404 } else { 200 })
    })
    .await;
    for id in ["siem", "hr"] {
        world
            .endpoint(id, &receiver.url(), |endpoint| {
                endpoint.retry_policy = waits(&[]);
                endpoint.permanent_statuses = vec![404];
            })
            .await;
    }
    let id = format!("evt-{}", uuid::Uuid::new_v4());
    type Holds = Box<dyn Fn(&Delivery) -> bool>;
    let event_name = format!("tenants/acme/events/{id}");
    let cases: [(String, Holds, usize); 7] = [
        (r#"endpoint == "siem""#.into(), Box::new(|delivery| delivery.endpoint.ends_with("/siem")), 6),
        (r#"endpoint == "tenants/acme/endpoints/siem""#.into(), Box::new(|delivery| delivery.endpoint.ends_with("/siem")), 6),
        (r#"state == "DEAD""#.into(), Box::new(|delivery| delivery.state() == State::Dead), 2),
        (
            r#"state in ["SUCCEEDED", "DEAD"] && endpoint == "hr""#.into(),
            Box::new(|delivery| delivery.state() != State::Pending && delivery.endpoint.ends_with("/hr")),
            3,
        ),
        (r#"event_type == "user.created""#.into(), Box::new(|delivery| delivery.event_type == "user.created"), 4),
        (r#"event_type != "user.created""#.into(), Box::new(|delivery| delivery.event_type != "user.created"), 8),
        (format!(r#"event == "{id}""#), Box::new(move |delivery| delivery.event == event_name), 4),
    ];
    let mut watches = Vec::new();
    for (filter, holds, count) in cases {
        watches.push((world.tenant.watch().filter(&filter).start().await.expect("a watch"), filter, holds, count));
    }
    world.tenant.publish(event("user.updated").id(&id)).await.expect("a receipt");
    for event_type in ["user.created", "user.deleted"] {
        world.publish(event_type).await;
    }
    for (mut watch, filter, holds, count) in watches {
        let seen = read_until(&mut watch, |seen| changes(seen).len() >= count).await;
        assert_eq!(changes(&seen).len(), count, "{filter}");
        assert!(seen.iter().all(holds), "{filter}: {seen:?}");
    }
    for filter in ["state", r#"status == "DEAD""#, r#"state == "LOST""#, r#"state == "DEAD" || true"#, r#"state == "HELD""#] {
        let refused = world.tenant.watch().filter(filter).start().await.expect_err(filter);
        assert!(
            matches!(&refused, Error::InvalidArgument { violations, .. } if violations[0].field == "filter"),
            "{filter}: {refused:?}"
        );
    }
}

async fn a_watch_can_begin_in_the_past(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let now = async || {
        let time = world.client.server_info().await.expect("facts").now_time.expect("a time");
        SystemTime::try_from(time).expect("after 1970")
    };
    let start = now().await;
    let before = world.publish("user.created").await;
    world.delivered(&before).await;
    let middle = now().await + Duration::from_millis(1);
    until("the database's clock to move on", async || {
        let time = now().await;
        if time > middle { Ok(()) } else { Err(time) }
    })
    .await;
    let after = world.publish("user.updated").await;
    world.delivered(&after).await;

    let two = |seen: &[Delivery], event: &str| changes(seen).keys().filter(|(name, _)| name.as_str() == event).count() == 2;
    let mut watch = world.tenant.watch().since(start).start().await.expect("a watch");
    read_until(&mut watch, |seen| two(seen, before.event()) && two(seen, after.event())).await;
    let mut watch = world.tenant.watch().since(middle).start().await.expect("a watch");
    let seen = read_until(&mut watch, |seen| two(seen, after.event())).await;
    assert!(seen.iter().all(|delivery| delivery.event == after.event()), "{seen:?}");
}

async fn a_token_goes_on_where_a_watch_was_left(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.max_in_flight = 50).await;
    let mut watch = world.tenant.watch().start().await.expect("a watch");
    let mut seen = Vec::new();
    let mut published = 0;
    // Each round leaves the watch in the middle of what was published in it.
    for _ in 0..5 {
        published += world.publish_many("user.updated", 100).await.len();
        let enough = seen.len() + 60;
        read_on(&mut watch, &mut seen, |seen| seen.len() >= enough).await;
        let token = watch.token().to_owned();
        drop(watch);
        watch = world.tenant.watch().resume(token).start().await.expect("a watch");
    }
    read_on(&mut watch, &mut seen, |seen| succeeded(seen) == published).await;
    assert_complete(&seen, published);
}

async fn a_watcher_that_resumes_sees_every_change_across_restarts_and_crashes(database: Database) {
    const EVENTS: usize = 500;
    let mut world = World::on(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(200).after(Duration::from_millis(2))).await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let watch = world.tenant.watch().start().await.expect("a watch");
    let (sender, mut news) = tokio::sync::mpsc::unbounded_channel();
    let watching = tokio::spawn(async move {
        let mut watch = watch;
        while let Some(item) = watch.try_next().await? {
            let changes: Vec<Delivery> = item.changes.into_iter().filter_map(|change| change.delivery).collect();
            if sender.send(changes).is_err() {
                break;
            }
        }
        Ok::<(), Error>(())
    });

    let mut receipts = world.publish_many("user.created", EVENTS).await;
    world.server.stop().await;
    world.server.restart().await;
    receipts.extend(world.publish_many("user.updated", EVENTS).await);
    // Right after the answers: most of it is not delivered yet.
    world.server.kill().await;
    world.server.restart().await;
    receipts.extend(world.publish_many("user.updated", EVENTS).await);
    world.server.kill().await;
    world.server.restart().await;
    receipts.extend(world.publish_many("user.deleted", EVENTS).await);

    let mut seen = Vec::new();
    let reading = async {
        while succeeded(&seen) < receipts.len() {
            seen.extend(news.recv().await.expect("the watch goes on"));
        }
    };
    // A crashed node's deliveries are taken over when its beat has stood still for 15 s.
    let in_time = tokio::time::timeout(Duration::from_secs(90), reading).await.is_ok();
    let finished = changes(&seen).keys().map(|(event, _)| event.clone()).collect::<BTreeSet<_>>().len();
    assert!(in_time, "{} of {} are seen to succeed, {finished} at all", succeeded(&seen), receipts.len());
    assert_complete(&seen, receipts.len());
    let events: BTreeSet<&str> = seen.iter().map(|delivery| delivery.event.as_str()).collect();
    assert!(receipts.iter().all(|receipt| events.contains(receipt.event())));
    drop(news);
    world.publish("user.created").await;
    watching.await.expect("no panic").expect("the watch never failed");
}

async fn a_token_that_is_not_of_this_watch_is_refused(database: Database) {
    let world = World::on(&database).await;
    let request = CreateTenantRequest { tenant_id: "globex".into(), ..Default::default() };
    world.client.create_tenant(request).await.expect("a tenant");
    let dead = r#"state == "DEAD""#;
    let token = world.tenant.watch().filter(dead).start().await.expect("a watch").token().to_owned();
    let _ = world.tenant.watch().filter(dead).resume(&token).start().await.expect("its own token is good");
    let mut changed = token.clone().into_bytes();
    changed[token.len() / 2] = if changed[token.len() / 2] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("ASCII");
    let globex = world.client.tenant("globex");
    for (what, watch) in [
        ("another filter", world.tenant.watch().resume(&token)),
        ("another tenant", globex.watch().filter(dead).resume(&token)),
        ("a changed one", world.tenant.watch().filter(dead).resume(changed)),
        ("a shorter one", world.tenant.watch().filter(dead).resume(&token[..token.len() - 4])),
        ("a longer one", world.tenant.watch().filter(dead).resume(format!("{token}AAAA"))),
        ("nonsense", world.tenant.watch().filter(dead).resume("nonsense")),
        ("too much", world.tenant.watch().filter(dead).resume("A".repeat(100_000))),
    ] {
        let refused = watch.start().await.expect_err(what);
        let Error::InvalidArgument { violations, .. } = &refused else { panic!("{what}: {refused:?}") };
        assert_eq!(violations[0].field, "resume_token", "{what}");
    }
}

async fn a_silent_watch_gets_heartbeats(database: Database) {
    let world = World::on(&database).await;
    let mut watch = world.tenant.watch().start().await.expect("a watch");
    watch.try_next().await.expect("no error").expect("a first message");
    let heartbeat = tokio::time::timeout(Duration::from_secs(20), watch.try_next()).await;
    let heartbeat = heartbeat.expect("at least every 15 s").expect("no error").expect("a heartbeat");
    assert!(heartbeat.checkpoint && heartbeat.changes.is_empty(), "{heartbeat:?}");
    let token = heartbeat.resume_token;
    assert!(!token.is_empty());
    let _ = world.tenant.watch().resume(token).start().await.expect("the token of a heartbeat is good");
}

async fn a_watch_ends_with_unavailable_when_the_server_stops(database: Database) {
    let mut world = World::on(&database).await;
    let request = WatchDeliveriesRequest { parent: world.tenant.name().into(), ..Default::default() };
    let mut messages = world.client.delivery_service().watch_deliveries(request).await.expect("a watch").into_inner();
    let first = messages.message().await.expect("no error").expect("a first message");
    let ending = tokio::spawn(async move {
        loop {
            match messages.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => return Some(Error::from(status)),
            }
        }
    });
    assert!(world.server.stop().await.success());
    let ended = ending.await.expect("no panic").expect("a status at the end");
    assert_eq!((ended.code(), ended.reason()), (Code::Unavailable, Some("SHUTTING_DOWN")), "{ended:?}");
    world.server.restart().await;
    let _ = world.tenant.watch().resume(first.resume_token).start().await.expect("its token is good at the next server");
}

async fn a_receipt_waits_until_its_event_is_delivered(database: Database) {
    let world = World::on(&database).await;
    let receiver = Receiver::answering(|number, request| match request.id() {
        "slow" => Answer::status(200).after(Duration::from_millis(700)),
        "dead" => Answer::status(404),
        "later" if number < 10 => Answer::status(500),
        _ => Answer::status(200),
    })
    .await;
    for id in ["one", "two"] {
        world
            .endpoint(id, &receiver.url(), |endpoint| {
                endpoint.event_types = vec!["user.*".into()];
                endpoint.permanent_statuses = vec![404];
                endpoint.retry_policy = waits(&[600]);
            })
            .await;
    }
    let publish = async |id: &str| world.tenant.publish(event("user.created").id(id)).await.expect("a receipt");
    let receipts = [publish("slow").await, publish("fast").await];
    for delivered in join_all(receipts.iter().map(|receipt| receipt.delivered(DEADLINE))).await {
        let delivered = delivered.expect("both arrive");
        assert_eq!(delivered.len(), 2);
        assert!(delivered.iter().all(|delivery| delivery.state() == State::Succeeded));
    }
    let failed = publish("dead").await.delivered(DEADLINE).await.expect_err("a dead letter");
    assert!(matches!(failed, NotDelivered::Failed { .. }), "{failed:?}");
    let late = publish("later").await.delivered(Duration::from_millis(1500)).await.expect_err("it waits");
    assert!(matches!(&late, NotDelivered::Timeout { deliveries } if deliveries.len() == 2), "{late:?}");
    let nobodys = world.publish("session.revoked").await;
    assert!(nobodys.delivered(DEADLINE).await.expect("none").is_empty());
}

/// Reads until `enough` says so of the changes that were read, and returns them.
async fn read_until(watch: &mut Watch, enough: impl FnMut(&[Delivery]) -> bool) -> Vec<Delivery> {
    let mut seen = Vec::new();
    read_on(watch, &mut seen, enough).await;
    seen
}

/// The same after what was read before.
async fn read_on(watch: &mut Watch, seen: &mut Vec<Delivery>, mut enough: impl FnMut(&[Delivery]) -> bool) {
    let reading = async {
        while !enough(seen) {
            let item = watch.try_next().await.expect("no error").expect("a watch does not end");
            seen.extend(item.changes.into_iter().filter_map(|change| change.delivery));
        }
    };
    let in_time = tokio::time::timeout(DEADLINE, reading).await.is_ok();
    assert!(in_time, "waited {DEADLINE:?} for changes; seen: {} of {} deliveries", seen.len(), changes(seen).len());
}

/// The distinct changes: event and endpoint with revision.
fn changes(seen: &[Delivery]) -> BTreeMap<(String, (String, i32)), State> {
    let key = |delivery: &Delivery| (delivery.event.clone(), (delivery.endpoint.clone(), delivery.revision));
    seen.iter().map(|delivery| (key(delivery), delivery.state())).collect()
}

/// How many deliveries were seen to succeed.
fn succeeded(seen: &[Delivery]) -> usize {
    let done = seen.iter().filter(|delivery| delivery.state() == State::Succeeded);
    done.map(|delivery| delivery.name.as_str()).collect::<BTreeSet<_>>().len()
}

/// Every delivery was seen in each of its revisions, up to its end.
fn assert_complete(seen: &[Delivery], count: usize) {
    let mut revisions = BTreeMap::<&str, BTreeSet<i32>>::new();
    for delivery in seen {
        revisions.entry(&delivery.name).or_default().insert(delivery.revision);
    }
    assert_eq!(revisions.len(), count);
    for (name, revisions) in revisions {
        let first = revisions.first().copied().unwrap_or_default();
        let whole = revisions.iter().zip(first..).all(|(revision, expected)| *revision == expected);
        let begins =
            seen.iter().any(|delivery| delivery.name == name && delivery.revision == first && delivery.state() == State::Pending);
        assert!(whole && begins && revisions.len() >= 2, "{name} was seen in {revisions:?}");
    }
}
