//! `/metrics`: what the process counted, and what is found out when somebody asks.
//!
//! The backlog is measured at most every [`FRESH`], by one caller at a time, so that no number of scrapers costs the database more than
//! one does. A database that does not answer costs a scrape [`PATIENCE`] and those figures, never the rest.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use tokio::sync::Mutex;

use super::PATIENCE;
use crate::clock::Instant;
use crate::feed::Feed;
use crate::store::Store;
use crate::tasks::Supervisor;
use crate::telemetry::metrics::{self, Queue, Sample};

/// How long a measurement of the backlog is shown.
const FRESH: Duration = Duration::from_secs(5);

/// What a scrape asks.
#[derive(Debug)]
pub struct Scrape {
    store: Store,
    feed: Arc<Feed>,
    tasks: Supervisor,
    measured: Mutex<Option<(Instant, Option<Queue>)>>,
}

impl Scrape {
    /// `tasks`: any group of the process.
    pub fn new(store: Store, feed: Arc<Feed>, tasks: Supervisor) -> Self {
        Self { store, feed, tasks, measured: Mutex::default() }
    }

    async fn queue(&self) -> Option<Queue> {
        let mut measured = self.measured.lock().await;
        let now = self.store.clock().instant();
        if let Some((when, queue)) = *measured
            && now.duration_since(when) < FRESH
        {
            return queue;
        }
        let queue = match tokio::time::timeout(PATIENCE, self.store.measure_backlog()).await {
            Ok(Ok(queue)) => Some(queue),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the backlog cannot be measured");
                None
            }
            Err(_) => {
                tracing::warn!("measuring the backlog took too long");
                None
            }
        };
        *measured = Some((now, queue));
        queue
    }
}

pub(super) async fn answer(State(scrape): State<Arc<Scrape>>) -> ([(HeaderName, &'static str); 1], String) {
    let sample = Sample { queue: scrape.queue().await, task_panics: scrape.tasks.panics(), watchers: scrape.feed.watcher_count() };
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], scrape.store.metrics().encode(&sample))
}
