//! One connection: HTTP/1.1 or HTTP/2 with every limit set, and its end when it says nothing, idles, is old or is told to.
//!
//! hyper sets few limits by itself; all are here. A connection whose time is up refuses new streams and ends when the open ones have.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::streams::{Progress, Streams, Watched};
use crate::tasks::Supervisor;

/// Bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Streams at once.
    pub(super) streams: u32,
    /// Connections of one peer at once.
    pub(super) per_peer: usize,
    /// How long one may be without a request.
    pub(super) idle: Duration,
    /// How old one may get, give or take a tenth.
    pub(super) age: Duration,
    /// How long an answer may wait for its peer to take it.
    pub(super) stalled: Duration,
}

/// How long a TLS handshake, the preface of HTTP/2 or the head of an HTTP/1.1 request may take.
pub(super) const GREETING: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether its peer lives, and how long the answer may take.
const PING: Duration = Duration::from_secs(20);
/// How long a connection that was told to end, and has no request open, gets to do so.
const FAREWELL: Duration = Duration::from_secs(5);
/// Bytes of the headers of one request.
const HEADER_BYTES: u32 = 16 << 10;
/// Length of HTTP/2's preface; no request of HTTP/1.1 with a `host` is shorter. Source: RFC 9113, section 3.4.
const PREFACE: usize = 24;
/// Streams that a peer may have reset before their request was looked at; past it the connection ends. Source: CVE-2023-44487.
const RESET_STREAMS: usize = 32;
/// Streams that may end for errors of the peer's before the connection does.
const BROKEN_STREAMS: usize = 128;
/// Bytes of answers that wait for one stream's window.
const SEND_BUFFER: usize = 256 << 10;

/// Speaks HTTP until the connection ends; `stop` ends it in good order.
pub(super) async fn converse<S>(
    stream: S,
    peer: SocketAddr,
    router: axum::Router,
    limits: Limits,
    tasks: Supervisor,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::new());
    let requests = Arc::clone(&activity);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        let (router, open) = (router.clone(), Open::new(&requests));
        async move {
            request.extensions_mut().insert(ConnectInfo(peer));
            let answer = router.oneshot(request.map(axum::body::Body::new)).await;
            answer.map(|answer| answer.map(|body| Watched::new(body, open)))
        }
    });
    let stalled = CancellationToken::new();
    let mut builder = auto::Builder::new(Streams { tasks, patience: limits.stalled, stalled: stalled.clone() });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(GREETING)
        .max_buf_size(64 << 10)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEADER_BYTES)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(BROKEN_STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let greeted = Arc::new(AtomicBool::new(false));
    let stream = Greeting { stream, read: 0, done: Arc::clone(&greeted) };
    let progress = Progress::new();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // Answers over HTTP/1.1 are sent by the connection itself.
    let mut connection = std::pin::pin!(connection);
    let ended = {
        let watched = Arc::clone(&progress);
        let driven = watched.watch(async {
            let over = async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = stalled.cancelled() => tracing::debug!(%peer, "a connection is told to end: one of its streams was stalled"),
                    why = activity.over(limits) => tracing::debug!(%peer, why, "a connection is told to end"),
                }
            };
            tokio::select! {
                ended = connection.as_mut() => return Some(ended),
                () = over => connection.as_mut().graceful_shutdown(),
            }
            // The drain's deadline ends what never ends by itself.
            tokio::select! {
                ended = connection.as_mut() => Some(ended),
                () = activity.quiet() => None,
            }
        });
        let silent = async {
            tokio::time::sleep(GREETING).await;
            if greeted.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            ended = driven => ended,
            () = silent => None,
            () = progress.stalled(limits.stalled) => None,
        }
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%peer, error = &*error, "connection ended"),
        None => tracing::debug!(%peer, "connection dropped: it said or took nothing"),
    }
}

/// What happens on a connection.
#[derive(Debug)]
struct Activity {
    begun: Instant,
    open: AtomicUsize,
    last: Mutex<Instant>,
}

impl Activity {
    fn new() -> Self {
        let begun = Instant::now();
        Self { begun, open: AtomicUsize::new(0), last: Mutex::new(begun) }
    }

    /// Resolves when the connection is too old or was idle for too long, and says which.
    async fn over(&self, limits: Limits) -> &'static str {
        // A tenth more or less, so that connections that began together do not end together.
        let age = limits.age.mul_f64(0.9 + 0.2 * rand::random::<f64>());
        loop {
            let left = age.saturating_sub(self.begun.elapsed());
            let idle = limits.idle.saturating_sub(self.idle());
            if left.is_zero() {
                return "it is old";
            }
            if idle.is_zero() {
                return "it is idle";
            }
            tokio::time::sleep(left.min(idle)).await;
        }
    }

    /// Resolves when no request has been open for a while.
    async fn quiet(&self) {
        loop {
            tokio::time::sleep(FAREWELL).await;
            if self.open.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    /// How long no request has been open.
    fn idle(&self) -> Duration {
        if self.open.load(Ordering::Relaxed) > 0 {
            return Duration::ZERO;
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// A request that is open, until its answer has ended.
struct Open(Arc<Activity>);

impl Open {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that tells when its peer has said enough to be a peer.
struct Greeting<S> {
    stream: S,
    read: usize,
    done: Arc<AtomicBool>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.read < PREFACE {
            self.read += buffer.filled().len() - before;
            if self.read >= PREFACE {
                self.done.store(true, Ordering::Relaxed);
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
