//! ExplainEvent: for every endpoint whether the event matches it, and which rule with which values says no.

use std::collections::HashMap;

use gatepost_client::v1;

use crate::api::access::Call;
use crate::api::page::Query;
use crate::api::{Api, Error, Violations, lists, matches, names};
use crate::domain::endpoint::State;
use crate::store::deliveries::DeliveryQuery;
use crate::store::page::Page;

/// Deliveries of one page of those that the event made: one or a few for each endpoint.
const DELIVERIES: u32 = 1_000;
/// Pages that are looked at.
const PAGES: usize = 100;

pub(super) async fn explain(api: &Api, call: &Call, request: &v1::ExplainEventRequest) -> Result<v1::ExplainEventResponse, Error> {
    let mut bad = Violations::new();
    let name = bad.keep(names::event("name", &request.name));
    let query = Query { method: "ExplainEvent", parent: &request.name, filter: "", order: "" };
    let page = api.page(&mut bad, &query, request.page_size, &request.page_token);
    bad.into_result()?;
    let ((tenant, id), mut page) = (name.unwrap_or_default(), page.unwrap_or_default());
    call.sees(&tenant, &request.name)?;
    let store = &api.parts.store;
    let failed = |error| call.failed(error, &request.name);
    let event = store.get_event(&tenant, &id).await.map_err(failed)?;
    let data = matches::payload(&event);
    let made = made(api, &tenant, &id).await.map_err(failed)?;
    let (matches, next) = loop {
        let listed = store.list_endpoints(&tenant, &page, &State::ALL).await.map_err(failed)?;
        let judge = |record: &crate::store::endpoints::EndpointRecord| {
            let endpoint = &record.endpoint;
            let deliveries = made.get(&*endpoint.id).cloned().unwrap_or_default();
            v1::EndpointMatch { deliveries, ..matches::judge(endpoint, &event, &data).shown }
        };
        let matches: Vec<_> = listed.items.iter().map(judge).collect();
        if lists::fits(&mut page, &matches) {
            break (matches, listed.next);
        }
    };
    Ok(v1::ExplainEventResponse { matches, next_page_token: api.next_token(&query, next) })
}

/// Names of the event's deliveries by the id of their endpoint.
async fn made(api: &Api, tenant: &str, event_id: &str) -> Result<HashMap<String, Vec<String>>, crate::store::Error> {
    let query = DeliveryQuery { event_id: Some(event_id.to_owned()), ..DeliveryQuery::default() };
    let mut made: HashMap<String, Vec<String>> = HashMap::new();
    let mut page = Page::first(DELIVERIES);
    for _ in 0..PAGES {
        let listed = api.parts.store.list_deliveries(tenant, &page, &query, |_| true).await?;
        for delivery in listed.items {
            made.entry(delivery.endpoint_id).or_default().push(format!("tenants/{tenant}/deliveries/{}", delivery.key));
        }
        match listed.next {
            Some(after) => page.after = Some(after),
            None => break,
        }
    }
    // Newest part first, as lists go; people count upwards.
    made.values_mut().for_each(|names| names.reverse());
    Ok(made)
}
