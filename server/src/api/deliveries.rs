//! Not yet.
use super::generated::delivery_service_server::DeliveryService;
use super::Api;
use gatepost_client::v1;
use std::sync::Arc;
use tonic::{Request, Response, Status};
pub(super) struct Deliveries(pub(super) Arc<Api>);
#[tonic::async_trait]
impl DeliveryService for Deliveries {
    async fn get_delivery(&self, _: Request<v1::GetDeliveryRequest>) -> Result<Response<v1::Delivery>, Status> { Err(Status::unimplemented("")) }
    async fn list_deliveries(&self, _: Request<v1::ListDeliveriesRequest>) -> Result<Response<v1::ListDeliveriesResponse>, Status> { Err(Status::unimplemented("")) }
    async fn list_attempts(&self, _: Request<v1::ListAttemptsRequest>) -> Result<Response<v1::ListAttemptsResponse>, Status> { Err(Status::unimplemented("")) }
    type WatchDeliveriesStream = tokio_stream::Empty<Result<v1::WatchDeliveriesResponse, Status>>;
    async fn watch_deliveries(&self, _: Request<v1::WatchDeliveriesRequest>) -> Result<Response<Self::WatchDeliveriesStream>, Status> { Err(Status::unimplemented("")) }
    async fn retry_delivery(&self, _: Request<v1::RetryDeliveryRequest>) -> Result<Response<v1::Delivery>, Status> { Err(Status::unimplemented("")) }
    async fn cancel_delivery(&self, _: Request<v1::CancelDeliveryRequest>) -> Result<Response<v1::Delivery>, Status> { Err(Status::unimplemented("")) }
}
