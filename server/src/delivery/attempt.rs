//! One attempt: render, sign, send, decide, hand the outcome to the recorder.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use super::{Dispatcher, InFlight};
use crate::clock::Clock;
use crate::domain::delivery::{AttemptClass, Outcome as Ending, conclude};
use crate::domain::endpoint::Endpoint;
use crate::domain::event::Event;
use crate::domain::format::Format;
use crate::domain::format::set::answer;
use crate::domain::jose::jws::SigningKey;
use crate::domain::shape::{Occasion, RenderError, Rendered};
use crate::domain::{Time, retry, signature};
use crate::outbound::{self, BodyLimit, Request, Transport};
use crate::store::record::{Answer, Outcome, Timing};
use crate::store::{self, Epoch, Store};
use tokio::sync::Semaphore;

/// How a request ended: its class, and what the receiver said.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What follows is decided from this.
    pub ending: Ending,
    /// How long its parts took.
    pub timing: Timing,
    /// The address dialled; empty: none.
    pub address: String,
    /// The receiver's answer; `None` when there was none.
    pub answer: Option<Answer>,
    /// What class and status do not say; empty: nothing.
    pub detail: String,
}

impl<T: Transport> Dispatcher<T> {
    pub(super) async fn attempt(&self, mut slot: InFlight<T>, endpoint: Arc<Endpoint>) {
        let Some(job) = &slot.job else { return };
        let number = job.attempt_count + 1;
        let store = &self.inner.store;
        let begun = store.now();
        // What this node cannot make another may: it goes back to where it is taken again, and not at once.
        let signer = match signer(store, &endpoint).await {
            Ok(signer) if endpoint.shape.can_issue() => signer,
            Ok(_) => {
                tracing::error!(endpoint = &*endpoint.id, "security event tokens need `public_base_url` in the configuration");
                store.clock().pause(NO_KEY_PAUSE).await;
                return;
            }
            Err(error) => {
                tracing::error!(endpoint = &*endpoint.id, error = &error as &dyn std::error::Error, "no signing key can be read");
                store.clock().pause(NO_KEY_PAUSE).await;
                return;
            }
        };
        let delivery_id = if signer.is_some() { job.key.to_string() } else { String::new() };
        let subject =
            Subject { endpoint: Arc::clone(&endpoint), event: Arc::clone(&job.event), part: job.key.part, delivery_id, signer };
        let sent = send(&*self.inner.transport, &subject, number, begun);
        let Some(ended) = while_trusted(&job.epoch, store.clock(), sent).await else {
            // Somebody else may start it any moment: abort, and record nothing.
            slot.finish();
            return;
        };
        let now = store.now();
        if number == 1 && (ended.answer.is_some() || ended.timing.connect_ms.is_some()) {
            let connect = u64::try_from(ended.timing.connect_ms.unwrap_or(0)).unwrap_or(0);
            store.metrics().first_byte_sent(begun.since(job.event.create_time) + Duration::from_millis(connect));
        }
        let schedule_attempts = job.schedule_attempts + 1;
        let conclusion =
            conclude(&ended.ending, &endpoint.policy(), u32::try_from(schedule_attempts).unwrap_or(u32::MAX), now, rand::random());
        tracing::debug!(
            delivery = %job.key,
            endpoint = &*endpoint.id,
            attempt = number,
            class = ?ended.ending.class,
            status = ended.ending.status,
            elapsed_ms = ended.timing.total_ms,
            "attempt"
        );
        self.inner.health.note(endpoint.key, ended.ending.class, ended.timing.total_ms, now, conclusion.hold_endpoint_until);
        if let Some(until) = conclusion.hold_endpoint_until
            && let Some(queue) = self.inner.lock().queues.get_mut(&endpoint.key)
        {
            queue.hold_until = queue.hold_until.max(Some(until));
        }
        if conclusion.disable_endpoint || conclusion.pause_endpoint {
            self.stop(&endpoint, conclusion.disable_endpoint, &job.event.event_type).await;
        }
        let Some(job) = slot.finish() else { return };
        let outcome = Outcome {
            key: job.key,
            endpoint_id: Arc::clone(&endpoint.id),
            hold: job.hold(),
            epoch: Arc::clone(&job.epoch),
            number,
            schedule_attempts,
            priority: job.priority,
            class: ended.ending.class,
            status: ended.ending.status.unwrap_or(0),
            end_time: now,
            next: conclusion.next,
            timing: ended.timing,
            address: ended.address,
            answer: ended.answer,
            detail: ended.detail,
            event: job.event,
        };
        // The slot stays taken until the recorder has it: this bounds what a crash can send twice.
        self.inner.recorder.record(outcome).await;
    }

    /// A 410, or a receiver that refuses this sender: the endpoint is disabled or paused before the outcome is recorded, so that nothing is
    /// sent in between.
    async fn stop(&self, endpoint: &Endpoint, disable: bool, event_type: &str) {
        let store = &self.inner.store;
        let stopped =
            if disable { store.disable_gone(endpoint.key, event_type).await } else { store.pause_refused(endpoint.key).await };
        if let Err(error) = stopped {
            tracing::warn!(endpoint = &*endpoint.id, disable, error = &error as &dyn std::error::Error, "cannot stop an endpoint");
        }
    }
}

/// How long a delivery waits whose signing key cannot be read.
const NO_KEY_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of what is kept of why an attempt ended as it did.
const DETAIL_BYTES: usize = 1_000;

/// What signs the endpoint's security event tokens; `None`: it gets none, or there is no key, which rendering tells.
///
/// # Errors
/// The database cannot be asked, or the key cannot be opened.
pub async fn signer(store: &Store, endpoint: &Endpoint) -> Result<Option<Arc<SigningKey>>, store::Error> {
    if endpoint.shape.format != Format::Set {
        return Ok(None);
    }
    match store.signing_key(&endpoint.tenant).await {
        Ok(key) => Ok(Some(key)),
        Err(store::Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Goes on only for as long as the epoch may send; `None`: it was given up on the way.
async fn while_trusted<F: Future>(epoch: &Epoch, clock: &Clock, sending: F) -> Option<F::Output> {
    let (mut over, mut sending) = (pin!(epoch.over.cancelled()), pin!(sending));
    poll_fn(|cx| {
        if over.as_mut().poll(cx).is_ready() || !epoch.may_send(clock.instant()) {
            return Poll::Ready(None);
        }
        sending.as_mut().poll(cx).map(Some)
    })
    .await
}

/// What a request is made of.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Whose it is.
    pub endpoint: Arc<Endpoint>,
    /// The event.
    pub event: Arc<Event>,
    /// The delivery's part.
    pub part: i16,
    /// Id of the delivery; only formats that name it need it.
    pub delivery_id: String,
    /// Of [`signer`].
    pub signer: Option<Arc<SigningKey>>,
}

/// Templates that are worked on at once.
static TEMPLATES: Semaphore = Semaphore::const_new(2);
/// A tenant waits for its own turn first, so that a hundred costly templates of one are not before the first of another. Tenants that
/// share a lane by chance wait for each other.
static LANES: [Semaphore; 64] = [const { Semaphore::const_new(1) }; 64];

/// Sends one `webhook.verification` request that is neither stored nor repeated.
///
/// `subject`: an event made for the occasion; its body is what is sent.
pub async fn ping<T: Transport>(transport: &T, subject: &Subject, now: Time) -> Ended {
    send(transport, subject, 1, now).await
}

/// The body and headers of a request as they would be sent, but for what changes with every attempt.
///
/// # Errors
/// [`RenderError`].
pub async fn render(subject: &Subject) -> Result<Rendered<'_>, RenderError> {
    if subject.endpoint.shape.transform.is_none() {
        return render_here(subject);
    }
    // A template may be worked on for some hundredths of a second: not on a thread that all others wait for. Neither is ever closed.
    let mut hasher = DefaultHasher::new();
    subject.endpoint.tenant.hash(&mut hasher);
    let lane = usize::try_from(hasher.finish() % 64).unwrap_or_default();
    let _own_turn = LANES[lane].acquire().await;
    let _turn = TEMPLATES.acquire().await;
    let subject = subject.clone();
    let apart = tokio::task::spawn_blocking(move || render_here(&subject).map(Rendered::into_owned));
    apart.await.unwrap_or(Err(RenderError::Panicked))
}

fn render_here(subject: &Subject) -> Result<Rendered<'_>, RenderError> {
    let occasion = Occasion {
        part: subject.part,
        delivery_id: &subject.delivery_id,
        endpoint_id: &subject.endpoint.id,
        signer: subject.signer.as_deref(),
        random: &ring::rand::SystemRandom::new(),
    };
    subject.endpoint.shape.render(&subject.event, &occasion)
}

async fn send<T: Transport>(transport: &T, subject: &Subject, number: i32, now: Time) -> Ended {
    let endpoint = &*subject.endpoint;
    let rendered = match render(subject).await {
        Ok(rendered) => rendered,
        Err(error) => return Ended::unsent(AttemptClass::Unrenderable, &error.to_string()),
    };
    let Some(headers) = headers(endpoint, &subject.event, &rendered, number, now) else {
        return Ended::unsent(AttemptClass::Unrenderable, "no signing secret is active, or a header cannot be written");
    };
    let request = Request {
        url: &endpoint.url,
        headers,
        body: rendered.body,
        timeout: endpoint.attempt_timeout,
        body_limit: BodyLimit::DELIVERY,
    };
    match transport.send(request).await {
        Ok(response) => {
            let retry_after = response
                .headers
                .get(http::header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| retry::parse_retry_after(value, now));
            let mut ending = Ending::answered(response.status, retry_after);
            if endpoint.shape.format == Format::Set {
                ending = ending.heard(answer::read(response.status, &response.body));
            }
            Ended {
                ending,
                timing: timing(&response.timing),
                address: response.remote_addr.map(|address| address.to_string()).unwrap_or_default(),
                answer: Some(Answer { headers: text_headers(&response.headers), body: response.body.to_vec() }),
                detail: ending.detail().to_owned(),
            }
        }
        Err(failure) => {
            tracing::debug!(endpoint = &*endpoint.id, error = %failure.error, "attempt failed");
            Ended { timing: timing(&failure.timing), ..Ended::unsent(failure.class(), "") }
        }
    }
}

impl Ended {
    /// Without an answer. `detail`: what the class does not say.
    fn unsent(class: AttemptClass, detail: &str) -> Self {
        let end = (0..=DETAIL_BYTES.min(detail.len())).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or(0);
        Self {
            ending: Ending::failed(class),
            timing: Timing::default(),
            address: String::new(),
            answer: None,
            detail: detail[..end].to_owned(),
        }
    }
}

/// `None`: no secret signs any more, or a header cannot be written.
fn headers(endpoint: &Endpoint, event: &Event, rendered: &Rendered<'_>, number: i32, now: Time) -> Option<HeaderMap> {
    let seconds = now.millis().div_euclid(1_000);
    let webhook_id = &*rendered.webhook_id;
    let signature = signature::signature_header(endpoint.signing_secrets(now), webhook_id, seconds, &rendered.body);
    // No secret signs any more: nothing may go out unsigned.
    if signature.is_empty() {
        return None;
    }
    let mut headers = public_headers(&event.event_type, rendered, number)?;
    headers.reserve(2 + endpoint.headers.len());
    headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds));
    headers.insert(HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signature).ok()?);
    for header in &endpoint.headers {
        if let Some(value) = header.render(webhook_id) {
            headers.insert(header.name.clone(), value);
        }
    }
    Some(headers)
}

/// The headers of a request that its owners may see: neither those that prove who sends it, nor the endpoint's own. `number`: of the attempt.
/// `None`: one cannot be written.
///
/// Source: Standard Webhooks 1.0.0; RFC 9530 for `content-digest`.
pub fn public_headers(event_type: &str, rendered: &Rendered<'_>, number: i32) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(8 + rendered.headers.len());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(rendered.content_type));
    headers.insert(HeaderName::from_static("webhook-id"), HeaderValue::from_str(&rendered.webhook_id).ok()?);
    headers.insert(HeaderName::from_static("gatepost-event-type"), HeaderValue::from_str(event_type).ok()?);
    headers.insert(HeaderName::from_static("gatepost-attempt"), HeaderValue::from(number));
    headers.insert(HeaderName::from_static("content-digest"), HeaderValue::from_str(&rendered.digest).ok()?);
    for (name, value) in &rendered.headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).ok()?);
    }
    Some(headers)
}

fn text_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut text: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.entry(name.as_str().to_owned()).and_modify(|known| *known = format!("{known}, {value}")).or_insert(value.into_owned());
    }
    text
}

fn timing(timing: &outbound::Timing) -> Timing {
    let ms = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    Timing {
        dns_ms: timing.dns.map(ms),
        connect_ms: timing.connect.map(ms),
        first_byte_ms: timing.first_byte.map(ms),
        total_ms: ms(timing.total),
    }
}
