//! [`Client`]: one connection to a Gatepost server, and what does not belong to a tenant.
//!
//! It is cheap to clone and every clone shares the connection. What belongs to a tenant is on [`Tenant`], from [`Client::tenant`];
//! the generated clients are reachable for whatever the typed methods do not say.

use std::sync::Arc;

use uuid::Uuid;

use crate::call::{Calls, Repeat};
use crate::connect::{Authorized, Builder};
use crate::errors::Error;
use crate::pages::Pages;
use crate::tenant::Tenant;
use crate::v1;

/// Largest answer that is decoded, in bytes: a page of attempts with the bodies they kept fits.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Items asked for with each page of a list.
pub(crate) const PAGE_SIZE: i32 = 500;

/// One unary call: `rpc!(client, event_service.get_event, Always, request)`.
macro_rules! rpc {
    ($client:expr, $service:ident.$method:ident, $repeat:expr, $request:expr) => {
        $client
            .calls
            .call($repeat, $request, |request| {
                let mut service = $client.$service();
                async move { service.$method(request).await }
            })
            .await
    };
}
pub(crate) use rpc;

/// A connection to a Gatepost server.
#[derive(Clone)]
pub struct Client {
    pub(crate) calls: Arc<Calls>,
}

impl Client {
    /// Begins to set up a client for a server at `http://host:port` or `https://host:port`.
    ///
    /// Several nodes stand behind one address: a name that leads to each of them, or a balancer of TCP connections. A client keeps one
    /// connection, and makes it again when its node stops; calls and streams go on there, as every event carries its id.
    pub fn builder(uri: impl Into<String>) -> Builder {
        Builder::new(uri.into())
    }

    pub(crate) fn new(calls: Arc<Calls>) -> Self {
        Self { calls }
    }

    /// What belongs to one tenant. Takes its id or its name, `tenants/{tenant}`; asks the server nothing.
    pub fn tenant(&self, tenant: impl AsRef<str>) -> Tenant {
        Tenant::new(self.clone(), tenant.as_ref())
    }

    /// Creates a tenant. A `request_id` is made when it is empty.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]: the id is taken, also by a deleted tenant.
    pub async fn create_tenant(&self, mut request: v1::CreateTenantRequest) -> Result<v1::Tenant, Error> {
        fill_request_id(&mut request.request_id);
        rpc!(self, tenant_service.create_tenant, Repeat::Always, request)
    }

    /// The tenants that the key may see, by name.
    pub fn tenants(&self) -> Pages<v1::Tenant> {
        let client = self.clone();
        Pages::new(move |page_token| {
            let (client, request) = (client.clone(), v1::ListTenantsRequest { page_size: PAGE_SIZE, page_token });
            async move {
                let page = rpc!(client, tenant_service.list_tenants, Repeat::Always, request)?;
                Ok((page.tenants, page.next_page_token))
            }
        })
    }

    /// Changes a tenant's fields.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`]: `tenant.etag` is not empty and not the current one.
    pub async fn update_tenant(&self, request: v1::UpdateTenantRequest) -> Result<v1::Tenant, Error> {
        // With an etag a second one would be refused although the first went through.
        let etag = request.tenant.as_ref().is_some_and(|tenant| !tenant.etag.is_empty());
        rpc!(self, tenant_service.update_tenant, if etag { Repeat::IfUndone } else { Repeat::Always }, request)
    }

    /// Starts the deletion of a tenant: from the answer on it accepts nothing. Takes its id or name.
    pub async fn delete_tenant(&self, tenant: impl AsRef<str>) -> Result<v1::Tenant, Error> {
        let request = v1::DeleteTenantRequest { name: self.tenant(tenant).name().to_owned(), etag: String::new() };
        rpc!(self, tenant_service.delete_tenant, Repeat::IfUndone, request)
    }

    /// Makes an API key; the answer alone carries `key`. A `request_id` is made when it is empty.
    pub async fn create_api_key(&self, mut request: v1::CreateApiKeyRequest) -> Result<v1::ApiKey, Error> {
        fill_request_id(&mut request.request_id);
        rpc!(self, admin_service.create_api_key, Repeat::Always, request)
    }

    /// API keys that may do no more than this client's, newest first.
    pub fn api_keys(&self) -> Pages<v1::ApiKey> {
        let client = self.clone();
        Pages::new(move |page_token| {
            let (client, request) = (client.clone(), v1::ListApiKeysRequest { page_size: PAGE_SIZE, page_token });
            async move {
                let page = rpc!(client, admin_service.list_api_keys, Repeat::Always, request)?;
                Ok((page.api_keys, page.next_page_token))
            }
        })
    }

    /// Ends an API key. Takes its id or its name, `apiKeys/{api_key}`.
    pub async fn revoke_api_key(&self, api_key: impl AsRef<str>) -> Result<v1::ApiKey, Error> {
        let id = api_key.as_ref();
        let name = if id.contains('/') { id.to_owned() } else { format!("apiKeys/{id}") };
        rpc!(self, admin_service.revoke_api_key, Repeat::IfUndone, v1::RevokeApiKeyRequest { name })
    }

    /// Facts about the node that answers.
    pub async fn server_info(&self) -> Result<v1::ServerInfo, Error> {
        rpc!(self, admin_service.get_server_info, Repeat::Always, v1::GetServerInfoRequest {})
    }

    /// The generated client of `TenantService`, with this client's key. No deadline, no repeats.
    pub fn tenant_service(&self) -> v1::tenant_service_client::TenantServiceClient<Authorized> {
        v1::tenant_service_client::TenantServiceClient::new(self.calls.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The generated client of `EndpointService`, with this client's key. No deadline, no repeats.
    pub fn endpoint_service(&self) -> v1::endpoint_service_client::EndpointServiceClient<Authorized> {
        v1::endpoint_service_client::EndpointServiceClient::new(self.calls.channel.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The generated client of `EventService`, with this client's key. No deadline, no repeats.
    pub fn event_service(&self) -> v1::event_service_client::EventServiceClient<Authorized> {
        v1::event_service_client::EventServiceClient::new(self.calls.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The generated client of `EventTypeService`, with this client's key. No deadline, no repeats.
    pub fn event_type_service(&self) -> v1::event_type_service_client::EventTypeServiceClient<Authorized> {
        v1::event_type_service_client::EventTypeServiceClient::new(self.calls.channel.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The generated client of `DeliveryService`, with this client's key. No deadline, no repeats.
    pub fn delivery_service(&self) -> v1::delivery_service_client::DeliveryServiceClient<Authorized> {
        v1::delivery_service_client::DeliveryServiceClient::new(self.calls.channel.clone())
            .max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The generated client of `AdminService`, with this client's key. No deadline, no repeats.
    pub fn admin_service(&self) -> v1::admin_service_client::AdminServiceClient<Authorized> {
        v1::admin_service_client::AdminServiceClient::new(self.calls.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("timeout", &self.calls.timeout).field("retry", &self.calls.retry).finish_non_exhaustive()
    }
}

/// A repeat of the call finds the first answer by this id.
pub(crate) fn fill_request_id(id: &mut String) {
    if id.is_empty() {
        *id = Uuid::new_v4().to_string();
    }
}
