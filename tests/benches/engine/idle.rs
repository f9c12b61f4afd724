//! What a server costs that has nothing to do.

use std::time::Duration;

use gatepost_tests::Database;

use crate::{load::Bench, receiver::Receiver};

const ENDPOINTS: usize = 1_000;
/// Endpoints of one tenant.
const A_TENANT: usize = 100;

/// CPU of an idle server with a thousand endpoints, in percent of a core: the server's and the database's.
pub(crate) async fn idle(database: &Database, time: Duration, log: &str) -> (f64, f64) {
    let bench = Bench::start(database, Receiver::start(0).await, time, log).await;
    for number in 0..ENDPOINTS {
        let tenant = format!("idle-{}", number / A_TENANT);
        if number % A_TENANT == 0 {
            bench.make_tenant(&tenant).await;
        }
        bench.endpoint(&tenant, &format!("ep-{number}"), "user.*", &bench.receiver.url(), 10).await;
    }
    // What follows the last change of settings is not idleness.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = bench.processes.used();
    tokio::time::sleep(time).await;
    let (server, database) = bench.processes.since(&before);
    let percent = |ms: f64| ms / time.as_secs_f64() / 10.0;
    (percent(server), percent(database))
}
