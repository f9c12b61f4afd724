//! The listening socket: accepts, does TLS, speaks HTTP/1.1 and HTTP/2, and ends every connection when told to.
//!
//! hyper sets few limits by itself; all are set here. Each connection is a task of its own, and a drain tells each to finish: an open
//! stream or an idle connection cannot hold the process, as the group's deadline drops what is left.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::config;
use crate::tasks::{OnEnd, Supervisor};

/// Why the certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is no PEM of its kind.
    #[error("cannot read {path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The key does not belong to the certificate, or is of an unknown kind.
    #[error("the certificate cannot be used")]
    Rustls(#[from] rustls::Error),
}

/// A certificate to serve with.
#[derive(Clone)]
pub(super) struct Tls(TlsAcceptor);

impl Tls {
    /// Reads the certificate chain and its key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn load(files: &config::Tls) -> Result<Self, TlsError> {
        let unusable = |path: &std::path::Path, problem: String| TlsError::File { path: path.display().to_string(), problem };
        let chain = CertificateDer::pem_file_iter(&files.cert_file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unusable(&files.cert_file, error.to_string()))?;
        let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|error| unusable(&files.key_file, error.to_string()))?;
        let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

/// Bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Streams at once.
    pub(super) streams: u32,
}

/// Connections at once; past it new ones wait in the kernel's queue.
const CONNECTIONS: usize = 10_000;
/// How long a TLS handshake or the head of an HTTP/1.1 request may take.
const GREETING: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether its peer lives, and how long the answer may take.
const PING: Duration = Duration::from_secs(20);
/// Bytes of the headers of one request.
const HEADER_BYTES: u32 = 16 << 10;

/// Accepts connections until the group stops.
pub(super) async fn accept(listener: TcpListener, tls: Option<Tls>, router: axum::Router, limits: Limits, connections: Supervisor) {
    let stop = connections.stop_token();
    let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
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
        // Small frames matter here: answers must not wait for more to send.
        let _ = stream.set_nodelay(true);
        let (router, tls, stop) = (router.clone(), tls.clone(), connections.stop_token());
        connections.spawn("connection", OnEnd::Ignore, async move {
            let _slot = slot;
            serve(stream, peer, tls, router, limits, stop).await;
        });
    }
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Tls>,
    router: axum::Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let Some(tls) = tls else {
        return converse(stream, peer, router, limits, stop).await;
    };
    match tokio::time::timeout(GREETING, tls.0.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, peer, router, limits, stop).await,
        Ok(Err(error)) => tracing::debug!(%peer, error = &error as &dyn std::error::Error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, router: axum::Router, limits: Limits, stop: CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(GREETING)
        .max_buf_size(64 << 10)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(HEADER_BYTES)
        .max_pending_accept_reset_streams(Some(32))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            // Refuses new streams and ends when the open ones have; the group's deadline ends those that never do.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error = &*error, "connection ended");
    }
}
