//! The engine's figures on one machine: load generator, server, database and receiver share its cores.
//!
//! `cargo bench -p gatepost-tests --bench engine [-- --short] [-- --postgres | --sqlite]`. It measures the machine's own limits in the
//! same run and prints ratios to them; it judges nothing, as absolute figures move by a quarter from run to run. The server is the
//! product built in the bench's own profile, or `GATEPOST_TEST_BINARY`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use gatepost_client::{NewEvent, Tenant};
use gatepost_tests::{Database, Receiver, Settings, World};

/// Unary callers at once.
const CALLERS: usize = 256;
/// How long a phase may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(180);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let size = if has("--short") { 4_000 } else { 60_000 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        println!("cores {}", std::thread::available_parallelism().map_or(0, usize::from));
        let post = raw_posts(size).await;
        if !has("--postgres") {
            measure(Database::sqlite(), "SQLite", size, post).await;
        }
        if !has("--sqlite") {
            match Database::postgres("engine").await {
                Some(database) => measure(database, "PostgreSQL", size, post).await,
                None => println!("PostgreSQL: no server, not measured"),
            }
        }
    });
}

/// Waits until a receiver has got so many requests.
async fn arrived(receiver: &Receiver, wanted: usize) {
    let begun = Instant::now();
    while receiver.count() < wanted {
        assert!(begun.elapsed() < PATIENCE, "{} of {wanted} arrived", receiver.count());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Signed POSTs a second that this machine's loopback and the receiver take: the most that any engine could deliver.
async fn raw_posts(size: usize) -> f64 {
    let receiver = Receiver::ok().await;
    let uri: http::Uri = receiver.url().parse().expect("a URL");
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let webhook = standardwebhooks::Webhook::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    let body = bytes::Bytes::from(vec![b'x'; 300]);
    let begun = Instant::now();
    stream::iter(0..size)
        .for_each_concurrent(64, |_| {
            let signature = webhook.sign("evt_1", 1_795_597_200, &body).expect("a signature");
            let request = http::Request::post(&uri)
                .header("webhook-id", "evt_1")
                .header("webhook-signature", signature)
                .body(http_body_util::Full::new(body.clone()))
                .expect("a request");
            let sent = client.request(request);
            async {
                let answer = sent.await.expect("an answer");
                http_body_util::BodyExt::collect(answer.into_body()).await.expect("a body");
            }
        })
        .await;
    let rate = size as f64 / begun.elapsed().as_secs_f64();
    println!("limit: raw signed POST over loopback           {rate:>9.0} /s");
    rate
}

async fn measure(database: Database, name: &str, size: usize, post: f64) {
    println!("\n{name}");
    let commits = commits(&database).await;
    println!("limit: one-row commits, one connection         {commits:>9.0} /s");
    let world = World::with(Settings::on(&database).set("GATEPOST_LOG__FILTER", "warn")).await;
    let row = |what: &str, rate: f64, ratio: f64, of: &str| println!("{what:<46} {rate:>9.0} /s   {ratio:>5.2} × {of}");

    let acks = unary(&world.tenant, "user.created", size).await;
    row("acks, 256 unary callers, no endpoint", acks, acks / commits, "one-row commits");

    let receiver = Receiver::ok().await;
    world.endpoint("all", &receiver.url(), |endpoint| endpoint.max_in_flight = 64).await;
    let before = cpu(&world);
    let begun = Instant::now();
    unary(&world.tenant, "user.created", size).await;
    arrived(&receiver, size).await;
    let (elapsed, used) = (begun.elapsed().as_secs_f64(), cpu(&world) - before);
    let rate = size as f64 / elapsed;
    row("deliveries, 256 unary callers", rate, rate / post, "raw POST");
    println!("  CPU of server and database per 1,000         {:>9.1} ms", used.as_secs_f64() * 1e6 / size as f64);
    println!("  server RSS                                   {:>9.0} MiB", rss_mib(&world));

    let begun = Instant::now();
    let before = cpu(&world);
    streamed(&world.tenant, "user.created", size).await;
    arrived(&receiver, 2 * size).await;
    let rate = size as f64 / begun.elapsed().as_secs_f64();
    row("deliveries, one publish stream", rate, rate / post, "raw POST");
    println!("  CPU of server and database per 1,000         {:>9.1} ms", (cpu(&world) - before).as_secs_f64() * 1e6 / size as f64);

    latency(&world, size.min(2_000)).await;

    for number in 0..9 {
        let id = format!("fan{number}");
        world
            .endpoint(&id, &receiver.url(), |endpoint| {
                endpoint.event_types = vec!["fan.out".to_owned()];
                endpoint.max_in_flight = 64;
            })
            .await;
    }
    let events = size / 10;
    let begun = Instant::now();
    let so_far = receiver.count();
    streamed(&world.tenant, "fan.out", events).await;
    arrived(&receiver, so_far + events * 10).await;
    let rate = (events * 10) as f64 / begun.elapsed().as_secs_f64();
    row("deliveries, fan-out 1 to 10, stream", rate, rate / post, "raw POST");
}

/// Publishes `size` events from [`CALLERS`] callers; acks a second.
async fn unary(tenant: &Tenant, event_type: &str, size: usize) -> f64 {
    let begun = Instant::now();
    stream::iter(0..size)
        .for_each_concurrent(CALLERS, |_| async { drop(tenant.publish(event(event_type)).await.expect("a receipt")) })
        .await;
    size as f64 / begun.elapsed().as_secs_f64()
}

async fn streamed(tenant: &Tenant, event_type: &str, size: usize) {
    let event_type = event_type.to_owned();
    let events = stream::iter(0..size).map(move |_| event(&event_type));
    let refused = AtomicU64::new(0);
    tenant
        .publish_stream(events)
        .for_each(|result| {
            refused.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
            std::future::ready(())
        })
        .await;
    assert_eq!(refused.into_inner(), 0, "every event is accepted");
}

/// From the call of a publish to the arrival at the receiver, at 100 a second.
async fn latency(world: &World, count: usize) {
    let receiver = Receiver::ok().await;
    world.endpoint("latency", &receiver.url(), |endpoint| endpoint.event_types = vec!["late.ncy".to_owned()]).await;
    let mut begun = Vec::with_capacity(count);
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    for number in 0..count {
        pace.tick().await;
        begun.push(Instant::now());
        let event = NewEvent::new("late.ncy", r#"{"user": {"id": "usr_1"}}"#).id(format!("lat-{number}"));
        world.tenant.publish(event).await.expect("a receipt");
    }
    arrived(&receiver, count).await;
    let number = |id: &str| id.strip_prefix("lat-").and_then(|number| number.parse::<usize>().ok());
    let mut waits: Vec<Duration> = receiver
        .received()
        .iter()
        .filter_map(|request| Some(request.arrived.duration_since(*begun.get(number(request.id())?)?)))
        .collect();
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!("publish to arrival at 100/s, p50 / p99         {:>6.2} / {:.2} ms", at(0.5), at(0.99));
}

fn event(event_type: &str) -> NewEvent {
    NewEvent::new(event_type, r#"{"user": {"id": "usr_1", "email": "jane@acme.test", "given_name": "Jane"}, "source": "hr"}"#)
}

/// One-row commits a second of the database through one connection; on SQLite synced writes of a page beside its file.
async fn commits(database: &Database) -> f64 {
    let begun = Instant::now();
    let mut count = 0.0;
    if database.is_postgres() {
        use sqlx::{Connection, Executor};
        let mut connection = sqlx::PgConnection::connect(database.url()).await.expect("a connection");
        connection.execute("CREATE TABLE bench_commits (id BIGINT)").await.expect("a table");
        while begun.elapsed() < Duration::from_secs(2) {
            connection.execute("INSERT INTO bench_commits VALUES (1)").await.expect("a row");
            count += 1.0;
        }
    } else {
        use std::io::Write;
        let mut file = tempfile::tempfile().expect("a file");
        while begun.elapsed() < Duration::from_secs(2) {
            file.write_all(&[1; 4096]).expect("a write");
            file.sync_data().expect("a sync");
            count += 1.0;
        }
    }
    count / begun.elapsed().as_secs_f64()
}

/// CPU time so far of the server and of PostgreSQL's processes.
fn cpu(world: &World) -> Duration {
    let server = world.server.pid().as_raw_nonzero().get().to_string();
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if entry.file_name().to_string_lossy() == server || name.trim() == "postgres" {
            ticks += process_ticks(&path).unwrap_or(0);
        }
    }
    // Linux counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

/// Source: proc(5), `/proc/[pid]/stat`, fields 14 and 15.
fn process_ticks(path: &std::path::Path) -> Option<u64> {
    let stat = std::fs::read_to_string(path.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn rss_mib(world: &World) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.server.pid().as_raw_nonzero())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}
