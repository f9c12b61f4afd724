//! Events as callers read them: one with its payload, or a page of them without.
//!
//! The store looks for the time that a filter asks for and shows every row to the rest of the filter. A list must never hold a payload:
//! a page of them would be no message.

use gatepost_client::v1;

use crate::api::access::Call;
use crate::api::convert::timestamp;
use crate::api::page::Query;
use crate::api::{Api, Error, Violations, lists, names};
use crate::domain::filter::{FieldSpec, Filter, Found, Kind};
use crate::store::events::{EventQuery, EventRecord};

/// What a list of events is filtered by.
const FIELDS: &[FieldSpec] = &[
    FieldSpec { name: "type", kind: Kind::Text },
    FieldSpec { name: "subject", kind: Kind::Text },
    FieldSpec { name: "create_time", kind: Kind::Time },
];

pub(super) async fn get(api: &Api, call: &Call, request: &v1::GetEventRequest) -> Result<v1::Event, Error> {
    let (tenant, id) = names::event("name", &request.name)?;
    call.sees(&tenant, &request.name)?;
    let event = api.parts.store.get_event(&tenant, &id).await.map_err(|error| call.failed(error, &request.name))?;
    let data = event.data.clone().into();
    Ok(v1::Event { data, ..encode(&tenant, &event) })
}

pub(super) async fn list(api: &Api, call: &Call, request: &v1::ListEventsRequest) -> Result<v1::ListEventsResponse, Error> {
    let mut bad = Violations::new();
    let tenant = bad.keep(names::tenant("parent", &request.parent)).unwrap_or_default();
    let filter = bad.keep(lists::filter(&request.filter, FIELDS)).unwrap_or_default();
    let canonical = filter.canonical();
    let query = Query { method: "ListEvents", parent: &request.parent, filter: &canonical, order: "" };
    let mut page = api.page(&mut bad, &query, request.page_size, &request.page_token).unwrap_or_default();
    bad.into_result()?;
    api.see_tenant(call, &tenant, &request.parent).await?;
    let (from, until) = lists::span(&filter, "create_time");
    let wanted = EventQuery { from, until };
    let store = &api.parts.store;
    let (events, next) = loop {
        let listed = store.list_events(&tenant, &page, &wanted, |event| matches(&filter, event)).await;
        let listed = listed.map_err(|error| call.failed(error, &request.parent))?;
        let events: Vec<_> = listed.items.iter().map(|event| encode(&tenant, event)).collect();
        if lists::fits(&mut page, &events) {
            break (events, listed.next);
        }
    };
    Ok(v1::ListEventsResponse { events, next_page_token: api.next_token(&query, next) })
}

fn matches(filter: &Filter, event: &EventRecord) -> bool {
    filter.matches(|field| match field {
        "type" => Some(Found::Text(&event.event_type)),
        "subject" => Some(Found::Text(&event.subject)),
        "create_time" => Some(Found::Time(event.create_time)),
        _ => None,
    })
}

/// Without its payload.
fn encode(tenant: &str, event: &EventRecord) -> v1::Event {
    v1::Event {
        name: ["tenants/", tenant, "/events/", &event.id].concat(),
        r#type: event.event_type.clone(),
        data: bytes::Bytes::new(),
        content_type: "application/json".to_owned(),
        subject: event.subject.clone(),
        tags: event.tags.clone(),
        occurred_time: Some(timestamp(event.occurred_time)),
        create_time: Some(timestamp(event.create_time)),
        sequence: event.seq,
        txn: event.txn.clone(),
        delivery_count: event.delivery_count,
        schema_version: event.schema_version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Time;

    #[test]
    fn events_are_chosen_by_type_subject_and_time_and_shown_whole() {
        let event = EventRecord {
            seq: 7,
            id: "hr_1".to_owned(),
            event_type: "user.created".to_owned(),
            subject: "user/u1".to_owned(),
            tags: [("a".to_owned(), "b".to_owned())].into(),
            occurred_time: Time::from_millis(1_500),
            create_time: Time::from_millis(2_000),
            txn: "hr_1".to_owned(),
            delivery_count: 3,
            schema_version: 1,
            data: b"{}".to_vec(),
        };
        for (text, passes) in [
            ("", true),
            (r#"type == "user.created" && subject in ["user/u1"]"#, true),
            (r#"type != "user.created""#, false),
            (r#"create_time > "1970-01-01T00:00:02Z""#, false),
        ] {
            assert_eq!(matches(&lists::filter(text, FIELDS).unwrap(), &event), passes, "{text}");
        }
        let shown = encode("acme", &event);
        assert_eq!((shown.name.as_str(), shown.sequence, shown.delivery_count), ("tenants/acme/events/hr_1", 7, 3));
        assert_eq!(shown.occurred_time, Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }));
        assert!(shown.data.is_empty(), "lists hold no payloads");
    }
}
