//! Tasks of HTTP/2 streams, and the end of those whose peer takes nothing.
//!
//! hyper runs each stream as a task; here each is one of the supervisor's, so that its panic is seen and a drain ends it. One message
//! may wait in h2 for the peer's flow control window, where nobody sees it; the next one waits in hyper, and no deadline of a handler
//! covers that: a stream whose peer takes nothing is ended here. One that has nothing to say is not stalled, however long it is quiet.
//! The reset that tells the peer waits in h2 behind what was sent before it, so the connection takes no new streams from then on and
//! ends with those that are well.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::tasks::{OnEnd, Supervisor};

tokio::task_local! {
    static PROGRESS: Arc<Progress>;
}

/// Whether a peer takes what it is sent.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    /// When the last part of an answer was handed over that hyper has not asked to follow, in ms after `begun`, plus 1; 0: none waits.
    handed: AtomicU64,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), handed: AtomicU64::new(0) })
    }

    /// Runs a future whose answers are watched by this.
    pub(super) async fn watch<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        PROGRESS.scope(self, future).await
    }

    /// Resolves once a part of an answer has waited for `limit`.
    pub(super) async fn stalled(&self, limit: Duration) {
        loop {
            let handed = self.handed.load(Ordering::Relaxed);
            let waited = match handed {
                0 => Duration::ZERO,
                handed => self.begun.elapsed().saturating_sub(Duration::from_millis(handed - 1)),
            };
            if waited >= limit {
                return;
            }
            tokio::time::sleep(limit - waited).await;
        }
    }

    fn handed(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.handed.store(millis + 1, Ordering::Relaxed);
    }

    fn taken(&self) {
        self.handed.store(0, Ordering::Relaxed);
    }
}

/// Runs hyper's streams as tasks of the supervisor.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    pub(super) tasks: Supervisor,
    /// How long an answer may wait for its peer.
    pub(super) patience: Duration,
    /// Cancelled when one waited too long.
    pub(super) stalled: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let (patience, stalled) = (self.patience, self.stalled.clone());
        self.tasks.spawn("stream", OnEnd::Ignore, async move {
            let progress = Progress::new();
            tokio::select! {
                biased;
                () = Arc::clone(&progress).watch(stream) => {}
                () = progress.stalled(patience) => {
                    tracing::debug!("a stream ends: its peer takes nothing");
                    stalled.cancel();
                }
            }
        });
    }
}

/// An answer's body that tells how it is taken. `H` is held until its end.
pub(super) struct Watched<H> {
    body: Body,
    progress: Option<Arc<Progress>>,
    _held: H,
}

impl<H> Watched<H> {
    /// To be made in the task that sends the answer.
    pub(super) fn new(body: Body, held: H) -> Self {
        Self { body, progress: PROGRESS.try_with(Arc::clone).ok(), _held: held }
    }
}

impl<H: Unpin> HttpBody for Watched<H> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(progress) = &self.progress {
            progress.taken();
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let (Some(progress), Some(_)) = (&self.progress, &frame) {
            progress.handed();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<H> Drop for Watched<H> {
    fn drop(&mut self) {
        // Handed over whole, or given up: on a connection that goes on, nothing waits any more.
        if let Some(progress) = &self.progress {
            progress.taken();
        }
    }
}
