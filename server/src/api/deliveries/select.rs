//! Which deliveries a list holds: the caller's filter, and the part of it that the store can look for.
//!
//! What the store cannot look for is checked row by row, so the filter decides and [`Selection::query`] only saves work. Endpoints and
//! events may be written by their ids or by their names.

use crate::api::{Violation, lists};
use crate::domain::change_filter;
use crate::domain::delivery::State;
use crate::domain::filter::{FieldSpec, Filter, Found, Kind, Op, Value};
use crate::store::deliveries::{DeliveryQuery, DeliveryRecord};

const CREATE_TIME: FieldSpec = FieldSpec { name: "create_time", kind: Kind::Time };

/// A filter of deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection(Filter);

impl Selection {
    /// Reads the filter of a list of a tenant.
    ///
    /// # Errors
    /// It is no filter.
    pub(super) fn read(text: &str, tenant: &str) -> Result<Self, Violation> {
        let fields: Vec<FieldSpec> = change_filter::FIELDS.iter().copied().chain([CREATE_TIME]).collect();
        let id = |text: String, collection: &str| {
            let id = text.strip_prefix("tenants/").and_then(|rest| rest.strip_prefix(tenant)?.strip_prefix(collection));
            id.map(str::to_owned).unwrap_or(text)
        };
        let filter = lists::filter(text, &fields)?.rewrite(|field, text| match field {
            "endpoint" => id(text, "/endpoints/"),
            "event" => id(text, "/events/"),
            _ => text,
        });
        Ok(Self(filter))
    }

    /// One spelling for all filters that mean the same.
    pub(super) fn canonical(&self) -> String {
        self.0.canonical()
    }

    /// What the store looks for; `None`: no delivery can pass.
    pub(super) fn query(&self) -> Option<DeliveryQuery> {
        let states: Vec<State> = State::ALL.into_iter().filter(|state| self.leaves(*state)).collect();
        if states.is_empty() {
            return None;
        }
        let (from, until) = lists::span(&self.0, CREATE_TIME.name);
        Some(DeliveryQuery {
            event_id: self.only("event"),
            endpoint_id: self.only("endpoint"),
            states: if states.len() == State::ALL.len() { Vec::new() } else { states },
            from,
            until,
        })
    }

    /// Whether a delivery is in the list.
    pub(super) fn matches(&self, record: &DeliveryRecord) -> bool {
        self.0.matches(|field| match field {
            "state" => Some(Found::Text(name(record.state))),
            "endpoint" => Some(Found::Text(&record.endpoint_id)),
            "event" => Some(Found::Text(&record.event_id)),
            "event_type" => Some(Found::Text(&record.event_type)),
            "create_time" => Some(Found::Time(record.create_time)),
            _ => None,
        })
    }

    /// Whether the comparisons of the state leave this one.
    fn leaves(&self, state: State) -> bool {
        self.0.terms().iter().filter(|term| term.field == "state").all(|term| {
            let named = term.values.iter().any(|value| matches!(value, Value::Text(text) if text == name(state)));
            named != (term.op == Op::NotEqual)
        })
    }

    /// The one value that a text field may have.
    fn only(&self, field: &str) -> Option<String> {
        self.0.terms().iter().find_map(|term| match (term.op, term.values.as_slice()) {
            (Op::Equal | Op::In, [Value::Text(text)]) if term.field == field => Some(text.clone()),
            _ => None,
        })
    }
}

/// As filters spell it.
const fn name(state: State) -> &'static str {
    match state {
        State::Pending => "PENDING",
        State::Retrying => "RETRYING",
        State::Succeeded => "SUCCEEDED",
        State::Dead => "DEAD",
        State::Cancelled => "CANCELLED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DeliveryKey, Time};

    fn selection(text: &str) -> Selection {
        Selection::read(text, "acme").unwrap()
    }

    fn query(text: &str) -> DeliveryQuery {
        selection(text).query().unwrap()
    }

    #[test]
    fn names_of_states_are_those_of_the_filter() {
        let Kind::State(names) = change_filter::FIELDS[0].kind else { panic!("state") };
        assert_eq!(State::ALL.map(name), *names);
    }

    #[test]
    fn the_store_looks_for_what_the_filter_says() {
        let found = query(
            r#"state in ["RETRYING", "DEAD"] && endpoint == "tenants/acme/endpoints/siem" && create_time >= "1970-01-01T00:00:01Z""#,
        );
        assert_eq!(found.states, [State::Retrying, State::Dead]);
        assert_eq!((found.endpoint_id.as_deref(), found.event_id, found.from), (Some("siem"), None, Some(Time::from_millis(1000))));
        assert_eq!(query(r#"event == "tenants/acme/events/hr_1""#).event_id.as_deref(), Some("hr_1"));
        assert_eq!(query(r#"state != "SUCCEEDED""#).states.len(), 4);
        let all = query(r#"endpoint != "siem" && event in ["a", "b"] && event_type == "user.created""#);
        assert_eq!((all.states.len(), all.endpoint_id, all.event_id), (0, None, None));
        assert!(selection(r#"state == "DEAD" && state == "PENDING""#).query().is_none());
    }

    #[test]
    fn the_filter_decides() {
        let record = DeliveryRecord {
            key: DeliveryKey { event_seq: 1, endpoint_key: 1, part: 0 },
            event_id: "hr_1".to_owned(),
            event_type: "user.created".to_owned(),
            endpoint_id: "siem".to_owned(),
            endpoint_state: None,
            state: State::Dead,
            revision: 3,
            attempt_count: 2,
            last_status: 500,
            last_class: None,
            due: None,
            create_time: Time::from_millis(1000),
            update_time: Time::from_millis(2000),
        };
        for (text, passes) in [
            ("", true),
            (r#"state == "DEAD" && endpoint == "siem" && event == "hr_1" && event_type == "user.created""#, true),
            (r#"endpoint in ["tenants/acme/endpoints/siem", "crm"]"#, true),
            (r#"endpoint == "tenants/other/endpoints/siem""#, false),
            (r#"event != "tenants/acme/events/hr_1""#, false),
            (r#"create_time < "1970-01-01T00:00:01Z""#, false),
            (r#"state in ["PENDING", "RETRYING"]"#, false),
        ] {
            assert_eq!(selection(text).matches(&record), passes, "{text}");
        }
    }

    #[test]
    fn held_is_no_state_to_filter_by_and_the_error_names_those_that_are() {
        let bad = Selection::read(r#"state == "HELD""#, "acme").unwrap_err();
        assert_eq!(bad.field, "filter");
        assert!(bad.description.contains("PENDING, RETRYING, SUCCEEDED, DEAD, CANCELLED"), "{}", bad.description);
    }
}
