//! Looks names up with the system's resolver, each name at most once at a time.
//!
//! Called by the connector for every new connection; answers are not cached, so each connection is made to what the name means now. A
//! lookup holds a thread until the system gives up, even when nobody waits any more. Sharing it keeps an endpoint whose name servers
//! hang at one thread, whatever it has in flight and however often it is retried.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::Shared;

/// The addresses of a name, in the system's order of preference.
pub(super) type Answer = Result<Arc<[IpAddr]>, Arc<io::Error>>;

type Running = Shared<Pin<Box<dyn Future<Output = Answer> + Send>>>;
type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Looks names up.
#[derive(Clone)]
pub(super) struct Resolver {
    lookup: Arc<Lookup>,
    /// A name is here for as long as a thread is busy with it.
    running: Arc<Mutex<HashMap<String, Running>>>,
}

impl Resolver {
    /// Asks the system: its hosts file, its name servers, its rules of preference.
    pub(super) fn system() -> Self {
        Self::new(|host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }

    pub(super) fn new(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { lookup: Arc::new(lookup), running: Arc::default() }
    }

    /// The addresses of a host; an IP literal is its own address.
    pub(super) async fn resolve(&self, host: &str) -> Answer {
        match host.parse::<IpAddr>() {
            Ok(address) => Ok(Arc::from([address])),
            Err(_) => self.join_or_start(host).await,
        }
    }

    fn join_or_start(&self, host: &str) -> Running {
        let mut running = self.lock();
        if let Some(lookup) = running.get(host) {
            return lookup.clone();
        }
        let (resolver, name) = (self.clone(), host.to_owned());
        let thread = tokio::task::spawn_blocking(move || {
            let answer = (resolver.lookup)(&name);
            // From here on the answer is old: whoever asks next starts anew.
            resolver.lock().remove(&name);
            answer
        });
        let answer = async { thread.await.unwrap_or_else(|lost| Err(io::Error::other(lost))).map(Arc::from).map_err(Arc::new) };
        let lookup = answer.boxed().shared();
        running.insert(host.to_owned(), lookup.clone());
        lookup
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        // The map is whole at every moment, so a panic elsewhere does not spoil it.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_name_that_hangs_holds_one_thread_whoever_waits_or_leaves() {
        let calls = Arc::new(AtomicUsize::new(0));
        let (release, gate) = mpsc::channel::<()>();
        let (counter, gate) = (Arc::clone(&calls), Mutex::new(gate));
        let resolver = Resolver::new(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            gate.lock().unwrap().recv().unwrap();
            Ok(vec![IpAddr::from([192, 0, 2, 1])])
        });
        for _ in 0..5 {
            // Asks once and leaves, as an attempt that times out does.
            assert!(resolver.resolve("slow.acme.test").now_or_never().is_none());
        }
        let waiting = futures::future::join_all((0..5).map(|_| resolver.resolve("slow.acme.test")));
        release.send(()).unwrap();
        assert!(waiting.await.into_iter().all(|answer| *answer.unwrap() == [IpAddr::from([192, 0, 2, 1])]));
        assert_eq!(calls.load(Ordering::SeqCst), 1);

        release.send(()).unwrap();
        resolver.resolve("slow.acme.test").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2, "an answer is not kept");
    }

    #[tokio::test]
    async fn a_literal_needs_no_lookup() {
        let resolver = Resolver::new(|_| Err(io::ErrorKind::Unsupported.into()));
        assert_eq!(*resolver.resolve("2001:db8::1").await.unwrap(), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
        assert_eq!(resolver.resolve("acme.test").await.unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
