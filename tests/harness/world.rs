//! A server with one tenant, `acme`, and the client that speaks to it: what most behaviours begin with.
//!
//! Everything here goes through the public client crate. Its shorthands fail the test on an error; a test that expects one calls the
//! client itself.

use std::time::Duration;

use futures::TryStreamExt;
use gatepost_client::{
    Client, NewEvent, Receipt, Tenant, Tls,
    v1::{self, delivery::State, retry_policy},
};

use crate::{DEADLINE, Database, Server, Settings, until};

/// Every verb that a key can have, `admin` aside.
pub const VERBS: [&str; 6] =
    ["publish", "deliveries.read", "deliveries.write", "endpoints.read", "endpoints.write", "secrets.reveal"];

/// All that many types about a person ask for: `user.created`, `user.deleted`, `session.revoked`.
pub const PERSON: &str = r#"{"user": {"id": "usr_1", "email": "jane@acme.test"}}"#;

/// A running server, its root client, and the tenant `acme`.
pub struct World {
    /// The process.
    pub server: Server,
    /// A client with the root key.
    pub client: Client,
    /// `tenants/acme`, through that client.
    pub tenant: Tenant,
}

impl World {
    /// A server on a new database.
    pub async fn on(database: &Database) -> Self {
        Self::with(Settings::on(database)).await
    }

    /// A server with these settings on a new database.
    pub async fn with(settings: Settings) -> Self {
        let server = Server::start_with(settings).await;
        let client = client(&server, server.key());
        let request = v1::CreateTenantRequest { tenant_id: "acme".into(), ..Default::default() };
        client.create_tenant(request).await.expect("a tenant");
        let tenant = client.tenant("acme");
        Self { server, client, tenant }
    }

    /// An endpoint with everything that `change` sets.
    pub async fn endpoint(&self, id: &str, url: &str, change: impl FnOnce(&mut v1::Endpoint)) -> v1::Endpoint {
        let mut endpoint = v1::Endpoint { url: url.to_owned(), ..Default::default() };
        change(&mut endpoint);
        let request = v1::CreateEndpointRequest { endpoint_id: id.to_owned(), endpoint: Some(endpoint), ..Default::default() };
        self.tenant.create_endpoint(request).await.expect("an endpoint")
    }

    /// A further key with these scopes.
    pub async fn key(&self, scopes: &[&str]) -> v1::ApiKey {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let api_key = Some(v1::ApiKey { scopes, ..Default::default() });
        let request = v1::CreateApiKeyRequest { api_key, ..Default::default() };
        self.client.create_api_key(request).await.expect("a key")
    }

    /// Publishes one event of this type, with a person in it.
    pub async fn publish(&self, event_type: &str) -> Receipt {
        self.tenant.publish(event(event_type)).await.expect("a receipt")
    }

    /// Publishes so many events of one type, in one batch or several, and returns their receipts in order.
    pub async fn publish_many(&self, event_type: &str, count: usize) -> Vec<Receipt> {
        let results = self.tenant.publish_batch((0..count).map(|_| event(event_type))).await;
        results.into_iter().map(|result| result.expect("a receipt")).collect()
    }

    /// All deliveries that match, newest event first.
    pub async fn deliveries(&self, filter: &str) -> Vec<v1::Delivery> {
        self.tenant.deliveries(filter).try_collect().await.expect("a list of deliveries")
    }

    /// The one delivery of an event.
    pub async fn delivery(&self, receipt: &Receipt) -> v1::Delivery {
        let mut deliveries = self.deliveries(&format!("event == \"{}\"", receipt.event_id())).await;
        assert_eq!(deliveries.len(), 1, "{deliveries:?}");
        deliveries.remove(0)
    }

    /// Waits until the one delivery of an event is in this state.
    pub async fn until(&self, receipt: &Receipt, state: State) -> v1::Delivery {
        self.until_delivery(receipt, &format!("a delivery to be {state:?}"), |delivery| delivery.state() == state).await
    }

    /// Waits until the one delivery of an event is as `enough` wants it.
    pub async fn until_delivery(&self, receipt: &Receipt, what: &str, enough: impl Fn(&v1::Delivery) -> bool) -> v1::Delivery {
        until(what, async || {
            let delivery = self.delivery(receipt).await;
            if enough(&delivery) { Ok(delivery) } else { Err(delivery) }
        })
        .await
    }

    /// Waits until all deliveries of an event have succeeded.
    pub async fn delivered(&self, receipt: &Receipt) -> Vec<v1::Delivery> {
        receipt.delivered(DEADLINE).await.expect("the event is delivered")
    }

    /// The attempts of a delivery, first to last.
    pub async fn attempts(&self, delivery: &v1::Delivery) -> Vec<v1::Attempt> {
        self.tenant.attempts(&delivery.name).try_collect().await.expect("a list of attempts")
    }
}

/// A client of this server that waits long enough for a restart.
#[must_use]
pub fn client(server: &Server, key: &str) -> Client {
    let mut builder = Client::builder(server.url()).key(key);
    if let Some(authority) = server.authority() {
        builder = builder.tls(Tls::new().ca_pem(authority));
    }
    builder.connect_lazy().expect("a client")
}

/// An event with a person in it, and what else its type asks for, under an id of its own.
///
/// A type that asks for more than a person gets it here.
#[must_use]
pub fn event(event_type: &str) -> NewEvent {
    let data = match event_type {
        "user.updated" => r#"{"user": {"id": "usr_1", "email": "jane@acme.test"}, "changes": [{"field": "email"}]}"#,
        "user.terminated" => r#"{"user": {"id": "usr_1", "email": "jane@acme.test"}, "effective_at": "2026-11-25T09:00:00.000Z"}"#,
        "group.member_added" => r#"{"user": {"id": "usr_1", "email": "jane@acme.test"}, "group": {"id": "grp_1"}}"#,
        "access_request.cancelled" => {
            r#"{"access_request": {"id": "req_1", "target_user": {"id": "usr_1"}, "application": {"app_id": "crm"}, "permissions": [{"id": "prm_1"}]}}"#
        }
        _ => PERSON,
    };
    NewEvent::new(event_type, data)
}

/// So many seconds, as a field of a message.
#[must_use]
pub fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// A retry policy with these waits in seconds; without any, one attempt.
#[must_use]
pub fn waits(waits: &[i64]) -> Option<v1::RetryPolicy> {
    let waits = waits.iter().copied().filter_map(seconds).collect();
    Some(v1::RetryPolicy { schedule: Some(retry_policy::Schedule::Explicit(retry_policy::Explicit { waits })) })
}

/// The time from the first to the second, which is not before it.
///
/// # Panics
/// When one is absent, or the second is earlier.
#[must_use]
pub fn between(first: Option<prost_types::Timestamp>, second: Option<prost_types::Timestamp>) -> Duration {
    let nanos = |time: Option<prost_types::Timestamp>| {
        let time = time.expect("a time");
        i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
    };
    let difference = nanos(second) - nanos(first);
    Duration::from_nanos(u64::try_from(difference).expect("the second time is not before the first"))
}
