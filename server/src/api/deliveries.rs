//! `DeliveryService`: read deliveries and their attempts, follow them, move single ones by hand.
//!
//! The filter of a list is in [`select`], a watch in [`watch`]; what both show is made in [`encode`]. Held is decided when a delivery is
//! read: no row and no change of a watch ever says it.

mod encode;
mod select;
mod watch;
mod watchers;

use std::sync::Arc;

use gatepost_client::v1;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::access::{Call, enter};
use super::convert::{self, About};
use super::generated::delivery_service_server::DeliveryService;
use super::page::Query;
use super::{Api, Error, Violations, lists, names};
use crate::store::deliveries::DeliveryRecord;
use crate::store::requests::Answer;

pub(super) use watchers::Watchers;

use select::Selection;

/// The service.
pub(super) struct Deliveries(pub(super) Arc<Api>);

#[tonic::async_trait]
impl DeliveryService for Deliveries {
    async fn get_delivery(&self, request: Request<v1::GetDeliveryRequest>) -> Result<Response<v1::Delivery>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.get(&call, &request.name).await?))
    }

    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.list(&call, &request).await?))
    }

    async fn list_attempts(&self, request: Request<v1::ListAttemptsRequest>) -> Result<Response<v1::ListAttemptsResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.attempts(&call, &request).await?))
    }

    type WatchDeliveriesStream = watch::Messages;

    async fn watch_deliveries(&self, request: Request<v1::WatchDeliveriesRequest>) -> Result<Response<watch::Messages>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(watch::open(&self.0, call, request).await?))
    }

    async fn retry_delivery(&self, request: Request<v1::RetryDeliveryRequest>) -> Result<Response<v1::Delivery>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.retry(&call, request).await?))
    }

    async fn cancel_delivery(&self, request: Request<v1::CancelDeliveryRequest>) -> Result<Response<v1::Delivery>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.cancel(&call, &request.name).await?))
    }
}

impl Deliveries {
    async fn get(&self, call: &Call, name: &str) -> Result<v1::Delivery, Error> {
        let (tenant, key) = names::delivery("name", name)?;
        call.sees(&tenant, name)?;
        let record = self.0.parts.store.get_delivery(&tenant, key).await.map_err(|error| call.failed(error, name))?;
        Ok(encode::record(&tenant, &record))
    }

    async fn list(&self, call: &Call, request: &v1::ListDeliveriesRequest) -> Result<v1::ListDeliveriesResponse, Error> {
        let mut bad = Violations::new();
        let tenant = bad.keep(names::tenant("parent", &request.parent)).unwrap_or_default();
        let selection = bad.keep(Selection::read(&request.filter, &tenant)).unwrap_or_default();
        let canonical = selection.canonical();
        let query = Query { method: "ListDeliveries", parent: &request.parent, filter: &canonical, order: "" };
        let mut page = self.0.page(&mut bad, &query, request.page_size, &request.page_token).unwrap_or_default();
        bad.into_result()?;
        self.0.see_tenant(call, &tenant, &request.parent).await?;
        let Some(wanted) = selection.query() else { return Ok(v1::ListDeliveriesResponse::default()) };
        let store = &self.0.parts.store;
        let (deliveries, next) = loop {
            let listed = store.list_deliveries(&tenant, &page, &wanted, |record| selection.matches(record)).await;
            let listed = listed.map_err(|error| call.failed(error, &request.parent))?;
            let deliveries: Vec<_> = listed.items.iter().map(|record| encode::record(&tenant, record)).collect();
            if lists::fits(&mut page, &deliveries) {
                break (deliveries, listed.next);
            }
        };
        Ok(v1::ListDeliveriesResponse { deliveries, next_page_token: self.0.next_token(&query, next) })
    }

    async fn attempts(&self, call: &Call, request: &v1::ListAttemptsRequest) -> Result<v1::ListAttemptsResponse, Error> {
        let mut bad = Violations::new();
        let named = bad.keep(names::delivery("parent", &request.parent));
        let query = Query { method: "ListAttempts", parent: &request.parent, filter: "", order: "" };
        let page = self.0.page(&mut bad, &query, request.page_size, &request.page_token);
        bad.into_result()?;
        // Neither is missing when no field is bad.
        let Some(((tenant, key), mut page)) = named.zip(page) else { return Ok(v1::ListAttemptsResponse::default()) };
        call.sees(&tenant, &request.parent)?;
        let store = &self.0.parts.store;
        let (attempts, next) = loop {
            let listed = store.list_attempts(&tenant, key, &page).await;
            let listed = listed.map_err(|error| call.failed(error, &request.parent))?;
            let attempts: Vec<_> = listed.items.iter().map(|attempt| encode::attempt(&request.parent, attempt)).collect();
            if lists::fits(&mut page, &attempts) {
                break (attempts, listed.next);
            }
        };
        Ok(v1::ListAttemptsResponse { attempts, next_page_token: self.0.next_token(&query, next) })
    }

    async fn retry(&self, call: &Call, mut request: v1::RetryDeliveryRequest) -> Result<v1::Delivery, Error> {
        let mut bad = Violations::new();
        let named = bad.keep(names::delivery("name", &request.name));
        let request_id = std::mem::take(&mut request.request_id);
        let tenant = named.as_ref().map(|(tenant, _)| Arc::clone(tenant)).unwrap_or_default();
        let answer = |record: &DeliveryRecord| encode::record(&tenant, record).encode_to_vec();
        let once = bad.keep(convert::once(&tenant, "RetryDelivery", &request_id, &request, answer));
        bad.into_result()?;
        let Some(((tenant, key), once)) = named.zip(once) else { return Ok(v1::Delivery::default()) };
        call.sees(&tenant, &request.name)?;
        let about = About { resource: &request.name, id: &request_id };
        match self.0.parts.store.retry_delivery(&tenant, key, once).await.map_err(|error| call.failed(error, about))? {
            Answer::Done(record) => Ok(encode::record(&tenant, &record)),
            Answer::Replayed(first) => call.replayed(&first),
        }
    }

    async fn cancel(&self, call: &Call, name: &str) -> Result<v1::Delivery, Error> {
        let (tenant, key) = names::delivery("name", name)?;
        call.sees(&tenant, name)?;
        let record = self.0.parts.store.cancel_delivery(&tenant, key).await.map_err(|error| call.failed(error, name))?;
        Ok(encode::record(&tenant, &record))
    }
}
