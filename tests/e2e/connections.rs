//! Peers that abuse a connection are ended by its limits, one by one, and the server keeps answering the others.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use gatepost_client::v1::{PublishEventStreamRequest, WatchDeliveriesRequest};
use gatepost_tests::{DEADLINE, Database, Receiver, Settings, World, until, until_within, world::client};
use h2::{Reason, client::SendRequest};
use http::Request;
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

use crate::metrics::get;

async fn world(limits: &[(&str, &str)]) -> (Database, World) {
    let database = Database::sqlite();
    let settings = limits.iter().fold(
        Settings::on(&database).set("GATEPOST_LOG__FILTER", "info,gatepost_server::server=debug"),
        |settings, (name, value)| settings.set(&format!("GATEPOST_LIMITS__{name}"), value),
    );
    let world = World::with(settings).await;
    (database, world)
}

/// A connection of HTTP/2, driven by a task that ends with it.
async fn open(world: &World, builder: &h2::client::Builder) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(world.server.address()).await.expect("a connection");
    let (requests, connection) = builder.handshake(stream).await.expect("a handshake");
    (requests, tokio::spawn(connection))
}

fn builder() -> h2::client::Builder {
    h2::client::Builder::new()
}

fn probe() -> Request<()> {
    Request::get("http://127.0.0.1/livez").body(()).expect("a request")
}

/// A call of a stream's RPC, and its first message.
fn call(world: &World, method: &str, message: &impl Message) -> (Request<()>, Bytes) {
    let request = Request::post(format!("http://127.0.0.1/gatepost.v1.{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {}", world.server.key()));
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.encoded_len()).expect("small").to_be_bytes());
    frame.extend_from_slice(&message.encode_to_vec());
    (request.body(()).expect("a request"), frame.into())
}

fn watch(world: &World) -> (Request<()>, Bytes) {
    call(world, "DeliveryService/WatchDeliveries", &WatchDeliveriesRequest { parent: "tenants/acme".into(), ..Default::default() })
}

async fn status(requests: &mut SendRequest<Bytes>) -> Result<http::StatusCode, h2::Error> {
    let mut ready = requests.clone().ready().await?;
    let (answer, _) = ready.send_request(probe(), true)?;
    Ok(answer.await?.status())
}

/// How long until the other end closes.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // An answer, a reset or an end: all of them close it.
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_nothing_or_half_a_greeting_is_closed() {
    let (_database, world) = world(&[]).await;
    let mut streams = Vec::new();
    for said in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut stream = TcpStream::connect(world.server.address()).await.expect("a connection");
        stream.write_all(said.as_bytes()).await.expect("it is read");
        streams.push(stream);
    }
    world.client.server_info().await.expect("others are served");
    for stream in &mut streams {
        closed(stream).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_has_so_many_connections_and_takes_nobody_elses() {
    let (_database, world) = world(&[("CONNECTIONS_PER_PEER", "20")]).await;
    let address = world.server.address();
    let dial = async || {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.2:0".parse().expect("an address")).expect("another address of this machine");
        socket.connect(address).await.expect("a connection")
    };
    let mut mine = Vec::new();
    for _ in 0..20 {
        mine.push(dial().await);
    }
    closed(&mut dial().await).await;
    let other = client(&world.server, world.server.key());
    other.server_info().await.expect("another peer is served");
    // One that ends makes room for the next.
    drop(mine.pop());
    until("room for one more", async || {
        let mut stream = dial().await;
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_ends_and_one_with_an_open_stream_does_not() {
    let (_database, world) = world(&[("CONNECTION_IDLE", "1s")]).await;
    let mut watching = world.tenant.watch().start().await.expect("a watch");
    watching.try_next().await.expect("no error").expect("a checkpoint");
    let (mut requests, connection) = open(&world, &builder()).await;
    assert_eq!(status(&mut requests).await.expect("an answer"), 200);
    let ended = tokio::time::timeout(DEADLINE, connection).await.expect("it ends").expect("no panic");
    assert!(ended.is_ok(), "in good order: {ended:?}");
    // Calls after a pause find a new connection by themselves.
    world.client.server_info().await.expect("an answer");
    let heartbeat = tokio::time::timeout(Duration::from_secs(40), watching.try_next()).await.expect("in time");
    assert!(heartbeat.expect("no error").expect("a watch does not end").checkpoint);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_takes_no_new_calls_and_finishes_its_streams() {
    let (_database, world) = world(&[("CONNECTION_AGE", "2s")]).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    let (mut requests, connection) = open(&world, &builder()).await;
    let (request, frame) = watch(&world);
    let (answer, mut body) = requests.send_request(request, false).expect("a stream");
    body.send_data(frame, true).expect("a message");
    let mut changes = answer.await.expect("an answer").into_body();
    changes.data().await.expect("a checkpoint").expect("no error");
    until("the connection to refuse", async || match status(&mut requests).await {
        Ok(status) => Err(status),
        Err(_) => Ok(()),
    })
    .await;
    let receipt = world.publish("user.created").await;
    receiver.wait_for(1).await;
    let change =
        tokio::time::timeout(DEADLINE, changes.data()).await.expect("in time").expect("the stream is open").expect("no error");
    assert!(!change.is_empty() && receipt.delivery_count() == 1);
    // A stream ends with the last that holds it.
    drop((changes, body));
    tokio::time::timeout(DEADLINE, connection).await.expect("it ends with its last stream").expect("no panic").expect("no error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_resets_ends_its_connection_alone() {
    let (_database, world) = world(&[]).await;
    let (mut requests, connection) = open(&world, &builder()).await;
    for _ in 0..20_000 {
        let Ok(mut ready) = requests.clone().ready().await else { break };
        let Ok((_, mut stream)) = ready.send_request(probe(), false) else { break };
        stream.send_reset(Reason::CANCEL);
        requests = ready;
    }
    let ended = tokio::time::timeout(DEADLINE, connection).await.expect("it ends").expect("no panic");
    // What was still being written when the server closed may hide why it did.
    let error = ended.expect_err("it is ended");
    assert!(error.reason() == Some(Reason::ENHANCE_YOUR_CALM) || error.is_io(), "{error:?}");
    world.client.server_info().await.expect("others are served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_headers_are_bounded() {
    let (_database, world) = world(&[("STREAMS_PER_CONNECTION", "3")]).await;
    let (mut requests, _connection) = open(&world, &builder()).await;
    assert_eq!(status(&mut requests).await.expect("an answer"), 200);
    assert_eq!(requests.current_max_send_streams(), 3);
    let mut big = probe();
    big.headers_mut().insert("x-big", "x".repeat(20 << 10).parse().expect("a header"));
    let (answer, _) = requests.clone().ready().await.expect("a stream").send_request(big, true).expect("it is sent");
    match tokio::time::timeout(DEADLINE, answer).await.expect("in time") {
        Ok(answer) => assert_eq!(answer.status(), 431),
        Err(error) => assert!(error.is_reset() || error.is_go_away(), "{error:?}"),
    }
    world.client.server_info().await.expect("others are served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_is_ended_alone() {
    let (_database, world) = world(&[("STALLED_STREAM", "2s")]).await;
    let receiver = Receiver::ok().await;
    world.endpoint("siem", &receiver.url(), |_| {}).await;
    // Room for the start of a first message, and more only for who reads.
    let (mut requests, connection) = open(&world, builder().initial_window_size(20)).await;
    let mut streams = Vec::new();
    let publish_request = PublishEventStreamRequest::default();
    let publish = call(&world, "EventService/PublishEventStream", &publish_request);
    for ((request, frame), whole) in [(watch(&world), true), (watch(&world), true), (publish, false)] {
        requests = requests.ready().await.expect("a stream");
        let (answer, mut body) = requests.send_request(request, false).expect("a stream");
        body.send_data(frame, whole).expect("a message");
        let answer = tokio::time::timeout(DEADLINE, answer).await.expect("in time").expect("an answer");
        streams.push((answer.into_body(), body));
    }
    // A second message each, as a first one waits where nobody sees it.
    world.publish("user.created").await;
    streams[2].1.send_data(call(&world, "EventService/PublishEventStream", &publish_request).1, false).expect("a message");
    // One of the three reads.
    let (mut read, reading) = streams.remove(0);
    let (sender, mut arrived) = tokio::sync::watch::channel(0_usize);
    let reader = tokio::spawn(async move {
        while let Some(Ok(data)) = read.data().await {
            read.flow_control().release_capacity(data.len()).expect("it was received");
            sender.send_modify(|bytes| *bytes += data.len());
        }
    });
    until("the stalled watch to be gone", async || {
        let shown = get(&format!("{}/metrics", world.server.url())).await.into_body();
        if String::from_utf8_lossy(&shown).contains("gatepost_watchers 1\n") { Ok(()) } else { Err(shown) }
    })
    .await;
    // No new streams on such a connection, but what is well goes on.
    until("new streams to be refused", async || status(&mut requests).await.map_or(Ok(()), Err)).await;
    let before = *arrived.borrow_and_update();
    world.publish("user.created").await;
    let more = arrived.wait_for(|bytes| *bytes > before + 100);
    tokio::time::timeout(DEADLINE, more).await.expect("in time").expect("the reader reads on");
    assert!(!connection.is_finished());
    // Then it ends, whatever the stalled ones still hold.
    reader.abort();
    drop(reading);
    let _ = tokio::time::timeout(DEADLINE, connection).await.expect("it ends");
    // Quiet is not stalled.
    let mut quiet = world.tenant.watch().start().await.expect("a watch");
    quiet.try_next().await.expect("no error").expect("a checkpoint");
    let heartbeat = async { while !quiet.try_next().await.expect("no error").expect("a watch does not end").checkpoint {} };
    tokio::time::timeout(Duration::from_secs(40), heartbeat).await.expect("a heartbeat");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_request_never_comes_is_ended() {
    let (_database, world) = world(&[]).await;
    let (mut requests, _connection) = open(&world, &builder()).await;
    let (request, frame) = watch(&world);
    let (answer, mut body) = requests.send_request(request, false).expect("a stream");
    body.send_data(frame.slice(..3), false).expect("the start of a message");
    let answer = tokio::time::timeout(Duration::from_secs(60), answer).await.expect("in time").expect("an answer");
    assert_eq!(answer.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_no_ping_is_dropped() {
    let (_database, world) = world(&[]).await;
    let mut stream = TcpStream::connect(world.server.address()).await.expect("a connection");
    // A preface and empty SETTINGS, and never a word again.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it is read");
    let mut buffer = [0; 1024];
    until_within(Duration::from_secs(60), "the connection to be closed", async || match stream.read(&mut buffer).await {
        Ok(0) | Err(_) => Ok(()),
        Ok(read) => Err(read),
    })
    .await;
}
