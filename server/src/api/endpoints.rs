//! `EndpointService`. [`fields`] and [`shape`] check what users write and encode what they read; [`probe`] tests an endpoint and counts;
//! [`preview`] shows what it would be sent.
//!
//! A signing secret in clear is in the answers of CreateEndpoint, RotateEndpointSecret and RevealEndpointSecret, nowhere else.

mod fields;
mod preview;
mod probe;
mod shape;

use std::sync::Arc;
use std::time::Duration;

use gatepost_client::v1;
use prost::Message as _;
use secrecy::ExposeSecret as _;
use tonic::{Request, Response, Status};

use super::access::{Call, enter};
use super::convert::{self, About, endpoint_name};
use super::generated::endpoint_service_server::EndpointService;
use super::mask::Mask;
use super::page::Query;
use super::{Api, Error, Violations, names};
use crate::domain::endpoint::State;
use crate::domain::filter::{FieldSpec, Filter, Kind, Op, Value};
use crate::domain::format::Format;
use crate::domain::id;
use crate::domain::signature::SigningSecret;
use crate::store::endpoints::{DisabledReason, EndpointRecord, NewEndpoint, PausedReason, Wanted};
use crate::store::requests::{Answer, Effect};
use fields::CHANGEABLE;

/// How long the secrets before a new one stay valid when the caller names no time, and the longest.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3600);
const LONGEST_OVERLAP: Duration = Duration::from_secs(30 * 24 * 3600);

/// The names of [`State::ALL`], in that order.
const STATES: &[&str] = &["ACTIVE", "PAUSED", "DISABLED"];

/// The service.
pub(super) struct Endpoints(pub(super) Arc<Api>);

#[tonic::async_trait]
impl EndpointService for Endpoints {
    async fn create_endpoint(&self, request: Request<v1::CreateEndpointRequest>) -> Result<Response<v1::Endpoint>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.create(&call, request).await?))
    }

    async fn get_endpoint(&self, request: Request<v1::GetEndpointRequest>) -> Result<Response<v1::Endpoint>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(fields::encode(&self.find(&call, &request.name).await?)))
    }

    async fn list_endpoints(
        &self,
        request: Request<v1::ListEndpointsRequest>,
    ) -> Result<Response<v1::ListEndpointsResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.list(&call, &request).await?))
    }

    async fn update_endpoint(&self, request: Request<v1::UpdateEndpointRequest>) -> Result<Response<v1::Endpoint>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.update(&call, request).await?))
    }

    async fn delete_endpoint(&self, request: Request<v1::DeleteEndpointRequest>) -> Result<Response<()>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.delete(&call, &request).await?))
    }

    async fn pause_endpoint(&self, request: Request<v1::PauseEndpointRequest>) -> Result<Response<v1::Endpoint>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.set_state(&call, &request.name, Wanted::Pause(PausedReason::Manual)).await?))
    }

    async fn resume_endpoint(&self, request: Request<v1::ResumeEndpointRequest>) -> Result<Response<v1::Endpoint>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.set_state(&call, &request.name, Wanted::Resume).await?))
    }

    async fn disable_endpoint(&self, request: Request<v1::DisableEndpointRequest>) -> Result<Response<v1::Endpoint>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.set_state(&call, &request.name, Wanted::Disable(DisabledReason::Manual)).await?))
    }

    async fn enable_endpoint(&self, request: Request<v1::EnableEndpointRequest>) -> Result<Response<v1::Endpoint>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.set_state(&call, &request.name, Wanted::Enable).await?))
    }

    async fn rotate_endpoint_secret(
        &self,
        request: Request<v1::RotateEndpointSecretRequest>,
    ) -> Result<Response<v1::Endpoint>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.rotate(&call, request).await?))
    }

    async fn reveal_endpoint_secret(
        &self,
        request: Request<v1::RevealEndpointSecretRequest>,
    ) -> Result<Response<v1::RevealEndpointSecretResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.reveal(&call, &request.name).await?))
    }

    async fn test_endpoint(&self, request: Request<v1::TestEndpointRequest>) -> Result<Response<v1::TestEndpointResponse>, Status> {
        let (call, request) = enter(request)?;
        let record = self.find(&call, &request.name).await?;
        Ok(Response::new(probe::test(&self.0, &call, &record.endpoint).await?))
    }

    async fn preview_delivery(
        &self,
        request: Request<v1::PreviewDeliveryRequest>,
    ) -> Result<Response<v1::PreviewDeliveryResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(preview::preview(&self.0, &call, request).await?))
    }

    async fn get_endpoint_stats(
        &self,
        request: Request<v1::GetEndpointStatsRequest>,
    ) -> Result<Response<v1::EndpointStats>, Status> {
        let (call, request) = enter(request)?;
        let mut bad = Violations::new();
        let window = bad.keep(probe::window(request.window_duration.as_ref())).unwrap_or_default();
        bad.keep(names::endpoint("name", &request.name));
        bad.into_result()?;
        let record = self.find(&call, &request.name).await?;
        Ok(Response::new(probe::stats(&self.0, &call, &record.endpoint, window).await?))
    }
}

impl Endpoints {
    async fn create(&self, call: &Call, mut request: v1::CreateEndpointRequest) -> Result<v1::Endpoint, Error> {
        let parts = &self.0.parts;
        let mut bad = Violations::new();
        let tenant = bad.keep(names::tenant("parent", &request.parent));
        let request_id = std::mem::take(&mut request.request_id);
        let hidden = tenant.as_deref().unwrap_or_default();
        let once = bad.keep(convert::once(hidden, "CreateEndpoint", &request_id, &request, |new| with_secret(new).encode_to_vec()));
        let id = match request.endpoint_id.as_str() {
            "" => id::make(id::Kind::Endpoint, parts.store.clock().uuid()),
            id => id.to_owned(),
        };
        bad.check("endpoint_id", id::is_resource_id(&id), "must be 1 to 63 characters of [a-z0-9_-], the first a letter or digit");
        let sent = request.endpoint.unwrap_or_default();
        let checked = fields::check(&mut bad, &sent, &Mask::all(CHANGEABLE), &parts.egress);
        fields::check_new_headers(&mut bad, checked.headers.as_ref());
        let own = !sent.signing_secret.is_empty();
        let secret = new_secret(&mut bad, "endpoint.signing_secret", &sent.signing_secret);
        bad.into_result()?;
        // Neither is absent when no field was bad.
        let (Some(tenant), Some(secret)) = (tenant, secret) else { return Err(Error::InvalidFields(Vec::new())) };
        call.sees(&tenant, &request.parent)?;
        let format = checked.shape.format;
        let new = NewEndpoint { tenant: tenant.to_string(), id, secret, fields: checked };
        let name = endpoint_name(&tenant, &new.id);
        let (effect, once) = match request.validate_only {
            true => (Effect::DryRun, None),
            false => (Effect::Apply, once.flatten()),
        };
        self.prepare_keys(call, &tenant, &request.parent, format, effect).await?;
        let limit = parts.limits.endpoints_per_tenant.into();
        let made = parts.store.create_endpoint(new, limit, effect, once).await;
        match made {
            Ok(Answer::Replayed(answer)) => call.replayed(&answer),
            // A secret that was made for a dry run never comes into being.
            Ok(Answer::Done(record)) if effect == Effect::DryRun && !own => {
                Ok(v1::Endpoint { signing_secrets: Vec::new(), ..fields::encode(&record) })
            }
            Ok(Answer::Done(record)) => Ok(with_secret(&record)),
            Err(crate::store::Error::NotFound) => Err(Error::NotFound { resource: request.parent }),
            Err(error) => Err(call.failed(error, About { resource: &name, id: &request_id })),
        }
    }

    /// Before an endpoint gets security event tokens, its tenant has a key that signs them.
    async fn prepare_keys(
        &self,
        call: &Call,
        tenant: &str,
        resource: &str,
        format: Option<Format>,
        effect: Effect,
    ) -> Result<(), Error> {
        if format != Some(Format::Set) || effect == Effect::DryRun {
            return Ok(());
        }
        let ensured = self.0.parts.store.ensure_signing_key(tenant).await;
        ensured.map_err(|error| call.failed(error, resource))
    }

    /// The endpoint of a name, if its caller may know of it.
    async fn find(&self, call: &Call, name: &str) -> Result<EndpointRecord, Error> {
        let (tenant, id) = names::endpoint("name", name)?;
        call.sees(&tenant, name)?;
        self.0.parts.store.get_endpoint(&tenant, &id).await.map_err(|error| call.failed(error, name))
    }

    async fn list(&self, call: &Call, request: &v1::ListEndpointsRequest) -> Result<v1::ListEndpointsResponse, Error> {
        let mut bad = Violations::new();
        let tenant = bad.keep(names::tenant("parent", &request.parent));
        let specs = [FieldSpec { name: "state", kind: Kind::State(STATES) }];
        let filter = bad.take("filter", Filter::parse(&request.filter, &specs)).unwrap_or_default();
        let text = filter.canonical();
        let query = Query { method: "ListEndpoints", parent: &request.parent, filter: &text, order: "" };
        let page = self.0.page(&mut bad, &query, request.page_size, &request.page_token);
        bad.into_result()?;
        let (tenant, page) = (tenant.unwrap_or_default(), page.unwrap_or_default());
        call.sees(&tenant, &request.parent)?;
        let listed = self.0.parts.store.list_endpoints(&tenant, &page, &wanted_states(&filter)).await;
        let listed = listed.map_err(|error| call.failed(error, &request.parent))?;
        let next_page_token = self.0.next_token(&query, listed.next);
        Ok(v1::ListEndpointsResponse { endpoints: listed.items.iter().map(fields::encode).collect(), next_page_token })
    }

    async fn update(&self, call: &Call, request: v1::UpdateEndpointRequest) -> Result<v1::Endpoint, Error> {
        let sent = request.endpoint.unwrap_or_default();
        let mut bad = Violations::new();
        let name = bad.keep(names::endpoint("endpoint.name", &sent.name));
        let mask = Mask::read(&mut bad, request.update_mask.as_ref(), CHANGEABLE, |field| fields::is_set(&sent, field));
        let change = fields::check(&mut bad, &sent, &mask, &self.0.parts.egress);
        bad.into_result()?;
        let (tenant, id) = name.unwrap_or_default();
        call.sees(&tenant, &sent.name)?;
        let etag = convert::revision(&sent.name, &sent.etag)?;
        let effect = if request.validate_only { Effect::DryRun } else { Effect::Apply };
        self.prepare_keys(call, &tenant, &sent.name, change.shape.format, effect).await?;
        let updated = self.0.parts.store.update_endpoint(&tenant, &id, etag, change, effect).await;
        Ok(fields::encode(&updated.map_err(|error| call.failed(error, &sent.name))?))
    }

    async fn delete(&self, call: &Call, request: &v1::DeleteEndpointRequest) -> Result<(), Error> {
        let (tenant, id) = names::endpoint("name", &request.name)?;
        call.sees(&tenant, &request.name)?;
        let etag = convert::revision(&request.name, &request.etag)?;
        let deleted = self.0.parts.store.delete_endpoint(&tenant, &id, etag).await;
        deleted.map_err(|error| call.failed(error, &request.name))
    }

    async fn set_state(&self, call: &Call, name: &str, wanted: Wanted) -> Result<v1::Endpoint, Error> {
        let (tenant, id) = names::endpoint("name", name)?;
        call.sees(&tenant, name)?;
        let moved = self.0.parts.store.set_endpoint_state(&tenant, &id, wanted).await;
        Ok(fields::encode(&moved.map_err(|error| call.failed(error, name))?))
    }

    async fn rotate(&self, call: &Call, mut request: v1::RotateEndpointSecretRequest) -> Result<v1::Endpoint, Error> {
        let mut bad = Violations::new();
        let name = bad.keep(names::endpoint("name", &request.name));
        let request_id = std::mem::take(&mut request.request_id);
        let tenant = name.as_ref().map(|(tenant, _)| &**tenant).unwrap_or_default();
        let once =
            bad.keep(convert::once(tenant, "RotateEndpointSecret", &request_id, &request, |new| with_secret(new).encode_to_vec()));
        let secret = new_secret(&mut bad, "signing_secret", &request.signing_secret);
        let overlap = match &request.overlap_duration {
            None => Some(DEFAULT_OVERLAP),
            Some(sent) => bad.keep(convert::bounded("overlap_duration", sent, Duration::ZERO..=LONGEST_OVERLAP)),
        };
        bad.into_result()?;
        // None of the three is absent when no field was bad.
        let (Some((tenant, id)), Some(secret), Some(overlap)) = (&name, secret, overlap) else {
            return Err(Error::InvalidFields(Vec::new()));
        };
        call.sees(tenant, &request.name)?;
        let about = About { resource: &request.name, id: &request_id };
        let rotated = self.0.parts.store.rotate_secret(tenant, id, &secret, overlap, once.flatten()).await;
        match rotated.map_err(|error| call.failed(error, about))? {
            Answer::Done(record) => Ok(with_secret(&record)),
            Answer::Replayed(answer) => call.replayed(&answer),
        }
    }

    async fn reveal(&self, call: &Call, name: &str) -> Result<v1::RevealEndpointSecretResponse, Error> {
        let (tenant, id) = names::endpoint("name", name)?;
        call.sees(&tenant, name)?;
        let revealed = self.0.parts.store.reveal_secrets(&tenant, &id).await.map_err(|error| call.failed(error, name))?;
        tracing::info!(key = call.caller().key_id(), endpoint = name, "signing secrets were revealed");
        let secrets = revealed.into_iter().map(|secret| v1::reveal_endpoint_secret_response::RevealedSecret {
            signing_secret: secret.secret.to_text().expose_secret().to_owned(),
            signing_secret_info: Some(fields::encode_secret(&secret.info)),
        });
        Ok(v1::RevealEndpointSecretResponse { secrets: secrets.collect() })
    }
}

/// The endpoint with its newest secret in clear.
fn with_secret(record: &EndpointRecord) -> v1::Endpoint {
    let newest = record.endpoint.secrets.first().map(|active| active.secret.to_text().expose_secret().to_owned());
    v1::Endpoint { signing_secret: newest.unwrap_or_default(), ..fields::encode(record) }
}

/// The caller's own secret, or a new one when it sent none.
fn new_secret(bad: &mut Violations, field: &str, text: &str) -> Option<SigningSecret> {
    if text.is_empty() { Some(SigningSecret::generate(rand::random())) } else { bad.take(field, SigningSecret::parse(text)) }
}

/// The states that a filter of `state` lets through.
fn wanted_states(filter: &Filter) -> Vec<State> {
    let passes = |name: &str| {
        filter.terms().iter().all(|term| {
            let named = term.values.iter().any(|value| matches!(value, Value::Text(text) if text == name));
            if term.op == Op::NotEqual { !named } else { named }
        })
    };
    State::ALL.into_iter().zip(STATES).filter(|(_, name)| passes(name)).map(|(state, _)| state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_chooses_states() {
        let specs = [FieldSpec { name: "state", kind: Kind::State(STATES) }];
        for (text, states) in [
            ("", &State::ALL[..]),
            (r#"state == "PAUSED""#, &[State::Paused]),
            (r#"state != "PAUSED""#, &[State::Active, State::Disabled]),
            (r#"state in ["PAUSED", "DISABLED"] && state != "PAUSED""#, &[State::Disabled]),
            (r#"state == "PAUSED" && state == "ACTIVE""#, &[]),
        ] {
            assert_eq!(wanted_states(&Filter::parse(text, &specs).unwrap()), states, "{text}");
        }
    }

    #[test]
    fn names_of_states_are_those_of_the_domain() {
        for (state, name) in State::ALL.iter().zip(STATES) {
            assert_eq!(format!("{state:?}").to_uppercase(), *name);
        }
    }
}
