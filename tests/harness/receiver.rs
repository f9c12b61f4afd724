//! A webhook receiver: HTTP/1.1 on 127.0.0.1 over real sockets, answering by a script and remembering what came.
//!
//! Tests point endpoints at it and wait for what should arrive. It must never judge a request: it records, and the test decides.
//! It is fast enough to be the far end of a load test: one short lock a request.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::wait::DEADLINE;

/// A receiver on a port of its own. Its connections end with this value.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<State>,
    accepting: tokio::task::JoinHandle<()>,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// Path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Bytes,
    /// When its last byte was read.
    pub arrived: Instant,
    /// The other end of the connection it came on.
    pub peer: SocketAddr,
}

/// From when to when a receiver had a request.
#[derive(Clone, Debug)]
pub struct Span {
    /// Its `webhook-id`.
    pub id: String,
    /// Its `gatepost-attempt`.
    pub attempt: u32,
    /// When its last byte was read.
    pub begun: Instant,
    /// When it was answered, or the other side hung up; `None`: it is still there.
    pub ended: Option<Instant>,
}

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    delay: Duration,
    ending: Ending,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Complete,
    Hang,
    Drip(Duration),
    Drop,
}

type Script = Arc<dyn Fn(usize, &Received) -> Answer + Send + Sync>;

struct State {
    script: RwLock<Script>,
    received: Mutex<Vec<Received>>,
    /// When each was over.
    ended: Mutex<HashMap<usize, Instant>>,
    count: watch::Sender<usize>,
}

impl Receiver {
    /// A receiver that answers 200 to everything.
    pub async fn ok() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// A receiver that answers by `script`; see [`Receiver::answer`].
    pub async fn answering(script: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static) -> Self {
        let receiver = Self::ok().await;
        receiver.answer(script);
        receiver
    }

    /// A receiver on a set address, such as that of one that was dropped.
    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port on 127.0.0.1");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(State {
            script: RwLock::new(Arc::new(|_, _| Answer::status(200))),
            received: Mutex::default(),
            ended: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, accepting }
    }

    /// From the next request on, answers by `script`, which gets the number of the request, from 0, and the request.
    pub fn answer(&self, script: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static) {
        *self.state.script.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// What an endpoint's `url` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/webhooks", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that arrived so far, in the order of arrival.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.state.requests().clone()
    }

    /// From when to when each request was here, in the order of arrival.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let received = self.state.requests();
        let ended = self.state.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let span = |(number, request): (usize, &Received)| Span {
            id: request.id().to_owned(),
            attempt: request.attempt(),
            begun: request.arrived,
            ended: ended.get(&number).copied(),
        };
        received.iter().enumerate().map(span).collect()
    }

    /// How many requests arrived so far.
    #[must_use]
    pub fn count(&self) -> usize {
        *self.state.count.borrow()
    }

    /// Waits until `count` requests arrived, at most [`DEADLINE`], and returns all that did.
    ///
    /// # Panics
    /// When time runs out, with what had arrived.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} requests"), DEADLINE, |received| received.len() >= count).await
    }

    /// Waits until every one of these `webhook-id`s has arrived, and returns all requests.
    ///
    /// # Panics
    /// When `deadline` is over, with what had arrived.
    pub async fn wait_for_ids<'a>(&self, deadline: Duration, ids: impl IntoIterator<Item = &'a str>) -> Vec<Received> {
        let mut missing: HashSet<&str> = ids.into_iter().collect();
        let what = format!("requests with {} ids", missing.len());
        let mut seen = 0;
        // Only what is new is looked at: this is asked with each request that arrives.
        self.wait_until(&what, deadline, |received| {
            for request in &received[seen..] {
                missing.remove(request.id());
            }
            seen = received.len();
            missing.is_empty()
        })
        .await
    }

    /// Waits until `enough` says so of all that arrived, and returns it. `what` names it for the failure.
    ///
    /// # Panics
    /// When `deadline` is over, with what had arrived.
    pub async fn wait_until(&self, what: &str, deadline: Duration, mut enough: impl FnMut(&[Received]) -> bool) -> Vec<Received> {
        let mut count = self.state.count.subscribe();
        let waiting = async {
            loop {
                count.borrow_and_update();
                if enough(&self.state.requests()) {
                    return;
                }
                count.changed().await.expect("the sender lives as long as the receiver");
            }
        };
        if tokio::time::timeout(deadline, waiting).await.is_err() {
            panic!("waited {deadline:?} for {what} at {}; arrived: {}", self.url(), summary(&self.state.requests()));
        }
        self.received()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl State {
    fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the request and returns its number and answer. The count rises inside the lock, so that it never runs ahead of the list.
    fn take(&self, request: Received) -> (usize, Answer) {
        let script = Arc::clone(&self.script.read().unwrap_or_else(PoisonError::into_inner));
        let number = {
            let mut requests = self.requests();
            requests.push(request.clone());
            self.count.send_replace(requests.len());
            requests.len() - 1
        };
        (number, script(number, &request))
    }
}

/// Notes when a request is over: answered, or dropped with its connection.
struct Serving<'a> {
    state: &'a State,
    number: usize,
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.state.ended.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number, Instant::now());
    }
}

impl Received {
    /// A header's value, or `""`.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The `webhook-id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The `gatepost-attempt`, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.header("gatepost-attempt").parse().expect("a number of an attempt")
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// Whether the signature is good under `secret` (`whsec_...`), in the eyes of Standard Webhooks' own Rust library.
    #[must_use]
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let webhook = standardwebhooks::Webhook::new(secret).expect("a secret of the form whsec_...");
        webhook.verify(&self.body, &self.headers).is_ok()
    }
}

impl Answer {
    /// Answers with a status and no body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("an HTTP status"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            delay: Duration::ZERO,
            ending: Ending::Complete,
        }
    }

    /// Never answers, and keeps the connection open.
    #[must_use]
    pub fn hang() -> Self {
        Self { ending: Ending::Hang, ..Self::status(200) }
    }

    /// Answers 200 and then sends one byte of body each `interval`, for ever.
    #[must_use]
    pub fn drip(interval: Duration) -> Self {
        Self { ending: Ending::Drip(interval), ..Self::status(200) }
    }

    /// Closes the connection without an answer.
    #[must_use]
    pub fn drop_connection() -> Self {
        Self { ending: Ending::Drop, ..Self::status(200) }
    }

    /// With a header, such as `retry-after`.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// After a delay.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // The connections live in this set: aborting this task ends them.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let state = Arc::clone(&state);
                let service = hyper::service::service_fn(move |request| serve(request, peer, Arc::clone(&state)));
                connections.spawn(async move {
                    let mut http = hyper::server::conn::http1::Builder::new();
                    // An error here is the other side hanging up, or an answer that was to be dropped.
                    let _ = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn serve(request: Request<Incoming>, peer: SocketAddr, state: Arc<State>) -> Result<Response<Body>, Dropped> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let (number, answer) = state.take(Received { path, headers: head.headers, body, arrived: Instant::now(), peer });
    let _serving = Serving { state: &state, number };
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    let body = match answer.ending {
        Ending::Complete => Full::new(answer.body).boxed(),
        Ending::Drip(interval) => BodyExt::boxed(StreamBody::new(drip(interval))),
        Ending::Hang => std::future::pending().await,
        Ending::Drop => return Err(Dropped),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    Ok(response)
}

fn drip(interval: Duration) -> Pin<Box<dyn futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>> {
    Box::pin(futures::stream::unfold((), move |()| Box::pin(pause(interval))).map(|byte| Ok(Frame::data(byte))))
}

async fn pause(interval: Duration) -> Option<(Bytes, ())> {
    tokio::time::sleep(interval).await;
    Some((Bytes::from_static(b"."), ()))
}

/// What makes hyper close the connection.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the script drops this connection")
    }
}

impl std::error::Error for Dropped {}

fn summary(received: &[Received]) -> String {
    let mut attempts = HashMap::<&str, usize>::new();
    for request in received {
        *attempts.entry(request.id()).or_default() += 1;
    }
    let repeated = attempts.values().filter(|count| **count > 1).count();
    format!("{} requests with {} ids, {repeated} of them more than once", received.len(), attempts.len())
}
