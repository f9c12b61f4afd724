//! Opens connections: resolve the host, check every address of the answer, dial a checked one, agree on TLS.
//!
//! Called by the pool of [`super::Egress`] when no connection is idle. Names and IP literals take the same way through the same check,
//! whatever their spelling, and nothing is dialled that was not checked here. A connection stays bound to the address it was checked
//! with and never outlives [`super::MAX_AGE`].

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::address::AddressPolicy;
use super::resolver::Resolver;
use super::{Error, Source};

/// A connection may outlive the request that asked for it, so it has a bound of its own.
const LONGEST_CONNECT: Duration = Duration::from_secs(30);
/// How long one address may take before the next is tried beside it. Source: RFC 8305, section 5.
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of an answer that are dialled at most; all of them are checked.
const MOST_DIALLED: usize = 8;

/// Opens connections to the hosts of URLs.
#[derive(Clone)]
pub(super) struct Connector {
    resolver: Resolver,
    policy: Arc<AddressPolicy>,
    tls: TlsConnector,
}

/// Why a connection could not be opened, and how long the steps took.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot open a connection")]
pub(super) struct ConnectFailure {
    #[source]
    pub(super) error: Error,
    pub(super) dns: Option<Duration>,
}

impl Connector {
    pub(super) fn new(resolver: Resolver, policy: Arc<AddressPolicy>, tls: Arc<rustls::ClientConfig>) -> Self {
        Self { resolver, policy, tls: TlsConnector::from(tls) }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, ConnectFailure> {
        let started = Instant::now();
        let mut dns = None;
        let opening = tokio::time::timeout(LONGEST_CONNECT, self.open(&uri, started, &mut dns)).await;
        opening.unwrap_or(Err(Error::Timeout)).map_err(|error| ConnectFailure { error, dns })
    }

    async fn open(&self, uri: &Uri, started: Instant, dns: &mut Option<Duration>) -> Result<Stream, Error> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });

        let addresses = self.resolve(host, port).await?;
        *dns = Some(started.elapsed());
        let tcp = dial(&addresses).await.map_err(|error| Error::Connect(Arc::new(error)))?;
        let remote = tcp.peer_addr().map_err(|error| Error::Connect(Arc::new(error)))?;
        let io = if secure { Either::Right(Box::new(self.handshake(host, tcp).await?)) } else { Either::Left(tcp) };

        let is_h2 = matches!(&io, Either::Right(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"));
        let opened = Opened { remote, dns: *dns, connect: started.elapsed(), at: Instant::now(), used: Arc::default() };
        Ok(Stream { io: TokioIo::new(io), opened, is_h2 })
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let answer = self.resolver.resolve(host).await.map_err(|error| Error::Dns(error as Source))?;
        checked(&self.policy, answer.iter().map(|address| SocketAddr::new(*address, port)).collect())
    }

    async fn handshake(&self, host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
        // A name's final dot is for resolvers; SNI and certificates have none.
        let name = host.strip_suffix('.').unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| Error::Tls(Arc::new(error)))?;
        self.tls.connect(name, tcp).await.map_err(|error| Error::Tls(Arc::new(error)))
    }
}

/// The answer of a lookup, when every address of it is allowed.
fn checked(policy: &AddressPolicy, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
    // Invariant: one refused address refuses the host. An answer that mixes good and bad is an attack or a mistake.
    for address in &addresses {
        policy.check(address.ip()).map_err(Error::AddressRefused)?;
    }
    if addresses.is_empty() {
        return Err(Error::Dns(Arc::new(io::Error::new(io::ErrorKind::NotFound, "the name has no address"))));
    }
    Ok(addresses)
}

/// Dials in order, each next address beside the ones before after a failure or a quarter of a second; the first connection wins.
async fn dial(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter().take(MOST_DIALLED).peekable();
    let mut dialling = FuturesUnordered::new();
    loop {
        dialling.extend(waiting.next().map(|address| TcpStream::connect(*address)));
        tokio::select! {
            Some(result) = dialling.next() => match result {
                Ok(stream) => {
                    // Requests are written whole: waiting for more only adds latency.
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) if dialling.is_empty() && waiting.peek().is_none() => return Err(error),
                Err(_) => {}
            },
            () = tokio::time::sleep(STAGGER), if waiting.peek().is_some() => {}
            else => return Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectFailure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// What is known about a connection; goes with every response that came over it.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) remote: SocketAddr,
    dns: Option<Duration>,
    connect: Duration,
    at: Instant,
    used: Arc<AtomicBool>,
}

impl Opened {
    /// Lookup, and lookup with connection and TLS, on the first call; later the connection is a reused one.
    pub(super) fn take_timing(&self) -> Option<(Option<Duration>, Duration)> {
        (!self.used.swap(true, Ordering::Relaxed)).then_some((self.dns, self.connect))
    }

    pub(super) fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

/// An open connection, plain or TLS.
pub(super) struct Stream {
    io: TokioIo<Either<TcpStream, Box<TlsStream<TcpStream>>>>,
    opened: Opened,
    is_h2: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(self.opened.clone());
        if self.is_h2 { connected.negotiated_h2() } else { connected }
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: hyper::rt::ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refused_address_refuses_the_whole_answer() {
        let answer = |texts: &[&str]| checked(&AddressPolicy::default(), texts.iter().map(|text| text.parse().unwrap()).collect());
        assert_eq!(answer(&["1.1.1.1:443", "[2606:4700::1111]:443"]).unwrap().len(), 2);
        for mixed in [["1.1.1.1:443", "127.0.0.1:443"], ["[fd00::1]:443", "1.1.1.1:443"], ["1.1.1.1:443", "[64:ff9b::a00:1]:443"]] {
            assert!(matches!(answer(&mixed), Err(Error::AddressRefused(_))), "{mixed:?}");
        }
        assert!(matches!(answer(&[]), Err(Error::Dns(_))));
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_does_not_hide_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed: SocketAddr = { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
        assert_eq!(dial(&[closed, open]).await.unwrap().peer_addr().unwrap(), open);
        assert_eq!(dial(&[closed]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(dial(&[]).await.is_err());
    }
}
