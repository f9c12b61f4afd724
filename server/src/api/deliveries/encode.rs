//! Deliveries and attempts as the contract shows them, from a row or from a change of the journal.
//!
//! Called for every delivery of every list and watch. Names are always whole, so that one can be sent back as it is. Nothing is decided
//! here but that a waiting delivery of an endpoint that gets nothing is shown as held.

use gatepost_client::v1;
use gatepost_client::v1::delivery::State as Shown;

use crate::api::convert::{self, timestamp};
use crate::domain::{DeliveryKey, Time};
use crate::feed;
use crate::store::deliveries::{AttemptRecord, DeliveryRecord};

/// A delivery of a tenant, held while its endpoint gets nothing.
pub(super) fn record(tenant: &str, record: &DeliveryRecord) -> v1::Delivery {
    let state = if record.is_held() { Shown::Held as i32 } else { record.state.code().into() };
    v1::Delivery {
        name: name(tenant, record.key),
        event: child(tenant, "/events/", &record.event_id),
        event_type: record.event_type.clone(),
        endpoint: child(tenant, "/endpoints/", &record.endpoint_id),
        state,
        revision: record.revision,
        attempt_count: record.attempt_count,
        last_status: record.last_status,
        last_class: record.last_class.map_or(0, |class| class.code().into()),
        next_attempt_time: record.due.filter(|_| !record.state.is_finished()).map(timestamp),
        create_time: Some(timestamp(record.create_time)),
        update_time: Some(timestamp(record.update_time)),
    }
}

/// A delivery as a change left it: never held, as a pause changes no delivery.
pub(super) fn change(tenant: &str, change: &feed::Change) -> v1::Change {
    let (event, delivery) = (change.event(), change.delivery());
    let shown = v1::Delivery {
        name: name(tenant, change.key()),
        event: child(tenant, "/events/", &event.id),
        event_type: event.event_type.clone(),
        endpoint: child(tenant, "/endpoints/", &delivery.endpoint_id),
        // Journal, rows and contract number states and classes alike.
        state: delivery.state,
        revision: delivery.revision,
        attempt_count: delivery.attempt_count,
        last_status: delivery.last_status,
        last_class: delivery.last_class,
        next_attempt_time: delivery.due.map(|due| timestamp(Time::from_millis(due))),
        create_time: Some(timestamp(Time::from_millis(event.create_time))),
        update_time: Some(timestamp(Time::from_millis(delivery.time))),
    };
    v1::Change { delivery: Some(shown) }
}

/// An attempt of a delivery of this name.
pub(super) fn attempt(delivery: &str, attempt: &AttemptRecord) -> v1::Attempt {
    let millis = |ms: i32| convert::millis(ms.into());
    let answer = attempt.answer.clone().unwrap_or_default();
    v1::Attempt {
        name: format!("{delivery}/attempts/{}", attempt.number),
        number: attempt.number,
        class: attempt.class.code().into(),
        response_status: attempt.status,
        end_time: Some(timestamp(attempt.end_time)),
        total_duration: Some(millis(attempt.total_ms)),
        dns_duration: attempt.dns_ms.map(millis),
        connect_duration: attempt.connect_ms.map(millis),
        first_byte_duration: attempt.first_byte_ms.map(millis),
        response_headers: answer.headers,
        response_body: answer.body,
        detail: attempt.detail.clone(),
    }
}

fn name(tenant: &str, key: DeliveryKey) -> String {
    child(tenant, "/deliveries/", &key.to_string())
}

fn child(tenant: &str, collection: &str, id: &str) -> String {
    ["tenants/", tenant, collection, id].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::{AttemptClass, State};
    use crate::domain::endpoint;

    fn sample() -> DeliveryRecord {
        DeliveryRecord {
            key: DeliveryKey { event_seq: 7, endpoint_key: 2, part: 0 },
            event_id: "hr_1".to_owned(),
            event_type: "user.created".to_owned(),
            endpoint_id: "siem".to_owned(),
            endpoint_state: Some(endpoint::State::Active),
            state: State::Retrying,
            revision: 3,
            attempt_count: 2,
            last_status: 0,
            last_class: Some(AttemptClass::Timeout),
            due: Some(Time::from_millis(3_000)),
            create_time: Time::from_millis(1_000),
            update_time: Time::from_millis(2_000),
        }
    }

    #[test]
    fn a_delivery_is_shown_with_whole_names() {
        let shown = record("acme", &sample());
        assert_eq!(shown.name, format!("tenants/acme/deliveries/{}", sample().key));
        assert_eq!((shown.event.as_str(), shown.endpoint.as_str()), ("tenants/acme/events/hr_1", "tenants/acme/endpoints/siem"));
        assert_eq!((shown.state(), shown.last_class()), (Shown::Retrying, v1::AttemptClass::Timeout));
        assert_eq!(shown.next_attempt_time.map(|time| time.seconds), Some(3));
    }

    #[test]
    fn only_what_waits_for_an_endpoint_that_gets_nothing_is_held() {
        for (endpoint_state, state, expected) in [
            (endpoint::State::Active, State::Pending, Shown::Pending),
            (endpoint::State::Paused, State::Pending, Shown::Held),
            (endpoint::State::Disabled, State::Retrying, Shown::Held),
            (endpoint::State::Paused, State::Succeeded, Shown::Succeeded),
            (endpoint::State::Disabled, State::Dead, Shown::Dead),
        ] {
            let shown = record("acme", &DeliveryRecord { endpoint_state: Some(endpoint_state), state, ..sample() });
            assert_eq!(shown.state(), expected, "{state:?} of {endpoint_state:?}");
            assert_eq!(shown.next_attempt_time.is_some(), !state.is_finished());
        }
    }

    #[test]
    fn an_attempt_on_a_reused_connection_has_no_lookup() {
        let shown = attempt(
            "tenants/acme/deliveries/dlv_1",
            &AttemptRecord {
                number: 2,
                class: AttemptClass::Success,
                status: 204,
                end_time: Time::from_millis(1_000),
                total_ms: 1_250,
                dns_ms: None,
                connect_ms: None,
                first_byte_ms: Some(1_200),
                answer: None,
                detail: "nonstandard_success".to_owned(),
            },
        );
        assert_eq!((shown.name.as_str(), shown.response_status), ("tenants/acme/deliveries/dlv_1/attempts/2", 204));
        assert_eq!(shown.total_duration, Some(prost_types::Duration { seconds: 1, nanos: 250_000_000 }));
        assert_eq!((shown.dns_duration, shown.connect_duration, shown.first_byte_duration.is_some()), (None, None, true));
    }
}
