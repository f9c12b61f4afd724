//! What bad endpoints cost good ones: a hundred endpoints, of which ten hang, ten drip and ten fail. Ten tenants have one of each kind,
//! and seven that are well.
//!
//! The same publishes are made twice, once while all hundred are well: so the ratio is what the bad ones cost, and not the load.

use std::time::Duration;

use gatepost_client::NewEvent;
use gatepost_tests::{Answer, Database, Receiver as Bad};

use crate::{
    load::{Bench, DATA, KINDS},
    pace::{self, Latency, paced},
    receiver::Receiver,
};

const ENDPOINTS: usize = 100;
/// Of each of the three kinds.
const BAD: usize = 10;

/// Tenants: each has one endpoint for each of [`KINDS`].
const STREETS: usize = ENDPOINTS / KINDS.len();

/// Healthy endpoints beside good neighbours and beside bad ones.
pub(crate) struct Neighbours {
    pub(crate) alone: Latency,
    pub(crate) beside: Latency,
    /// The server's largest memory in MiB, in each.
    pub(crate) memory_mib: (f64, f64),
}

/// Measures both.
pub(crate) async fn neighbours(database: &Database, time: Duration, log: &str) -> Neighbours {
    let count = pace::count(time);
    let bench = Bench::start(database, Receiver::start(2 * count).await, time, log).await;
    let bad = [Bad::ok().await, Bad::ok().await, Bad::ok().await];
    // Connections, caches and plans first.
    bench.make_tenant("empty").await;
    bench.unary("empty", 0, Duration::from_secs(1)).await;
    for number in 0..STREETS {
        bench.make_tenant(&street(number)).await;
    }
    for house in 0..ENDPOINTS {
        let url = bad.get(house / BAD).map_or_else(|| bench.receiver.url(), Bad::url);
        bench.endpoint(&street(house), &format!("ep-{house}"), kind(house), &url, 10).await;
    }
    let mut latencies = Vec::new();
    let mut memory = Vec::new();
    for round in 0..2 {
        if round == 1 {
            bad[0].answer(|_, _| Answer::hang());
            bad[1].answer(|_, _| Answer::drip(Duration::from_millis(500)));
            bad[2].answer(|_, _| Answer::status(500));
        }
        let watched = bench.processes.watch_memory();
        // As many as there are healthy houses, so that each event meets the tenant of its house.
        let tenants: Vec<_> = (3 * BAD..ENDPOINTS).map(|house| bench.tenant(house, &street(house))).collect();
        let healthy =
            paced(&tenants, &bench.receiver, round * count..(round + 1) * count, |number| event(3 * BAD + number % tenants.len()));
        let others = async {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / pace::PACE);
            let mut publishes = Vec::with_capacity(count);
            for number in 0..count {
                ticks.tick().await;
                let house = number % (3 * BAD);
                let (tenant, event) = (bench.tenant(number, &street(house)), event(house));
                publishes.push(tokio::spawn(async move { tenant.publish(event).await.expect("a receipt") }));
            }
            futures::future::join_all(publishes).await;
        };
        latencies.push(futures::future::join(healthy, others).await.0);
        memory.push(watched.largest_mib());
    }
    Neighbours { alone: latencies[0], beside: latencies[1], memory_mib: (memory[0], memory[1]) }
}

fn street(house: usize) -> String {
    format!("street-{}", house % STREETS)
}

fn kind(house: usize) -> &'static str {
    KINDS[house / STREETS]
}

/// One that a single endpoint of its street wants.
fn event(house: usize) -> NewEvent {
    NewEvent::new(kind(house), DATA)
}
