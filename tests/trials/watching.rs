//! A watcher that trusts nothing but its token: after each break it begins a new watch where the last one ended.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use gatepost_client::{Tenant, v1::delivery::State};
use gatepost_tests::until_within;

use crate::receivers::place;

type Seen = Arc<Mutex<HashMap<String, BTreeMap<i32, State>>>>;

/// Everything that a watcher was told. It ends with this value.
pub(crate) struct Watching {
    seen: Seen,
    resumed: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Watching {
    /// Begins to watch all deliveries of the tenant from now on.
    pub(crate) async fn start(tenant: Tenant) -> Self {
        let (seen, resumed) = (Seen::default(), Arc::<AtomicUsize>::default());
        let first = tenant.watch().give_up_after(Duration::ZERO).start().await.expect("a watch");
        let task = tokio::spawn(watch(tenant, first, Arc::clone(&seen), Arc::clone(&resumed)));
        Self { seen, resumed, task }
    }

    /// How often it had to go on from its token.
    pub(crate) fn resumed(&self) -> usize {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Waits until it has seen every change of so many deliveries: each revision from the first to the one that succeeded.
    pub(crate) async fn until_whole(&self, deliveries: usize, deadline: Duration) {
        until_within(deadline, "every change to be seen", async || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let open: Vec<_> = seen.iter().filter(|(_, revisions)| !is_whole(revisions)).take(3).collect();
            if seen.len() == deliveries && open.is_empty() {
                Ok(())
            } else {
                Err(format!("{} of {deliveries}, {open:?}", seen.len()))
            }
        })
        .await;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_whole(revisions: &BTreeMap<i32, State>) -> bool {
    let gapless = revisions.keys().copied().eq(1..=revisions.len() as i32);
    gapless && revisions.values().next_back() == Some(&State::Succeeded)
}

async fn watch(tenant: Tenant, first: gatepost_client::Watch, seen: Seen, resumed: Arc<AtomicUsize>) {
    let mut watch = first;
    let mut token = watch.token().to_owned();
    loop {
        while let Some(Ok(item)) = watch.next().await {
            token.clone_from(&item.resume_token);
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            for delivery in item.changes.into_iter().filter_map(|change| change.delivery) {
                if place(&delivery.endpoint).is_none() {
                    continue;
                }
                let (revision, state) = (delivery.revision, delivery.state());
                let before = seen.entry(delivery.name.clone()).or_default().insert(revision, state);
                assert!(before.is_none_or(|before| before == state), "revision {revision} of {} is two things", delivery.name);
            }
        }
        resumed.fetch_add(1, Ordering::Relaxed);
        watch = loop {
            match tenant.watch().resume(&token).give_up_after(Duration::ZERO).start().await {
                Ok(watch) => break watch,
                Err(error) => {
                    assert!(error.is_transient(), "a token that was given out is taken: {error:?}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
    }
}
