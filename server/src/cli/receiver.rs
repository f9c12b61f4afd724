//! A receiver of webhooks in this process: verifies, can fail on purpose, can forward.
//!
//! `listen` shows what it receives and `dev` runs one beside the server. It serves only where it is bound, keeps nothing, and hands
//! every request to a channel; a request whose signature does not hold is never forwarded.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use bytes::Bytes;
use gatepost_client::receiver::{Verifier, VerifyError};
use tokio::sync::mpsc;

/// Largest body that is read, in bytes: far above the largest event.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;

/// How long the place that a request is forwarded to may take: as long as the longest attempt.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(60);

/// What a receiver does with requests.
#[derive(Debug, Default)]
pub struct Options {
    /// Checks signatures; absent: they are not checked.
    pub verifier: Option<Verifier>,
    /// Fails on purpose.
    pub fail: Option<Fail>,
    /// Posts every request that is not refused to this URL, and answers with its status.
    pub forward: Option<String>,
}

/// Failing on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fail {
    /// The answer.
    pub status: StatusCode,
    /// Every how many requests, from 1: all of them.
    pub every: u64,
}

/// One request that was received and answered.
#[derive(Debug, Clone)]
pub struct Received {
    /// `webhook-id`, empty when it is missing.
    pub id: String,
    /// `gatepost-event-type`, empty when it is missing.
    pub event_type: String,
    /// `gatepost-attempt`, from 1; 0 when it is missing.
    pub attempt: u32,
    /// The body as it arrived.
    pub body: Bytes,
    /// Whether the signature holds.
    pub verdict: Verdict,
    /// What was answered.
    pub status: StatusCode,
    /// Whether that was a failure on purpose.
    pub failed_on_purpose: bool,
}

/// Whether a signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Verified,
    /// It does not, and why.
    Refused(VerifyError),
    /// Nobody looked: there is no secret.
    Unchecked,
}

/// A bound receiver. Requests wait until [`Receiver::serve`].
#[derive(Debug)]
pub struct Receiver {
    listener: tokio::net::TcpListener,
    address: SocketAddr,
    shared: Shared,
}

#[derive(Debug)]
struct Shared {
    verifier: RwLock<Option<Verifier>>,
    fail: Option<Fail>,
    forward: Option<(reqwest::Client, String)>,
    count: AtomicU64,
}

impl Receiver {
    /// Binds the address; port 0 takes any free one.
    ///
    /// # Errors
    /// The address cannot be bound, or the client that forwards cannot be made.
    pub async fn bind(address: SocketAddr, options: Options) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let forward = match options.forward {
            Some(url) => Some((forwarder()?, url)),
            None => None,
        };
        let shared = Shared { verifier: RwLock::new(options.verifier), fail: options.fail, forward, count: AtomicU64::new(0) };
        Ok(Self { listener, address, shared })
    }

    /// Where it is bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Its URL: any path is received.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Checks signatures with this from now on. For an endpoint whose secret is known only after the receiver is bound.
    pub fn trust(&self, verifier: Verifier) {
        *self.shared.verifier.write().unwrap_or_else(PoisonError::into_inner) = Some(verifier);
    }

    /// Serves until `stop` resolves, and hands every request to `received`. A full channel slows requests down; a closed one does not.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        received: mpsc::Sender<Received>,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let state = Arc::new((self.shared, received));
        let app = axum::Router::new().fallback(receive).with_state(state);
        axum::serve(self.listener, app).with_graceful_shutdown(stop).await
    }
}

async fn receive(State(state): State<Arc<(Shared, mpsc::Sender<Received>)>>, request: Request<axum::body::Body>) -> StatusCode {
    let (shared, channel) = state.as_ref();
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE;
    };
    let number = shared.count.fetch_add(1, Ordering::Relaxed) + 1;
    let verdict = shared.judge(&parts.headers, &body);
    let on_purpose = shared.fail.filter(|fail| number.is_multiple_of(fail.every.max(1)));
    let status = match (on_purpose, &verdict) {
        (Some(fail), _) => fail.status,
        (None, Verdict::Refused(_)) => StatusCode::UNAUTHORIZED,
        (None, _) => shared.pass_on(&parts.headers, body.clone()).await,
    };
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let received = Received {
        id: text("webhook-id"),
        event_type: text("gatepost-event-type"),
        attempt: text("gatepost-attempt").parse().unwrap_or(0),
        body,
        verdict,
        status,
        failed_on_purpose: on_purpose.is_some(),
    };
    // Nobody listens any more: the request is still answered as it deserves.
    let _ = channel.send(received).await;
    status
}

impl Shared {
    fn judge(&self, headers: &HeaderMap, body: &[u8]) -> Verdict {
        match &*self.verifier.read().unwrap_or_else(PoisonError::into_inner) {
            None => Verdict::Unchecked,
            Some(verifier) => match verifier.verify(headers, body) {
                Ok(_) => Verdict::Verified,
                Err(error) => Verdict::Refused(error),
            },
        }
    }

    /// The same bytes and headers to the other URL, and its status.
    async fn pass_on(&self, headers: &HeaderMap, body: Bytes) -> StatusCode {
        let Some((client, url)) = &self.forward else { return StatusCode::NO_CONTENT };
        let mut passed = headers.clone();
        // What belongs to this connection only. Source: RFC 9110, section 7.6.1.
        let own: [HeaderName; 5] =
            [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE];
        own.iter().for_each(|name| {
            passed.remove(name);
        });
        match client.post(url).headers(passed).body(body).send().await {
            Ok(response) => response.status(),
            Err(error) => {
                super::output::note(&format!("cannot forward to {url}: {}", root_cause(&error)));
                StatusCode::BAD_GATEWAY
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "not the server: it forwards for a developer, to a URL of that developer")]
fn forwarder() -> std::io::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(FORWARD_TIMEOUT)
        .build()
        .map_err(std::io::Error::other)
}

fn root_cause(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use hmac::{Hmac, KeyInit, Mac};
    use tokio_util::sync::CancellationToken;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    struct Running {
        url: String,
        received: mpsc::Receiver<Received>,
        _stop: tokio_util::sync::DropGuard,
    }

    #[allow(clippy::disallowed_methods, reason = "a test's own task")]
    async fn run(options: Options) -> Running {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let receiver = Receiver::bind("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        let (url, (sender, received), stop) = (receiver.url(), mpsc::channel(100), CancellationToken::new());
        tokio::spawn(receiver.serve(sender, stop.clone().cancelled_owned()));
        Running { url, received, _stop: stop.drop_guard() }
    }

    fn verifying() -> Options {
        Options { verifier: Some(Verifier::new([SECRET]).unwrap()), ..Options::default() }
    }

    #[allow(clippy::disallowed_methods, reason = "the verifier measures age by this machine's clock")]
    async fn post(url: &str, body: &str, signed_body: &str) -> u16 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let key = base64::engine::general_purpose::STANDARD.decode(&SECRET[6..]).unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("evt_1.{now}.{signed_body}").as_bytes());
        let signature = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        let request = forwarder().unwrap().post(url).header("webhook-id", "evt_1").header("webhook-timestamp", now);
        let request = request.header("webhook-signature", format!("v1,{signature}")).header("gatepost-attempt", 2);
        request.header("gatepost-event-type", "user.created").body(body.to_owned()).send().await.unwrap().status().as_u16()
    }

    #[tokio::test]
    async fn a_genuine_request_is_shown_and_a_forged_one_is_refused() {
        let mut running = run(verifying()).await;
        assert_eq!(post(&running.url, "{}", "{}").await, 204);
        let received = running.received.recv().await.unwrap();
        assert_eq!((received.id.as_str(), received.event_type.as_str(), received.attempt), ("evt_1", "user.created", 2));
        assert_eq!((received.verdict, &received.body[..]), (Verdict::Verified, &b"{}"[..]));
        assert_eq!(post(&running.url, "{ }", "{}").await, 401);
        let received = running.received.recv().await.unwrap();
        assert_eq!(received.verdict, Verdict::Refused(VerifyError::NoMatchingSignature));
    }

    #[tokio::test]
    async fn it_fails_on_purpose_as_often_as_it_was_told() {
        let fail = Some(Fail { status: StatusCode::SERVICE_UNAVAILABLE, every: 3 });
        let running = run(Options { fail, ..verifying() }).await;
        let mut answers = Vec::new();
        for _ in 0..6 {
            answers.push(post(&running.url, "{}", "{}").await);
        }
        assert_eq!(answers, [204, 204, 503, 204, 204, 503]);
    }

    #[tokio::test]
    async fn it_forwards_the_same_bytes_and_headers_and_answers_with_that_status() {
        let fail = Some(Fail { status: StatusCode::IM_A_TEAPOT, every: 1 });
        let mut behind = run(Options { fail, ..verifying() }).await;
        let front = run(Options { forward: Some(behind.url.clone()), ..verifying() }).await;
        assert_eq!(post(&front.url, "{\"a\": 1}", "{\"a\": 1}").await, 418);
        let received = behind.received.recv().await.unwrap();
        assert_eq!((received.verdict, &received.body[..]), (Verdict::Verified, &b"{\"a\": 1}"[..]));
        assert_eq!(post(&front.url, "forged", "{}").await, 401);
        assert!(behind.received.try_recv().is_err(), "a forged request is not forwarded");
    }

    #[tokio::test]
    async fn trust_can_come_after_the_address_is_known() {
        let receiver = Receiver::bind("127.0.0.1:0".parse().unwrap(), Options::default()).await.unwrap();
        assert_eq!(receiver.shared.judge(&HeaderMap::new(), b""), Verdict::Unchecked);
        receiver.trust(Verifier::new([SECRET]).unwrap());
        assert!(matches!(receiver.shared.judge(&HeaderMap::new(), b""), Verdict::Refused(VerifyError::MissingHeader(_))));
    }
}
