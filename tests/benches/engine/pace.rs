//! Latency at a set pace: so many publishes a second, evenly spread, whether or not the ones before are answered.

use std::time::{Duration, Instant};

use futures::future::join_all;
use gatepost_client::{NewEvent, Tenant};

use crate::{load::PATIENCE, receiver::Receiver};

/// Publishes a second where latency is measured.
pub(crate) const PACE: u32 = 100;

/// From before the publish to the arrival, in ms.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.2} / {:.2} ms", self.p50, self.p99)
    }
}

/// How many publishes are made in this time.
pub(crate) fn count(time: Duration) -> usize {
    usize::try_from(u64::from(PACE) * time.as_secs()).expect("not that many")
}

/// Publishes the `numbers` at [`PACE`] and waits until each has arrived at the receiver, which must note them.
///
/// `event`: what is published under a number.
pub(crate) async fn paced(
    tenants: &[Tenant],
    receiver: &Receiver,
    numbers: std::ops::Range<usize>,
    event: impl Fn(usize) -> NewEvent,
) -> Latency {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / PACE);
    let mut publishes = Vec::with_capacity(numbers.len());
    for number in numbers.clone() {
        ticks.tick().await;
        let (tenant, event) = (tenants[number % tenants.len()].clone(), event(number).id(format!("lat-{number}")));
        publishes.push(tokio::spawn(async move {
            let begun = Instant::now();
            tenant.publish(event).await.expect("a receipt");
            begun
        }));
    }
    let begun = join_all(publishes).await.into_iter().map(|begun| begun.expect("no panic"));
    let begun: Vec<Instant> = begun.collect();
    let waiting = async {
        while !numbers.clone().all(|number| receiver.arrival(number).is_some()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("all arrive");
    let arrivals = numbers.clone().zip(begun).filter_map(|(number, begun)| {
        let arrival = receiver.arrival(number)?;
        Some(arrival.duration_since(begun).as_secs_f64() * 1000.0)
    });
    let mut latencies: Vec<f64> = arrivals.collect();
    latencies.sort_by(f64::total_cmp);
    Latency { p50: latencies[latencies.len() / 2], p99: latencies[latencies.len() * 99 / 100] }
}
