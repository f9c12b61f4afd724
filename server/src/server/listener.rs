//! The listening socket: accepts, bounds how many connections there are and how many one peer has, and does TLS.
//!
//! Each connection is a task of its own, and a drain tells each to finish: an open stream or an idle connection cannot hold the process,
//! as the group's deadline drops what is left. A peer that is refused costs an accept, and a handshake that does not come a bounded wait.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::connection::{GREETING, Limits, converse};
use super::tls::Tls;
use crate::domain::peer::Peer;
use crate::tasks::{OnEnd, Supervisor};

/// Connections at once; past it new ones wait in the kernel's queue.
const CONNECTIONS: usize = 10_000;

/// Accepts connections until the group stops.
pub(super) async fn accept(listener: TcpListener, tls: Option<Tls>, router: axum::Router, limits: Limits, connections: Supervisor) {
    let stop = connections.stop_token();
    let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    let peers = Peers::default();
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of files, mostly: others must end first.
                    tracing::warn!(error = &error as &dyn std::error::Error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Some(seat) = peers.seat(Peer::of(peer.ip()), limits.per_peer) else {
            tracing::debug!(%peer, "connection refused: its peer has as many as it may");
            continue;
        };
        // Small frames matter here: answers must not wait for more to send.
        let _ = stream.set_nodelay(true);
        let (router, tls, stop, tasks) = (router.clone(), tls.clone(), connections.stop_token(), connections.clone());
        connections.spawn("connection", OnEnd::Ignore, async move {
            let _taken = (slot, seat);
            serve(stream, peer, tls, router, limits, tasks, stop).await;
        });
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    router: axum::Router,
    limits: Limits,
    tasks: Supervisor,
    stop: CancellationToken,
) {
    let Some(tls) = tls else {
        return converse(stream, peer, router, limits, tasks, stop).await;
    };
    let handshake = tokio::time::timeout(GREETING, tls.acceptor().accept(stream));
    let shaken = tokio::select! {
        shaken = handshake => shaken,
        // Nothing was begun, so a drain need not wait for it.
        () = stop.cancelled() => return,
    };
    match shaken {
        Ok(Ok(stream)) => converse(stream, peer, router, limits, tasks, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, error = &error as &dyn std::error::Error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

/// How many connections each peer has.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<HashMap<Peer, usize>>>);

/// One connection of a peer, until it is dropped.
struct Seat {
    peers: Peers,
    peer: Peer,
}

impl Peers {
    /// `None`: the peer has `limit` of them.
    fn seat(&self, peer: Peer, limit: usize) -> Option<Seat> {
        let mut open = self.open();
        let taken = open.get(&peer).copied().unwrap_or(0);
        if taken >= limit {
            return None;
        }
        open.insert(peer, taken + 1);
        Some(Seat { peers: self.clone(), peer })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Peer, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.peers.open();
        match open.get_mut(&self.peer) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => drop(open.remove(&self.peer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_own_limit_and_one_that_left_costs_nothing() {
        let (peers, peer) = (Peers::default(), |text: &str| Peer::of(text.parse().unwrap()));
        let first = peers.seat(peer("2001:db8::1"), 2).unwrap();
        let _second = peers.seat(peer("2001:db8::2"), 2).unwrap();
        assert!(peers.seat(peer("2001:db8::3"), 2).is_none());
        let other = peers.seat(peer("192.0.2.1"), 2).unwrap();
        drop(first);
        let _third = peers.seat(peer("2001:db8::3"), 2).unwrap();
        drop(other);
        assert_eq!(peers.open().len(), 1);
    }
}
