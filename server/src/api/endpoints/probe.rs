//! TestEndpoint and GetEndpointStats: is the receiver there, and how has it been doing.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gatepost_client::v1;

use crate::api::access::Call;
use crate::api::convert::{self, attempt_class, endpoint_name, millis, timestamp};
use crate::api::{Api, Error, Violation};
use crate::delivery::{self, Subject};
use crate::domain::delivery::AttemptClass;
use crate::domain::endpoint::Endpoint;
use crate::domain::event::Event;
use crate::domain::id;

/// When to come back while too many tests run.
const RETRY: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_WINDOW: Duration = Duration::from_secs(3600);

/// Sends one signed `webhook.verification` request and waits for its end.
///
/// # Errors
/// [`Error::Overloaded`]: too many tests are on the wire; [`Error::StoreUnavailable`].
pub(super) async fn test(api: &Api, call: &Call, endpoint: &Endpoint) -> Result<v1::TestEndpointResponse, Error> {
    let parts = &api.parts;
    let Ok(_slot) = api.tests.try_acquire() else { return Err(Error::Overloaded { retry: RETRY }) };
    let now = parts.store.now();
    let event_id: Arc<str> = id::make(id::Kind::Event, parts.store.clock().uuid()).into();
    let data = serde_json::json!({ "endpoint_id": &*endpoint.id, "state": format!("{:?}", endpoint.state).to_uppercase() });
    let event = Event {
        seq: 0,
        tenant: Arc::clone(&endpoint.tenant),
        txn: event_id.to_string(),
        id: event_id,
        event_type: "webhook.verification".into(),
        subject: format!("tenant/{}", endpoint.tenant),
        occurred_time: now,
        create_time: now,
        schema_version: 1,
        data: data.to_string().into(),
        standard: OnceLock::new(),
    };
    let name = endpoint_name(&endpoint.tenant, &endpoint.id);
    let signer = delivery::signer(&parts.store, endpoint).await.map_err(|error| call.failed(error, &name))?;
    // Nothing is stored of it, but receivers tell tokens apart by it.
    let delivery_id = id::make(id::Kind::Delivery, parts.store.clock().uuid());
    let part = endpoint.shape.parts(&event.event_type).first().copied().unwrap_or_default();
    let subject = Subject { endpoint: Arc::new(endpoint.clone()), event: Arc::new(event), part, delivery_id, signer };
    let ended = delivery::ping(&*parts.egress, &subject, now).await;
    let answer = ended.answer.unwrap_or_default();
    let timing = ended.timing;
    let maybe = |part: Option<i32>| part.map(|part| millis(part.into()));
    let attempt = v1::Attempt {
        name: String::new(),
        number: 1,
        class: attempt_class(ended.ending.class).into(),
        response_status: ended.ending.status.unwrap_or(0).into(),
        end_time: Some(timestamp(parts.store.now())),
        total_duration: Some(millis(timing.total_ms.into())),
        dns_duration: maybe(timing.dns_ms),
        connect_duration: maybe(timing.connect_ms),
        first_byte_duration: maybe(timing.first_byte_ms),
        response_headers: answer.headers,
        response_body: answer.body,
        detail: ended.detail,
    };
    Ok(v1::TestEndpointResponse { success: ended.ending.class == AttemptClass::Success, attempt: Some(attempt) })
}

/// How far back the counts of attempts reach.
///
/// # Errors
/// It is no whole number of minutes up to a day.
pub(super) fn window(sent: Option<&prost_types::Duration>) -> Result<Duration, Violation> {
    let Some(sent) = sent else { return Ok(DEFAULT_WINDOW) };
    let window = convert::bounded("window_duration", sent, MINUTE..=DAY)?;
    if window.as_secs().is_multiple_of(60) && window.subsec_nanos() == 0 {
        Ok(window)
    } else {
        Err(Violation::new("window_duration", "must be whole minutes"))
    }
}

/// Counts of an endpoint.
///
/// # Errors
/// [`Error::StoreUnavailable`].
pub(super) async fn stats(api: &Api, call: &Call, endpoint: &Endpoint, window: Duration) -> Result<v1::EndpointStats, Error> {
    let name = endpoint_name(&endpoint.tenant, &endpoint.id);
    let stats = api.parts.store.endpoint_stats(endpoint.key, window).await.map_err(|error| call.failed(error, &name))?;
    let in_flight = api.parts.dispatcher.as_ref().map_or(0, |dispatcher| dispatcher.in_flight(endpoint.key));
    let attempts = stats.succeeded_count + stats.failed_count;
    Ok(v1::EndpointStats {
        endpoint: name,
        pending_count: stats.pending_count,
        retrying_count: stats.retrying_count,
        dead_count: stats.dead_count,
        oldest_pending_time: stats.oldest_pending.map(timestamp),
        in_flight_count: i64::try_from(in_flight).unwrap_or(i64::MAX),
        succeeded_attempt_count: stats.succeeded_count,
        failed_attempt_count: stats.failed_count,
        mean_duration: (attempts > 0).then(|| millis(stats.total_ms / attempts)),
        max_duration: (attempts > 0).then(|| millis(stats.max_ms)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_whole_minutes_up_to_a_day() {
        let read = |seconds, nanos| window(Some(&prost_types::Duration { seconds, nanos }));
        assert_eq!(window(None), Ok(DEFAULT_WINDOW));
        assert_eq!(read(60, 0), Ok(MINUTE));
        assert_eq!(read(86_400, 0), Ok(DAY));
        for (seconds, nanos) in [(0, 0), (59, 0), (90, 0), (120, 1), (86_460, 0), (-60, 0)] {
            assert!(read(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }
}
