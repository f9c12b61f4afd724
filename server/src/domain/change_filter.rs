//! Which changes of deliveries a watch lets through: a [`Filter`] made ready for one tenant, asked once for every change.
//!
//! The API parses the filter with [`FIELDS`]; the feed asks [`ChangeFilter::passes`]. An endpoint or event may be written by its id or
//! by its resource name: both mean the same.

use super::change::{DeliveryChange, EventChanges};
use super::delivery::State;
use super::filter::{FieldSpec, Filter, Kind, Op, Value};

/// What a watch of deliveries is filtered by.
pub const FIELDS: &[FieldSpec] = &[
    FieldSpec { name: "state", kind: Kind::State(&["PENDING", "RETRYING", "SUCCEEDED", "DEAD", "CANCELLED"]) },
    FieldSpec { name: "endpoint", kind: Kind::Text },
    FieldSpec { name: "event", kind: Kind::Text },
    FieldSpec { name: "event_type", kind: Kind::Text },
];

/// Comparisons that a change must all pass.
#[derive(Debug, Clone)]
pub struct ChangeFilter(Vec<Comparison>);

#[derive(Debug, Clone)]
struct Comparison {
    one_of: OneOf,
    /// `!=`: passes what it does not name.
    negated: bool,
}

#[derive(Debug, Clone)]
enum OneOf {
    States(Vec<i32>),
    Endpoints(Vec<String>),
    Events(Vec<String>),
    EventTypes(Vec<String>),
}

impl ChangeFilter {
    /// Makes a filter over [`FIELDS`] ready for a tenant.
    pub fn new(filter: &Filter, tenant: &str) -> Self {
        let comparison = |term: &super::filter::Term| {
            let texts = term.values.iter().filter_map(|value| match value {
                Value::Text(text) => Some(text.as_str()),
                Value::Time(_) => None,
            });
            let ids = |collection: &str| {
                let parent = format!("tenants/{tenant}/{collection}/");
                texts.clone().map(|text| text.strip_prefix(parent.as_str()).unwrap_or(text).to_owned()).collect()
            };
            let one_of = match term.field {
                "state" => OneOf::States(texts.filter_map(state).map(|state| state.code().into()).collect()),
                "endpoint" => OneOf::Endpoints(ids("endpoints")),
                "event" => OneOf::Events(ids("events")),
                // The only field left; no other was allowed when the filter was parsed.
                _ => OneOf::EventTypes(texts.map(str::to_owned).collect()),
            };
            Comparison { one_of, negated: term.op == Op::NotEqual }
        };
        Self(filter.terms().iter().map(comparison).collect())
    }

    /// Whether a change passes.
    pub fn passes(&self, event: &EventChanges, delivery: &DeliveryChange) -> bool {
        self.0.iter().all(|comparison| comparison.one_of.names(event, delivery) != comparison.negated)
    }
}

impl OneOf {
    fn names(&self, event: &EventChanges, delivery: &DeliveryChange) -> bool {
        match self {
            Self::States(states) => states.contains(&delivery.state),
            Self::Endpoints(ids) => ids.contains(&delivery.endpoint_id),
            Self::Events(ids) => ids.contains(&event.id),
            Self::EventTypes(types) => types.contains(&event.event_type),
        }
    }
}

fn state(name: &str) -> Option<State> {
    Some(match name {
        "PENDING" => State::Pending,
        "RETRYING" => State::Retrying,
        "SUCCEEDED" => State::Succeeded,
        "DEAD" => State::Dead,
        "CANCELLED" => State::Cancelled,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_name() {
        let Kind::State(names) = FIELDS[0].kind else { panic!("state") };
        assert_eq!(names.iter().filter_map(|name| state(name)).collect::<Vec<_>>(), State::ALL);
    }

    #[test]
    fn changes_are_chosen_by_state_endpoint_event_and_type() {
        let delivery = DeliveryChange { endpoint_id: "siem".to_owned(), state: State::Dead.code().into(), ..Default::default() };
        let event = EventChanges { id: "evt_1".to_owned(), event_type: "user.created".to_owned(), ..Default::default() };
        for (text, passes) in [
            ("", true),
            (r#"state == "DEAD""#, true),
            (r#"state != "DEAD""#, false),
            (r#"state in ["RETRYING", "DEAD"]"#, true),
            (r#"state == "SUCCEEDED""#, false),
            (r#"endpoint == "siem""#, true),
            (r#"endpoint == "tenants/acme/endpoints/siem""#, true),
            (r#"endpoint != "tenants/acme/endpoints/siem""#, false),
            (r#"endpoint == "tenants/other/endpoints/siem""#, false),
            (r#"endpoint in ["crm", "tenants/acme/endpoints/siem"]"#, true),
            (r#"event == "evt_1""#, true),
            (r#"event == "tenants/acme/events/evt_1""#, true),
            (r#"event == "tenants/acme/endpoints/evt_1""#, false),
            (r#"event_type == "user.created" && state == "DEAD""#, true),
            (r#"event_type == "user.created" && state == "PENDING""#, false),
        ] {
            let filter = ChangeFilter::new(&Filter::parse(text, FIELDS).unwrap(), "acme");
            assert_eq!(filter.passes(&event, &delivery), passes, "{text}");
        }
    }
}
