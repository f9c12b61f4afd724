//! The only place that dials out: one bounded HTTP request at a time, behind one wall.
//!
//! Called by delivery, hooks and endpoint tests. Redirects are not followed, no proxy of the environment is used, cookies and
//! compressed bodies are neither offered nor read, and every address is checked before it is dialled ([`address`]). One deadline
//! covers everything from the name lookup to the last byte. hyper-util's executor spawns the tasks that drive connections; they end
//! with their connection.

pub mod address;
mod connector;
mod error;
mod resolver;
mod tls;

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::{Host, Url};

use self::address::{AddressPolicy, Refusal};
use self::connector::{ConnectFailure, Connector, Opened};
pub use self::error::{Error, Failure, Source};
use self::resolver::Resolver;
pub use self::tls::BuildError;
use crate::domain::endpoint::UrlRules;
use crate::telemetry::Metrics;

/// How long a connection is used before a new one, checked anew, takes its place.
pub const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// How long a connection may wait for its next request.
const MAX_IDLE: Duration = Duration::from_secs(30);
/// Idle connections kept for one host: as many as one endpoint may use at once. With fewer, each burst of a busy endpoint would dial most
/// of its requests anew.
const MOST_IDLE: usize = 1_000;
/// The largest head of an answer: status line and headers.
const LARGEST_HEAD: usize = 16 * 1_024;
/// The most headers of an answer.
const MOST_HEADERS: usize = 100;

/// How an [`Egress`] is made.
#[derive(Debug, Clone)]
pub struct EgressConfig {
    /// Which addresses may be dialled.
    pub policy: AddressPolicy,
    /// Which URLs users may write; `allow_http` holds for each request too.
    pub url_rules: UrlRules,
    /// Certificates trusted beside the system's roots, as PEM, any number in one text.
    pub extra_roots_pem: Vec<u8>,
    /// What `user-agent` says unless a request brings its own.
    pub user_agent: String,
    /// What requests are counted in.
    pub metrics: Arc<Metrics>,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            policy: AddressPolicy::default(),
            url_rules: UrlRules::default(),
            extra_roots_pem: Vec::new(),
            user_agent: concat!("gatepost/", env!("CARGO_PKG_VERSION")).to_owned(),
            metrics: Arc::default(),
        }
    }
}

/// One request. It is a `POST`.
#[derive(Debug)]
pub struct Request<'a> {
    /// Where to, as `domain::endpoint::parse_url` gave it.
    pub url: &'a Url,
    /// Its headers. `host`, `content-length` and `user-agent` are added.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// From now to the last byte of the answer.
    pub timeout: Duration,
    /// How much of the answer's body is read and kept.
    pub body_limit: BodyLimit,
}

/// How much of an answer's body is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit {
    /// Bytes read at most; past them the connection is closed, not drained.
    pub read: usize,
    /// Bytes kept at most.
    pub keep: usize,
}

impl BodyLimit {
    /// Of a delivery's answer: a person may want to see its start.
    pub const DELIVERY: Self = Self { read: 64 * 1_024, keep: 16 * 1_024 };
    /// Of a hook's answer: all of it is interpreted.
    pub const HOOK: Self = Self { read: 256 * 1_024, keep: 256 * 1_024 };
}

/// A whole answer, or the start of one that was longer than its limit.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status, any class.
    pub status: u16,
    /// Its headers, at most 100 and 16 KiB.
    pub headers: HeaderMap,
    /// The start of its body, at most [`BodyLimit::keep`].
    pub body: Bytes,
    /// Whether `body` is less than the receiver sent or meant to send.
    pub is_cut: bool,
    /// How long each step took.
    pub timing: Timing,
    /// The address that was dialled.
    pub remote_addr: Option<SocketAddr>,
}

/// How long the steps of a request took, each from its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// Name lookup; absent on a reused connection.
    pub dns: Option<Duration>,
    /// Lookup, connection and TLS together; absent on a reused connection and when it was not reached.
    pub connect: Option<Duration>,
    /// To the head of the answer; absent when none came.
    pub first_byte: Option<Duration>,
    /// To the last byte, or to the failure.
    pub total: Duration,
}

/// What sends requests: [`Egress`], or a script in the tests of the loops above.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and reads its answer within its deadline. Dropping the future aborts the request.
    ///
    /// # Errors
    /// [`Failure`]: there is no whole answer. Any status is an answer.
    fn send(&self, request: Request<'_>) -> impl Future<Output = Result<Response, Failure>> + Send;
}

/// The HTTP client of the server. Cheap to share in an `Arc`.
pub struct Egress {
    client: Client<Connector, Full<Bytes>>,
    policy: Arc<AddressPolicy>,
    url_rules: UrlRules,
    user_agent: HeaderValue,
    max_age: Duration,
    metrics: Arc<Metrics>,
}

impl Egress {
    /// Reads the system's roots and makes the client. Dials nothing.
    ///
    /// # Errors
    /// [`BuildError`]: a certificate or the user agent of the configuration is not one.
    pub fn new(config: EgressConfig) -> Result<Self, BuildError> {
        Self::with_resolver(config, Resolver::system())
    }

    fn with_resolver(config: EgressConfig, resolver: Resolver) -> Result<Self, BuildError> {
        let policy = Arc::new(config.policy);
        let tls = tls::client_config(&config.extra_roots_pem)?;
        let user_agent = HeaderValue::try_from(config.user_agent).map_err(|_| BuildError::UserAgent)?;
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .http1_max_buf_size(LARGEST_HEAD)
            // The windows bound what a receiver may send ahead of being read.
            .http2_initial_stream_window_size(64 * 1_024)
            .http2_initial_connection_window_size(1_024 * 1_024)
            .http2_max_header_list_size(16 * 1_024)
            // A peer that has vanished would otherwise hold every request until the connection's age ends it.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .build(Connector::new(resolver, Arc::clone(&policy), tls));
        Ok(Self { client, policy, url_rules: config.url_rules, user_agent, max_age: MAX_AGE, metrics: config.metrics })
    }

    /// The rules for URLs that users write.
    pub const fn url_rules(&self) -> &UrlRules {
        &self.url_rules
    }

    /// What `user-agent` says unless a request brings its own.
    pub fn user_agent(&self) -> &str {
        // It was made of text.
        self.user_agent.to_str().unwrap_or_default()
    }

    /// Whether a URL may be called as far as it can be told without a lookup: its scheme, and its host where that is an address.
    ///
    /// Asked when an endpoint is written, and again before each request, as the configuration may have changed in between.
    ///
    /// # Errors
    /// [`Refusal`]: it may not.
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        if !(url.scheme() == "https" || url.scheme() == "http" && self.url_rules.allow_http) {
            return Err(Refusal::Scheme);
        }
        match url.host() {
            Some(Host::Ipv4(v4)) => self.policy.check(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => self.policy.check(IpAddr::V6(v6)),
            Some(Host::Domain(_)) => Ok(()),
            None => Err(Refusal::NoHost),
        }
    }

    async fn exchange(&self, request: Request<'_>, started: Instant, timing: &mut Timing) -> Result<Response, Error> {
        self.check_url(request.url).map_err(Error::AddressRefused)?;
        let mut outgoing = http::Request::new(Full::new(request.body));
        *outgoing.method_mut() = Method::POST;
        *outgoing.uri_mut() = Uri::try_from(request.url.as_str()).map_err(|error| Error::Protocol(Arc::new(error)))?;
        *outgoing.headers_mut() = request.headers;
        outgoing.headers_mut().entry(USER_AGENT).or_insert_with(|| self.user_agent.clone());
        let connection = capture_connection(&mut outgoing);

        let response = self.client.request(outgoing).await.map_err(|error| request_error(error, timing))?;
        timing.first_byte = Some(started.elapsed());
        let opened = response.extensions().get::<Opened>();
        let remote_addr = opened.map(|opened| opened.remote);
        if let Some((dns, connect)) = opened.and_then(Opened::take_timing) {
            (timing.dns, timing.connect) = (dns, Some(connect));
        }
        // Invariant: no request starts on a connection older than `MAX_AGE`. One that might wait idle until then gets no more.
        if opened.is_some_and(|opened| opened.age() + MAX_IDLE >= self.max_age)
            && let Some(connected) = &*connection.connection_metadata()
        {
            connected.poison();
        }

        let (head, body) = response.into_parts();
        if head.headers.len() > MOST_HEADERS {
            return Err(Error::Protocol(Arc::new(TooManyHeaders)));
        }
        let (body, is_cut) = read(body, request.body_limit).await?;
        timing.total = started.elapsed();
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body, is_cut, timing: *timing, remote_addr })
    }
}

impl Transport for Egress {
    async fn send(&self, request: Request<'_>) -> Result<Response, Failure> {
        let started = Instant::now();
        let mut timing = Timing::default();
        let answer = tokio::time::timeout(request.timeout, self.exchange(request, started, &mut timing)).await;
        let answer = answer.unwrap_or(Err(Error::Timeout)).map_err(|error| {
            timing.total = started.elapsed();
            Failure { error, timing }
        });
        match &answer {
            Ok(response) => self.metrics.request_ended(Ok(response.status), response.timing.total),
            Err(failure) => self.metrics.request_ended(Err(failure.class()), failure.timing.total),
        }
        answer
    }
}

/// More headers than [`MOST_HEADERS`]; only HTTP/2 lets them through to here.
#[derive(Debug, thiserror::Error)]
#[error("the answer has more than {MOST_HEADERS} headers")]
struct TooManyHeaders;

fn request_error(error: hyper_util::client::legacy::Error, timing: &mut Timing) -> Error {
    let opening = error::chain(&error).find_map(|cause| cause.downcast_ref::<ConnectFailure>()).cloned();
    let Some(failure) = opening else { return Error::on_the_wire(error) };
    timing.dns = failure.dns;
    failure.error
}

/// Reads a body up to its limit. Returns what is kept, and whether that is not all. An unread rest closes the connection.
async fn read(mut body: Incoming, limit: BodyLimit) -> Result<(Bytes, bool), Error> {
    let mut kept = BytesMut::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Error::on_the_wire)?.into_data() else { continue };
        seen += data.len();
        let room = limit.keep.saturating_sub(kept.len());
        kept.extend_from_slice(&data[..room.min(data.len())]);
        if seen > limit.read {
            break;
        }
    }
    let is_cut = seen > kept.len();
    Ok((kept.freeze(), is_cut))
}

#[cfg(test)]
mod tests;
