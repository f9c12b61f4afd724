//! A scripted Gatepost for this crate's own tests: the real transport, answers as the test lays them down.
//!
//! It runs on a runtime of its own, so that [`Fake::kill`] breaks its connections as a crashed process would.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{Client, Code, v1};

#[allow(missing_docs, clippy::all, clippy::disallowed_methods, unreachable_pub)]
mod services {
    include!(concat!(env!("OUT_DIR"), "/services/gatepost.v1.rs"));
}

/// What the server does and what it saw.
#[derive(Default)]
pub(crate) struct Script {
    /// Unary calls get these first.
    pub(crate) failures: Mutex<VecDeque<Status>>,
    /// Single events of a batch or stream get these first.
    pub(crate) event_failures: Mutex<VecDeque<v1::PublishError>>,
    /// How many answers each publish stream gives before it breaks; none left: it does not.
    pub(crate) breaks: Mutex<VecDeque<(usize, Status)>>,
    /// What each watch sends; none left: silence.
    pub(crate) watches: Mutex<VecDeque<BoxStream<'static, Result<v1::WatchDeliveriesResponse, Status>>>>,
    /// What ListDeliveries returns.
    pub(crate) deliveries: Mutex<Vec<v1::Delivery>>,
    /// How long unary calls take.
    pub(crate) delay: Mutex<Duration>,
    /// Ids of stored events, in order.
    pub(crate) events: Mutex<Vec<String>>,
    /// Method, `authorization` and `grpc-timeout` of every call.
    pub(crate) calls: Mutex<Vec<(String, String, String)>>,
    /// What calls of types, explanations and previews named.
    pub(crate) names: Mutex<Vec<String>>,
    /// The requests of all watches.
    pub(crate) watched: Mutex<Vec<v1::WatchDeliveriesRequest>>,
}

impl Script {
    async fn enter<T>(&self, method: &str, request: &Request<T>) -> Result<(), Status> {
        let text = |name: &str| request.metadata().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        self.calls.lock().unwrap().push((method.to_owned(), text("authorization"), text("grpc-timeout")));
        let delay = *self.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        match self.failures.lock().unwrap().pop_front() {
            Some(status) => Err(status),
            None => Ok(()),
        }
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(method, ..)| method.clone()).collect()
    }

    fn store(&self, event: &v1::PublishEventRequest) -> v1::PublishEventResponse {
        let mut events = self.events.lock().unwrap();
        let before = events.iter().position(|id| *id == event.event_id);
        let place = before.unwrap_or_else(|| {
            events.push(event.event_id.clone());
            events.len() - 1
        });
        v1::PublishEventResponse {
            event: format!("{}/events/{}", event.parent, event.event_id),
            delivery_count: 1,
            duplicate: before.is_some(),
            sequence: place as i64 + 1,
            ..Default::default()
        }
    }

    fn result(&self, event: &v1::PublishEventRequest) -> v1::PublishResult {
        let result = match self.event_failures.lock().unwrap().pop_front() {
            Some(error) => v1::publish_result::Result::Error(error),
            None => v1::publish_result::Result::Response(self.store(event)),
        };
        v1::PublishResult { result: Some(result) }
    }
}

/// An event as the catalogue asks for it.
pub(crate) fn event() -> crate::NewEvent {
    crate::NewEvent::new("user.created", r#"{"user": {"id": "usr_1"}}"#)
}

/// A status as Gatepost sends it.
pub(crate) fn status(code: Code, reason: &str) -> Status {
    Status::with_error_details(
        code,
        "scripted",
        ErrorDetails::with_error_info(reason, "gatepost", std::collections::HashMap::new()),
    )
}

#[tonic::async_trait]
impl services::event_service_server::EventService for Arc<Script> {
    async fn publish_event(&self, request: Request<v1::PublishEventRequest>) -> Result<Response<v1::PublishEventResponse>, Status> {
        // The event is stored even when the answer is then lost, as it happens with a broken connection.
        let response = self.store(request.get_ref());
        self.enter("PublishEvent", &request).await?;
        Ok(Response::new(response))
    }

    async fn publish_events(
        &self,
        request: Request<v1::PublishEventsRequest>,
    ) -> Result<Response<v1::PublishEventsResponse>, Status> {
        self.enter("PublishEvents", &request).await?;
        let results = request.get_ref().requests.iter().map(|event| self.result(event)).collect();
        Ok(Response::new(v1::PublishEventsResponse { results }))
    }

    async fn publish_event_stream(
        &self,
        request: Request<Streaming<v1::PublishEventStreamRequest>>,
    ) -> Result<Response<tonic::codegen::BoxStream<v1::PublishEventStreamResponse>>, Status> {
        self.enter("PublishEventStream", &request).await?;
        let script = self.clone();
        let mut broken = self.breaks.lock().unwrap().pop_front();
        let mut events = request.into_inner();
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            let mut answers = 0;
            while let Some(event) = events.message().await? {
                let result = script.result(&event.request.unwrap());
                if let Some((_, status)) = broken.take_if(|(after, _)| *after == answers) {
                    Err(status)?;
                }
                answers += 1;
                yield v1::PublishEventStreamResponse { result: Some(result) };
            }
        })))
    }

    async fn explain_event(&self, request: Request<v1::ExplainEventRequest>) -> Result<Response<v1::ExplainEventResponse>, Status> {
        self.names.lock().unwrap().push(request.get_ref().name.clone());
        self.enter("ExplainEvent", &request).await?;
        Ok(Response::new(v1::ExplainEventResponse::default()))
    }
}

#[tonic::async_trait]
impl services::delivery_service_server::DeliveryService for Arc<Script> {
    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        self.enter("ListDeliveries", &request).await?;
        let deliveries = self.deliveries.lock().unwrap().clone();
        Ok(Response::new(v1::ListDeliveriesResponse { deliveries, next_page_token: String::new() }))
    }

    async fn watch_deliveries(
        &self,
        request: Request<v1::WatchDeliveriesRequest>,
    ) -> Result<Response<tonic::codegen::BoxStream<v1::WatchDeliveriesResponse>>, Status> {
        self.enter("WatchDeliveries", &request).await?;
        self.watched.lock().unwrap().push(request.into_inner());
        let messages = self.watches.lock().unwrap().pop_front().unwrap_or_else(|| futures::stream::pending().boxed());
        Ok(Response::new(messages))
    }
}

#[tonic::async_trait]
impl services::endpoint_service_server::EndpointService for Arc<Script> {
    async fn test_endpoint(&self, request: Request<v1::TestEndpointRequest>) -> Result<Response<v1::TestEndpointResponse>, Status> {
        self.enter("TestEndpoint", &request).await?;
        Ok(Response::new(v1::TestEndpointResponse::default()))
    }

    async fn preview_delivery(
        &self,
        request: Request<v1::PreviewDeliveryRequest>,
    ) -> Result<Response<v1::PreviewDeliveryResponse>, Status> {
        let seen = format!("{} {}", request.get_ref().name, request.get_ref().event);
        self.names.lock().unwrap().push(seen);
        self.enter("PreviewDelivery", &request).await?;
        Ok(Response::new(v1::PreviewDeliveryResponse::default()))
    }
}

#[tonic::async_trait]
impl services::event_type_service_server::EventTypeService for Arc<Script> {
    async fn create_event_type(&self, request: Request<v1::CreateEventTypeRequest>) -> Result<Response<v1::EventType>, Status> {
        let seen = format!("{} {}", request.get_ref().parent, request.get_ref().request_id);
        self.names.lock().unwrap().push(seen);
        self.enter("CreateEventType", &request).await?;
        Ok(Response::new(v1::EventType::default()))
    }

    async fn delete_event_type(&self, request: Request<v1::DeleteEventTypeRequest>) -> Result<Response<()>, Status> {
        self.enter("DeleteEventType", &request).await?;
        Ok(Response::new(()))
    }
}

/// A running scripted server.
pub(crate) struct Fake {
    pub(crate) script: Arc<Script>,
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), Arc::default())
    }

    #[allow(clippy::disallowed_methods, reason = "a runtime of its own, which a test can kill")]
    pub(crate) fn start_at(address: SocketAddr, script: Arc<Script>) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let served = script.clone();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
            tonic::transport::Server::builder()
                .add_service(services::event_service_server::EventServiceServer::new(served.clone()))
                .add_service(services::delivery_service_server::DeliveryServiceServer::new(served.clone()))
                .add_service(services::event_type_service_server::EventTypeServiceServer::new(served.clone()))
                .add_service(services::endpoint_service_server::EndpointServiceServer::new(served))
                .serve_with_incoming(incoming)
                .await
        });
        Self { script, address, runtime: Some(runtime) }
    }

    /// Ends it as a crash would, and returns where it was.
    pub(crate) fn kill(mut self) -> (SocketAddr, Arc<Script>) {
        self.runtime.take().unwrap().shutdown_background();
        (self.address, self.script.clone())
    }

    pub(crate) fn builder(&self) -> crate::Builder {
        Client::builder(format!("http://{}", self.address)).key("gp_test_secret").retry(crate::RetryPolicy {
            max_retries: 6,
            initial_wait: Duration::from_millis(10),
            max_wait: Duration::from_millis(200),
        })
    }

    pub(crate) fn tenant(&self) -> crate::Tenant {
        self.builder().connect_lazy().unwrap().tenant("acme")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
