//! What the server's process looks like from outside: its memory, and panics and defects in its log.

use std::time::Duration;

use gatepost_tests::Server;

/// What a panic and an INTERNAL leave in the log.
const DEFECTS: [&str; 4] = ["panicked", "a call failed", "the database refuses", "overflow"];

/// The least memory within two seconds, in MiB: what is freed a moment later is not kept.
pub(crate) async fn settled_mib(server: &Server) -> f64 {
    let mut least = server.memory_mib();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        least = least.min(server.memory_mib());
    }
    least
}

/// Lines of the log that tell of a defect.
pub(crate) fn defects(server: &Server) -> Vec<String> {
    server.log().into_iter().filter(|line| DEFECTS.iter().any(|defect| line.contains(defect))).collect()
}
