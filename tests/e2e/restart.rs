//! Stops, restarts and several nodes in good order; `trials/` has what happens in bad order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt, future::join_all, stream};
use gatepost_client::v1::delivery::State;
use gatepost_tests::{
    Answer, DEADLINE, Database, Receiver, Settings, World, on_both_databases,
    world::{client, event, seconds},
};

on_both_databases!(a_stopping_server_is_held_by_nothing, a_stop_finishes_what_is_on_the_wire,);

async fn a_stopping_server_is_held_by_nothing(database: Database) {
    let mut world = World::with(Settings::on(&database).set("GATEPOST_SHUTDOWN_GRACE", "2s")).await;
    let receiver = Receiver::answering(|_, _| Answer::hang()).await;
    world.endpoint("siem", &receiver.url(), |endpoint| endpoint.attempt_timeout = seconds(60)).await;
    let receipt = world.publish("user.terminated").await;
    receiver.wait_for(1).await;
    // An open watch that nobody reads, a publish stream without an end, a connection that says nothing.
    let watch = world.tenant.watch().start().await.expect("a watch");
    let mut endless = world.tenant.publish_stream(stream::iter([event("user.created")]).chain(stream::pending()));
    endless.next().await.expect("an answer").expect("a receipt");
    let address = world.server.url().trim_start_matches("http://").to_owned();
    let silent = tokio::net::TcpStream::connect(&address).await.expect("a connection");
    let begun = Instant::now();
    let status = world.server.stop().await;
    assert!(status.success(), "{status:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?} with a grace of 2 s", begun.elapsed());
    drop((watch, silent, endless));

    // What was aborted is sent again.
    receiver.answer(|_, _| Answer::status(200));
    world.server.restart().await;
    let delivery = world.until(&receipt, State::Succeeded).await;
    assert_eq!(delivery.attempt_count, 1, "an aborted attempt has no outcome: {delivery:?}");
}

async fn a_stop_finishes_what_is_on_the_wire(database: Database) {
    let mut world = World::on(&database).await;
    let receiver = Receiver::answering(|_, _| Answer::status(200).after(Duration::from_millis(800))).await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let receipts = world.publish_many("user.updated", 30).await;
    receiver.wait_for(10).await;
    let begun = Instant::now();
    assert!(world.server.stop().await.success());
    assert!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    let sent = receiver.count();
    assert!(sent < 30, "a stopping server begins nothing new");
    receiver.answer(|_, _| Answer::status(200));
    world.server.restart().await;
    for receipt in &receipts {
        world.until(receipt, State::Succeeded).await;
    }
    assert_eq!(receiver.count(), 30, "what was on the wire was recorded, and the rest handed on at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_one_sqlite_file_says_why_it_does_not_start() {
    let database = Database::sqlite();
    let world = World::on(&database).await;
    let output = world.server.settings().clone().set("GATEPOST_LISTEN", "127.0.0.1:0").command(&["serve"]).output();
    let output = tokio::time::timeout(DEADLINE, output).await.expect("it ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("another process"), "{said}");
    assert!(said.contains("gatepost.db"), "it says which file: {said}");
    world.publish("user.created").await;
}

/// Two nodes tell each other's watchers everything, and one's settings reach the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_on_one_database_act_as_one() {
    let test = "restart::nodes_on_one_database_act_as_one";
    let Some(database) = Database::postgres(test).await else { return };
    let world = World::on(&database).await;
    let second = world.server.join().await;
    let other = client(&second, second.key()).tenant("acme");
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let mut watch = other.watch().start().await.expect("a watch");
    let receipt = world.publish("user.created").await;
    let seen = async {
        loop {
            let item = watch.try_next().await.expect("no error").expect("a watch does not end");
            let mut changes = item.changes.into_iter().filter_map(|change| change.delivery);
            if changes.any(|delivery| delivery.event == receipt.event() && delivery.state() == State::Succeeded) {
                break;
            }
        }
    };
    tokio::time::timeout(DEADLINE, seen).await.expect("a watch at one node sees what another does");
    // The same id at both nodes at once is one event.
    for round in 0..20 {
        let publish = [&world.tenant, &other].map(|tenant| tenant.publish(event("user.updated").id(format!("both-{round}"))));
        let duplicates = join_all(publish).await.into_iter().filter(|result| result.as_ref().expect("a receipt").duplicate());
        assert_eq!(duplicates.count(), 1);
    }
    other.pause_endpoint("siem").await.expect("the endpoint");
    let world = Arc::new(world);
    let held = gatepost_tests::until("a pause to reach the other node", async || {
        let receipt = world.publish("user.updated").await;
        let delivery = world.delivery(&receipt).await;
        if delivery.state() == State::Held { Ok(receipt) } else { Err(delivery) }
    })
    .await;
    other.resume_endpoint("siem").await.expect("the endpoint");
    world.until(&held, State::Succeeded).await;
}
