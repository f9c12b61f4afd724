//! Publishers that go on through everything, in all three ways to publish, and a ledger of what they were answered.
//!
//! They repeat nothing by themselves where `Manner::Blunt` says so: a failure is written down as it came, and the event counts as one
//! that may or may not exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use gatepost_client::{Client, Error, Receipt, RetryPolicy, Tenant};
use gatepost_tests::world::event;
use tokio::task::JoinHandle;

/// The type of every event of a trial.
pub(crate) const EVENT_TYPE: &str = "user.updated";

/// Events of one batch.
const BATCH: usize = 10;

/// What was answered.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Default)]
pub(crate) struct Books {
    /// Accepted events and their places in the order of acceptance.
    pub(crate) accepted: BTreeMap<String, i64>,
    /// Events whose publish failed: they may or may not exist.
    pub(crate) unanswered: BTreeSet<String>,
    /// Every failure, as the client told it.
    pub(crate) failures: Vec<Error>,
}

impl Ledger {
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, id: String, result: Result<Receipt, Error>) -> bool {
        let mut books = self.books();
        match result {
            Ok(receipt) => {
                assert_eq!(receipt.event_id(), id, "each answer belongs to its event");
                books.accepted.insert(id, receipt.sequence());
                true
            }
            Err(error) => {
                books.unanswered.insert(id);
                books.failures.push(error);
                false
            }
        }
    }
}

/// Whether a client repeats what failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Never: every failure is seen.
    Blunt,
    /// As a client does by default.
    Default,
}

/// A tenant `acme` through a client of its own.
pub(crate) fn tenant(url: &str, key: &str, manner: Manner) -> Tenant {
    let builder = Client::builder(url).key(key);
    let builder = match manner {
        Manner::Blunt => builder.retry(RetryPolicy { max_retries: 0, ..RetryPolicy::default() }),
        Manner::Default => builder,
    };
    builder.connect_lazy().expect("a client").tenant("acme")
}

/// Publishers at work.
pub(crate) struct Load {
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    publishers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Two unary publishers, one of batches and one stream to each of these tenants. `pause`: between two calls of one publisher.
    pub(crate) fn start(tenants: &[Tenant], pause: Duration) -> Self {
        let (ledger, stop) = (Arc::<Ledger>::default(), Arc::<AtomicBool>::default());
        let mut publishers = Vec::new();
        for (place, tenant) in tenants.iter().enumerate() {
            let publisher = |name: &str| Publisher {
                name: format!("{name}-{place}"),
                tenant: tenant.clone(),
                ledger: Arc::clone(&ledger),
                stop: Arc::clone(&stop),
                pause,
            };
            publishers.push(tokio::spawn(publisher("unary-a").unary()));
            publishers.push(tokio::spawn(publisher("unary-b").unary()));
            publishers.push(tokio::spawn(publisher("batch").batches()));
            publishers.push(tokio::spawn(publisher("stream").stream()));
        }
        Self { ledger, stop, publishers }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Ends the publishers after their last answer.
    pub(crate) async fn stop(self) -> Arc<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        for publisher in self.publishers {
            publisher.await.expect("no publisher panics");
        }
        self.ledger
    }
}

struct Publisher {
    name: String,
    tenant: Tenant,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    pause: Duration,
}

impl Publisher {
    async fn unary(self) {
        for number in 0.. {
            let id = format!("{}-{number}", self.name);
            let result = self.tenant.publish(event(EVENT_TYPE).id(&id)).await;
            self.ledger.note(id, result);
            tokio::time::sleep(self.pause).await;
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    async fn batches(self) {
        for number in 0.. {
            let ids: Vec<_> = (0..BATCH).map(|place| format!("{}-{number}-{place}", self.name)).collect();
            let results = self.tenant.publish_batch(ids.iter().map(|id| event(EVENT_TYPE).id(id))).await;
            assert_eq!(results.len(), BATCH, "one result an event");
            for (id, result) in ids.into_iter().zip(results) {
                self.ledger.note(id, result);
            }
            tokio::time::sleep(self.pause * BATCH as u32 / 2).await;
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// One stream after the other: one that failed has told it for each event that it had taken.
    async fn stream(self) {
        let taken = Arc::<AtomicUsize>::default();
        let mut answered = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let (counter, stop, name, pause) = (Arc::clone(&taken), Arc::clone(&self.stop), self.name.clone(), self.pause / 2);
            let events = futures::stream::unfold((), move |()| {
                let (counter, stop, name) = (Arc::clone(&counter), Arc::clone(&stop), name.clone());
                async move {
                    tokio::time::sleep(pause).await;
                    if stop.load(Ordering::Relaxed) {
                        return None;
                    }
                    let number = counter.fetch_add(1, Ordering::Relaxed);
                    Some((event(EVENT_TYPE).id(format!("{name}-{number}")), ()))
                }
            });
            let mut results = self.tenant.publish_stream(events);
            while let Some(result) = results.next().await {
                self.ledger.note(format!("{}-{answered}", self.name), result);
                answered += 1;
            }
        }
        assert_eq!(answered, taken.load(Ordering::Relaxed), "a stream answers every event that it took");
    }
}
