//! How the two tasks that write take their work: whatever has gathered, until they are told to stop, and then the rest.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Puts what waits into `into`, up to `limit`. With `stop` the queue refuses what comes from then on; what was handed over before is
/// still taken. False: there is nothing left and nothing will come.
pub(super) async fn gather<T>(queue: &mut mpsc::Receiver<T>, into: &mut Vec<T>, limit: usize, stop: &CancellationToken) -> bool {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled(), if !queue.is_closed() => queue.close(),
            got = queue.recv_many(into, limit) => return got > 0,
        }
    }
}
