//! [`Tenant`]: what belongs to one tenant — its endpoints, events and deliveries.
//!
//! Methods that take the id of something also take its full name, and so accept what a list or a change returned. Publishing is in
//! `publish`, watching in `watch`, event types and how payloads look in `payloads`.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::call::Repeat;
use crate::client::{Client, PAGE_SIZE, fill_request_id, rpc};
use crate::errors::Error;
use crate::pages::Pages;
use crate::v1;
use crate::watch::WatchBuilder;

/// How long a test of an endpoint may take: its longest attempt timeout and what the server needs around it.
const TEST_TIMEOUT: Duration = Duration::from_secs(75);

/// One tenant, seen through a [`Client`].
#[derive(Debug, Clone)]
pub struct Tenant {
    pub(crate) client: Client,
    name: String,
}

/// The calls that differ only in their verb: name in, endpoint out, and done twice is done once.
macro_rules! endpoint_moves {
    ($($(#[$doc:meta])* $method:ident($request:ident);)*) => {$(
        $(#[$doc])*
        pub async fn $method(&self, endpoint: impl AsRef<str>) -> Result<v1::Endpoint, Error> {
            let request = v1::$request { name: self.child("endpoints", endpoint.as_ref()) };
            rpc!(self.client, endpoint_service.$method, Repeat::Always, request)
        }
    )*};
}

impl Tenant {
    pub(crate) fn new(client: Client, tenant: &str) -> Self {
        let name = if tenant.contains('/') { tenant.to_owned() } else { format!("tenants/{tenant}") };
        Self { client, name }
    }

    /// `tenants/{tenant}`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client it came from.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The tenant itself.
    ///
    /// # Errors
    /// [`Error::NotFound`]: it does not exist, or the key is not bound to it.
    pub async fn get(&self) -> Result<v1::Tenant, Error> {
        rpc!(self.client, tenant_service.get_tenant, Repeat::Always, v1::GetTenantRequest { name: self.name.clone() })
    }

    /// Creates an endpoint; the answer carries `signing_secret`. `parent` and `request_id` are filled in when they are empty.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]: with every bad field. [`Error::AlreadyExists`]: the id is taken.
    pub async fn create_endpoint(&self, mut request: v1::CreateEndpointRequest) -> Result<v1::Endpoint, Error> {
        if request.parent.is_empty() {
            request.parent.clone_from(&self.name);
        }
        fill_request_id(&mut request.request_id);
        rpc!(self.client, endpoint_service.create_endpoint, Repeat::Always, request)
    }

    /// An endpoint, without its secrets.
    pub async fn get_endpoint(&self, endpoint: impl AsRef<str>) -> Result<v1::Endpoint, Error> {
        let request = v1::GetEndpointRequest { name: self.child("endpoints", endpoint.as_ref()) };
        rpc!(self.client, endpoint_service.get_endpoint, Repeat::Always, request)
    }

    /// Endpoints by name. `filter`: such as `state == "PAUSED"`, empty for all.
    pub fn endpoints(&self, filter: impl Into<String>) -> Pages<v1::Endpoint> {
        let (client, parent, filter) = (self.client.clone(), self.name.clone(), filter.into());
        Pages::new(move |page_token| {
            let (client, parent, filter) = (client.clone(), parent.clone(), filter.clone());
            let request = v1::ListEndpointsRequest { parent, page_size: PAGE_SIZE, page_token, filter };
            async move {
                let page = rpc!(client, endpoint_service.list_endpoints, Repeat::Always, request)?;
                Ok((page.endpoints, page.next_page_token))
            }
        })
    }

    /// Changes an endpoint's fields. `endpoint.name` may be just its id.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`]: `endpoint.etag` is not empty and not the current one.
    pub async fn update_endpoint(&self, mut request: v1::UpdateEndpointRequest) -> Result<v1::Endpoint, Error> {
        let mut etag = false;
        if let Some(endpoint) = &mut request.endpoint {
            endpoint.name = self.child("endpoints", &endpoint.name);
            // With an etag a second one would be refused although the first went through.
            etag = !endpoint.etag.is_empty();
        }
        let repeat = if etag { Repeat::IfUndone } else { Repeat::Always };
        rpc!(self.client, endpoint_service.update_endpoint, repeat, request)
    }

    /// Removes an endpoint; its unfinished deliveries are cancelled.
    pub async fn delete_endpoint(&self, endpoint: impl AsRef<str>) -> Result<(), Error> {
        let request = v1::DeleteEndpointRequest { name: self.child("endpoints", endpoint.as_ref()), etag: String::new() };
        rpc!(self.client, endpoint_service.delete_endpoint, Repeat::IfUndone, request)
    }

    endpoint_moves! {
        /// Holds an endpoint's deliveries until it is resumed.
        pause_endpoint(PauseEndpointRequest);

        /// Sends again what a pause held back, oldest first.
        resume_endpoint(ResumeEndpointRequest);

        /// Takes an endpoint out of service: new events skip it, its backlog is held.
        disable_endpoint(DisableEndpointRequest);

        /// Puts a disabled endpoint back into service and drains its backlog.
        enable_endpoint(EnableEndpointRequest);
    }

    /// Makes a new signing secret the first one; the answer carries it. `secret`: your own, `None` = one is made. `overlap`: how
    /// long the secrets before it stay valid, `None` = 24 hours.
    pub async fn rotate_endpoint_secret(
        &self,
        endpoint: impl AsRef<str>,
        secret: Option<SecretString>,
        overlap: Option<Duration>,
    ) -> Result<v1::Endpoint, Error> {
        let mut request = v1::RotateEndpointSecretRequest {
            name: self.child("endpoints", endpoint.as_ref()),
            signing_secret: secret.map(|secret| secret.expose_secret().to_owned()).unwrap_or_default(),
            overlap_duration: overlap.map(duration),
            request_id: String::new(),
        };
        fill_request_id(&mut request.request_id);
        rpc!(self.client, endpoint_service.rotate_endpoint_secret, Repeat::Always, request)
    }

    /// The active signing secrets in clear, newest first. Needs its own scope, `secrets.reveal`.
    pub async fn reveal_endpoint_secrets(
        &self,
        endpoint: impl AsRef<str>,
    ) -> Result<Vec<v1::reveal_endpoint_secret_response::RevealedSecret>, Error> {
        let request = v1::RevealEndpointSecretRequest { name: self.child("endpoints", endpoint.as_ref()) };
        Ok(rpc!(self.client, endpoint_service.reveal_endpoint_secret, Repeat::Always, request)?.secrets)
    }

    /// Sends one signed `webhook.verification` request now and returns what came back. Waits up to 75 s, whatever the client's
    /// timeout.
    pub async fn test_endpoint(&self, endpoint: impl AsRef<str>) -> Result<v1::TestEndpointResponse, Error> {
        let request = v1::TestEndpointRequest { name: self.child("endpoints", endpoint.as_ref()) };
        let send = |request| {
            let mut service = self.client.endpoint_service();
            async move { service.test_endpoint(request).await }
        };
        let timeout = self.client.calls.timeout.max(TEST_TIMEOUT);
        self.client.calls.call_within(timeout, Repeat::IfUndone, request, send).await
    }

    /// Counts of an endpoint's deliveries. `window`: how far back the attempt counts reach, in whole minutes, `None` = 1 hour.
    pub async fn endpoint_stats(&self, endpoint: impl AsRef<str>, window: Option<Duration>) -> Result<v1::EndpointStats, Error> {
        let request =
            v1::GetEndpointStatsRequest { name: self.child("endpoints", endpoint.as_ref()), window_duration: window.map(duration) };
        rpc!(self.client, endpoint_service.get_endpoint_stats, Repeat::Always, request)
    }

    /// An event with its payload.
    pub async fn get_event(&self, event: impl AsRef<str>) -> Result<v1::Event, Error> {
        let request = v1::GetEventRequest { name: self.child("events", event.as_ref()) };
        rpc!(self.client, event_service.get_event, Repeat::Always, request)
    }

    /// Events, newest first, without payloads. `filter`: such as `type == "user.terminated"`, empty for all.
    pub fn events(&self, filter: impl Into<String>) -> Pages<v1::Event> {
        let (client, parent, filter) = (self.client.clone(), self.name.clone(), filter.into());
        Pages::new(move |page_token| {
            let (client, parent, filter) = (client.clone(), parent.clone(), filter.clone());
            let request = v1::ListEventsRequest { parent, page_size: PAGE_SIZE, page_token, filter };
            async move {
                let page = rpc!(client, event_service.list_events, Repeat::Always, request)?;
                Ok((page.events, page.next_page_token))
            }
        })
    }

    /// A delivery.
    pub async fn get_delivery(&self, delivery: impl AsRef<str>) -> Result<v1::Delivery, Error> {
        let request = v1::GetDeliveryRequest { name: self.child("deliveries", delivery.as_ref()) };
        rpc!(self.client, delivery_service.get_delivery, Repeat::Always, request)
    }

    /// Deliveries, newest event first. `filter`: such as `state == "DEAD" && endpoint == "siem"`, empty for all.
    pub fn deliveries(&self, filter: impl Into<String>) -> Pages<v1::Delivery> {
        let (client, parent, filter) = (self.client.clone(), self.name.clone(), filter.into());
        Pages::new(move |page_token| {
            let (client, parent, filter) = (client.clone(), parent.clone(), filter.clone());
            let request = v1::ListDeliveriesRequest { parent, page_size: PAGE_SIZE, page_token, filter };
            async move {
                let page = rpc!(client, delivery_service.list_deliveries, Repeat::Always, request)?;
                Ok((page.deliveries, page.next_page_token))
            }
        })
    }

    /// The attempts of a delivery, first to last.
    pub fn attempts(&self, delivery: impl AsRef<str>) -> Pages<v1::Attempt> {
        let (client, parent) = (self.client.clone(), self.child("deliveries", delivery.as_ref()));
        Pages::new(move |page_token| {
            let (client, request) = (client.clone(), v1::ListAttemptsRequest { parent: parent.clone(), page_size: 0, page_token });
            async move {
                let page = rpc!(client, delivery_service.list_attempts, Repeat::Always, request)?;
                Ok((page.attempts, page.next_page_token))
            }
        })
    }

    /// Sends a finished delivery again, or makes a waiting one due now.
    pub async fn retry_delivery(&self, delivery: impl AsRef<str>) -> Result<v1::Delivery, Error> {
        let mut request = v1::RetryDeliveryRequest { name: self.child("deliveries", delivery.as_ref()), request_id: String::new() };
        fill_request_id(&mut request.request_id);
        rpc!(self.client, delivery_service.retry_delivery, Repeat::Always, request)
    }

    /// Withdraws an unfinished or dead delivery.
    ///
    /// # Errors
    /// [`Error::WrongState`]: it has succeeded.
    pub async fn cancel_delivery(&self, delivery: impl AsRef<str>) -> Result<v1::Delivery, Error> {
        let request = v1::CancelDeliveryRequest { name: self.child("deliveries", delivery.as_ref()) };
        rpc!(self.client, delivery_service.cancel_delivery, Repeat::Always, request)
    }

    /// Begins to set up a watch of the tenant's deliveries.
    pub fn watch(&self) -> WatchBuilder {
        WatchBuilder::new(self.clone())
    }

    /// The full name of what `id` names; a full name is returned as it is.
    pub(crate) fn child(&self, collection: &str, id: &str) -> String {
        if id.contains('/') { id.to_owned() } else { format!("{}/{collection}/{id}", self.name) }
    }
}

/// Saturates at the longest duration that protobuf can write.
pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration { seconds: 315_576_000_000, nanos: 0 })
}
