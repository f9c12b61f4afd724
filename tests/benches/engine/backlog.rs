//! A pile behind one paused endpoint: what it costs another endpoint, and how fast it drains.

use std::time::{Duration, Instant};

use futures::future::join_all;
use gatepost_client::NewEvent;
use gatepost_tests::Database;

use crate::{
    load::{Bench, DATA},
    pace::{self, Latency, paced},
    receiver::Receiver,
};

/// Events of a batch, and callers that send batches.
const BATCH: usize = 500;
const CALLERS: usize = 8;

/// One pile.
pub(crate) struct Pile {
    pub(crate) rows: usize,
    /// Deliveries a second after the resume.
    pub(crate) drain: f64,
    /// The server's largest memory in MiB: while the pile grew, and while it drained.
    pub(crate) memory_mib: (f64, f64),
    /// Of an endpoint of the same tenant: without the pile, beside it, and while it drains.
    pub(crate) other: [Latency; 3],
}

/// Piles up so many deliveries, and drains them.
pub(crate) async fn pile(database: &Database, rows: usize, time: Duration, log: &str) -> Pile {
    let count = pace::count(time);
    let bench = Bench::start(database, Receiver::start(3 * count).await, time, log).await;
    let pile = Receiver::start(0).await;
    bench.make_tenant("yard").await;
    bench.endpoint("yard", "pile", "user.updated", &pile.url(), 64).await;
    bench.endpoint("yard", "other", "user.created", &bench.receiver.url(), 10).await;
    let tenants = bench.tenants("yard");
    let other = |round: usize| {
        paced(&tenants, &bench.receiver, round * count..(round + 1) * count, |_| NewEvent::new("user.created", DATA))
    };
    let alone = other(0).await;
    tenants[0].pause_endpoint("pile").await.expect("a paused endpoint");
    let growing = bench.processes.watch_memory();
    let callers = (0..CALLERS).map(|caller| {
        let (tenant, batches) = (bench.tenant(caller, "yard"), rows / CALLERS / BATCH);
        tokio::spawn(async move {
            for _ in 0..batches {
                let results = tenant.publish_batch((0..BATCH).map(|_| NewEvent::new("user.updated", DATA))).await;
                results.into_iter().for_each(|result| drop(result.expect("a receipt")));
            }
            batches * BATCH
        })
    });
    let piled: usize = join_all(callers).await.into_iter().map(|count| count.expect("no panic")).sum();
    let growing = growing.largest_mib();
    let beside = other(1).await;
    assert_eq!(pile.count(), 0, "a paused endpoint gets nothing");
    let draining = bench.processes.watch_memory();
    let begun = Instant::now();
    tenants[0].resume_endpoint("pile").await.expect("a resumed endpoint");
    let (meanwhile, drain) = futures::future::join(other(2), async {
        let waiting = async {
            while pile.count() < piled as u64 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(600), waiting).await.expect("the pile drains");
        piled as f64 / begun.elapsed().as_secs_f64()
    })
    .await;
    let memory_mib = (growing, draining.largest_mib());
    Pile { rows: piled, drain, memory_mib, other: [alone, beside, meanwhile] }
}
