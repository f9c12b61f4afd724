//! One attempt: render, sign, send, decide, hand the outcome to the recorder.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use super::{Dispatcher, InFlight};
use crate::clock::Clock;
use crate::domain::delivery::{AttemptClass, Outcome as Ending, conclude};
use crate::domain::endpoint::Endpoint;
use crate::domain::event::Event;
use crate::domain::{Time, format, retry, signature};
use crate::outbound::{self, BodyLimit, Request, Transport};
use crate::store::Epoch;
use crate::store::record::{Answer, Outcome, Timing};

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
}

impl<T: Transport> Dispatcher<T> {
    pub(super) async fn attempt(&self, mut slot: InFlight<T>, endpoint: Arc<Endpoint>) {
        let Some(job) = &slot.job else { return };
        let number = job.attempt_count + 1;
        let store = &self.inner.store;
        let begun = store.now();
        let sent = send(&*self.inner.transport, &endpoint, &job.event, number, begun);
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
        if conclusion.disable_endpoint {
            self.disable(&endpoint).await;
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
            event: job.event,
        };
        // The slot stays taken until the recorder has it: this bounds what a crash can send twice.
        self.inner.recorder.record(outcome).await;
    }

    /// A 410: the endpoint is disabled before the outcome is recorded, so that nothing is sent in between.
    async fn disable(&self, endpoint: &Endpoint) {
        if let Err(error) = self.inner.store.disable_gone(endpoint.key).await {
            tracing::warn!(
                endpoint = &*endpoint.id,
                error = &error as &dyn std::error::Error,
                "cannot disable an endpoint that is gone"
            );
        }
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

/// Sends one `webhook.verification` request that is neither stored nor repeated.
///
/// `event`: made for the occasion; its body is what is sent.
pub async fn ping<T: Transport>(transport: &T, endpoint: &Endpoint, event: &Event, now: Time) -> Ended {
    send(transport, endpoint, event, 1, now).await
}

async fn send<T: Transport>(transport: &T, endpoint: &Endpoint, event: &Event, number: i32, now: Time) -> Ended {
    let body = event.standard_body();
    let Some(headers) = headers(endpoint, event, body, number, now) else {
        // No secret signs any more: nothing may go out unsigned.
        return Ended {
            ending: Ending::failed(AttemptClass::Protocol),
            timing: Timing::default(),
            address: String::new(),
            answer: None,
        };
    };
    let request = Request {
        url: &endpoint.url,
        headers,
        body: Bytes::clone(body),
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
            Ended {
                ending: Ending::answered(response.status, retry_after),
                timing: timing(&response.timing),
                address: response.remote_addr.map(|address| address.to_string()).unwrap_or_default(),
                answer: Some(Answer { headers: text_headers(&response.headers), body: response.body.to_vec() }),
            }
        }
        Err(failure) => {
            tracing::debug!(endpoint = &*endpoint.id, error = %failure.error, "attempt failed");
            Ended { ending: Ending::failed(failure.class()), timing: timing(&failure.timing), address: String::new(), answer: None }
        }
    }
}

/// Source: Standard Webhooks 1.0.0; RFC 9530 for `content-digest`.
fn headers(endpoint: &Endpoint, event: &Event, body: &Bytes, number: i32, now: Time) -> Option<HeaderMap> {
    let seconds = now.millis().div_euclid(1_000);
    let signature = signature::signature_header(endpoint.signing_secrets(now), &event.id, seconds, body);
    if signature.is_empty() {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(8 + endpoint.headers.len());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(format::STANDARD_CONTENT_TYPE));
    headers.insert(HeaderName::from_static("webhook-id"), HeaderValue::from_str(&event.id).ok()?);
    headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds));
    headers.insert(HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signature).ok()?);
    headers.insert(HeaderName::from_static("gatepost-event-type"), HeaderValue::from_str(&event.event_type).ok()?);
    headers.insert(HeaderName::from_static("gatepost-attempt"), HeaderValue::from(number));
    headers.insert(HeaderName::from_static("content-digest"), HeaderValue::from_str(event.standard_digest()).ok()?);
    for header in &endpoint.headers {
        if let Some(value) = header.render(&event.id) {
            headers.insert(header.name.clone(), value);
        }
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
