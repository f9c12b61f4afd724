//! Attacks on connections: silence, floods, frames out of place, windows that never open. Others are served meanwhile.
//!
//! The database does not matter to them, so each runs on one; those that hold work of the database run on both.

use std::time::Duration;

use futures::future::join_all;
use gatepost_client::v1;
use gatepost_tests::{Database, on_both_databases, world::event};
use prost::Message;
use tokio::io::AsyncWriteExt;

use super::{
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, Peer, RST_STREAM, SETTINGS, WINDOW,
        WINDOW_UPDATE, call, frame, message,
    },
    siege::Siege,
    wire::framed,
};

const INFO: &str = "/gatepost.v1.AdminService/GetServerInfo";
const PUBLISH: &str = "/gatepost.v1.EventService/PublishEvent";
const STREAM: &str = "/gatepost.v1.EventService/PublishEventStream";
const WATCH: &str = "/gatepost.v1.DeliveryService/WatchDeliveries";

/// How long the server may keep a connection that says nothing of use.
const GREETING: Duration = Duration::from_secs(20);

on_both_databases!(watchers_that_never_read_hold_no_memory, publish_streams_that_never_read_their_answers_hold_no_memory);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_keep_nobody_out() {
    let siege = Siege::on(Database::sqlite()).await;
    siege
        .withstands(async {
            let silent = join_all((0..400).map(|_| Peer::connect(siege.address))).await;
            std::future::pending::<()>().await;
            drop(silent);
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefaces_that_come_byte_by_byte_keep_nobody_out() {
    let siege = Siege::on(Database::sqlite()).await;
    siege
        .withstands(async {
            let mut slow = join_all((0..200).map(|_| Peer::connect(siege.address))).await;
            for byte in PREFACE {
                for peer in &mut slow {
                    let _ = peer.write.write_all(&[*byte]).await;
                }
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            std::future::pending::<()>().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_send_their_headers_and_nothing_more_keep_nobody_waiting() {
    let siege = Siege::on(Database::sqlite()).await;
    siege
        .withstands(async {
            let mut peer = Peer::greeted(siege.address, &[]).await;
            let headers = call(PUBLISH, &siege.key, &[]);
            for number in 0..900 {
                let begun = frame(HEADERS, END_HEADERS, 2 * number + 1, &headers);
                let part = frame(DATA, 0, 2 * number + 1, &[0, 0, 0, 0, 100, 10]);
                let _ = peer.write.write_all(&[begun, part].concat()).await;
            }
            peer.read.until_the_end().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_limit_are_refused() {
    let siege = Siege::on(Database::sqlite()).await;
    let refused = std::sync::atomic::AtomicUsize::new(0);
    siege
        .withstands(async {
            let headers = call(WATCH, &siege.key, &[]);
            let flood = async || {
                let Peer { mut read, mut write } = Peer::greeted(siege.address, &[]).await;
                let sent = async {
                    for number in 0..3000 {
                        if write.write_all(&frame(HEADERS, END_HEADERS, 2 * number + 1, &headers)).await.is_err() {
                            break;
                        }
                    }
                };
                let read = async {
                    while let Some(came) = read.next().await {
                        if came.kind == RST_STREAM && came.payload == [0, 0, 0, 7] {
                            refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                    }
                };
                tokio::join!(sent, read);
            };
            join_all((0..4).map(|_| flood())).await;
        })
        .await;
    assert!(refused.into_inner() >= 500, "streams past the limit are REFUSED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_end_their_connection_and_no_other() {
    let siege = Siege::on(Database::sqlite()).await;
    siege
        .withstands(async {
            let headers = call(INFO, &siege.key, &[]);
            let reset = async || {
                loop {
                    let Peer { read, mut write } = Peer::greeted(siege.address, &[]).await;
                    let reading = tokio::spawn(read.until_the_end());
                    for number in 0..10_000 {
                        let begun = frame(HEADERS, END_HEADERS, 2 * number + 1, &headers);
                        let ended = frame(RST_STREAM, 0, 2 * number + 1, &8u32.to_be_bytes());
                        if write.write_all(&[begun, ended].concat()).await.is_err() {
                            break;
                        }
                    }
                    drop(write);
                    let _ = reading.await;
                }
            };
            join_all((0..4).map(|_| reset())).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_settings_pings_and_window_updates_keep_nobody_waiting() {
    let siege = Siege::on(Database::sqlite()).await;
    let floods = [
        frame(SETTINGS, 0, 0, &[]),
        frame(PING, 0, 0, b"gatepost"),
        frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()),
        frame(DATA, 0, 1, &[]),
        frame(0xbe, 0, 0, b"a kind that nobody knows"),
    ];
    siege
        .withstands(async {
            // Nothing that comes back is ever read.
            let flood = async |frames: &[u8]| {
                loop {
                    let mut peer = Peer::greeted(siege.address, &[]).await;
                    while peer.write.write_all(frames).await.is_ok() {}
                }
            };
            let floods: Vec<Vec<u8>> = floods.iter().map(|frame| frame.repeat(1000)).collect();
            join_all(floods.iter().map(|frames| flood(frames))).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_an_end_are_cut_off() {
    let siege = Siege::on(Database::sqlite()).await;
    siege
        .withstands(async {
            let flood = async |further: Vec<u8>| {
                loop {
                    let Peer { read, mut write } = Peer::greeted(siege.address, &[]).await;
                    let reading = tokio::spawn(read.until_the_end());
                    let begun = frame(HEADERS, END_STREAM, 1, &call(INFO, &siege.key, &[]));
                    let _ = write.write_all(&begun).await;
                    let mut sent = 0;
                    while write.write_all(&further).await.is_ok() {
                        sent += further.len();
                        // What the kernel takes before the end is seen is a part of it.
                        assert!(sent < 16 << 20, "nobody stops it");
                    }
                    let _ = reading.await;
                }
            };
            let value = "x".repeat(16_000);
            let large = call("/", "", &[("x-large", &value)]);
            let one = frame(CONTINUATION, 0, 1, &large[large.len() - 16_010..]);
            tokio::join!(flood(frame(CONTINUATION, 0, 1, &[]).repeat(1000)), flood(one));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_lists_of_a_mebibyte_are_refused() {
    let siege = Siege::on(Database::sqlite()).await;
    // A little too much is told so; ever more is cut off.
    siege
        .withstands(async {
            let value = "x".repeat(1 << 20);
            let block = call(INFO, &siege.key, &[("x-large", &value)]);
            let (first, rest) = block.split_at(16_000);
            let rest: Vec<&[u8]> = rest.chunks(16_000).collect();
            let ask = async || {
                loop {
                    let Peer { mut read, mut write } = Peer::greeted(siege.address, &[]).await;
                    let mut frames = frame(HEADERS, 0, 1, first);
                    for (number, part) in rest.iter().enumerate() {
                        let last = if number + 1 == rest.len() { END_HEADERS } else { 0 };
                        frames.extend(frame(CONTINUATION, last, 1, part));
                    }
                    frames.extend(message(1, END_STREAM, &v1::GetServerInfoRequest {}));
                    let answer = async {
                        while let Ok(Some(came)) = tokio::time::timeout(Duration::from_millis(300), read.next()).await {
                            assert!(came.kind != DATA, "it was answered");
                        }
                    };
                    let _ = tokio::join!(write.write_all(&frames), answer);
                }
            };
            join_all((0..8).map(|_| ask())).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_keep_no_other_waiting() {
    let siege = Siege::on(Database::sqlite()).await;
    let data = format!("{{\"user\":{{\"id\":\"u1\"}},\"a\":\"{}\"}}", "x".repeat(8 << 10));
    let large = gatepost_client::NewEvent::new("user.created", data).id("large");
    siege.world.client.tenant("globex").publish(large).await.expect("a receipt");
    siege
        .withstands(async {
            let mut peer = Peer::greeted(siege.address, &[(WINDOW, 0)]).await;
            let headers = call("/gatepost.v1.EventService/GetEvent", &siege.key, &[]);
            let request = v1::GetEventRequest { name: "tenants/globex/events/large".into() };
            for number in 0..900 {
                let asked = [frame(HEADERS, END_HEADERS, 2 * number + 1, &headers), message(2 * number + 1, END_STREAM, &request)];
                let _ = peer.write.write_all(&asked.concat()).await;
            }
            peer.read.until_the_end().await;
        })
        .await;
}

async fn watchers_that_never_read_hold_no_memory(database: Database) {
    let siege = Siege::on(database).await;
    let receiver = gatepost_tests::Receiver::ok().await;
    let globex = siege.world.client.tenant("globex");
    let endpoint = Some(v1::Endpoint { url: receiver.url(), ..Default::default() });
    let request = v1::CreateEndpointRequest { endpoint_id: "siem".into(), endpoint, ..Default::default() };
    globex.create_endpoint(request).await.expect("an endpoint");
    let (tried, taken) = (std::sync::atomic::AtomicUsize::new(0), std::sync::atomic::Ordering::Relaxed);
    siege
        .withstands(async {
            let headers = call(WATCH, &siege.key, &[]);
            let request = v1::WatchDeliveriesRequest { parent: "tenants/globex".into(), ..Default::default() };
            let mut peers = Vec::new();
            for _ in 0..4 {
                let mut peer = Peer::greeted(siege.address, &[(WINDOW, 0)]).await;
                for number in 0..25 {
                    let asked =
                        [frame(HEADERS, END_HEADERS, 2 * number + 1, &headers), message(2 * number + 1, END_STREAM, &request)];
                    peer.write.write_all(&asked.concat()).await.expect("a watch is taken");
                }
                peers.push(peer);
            }
            loop {
                let results = globex.publish_batch((0..200).map(|_| event("user.created"))).await;
                tried.fetch_add(results.iter().filter(|result| result.is_ok()).count(), taken);
            }
        })
        .await;
    let published = tried.into_inner();
    assert!(published >= 400, "the stream of events was busy: {published}");
}

async fn publish_streams_that_never_read_their_answers_hold_no_memory(database: Database) {
    let siege = Siege::on(database).await;
    siege
        .withstands(async {
            let headers = call(STREAM, &siege.key, &[]);
            let data: bytes::Bytes = format!("{{\"user\":{{\"id\":\"u1\"}},\"a\":\"{}\"}}", "x".repeat(20 << 10)).into();
            let request = v1::PublishEventRequest {
                parent: "tenants/globex".into(),
                r#type: "user.created".into(),
                data,
                ..Default::default()
            };
            let request = v1::PublishEventStreamRequest { request: Some(request) };
            // One connection a stream, whose window for answers never opens; its own window is kept to.
            let flood = async || {
                let Peer { mut read, mut write } = Peer::greeted(siege.address, &[(WINDOW, 0)]).await;
                write.write_all(&frame(HEADERS, END_HEADERS, 1, &headers)).await.expect("a stream is taken");
                let one = framed(&request.encode_to_vec());
                // The largest frame that is taken without being asked for.
                let mut parts = one.chunks(16_384).cycle();
                let (mut stream, mut connection) = (65_535_i64, 65_535_i64);
                loop {
                    while stream.min(connection) >= 16_384
                        && let Some(part) = parts.next()
                        && write.write_all(&frame(DATA, 0, 1, part)).await.is_ok()
                    {
                        let size = i64::try_from(part.len()).expect("small");
                        (stream, connection) = (stream - size, connection - size);
                    }
                    let Some(came) = read.next().await else { return };
                    let number = || i64::from(u32::from_be_bytes(came.payload[..4].try_into().expect("four bytes")));
                    match (came.kind, came.stream) {
                        (WINDOW_UPDATE, 0) => connection += number(),
                        (WINDOW_UPDATE, _) => stream += number(),
                        (SETTINGS, _) if !came.payload.is_empty() => {
                            // The server opens its window when it has seen this.
                            let _ = write.write_all(&frame(SETTINGS, ACK, 0, &[])).await;
                            for setting in came.payload.chunks_exact(6).filter(|setting| setting[..2] == WINDOW.to_be_bytes()) {
                                let size = u32::from_be_bytes(setting[2..].try_into().expect("four bytes"));
                                stream += i64::from(size) - 65_535;
                            }
                        }
                        _ => {}
                    }
                }
            };
            join_all((0..4).map(|_| flood())).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_turned_away() {
    let siege = Siege::on(Database::sqlite()).await;
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(5000));
    let garbage: [&[u8]; 18] = [
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"G\0T / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\x80: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nconnection: close\r\n\r\n",
        b"GET http://169.254.169.254/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        b"POST /gatepost.v1.AdminService/GetServerInfo HTTP/1.0\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    siege
        .withstands(async {
            for bytes in garbage {
                let shown = bytes[..bytes.len().min(60)].escape_ascii();
                let mut peer = Peer::connect(siege.address).await;
                let _ = peer.write.write_all(bytes).await;
                let answer = tokio::time::timeout(GREETING, peer.read.bytes()).await;
                let answer = answer.unwrap_or_else(|_| panic!("{shown}: the connection stays open")).unwrap_or_default();
                // HTTP/2 says why in a GOAWAY; a connection that is only closed is an answer too.
                let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.") || answer.starts_with(&[0, 0]);
                assert!(refused, "{shown}: {}", answer.escape_ascii());
                let fine = answer.starts_with(b"HTTP/1.1 200") && !shown.to_string().contains("169.254");
                assert!(!fine, "{shown}: {}", answer.escape_ascii());
            }
        })
        .await;
}
