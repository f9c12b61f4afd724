//! Whether an event is for an endpoint, as people are told: by the rules that a publish goes by, with what a filter read.
//!
//! Shared by ExplainEvent and PreviewDelivery.

use gatepost_client::v1::{self, endpoint_match};

use super::convert::endpoint_name;
use crate::domain::endpoint::{Endpoint, Mismatch};
use crate::domain::event_filter::Input;
use crate::domain::shape::Parts;
use crate::store::events::EventRecord;

/// What the rules say.
#[derive(Debug)]
pub(super) struct Judged {
    /// For people.
    pub(super) shown: v1::EndpointMatch,
    /// The parts of the deliveries that the event would make; none when it does not match.
    pub(super) parts: Parts,
}

/// The payload as filters read it; null for one that not every parser reads, which fails filters that ask for its members.
pub(super) fn payload(event: &EventRecord) -> serde_json::Value {
    serde_json::from_slice(&event.data).unwrap_or_default()
}

/// Judges an event by an endpoint's settings. `data`: its [`payload`].
pub(super) fn judge(endpoint: &Endpoint, event: &EventRecord, data: &serde_json::Value) -> Judged {
    let mut shown = v1::EndpointMatch { endpoint: endpoint_name(&endpoint.tenant, &endpoint.id), ..Default::default() };
    let parts = match endpoint.admits(&event.event_type) {
        Ok(parts) => parts,
        Err(mismatch) => return refuse(shown, mismatch),
    };
    if let Some(filter) = &endpoint.filter {
        let input = Input { event_type: &event.event_type, tenant: &endpoint.tenant, tags: &event.tags, data };
        let explained = filter.explain(&input);
        shown.values = explained.values.into_iter().map(|(path, value)| endpoint_match::Value { path, value }).collect();
        match explained.outcome {
            Ok(true) => {}
            Ok(false) => return refuse(shown, Mismatch::FilterFalse),
            Err(error) => {
                shown.detail = error.to_string();
                return refuse(shown, Mismatch::FilterFailed);
            }
        }
    }
    shown.matched = true;
    Judged { shown, parts }
}

fn refuse(mut shown: v1::EndpointMatch, mismatch: Mismatch) -> Judged {
    shown.reason = endpoint_match::Reason::try_from(mismatch as i32).unwrap_or_default().into();
    Judged { shown, parts: Parts::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatches_are_those_of_the_contract() {
        use Mismatch as M;
        for mismatch in [M::HooksOnly, M::Disabled, M::EventType, M::NoSecurityEvent, M::FilterFalse, M::FilterFailed] {
            let name = endpoint_match::Reason::try_from(mismatch as i32).unwrap().as_str_name();
            assert_eq!(name.replace("REASON_", "").replace('_', ""), format!("{mismatch:?}").to_uppercase());
        }
    }
}
