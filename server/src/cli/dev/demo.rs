//! The demo data of `dev`, made through the public client. All of it may be there already, from an earlier start.

use std::path::PathBuf;

use gatepost_client::receiver::Verifier;
use gatepost_client::{Client, Error, NewEvent, Receipt, Tenant, v1};
use prost_types::FieldMask;
use secrecy::ExposeSecret as _;

use super::root_key::RootKey;
use crate::cli::Failure;

/// The tenant.
pub(super) const TENANT: &str = "demo";
/// The endpoint that points at the receiver in this process.
pub(super) const ENDPOINT: &str = "receiver";

const EVENT_TYPE: &str = "user.terminated";
const EVENT: &str = r#"{"user":{"id":"usr_1042","email":"ada@example.com","attributes":{"department":"Finance"}},"effective_at":"2026-11-25T17:00:00Z","last_day":"2026-11-25","reason":"involuntary"}"#;

/// Where everything is.
pub(super) struct Demo {
    /// The server.
    pub(super) url: String,
    /// The database's file.
    pub(super) database: PathBuf,
    /// What opens everything.
    pub(super) root_key: RootKey,
}

impl Demo {
    /// A client with the root key.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::builder(&self.url).key(self.root_key.key.text()).connect().await?)
    }

    pub(super) async fn tenant(&self, client: &Client) -> Result<Tenant, Failure> {
        let tenant = v1::Tenant { display_name: "Demo".to_owned(), ..v1::Tenant::default() };
        let request = v1::CreateTenantRequest { tenant_id: TENANT.to_owned(), tenant: Some(tenant), request_id: String::new() };
        match client.create_tenant(request).await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(client.tenant(TENANT)),
            Err(error) => Err(error.into()),
        }
    }

    /// Points the endpoint at `url`, and returns what verifies its requests.
    pub(super) async fn endpoint(&self, tenant: &Tenant, url: &str) -> Result<Verifier, Failure> {
        let endpoint = v1::Endpoint {
            url: url.to_owned(),
            display_name: "Built-in receiver".to_owned(),
            description: "Lives in `gatepost dev`, verifies what it gets and prints it.".to_owned(),
            ..v1::Endpoint::default()
        };
        let request = v1::CreateEndpointRequest {
            endpoint_id: ENDPOINT.to_owned(),
            endpoint: Some(endpoint.clone()),
            ..v1::CreateEndpointRequest::default()
        };
        match tenant.create_endpoint(request).await {
            Ok(_) => {}
            Err(Error::AlreadyExists { .. }) => {
                let update_mask = Some(FieldMask { paths: vec!["url".to_owned()] });
                let endpoint = Some(v1::Endpoint { name: ENDPOINT.to_owned(), ..endpoint });
                tenant.update_endpoint(v1::UpdateEndpointRequest { endpoint, update_mask, validate_only: false }).await?;
            }
            Err(error) => return Err(error.into()),
        }
        let secrets = tenant.reveal_endpoint_secrets(ENDPOINT).await?;
        Verifier::new(secrets.iter().map(|secret| secret.signing_secret.as_str()))
            .map_err(|error| Failure::other("the endpoint's secrets cannot be used", error))
    }

    pub(super) async fn publish(&self, tenant: &Tenant) -> Result<Receipt, Failure> {
        Ok(tenant.publish(NewEvent::new(EVENT_TYPE, EVENT).tag("source", "gatepost-dev")).await?)
    }

    /// The root key as text.
    pub(super) fn key_text(&self) -> String {
        self.root_key.key.text().expose_secret().to_owned()
    }
}
