//! Fifty thousand requests of a generator over every RPC: each gets a typed answer, and nothing breaks.
//!
//! `GATEPOST_HOSTILE_SEED` repeats a run; `GATEPOST_HOSTILE_REQUESTS` sets how many go to each database.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures::{StreamExt, stream};
use gatepost_client::v1;
use gatepost_tests::{Database, Receiver, Settings, World, on_both_databases, world::event};
use prost_reflect::DynamicMessage;

use super::{
    consistency,
    contract::Contract,
    pool::Pool,
    process,
    requests::{Shot, Sources},
    verdict::{Framing, Tally, judge},
    wire::{Answer, Wire, messages},
};

on_both_databases!(generated_requests_get_typed_answers_and_leave_nothing_half_written);

/// To each of the two databases.
const REQUESTS: u64 = 25_000;
/// Between two looks at what the answers told.
const ROUND: u64 = 250;
/// At once.
const CALLERS: usize = 32;
/// What memory may grow by after the first third: caches and allocators still fill a little.
const GROWTH_MIB: f64 = 48.0;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

async fn generated_requests_get_typed_answers_and_leave_nothing_half_written(database: Database) {
    let seed = number("GATEPOST_HOSTILE_SEED").unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    let requests = number("GATEPOST_HOSTILE_REQUESTS").unwrap_or(REQUESTS);
    println!("GATEPOST_HOSTILE_SEED={seed} GATEPOST_HOSTILE_REQUESTS={requests}");

    let world = World::with(Settings::on(&database)).await;
    let (target, honest) = (Receiver::ok().await, Receiver::ok().await);
    for id in ["globex", "honest"] {
        world.client.create_tenant(v1::CreateTenantRequest { tenant_id: id.into(), ..Default::default() }).await.expect("a tenant");
    }
    for (tenant, receiver) in [("acme", &target), ("globex", &target), ("honest", &honest)] {
        let endpoint = Some(v1::Endpoint { url: receiver.url(), ..Default::default() });
        let request = v1::CreateEndpointRequest { endpoint_id: "siem".into(), endpoint, ..Default::default() };
        world.client.tenant(tenant).create_endpoint(request).await.expect("an endpoint");
    }
    let rpcs = Contract::of(&world.server.url()).await.all_rpcs();
    assert!(rpcs.len() >= 37, "{}", rpcs.len());
    let root = world.server.key().to_owned();
    let bound = world.key(&["admin", "tenants:globex"]).await.key;
    let sources = Sources { rpcs, root, bound, receiver: target.url() };

    let mut pool = Pool::of(&["acme", "globex"]);
    let mut run = Run::default();
    let address = world.server.address();
    let wires: Vec<Arc<Wire>> = (0..4).map(|_| Arc::new(Wire::to(address))).collect();
    let (start, mut warm) = (Instant::now(), 0.0);
    for first in (0..requests).step_by(usize::try_from(ROUND).expect("small")) {
        if warm == 0.0 && first >= requests / 3 {
            warm = process::settled_mib(&world.server).await;
        }
        let shots: Vec<(u64, Shot)> =
            (first..requests.min(first + ROUND)).map(|number| (number, sources.shot(seed, number, &pool))).collect();
        let answers = stream::iter(&shots)
            .map(|(number, shot)| {
                let wire = Arc::clone(&wires[usize::try_from(number % 4).expect("small")]);
                async move { wire.send(&shot.sent).await }
            })
            .buffered(CALLERS)
            .collect::<Vec<Answer>>()
            .await;
        for ((number, shot), answer) in shots.iter().zip(&answers) {
            run.judge(*number, shot, answer);
            learn(&mut pool, shot, answer);
        }
    }
    let elapsed = start.elapsed();
    println!("{requests} requests in {elapsed:.1?}: {:#?}", run.tally.0);
    let end = process::settled_mib(&world.server).await;
    println!("resident after a third: {warm:.1} MiB, at the end: {end:.1} MiB; {} events were sent", target.count());

    let defects = process::defects(&world.server);
    assert!(run.failures.is_empty(), "seed {seed}\n{}\n{}", run.report(), defects.join("\n"));
    assert!(defects.is_empty(), "seed {seed}\n{}", defects.join("\n"));
    assert!(end < warm + GROWTH_MIB, "memory grows: {warm:.1} MiB, then {end:.1} MiB");
    assert!(run.tally.0.get("Ok").is_some_and(|count| *count as u64 > requests / 10), "few requests get past the checks");

    let receipt = world.client.tenant("honest").publish(event("user.created").id("honest-1")).await.expect("a receipt");
    world.delivered(&receipt).await;
    let arrived = honest.wait_for_ids(gatepost_tests::DEADLINE, ["honest-1"]).await;
    assert_eq!(arrived.len(), 1);
    consistency::check(&database, &world).await;
}

#[derive(Default)]
struct Run {
    tally: Tally,
    /// One of each kind, with how often it came.
    failures: BTreeMap<(String, String), (usize, String)>,
}

impl Run {
    fn judge(&mut self, number: u64, shot: &Shot, answer: &Answer) {
        match judge(&shot.sent.path, shot.framing, answer) {
            Ok(what) => {
                let opened = matches!(what.as_str(), "Ok" | "a stream");
                if opened && !shot.has_key && shot.path.starts_with("/gatepost.v1.") && shot.framing == Framing::Sound {
                    self.fail(number, shot, "it opens without a key");
                }
                self.tally.count(&what);
            }
            Err(why) => self.fail(number, shot, &why),
        }
    }

    fn fail(&mut self, number: u64, shot: &Shot, why: &str) {
        let cut: String = why.chars().filter(|letter| !letter.is_ascii_digit()).take(90).collect();
        let body: Vec<String> =
            shot.sent.body.iter().map(|bytes| bytes[..bytes.len().min(300)].escape_ascii().to_string()).collect();
        let shown =
            format!("request {number}: {why}\n  {:?} {} {:?}\n  {body:?}", shot.sent.method, shot.sent.path, shot.sent.headers);
        self.failures.entry((shot.path.clone(), cut)).or_insert((0, shown)).0 += 1;
    }

    fn report(&self) -> String {
        let lines = self.failures.iter().take(40).map(|((path, _), (count, shown))| format!("{count} × {path}\n  {shown}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// The names and tokens of a good answer.
fn learn(pool: &mut Pool, shot: &Shot, answer: &Answer) {
    let Answer::Grpc { body, .. } = answer else { return };
    if shot.framing != Framing::Sound || !shot.path.starts_with("/gatepost.v1.") {
        return;
    }
    for message in messages(body.clone()).into_iter().take(3) {
        if let Ok(message) = DynamicMessage::decode(shot.answer.clone(), message) {
            pool.learn(&shot.method, &message);
        }
    }
}
