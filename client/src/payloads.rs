//! What payloads hold and how they look: event types, who gets an event and why, previews, and the keys that sign tokens.
//!
//! As everywhere on [`Tenant`], methods that take the id of something also take its full name.

use std::time::Duration;

use crate::call::Repeat;
use crate::client::{PAGE_SIZE, fill_request_id, rpc};
use crate::errors::Error;
use crate::pages::Pages;
use crate::tenant::{Tenant, duration};
use crate::v1;

impl Tenant {
    /// Registers an event type of the tenant's own. `parent` and `request_id` are filled in when they are empty.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]: with every bad field. [`Error::AlreadyExists`]: it is registered.
    pub async fn create_event_type(&self, mut request: v1::CreateEventTypeRequest) -> Result<v1::EventType, Error> {
        if request.parent.is_empty() {
            self.name().clone_into(&mut request.parent);
        }
        fill_request_id(&mut request.request_id);
        rpc!(self.client, event_type_service.create_event_type, Repeat::Always, request)
    }

    /// An event type, built in or registered, such as `user.terminated`. `schema_version`: `None` = the newest.
    pub async fn get_event_type(&self, event_type: impl AsRef<str>, schema_version: Option<i32>) -> Result<v1::EventType, Error> {
        let name = self.child("eventTypes", event_type.as_ref());
        let request = v1::GetEventTypeRequest { name, schema_version: schema_version.unwrap_or_default() };
        rpc!(self.client, event_type_service.get_event_type, Repeat::Always, request)
    }

    /// Event types by name, built in and registered. `filter`: such as `origin == "TENANT"`, empty for all.
    pub fn event_types(&self, filter: impl Into<String>) -> Pages<v1::EventType> {
        let (client, parent, filter) = (self.client.clone(), self.name().to_owned(), filter.into());
        Pages::new(move |page_token| {
            let (client, parent, filter) = (client.clone(), parent.clone(), filter.clone());
            let request = v1::ListEventTypesRequest { parent, page_size: PAGE_SIZE, page_token, filter };
            async move {
                let page = rpc!(client, event_type_service.list_event_types, Repeat::Always, request)?;
                Ok((page.event_types, page.next_page_token))
            }
        })
    }

    /// Changes a registered event type. `event_type.name` may be just the type.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`]: `event_type.etag` is not empty and not the current one. [`Error::NotFound`]: it is not registered, as
    /// those that are built in are not.
    pub async fn update_event_type(&self, mut request: v1::UpdateEventTypeRequest) -> Result<v1::EventType, Error> {
        let mut etag = false;
        if let Some(event_type) = &mut request.event_type {
            event_type.name = self.child("eventTypes", &event_type.name);
            // With an etag a second one would be refused although the first went through.
            etag = !event_type.etag.is_empty();
        }
        let repeat = if etag { Repeat::IfUndone } else { Repeat::Always };
        rpc!(self.client, event_type_service.update_event_type, repeat, request)
    }

    /// Removes a registered event type. What was published stays.
    pub async fn delete_event_type(&self, event_type: impl AsRef<str>) -> Result<(), Error> {
        let request = v1::DeleteEventTypeRequest { name: self.child("eventTypes", event_type.as_ref()), etag: String::new() };
        rpc!(self.client, event_type_service.delete_event_type, Repeat::IfUndone, request)
    }

    /// For every endpoint of the tenant, by name, whether this event is for it, and which rule with which values says no.
    pub fn explain_event(&self, event: impl AsRef<str>) -> Pages<v1::EndpointMatch> {
        let (client, name) = (self.client.clone(), self.child("events", event.as_ref()));
        Pages::new(move |page_token| {
            let (client, name) = (client.clone(), name.clone());
            let request = v1::ExplainEventRequest { name, page_size: PAGE_SIZE, page_token };
            async move {
                let page = rpc!(client, event_service.explain_event, Repeat::Always, request)?;
                Ok((page.matches, page.next_page_token))
            }
        })
    }

    /// What a stored event would be as a request to this endpoint, by its stored settings. Nothing is sent.
    pub async fn preview_delivery(
        &self,
        endpoint: impl AsRef<str>,
        event: impl AsRef<str>,
    ) -> Result<v1::PreviewDeliveryResponse, Error> {
        let (name, event) = (endpoint.as_ref().to_owned(), event.as_ref().to_owned());
        self.preview_delivery_with(v1::PreviewDeliveryRequest { name, event, ..v1::PreviewDeliveryRequest::default() }).await
    }

    /// The same with settings that are not saved yet: `endpoint` and `update_mask` as for [`Tenant::update_endpoint`]. `name` and `event`
    /// may be just ids.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]: with every bad field of the settings.
    pub async fn preview_delivery_with(
        &self,
        mut request: v1::PreviewDeliveryRequest,
    ) -> Result<v1::PreviewDeliveryResponse, Error> {
        request.name = self.child("endpoints", &request.name);
        request.event = self.child("events", &request.event);
        rpc!(self.client, endpoint_service.preview_delivery, Repeat::Always, request)
    }

    /// The keys that sign the tenant's security event tokens, newest first.
    pub async fn signing_keys(&self) -> Result<Vec<v1::SigningKey>, Error> {
        let request = v1::ListSigningKeysRequest { parent: self.name().to_owned() };
        Ok(rpc!(self.client, tenant_service.list_signing_keys, Repeat::Always, request)?.signing_keys)
    }

    /// Makes a new key that signs the tenant's security event tokens. `activate_after`: how long it is published before it signs, `None` =
    /// 1 hour.
    pub async fn rotate_signing_key(&self, activate_after: Option<Duration>) -> Result<v1::SigningKey, Error> {
        let mut request = v1::RotateSigningKeyRequest {
            parent: self.name().to_owned(),
            activate_after_duration: activate_after.map(duration),
            request_id: String::new(),
        };
        fill_request_id(&mut request.request_id);
        rpc!(self.client, tenant_service.rotate_signing_key, Repeat::Always, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use crate::testing::{Fake, status};
    use futures::TryStreamExt;

    #[tokio::test]
    async fn a_registration_is_repeated_under_the_same_request_id() {
        let fake = Fake::start();
        fake.script.failures.lock().unwrap().push_back(status(Code::Unavailable, "SHUTTING_DOWN"));
        let request = v1::CreateEventTypeRequest { event_type_id: "acme.order_placed".into(), ..Default::default() };
        fake.tenant().create_event_type(request).await.unwrap();
        let seen = fake.script.names.lock().unwrap().clone();
        assert_eq!(seen.len(), 2);
        assert!(
            seen[0] == seen[1] && seen[0].starts_with("tenants/acme ") && seen[0].len() == "tenants/acme ".len() + 36,
            "{seen:?}"
        );
    }

    #[tokio::test]
    async fn a_removal_whose_outcome_is_unknown_is_not_repeated() {
        let fake = Fake::start();
        fake.script.failures.lock().unwrap().push_back(status(Code::Unavailable, "SHUTTING_DOWN"));
        assert!(matches!(fake.tenant().delete_event_type("acme.order_placed").await, Err(Error::Unavailable { .. })));
        assert_eq!(fake.script.methods(), ["DeleteEventType"]);
    }

    #[tokio::test]
    async fn ids_become_names_and_names_stay() {
        let fake = Fake::start();
        let tenant = fake.tenant();
        let explained: Vec<_> = tenant.explain_event("evt_1").try_collect().await.unwrap();
        assert!(explained.is_empty());
        tenant.preview_delivery("siem", "tenants/acme/events/evt_2").await.unwrap();
        assert_eq!(
            *fake.script.names.lock().unwrap(),
            ["tenants/acme/events/evt_1", "tenants/acme/endpoints/siem tenants/acme/events/evt_2"]
        );
    }
}
