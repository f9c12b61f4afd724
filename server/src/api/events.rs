//! `EventService`: publish one event, several or a stream of them; read them back.
//!
//! An answer to a publish follows its commit: see [`crate::store::publish`]. Fields are checked before the tenant, so that a tenant that a
//! caller may not know of answers as one that does not exist.

mod accept;
mod batch;
mod explain;
mod pipeline;
mod read;

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use gatepost_client::v1;
use tonic::{Request, Response, Status, Streaming};

use super::access::{Call, enter};
use super::generated::event_service_server::EventService;
use super::{Api, Error, names};
use crate::store::publish::Verdict;

use accept::Checker;
use pipeline::Pipeline;

/// The service.
pub(super) struct Events(pub(super) Arc<Api>);

impl Events {
    async fn publish_one(&self, call: &Call, mut request: v1::PublishEventRequest) -> Result<v1::PublishEventResponse, Error> {
        let parts = &self.0.parts;
        let parent = names::tenant("parent", &request.parent);
        let parent_name = std::mem::take(&mut request.parent);
        let types = accept::types(&parts.publisher, call, &parent, &request).await?;
        let event = self.0.event_checker().check_all(parent, request, &types)?;
        call.sees(&event.tenant, &parent_name)?;
        let (tenant, id) = (Arc::clone(&event.tenant), accept::repeat_id(&event));
        let verdicts = parts.publisher.publish(vec![event]).await.map_err(|error| call.failed(error, &parent_name))?;
        accept::answer(call, &tenant, id, verdicts.into_iter().next().unwrap_or(Verdict::Refused))
    }

    fn pipe(&self, call: Call, requests: Streaming<v1::PublishEventStreamRequest>) -> Answers {
        let parts = &self.0.parts;
        let checker = self.0.event_checker();
        let mut pipeline = Pipeline::new(requests, parts.publisher.clone(), call, checker, self.0.stopping());
        Box::pin(async_stream::stream! {
            while let Some(answer) = pipeline.next().await {
                yield answer;
            }
        })
    }
}

impl Api {
    fn event_checker(&self) -> Checker {
        Checker { clock: self.parts.store.clock().clone(), max_data_bytes: self.parts.limits.event_data_bytes }
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::PublishEventStreamResponse, Status>> + Send>>;

#[tonic::async_trait]
impl EventService for Events {
    async fn publish_event(&self, request: Request<v1::PublishEventRequest>) -> Result<Response<v1::PublishEventResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.publish_one(&call, request).await?))
    }

    async fn publish_events(
        &self,
        request: Request<v1::PublishEventsRequest>,
    ) -> Result<Response<v1::PublishEventsResponse>, Status> {
        let (call, request) = enter(request)?;
        let results = batch::publish(&self.0, &call, request).await?;
        Ok(Response::new(v1::PublishEventsResponse { results }))
    }

    type PublishEventStreamStream = Answers;

    async fn publish_event_stream(
        &self,
        request: Request<Streaming<v1::PublishEventStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (call, requests) = enter(request)?;
        Ok(Response::new(self.pipe(call, requests)))
    }

    async fn get_event(&self, request: Request<v1::GetEventRequest>) -> Result<Response<v1::Event>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(read::get(&self.0, &call, &request).await?))
    }

    async fn list_events(&self, request: Request<v1::ListEventsRequest>) -> Result<Response<v1::ListEventsResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(read::list(&self.0, &call, &request).await?))
    }

    async fn explain_event(&self, request: Request<v1::ExplainEventRequest>) -> Result<Response<v1::ExplainEventResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(explain::explain(&self.0, &call, &request).await?))
    }
}
