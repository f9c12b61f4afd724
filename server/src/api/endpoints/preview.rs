//! PreviewDelivery: what a stored event would be as a request to an endpoint, by its settings or by some that are not saved yet.
//!
//! It goes the way that a delivery goes (match, render) up to the point where it would be signed and sent. A signature is never shown: it
//! would make the preview a request that a receiver takes.

use std::collections::HashMap;
use std::sync::Arc;

use gatepost_client::v1;
use http::HeaderMap;

use super::fields::{self, CHANGEABLE};
use crate::api::access::Call;
use crate::api::mask::Mask;
use crate::api::{Api, Error, Violations, matches, names};
use crate::delivery::{self, Subject};
use crate::domain::DeliveryKey;
use crate::domain::caller::Verb;
use crate::domain::endpoint::{Endpoint, HIDDEN};
use crate::domain::shape::Rendered;

pub(super) async fn preview(
    api: &Api,
    call: &Call,
    request: v1::PreviewDeliveryRequest,
) -> Result<v1::PreviewDeliveryResponse, Error> {
    let mut bad = Violations::new();
    let name = bad.keep(names::endpoint("name", &request.name));
    let event = bad.keep(names::event("event", &request.event));
    if let (Some((tenant, _)), Some((other, _))) = (&name, &event) {
        bad.check("event", tenant == other, "is of another tenant");
    }
    let change = request.endpoint.as_ref().map(|sent| {
        let mask = Mask::read(&mut bad, request.update_mask.as_ref(), CHANGEABLE, |field| fields::is_set(sent, field));
        fields::check(&mut bad, sent, &mask, &api.parts.egress)
    });
    bad.into_result()?;
    let ((tenant, id), (_, event_id)) = (name.unwrap_or_default(), event.unwrap_or_default());
    call.sees(&tenant, &request.name)?;
    if !call.caller().may(Verb::DeliveriesRead) {
        return Err(Error::ScopeMissing { scope: Verb::DeliveriesRead.as_str().to_owned() });
    }
    let store = &api.parts.store;
    let endpoint = match change {
        None => store.get_endpoint(&tenant, &id).await,
        Some(change) => store.try_endpoint(&tenant, &id, change).await,
    };
    let endpoint = endpoint.map_err(|error| call.failed(error, &request.name))?.endpoint;
    let record = store.get_event(&tenant, &event_id).await.map_err(|error| call.failed(error, &request.event))?;
    let judged = matches::judge(&endpoint, &record, &matches::payload(&record));
    let mut response = v1::PreviewDeliveryResponse { r#match: Some(judged.shown), ..Default::default() };
    if judged.parts.is_empty() {
        return Ok(response);
    }
    let (endpoint, event) = (Arc::new(endpoint), Arc::new(record.into_event(&tenant)));
    let signer = delivery::signer(store, &endpoint).await.map_err(|error| call.failed(error, &request.name))?;
    for part in judged.parts.iter().copied() {
        let delivery_id = DeliveryKey { event_seq: event.seq, endpoint_key: endpoint.key, part }.to_string();
        let subject =
            Subject { endpoint: Arc::clone(&endpoint), event: Arc::clone(&event), part, delivery_id, signer: signer.clone() };
        match delivery::render(&subject).await {
            Ok(rendered) => match delivery::public_headers(&event.event_type, &rendered, 1) {
                Some(headers) => response.requests.push(show(&endpoint, part, &headers, rendered, api.parts.egress.user_agent())),
                None => response.render_error = "a header cannot be written".to_owned(),
            },
            Err(error) => response.render_error = error.to_string(),
        }
    }
    Ok(response)
}

fn show(
    endpoint: &Endpoint,
    part: i16,
    public: &HeaderMap,
    rendered: Rendered<'_>,
    user_agent: &str,
) -> v1::preview_delivery_response::Request {
    let shown = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut headers: HashMap<String, String> =
        public.iter().map(|(name, value)| shown(name.as_str(), &String::from_utf8_lossy(value.as_bytes()))).collect();
    headers.extend([shown("webhook-timestamp", HIDDEN), shown("webhook-signature", HIDDEN), shown("user-agent", user_agent)]);
    headers.extend(endpoint.headers.iter().map(|header| shown(header.name.as_str(), HIDDEN)));
    v1::preview_delivery_response::Request {
        part: part.into(),
        headers: headers.into_iter().collect(),
        body: rendered.body.into(),
        unencrypted_body: rendered.clear.unwrap_or_default().into(),
    }
}
