//! Whether a database that has grown is slower: deliveries a second at the start, and after millions of events.

use std::time::Duration;

use gatepost_tests::Database;

use crate::{
    load::{Bench, KINDS},
    receiver::Receiver,
};

/// Deliveries a second at no and at many stored events.
pub(crate) struct Growth {
    pub(crate) events: u64,
    pub(crate) before: f64,
    pub(crate) after: f64,
}

/// Measures, stores events until there are `events` of them, and measures again.
pub(crate) async fn growth(database: &Database, events: u64, time: Duration, log: &str) -> Growth {
    let bench = Bench::start(database, Receiver::start(0).await, time, log).await;
    bench.make_tenant("grown").await;
    for (number, kind) in KINDS.into_iter().enumerate() {
        bench.endpoint("grown", &format!("ep-{number}"), kind, &bench.receiver.url(), 64).await;
    }
    bench.batches("grown", 1, Duration::from_secs(1)).await;
    let before = bench.batches("grown", 1, time).await.per_second;
    while bench.receiver.count() < events {
        bench.batches("grown", 1, Duration::from_secs(10)).await;
    }
    let after = bench.batches("grown", 1, time).await.per_second;
    Growth { events: bench.receiver.count(), before, after }
}
