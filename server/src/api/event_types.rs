//! `EventTypeService`: the catalogue, and the types that a tenant registers beside it.
//!
//! A list shows both by name. Built-in types are nobody's to change: they answer NOT_FOUND to writers, as types that the tenant did not
//! register.

use std::sync::Arc;

use gatepost_client::v1;
use gatepost_client::v1::event_type::Origin;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::access::{Call, enter};
use super::convert::{self, About, timestamp};
use super::generated::event_type_service_server::EventTypeService;
use super::mask::Mask;
use super::page::Query;
use super::{Api, Error, Violations, lists, names};
use crate::domain::catalogue::{self, Publisher};
use crate::domain::filter::{FieldSpec, Filter, Found, Kind};
use crate::domain::registered;
use crate::domain::schema::Schema;
use crate::store::event_types::{EventTypeChange, EventTypeRecord, NewEventType};
use crate::store::requests::{Answer, Effect};

const CHANGEABLE: &[&str] = &["schema", "description", "example"];
const MAX_DESCRIPTION: usize = 2000;

const FIELDS: &[FieldSpec] =
    &[FieldSpec { name: "origin", kind: Kind::State(&["BUILT_IN", "TENANT"]) }, FieldSpec { name: "type", kind: Kind::Text }];

/// The service.
pub(super) struct EventTypes(pub(super) Arc<Api>);

#[tonic::async_trait]
impl EventTypeService for EventTypes {
    async fn create_event_type(&self, request: Request<v1::CreateEventTypeRequest>) -> Result<Response<v1::EventType>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.create(&call, request).await?))
    }

    async fn get_event_type(&self, request: Request<v1::GetEventTypeRequest>) -> Result<Response<v1::EventType>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.get(&call, &request).await?))
    }

    async fn list_event_types(
        &self,
        request: Request<v1::ListEventTypesRequest>,
    ) -> Result<Response<v1::ListEventTypesResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.list(&call, &request).await?))
    }

    async fn update_event_type(&self, request: Request<v1::UpdateEventTypeRequest>) -> Result<Response<v1::EventType>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.update(&call, request).await?))
    }

    async fn delete_event_type(&self, request: Request<v1::DeleteEventTypeRequest>) -> Result<Response<()>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.delete(&call, &request).await?))
    }
}

impl EventTypes {
    async fn create(&self, call: &Call, mut request: v1::CreateEventTypeRequest) -> Result<v1::EventType, Error> {
        let mut bad = Violations::new();
        let tenant = bad.keep(names::tenant("parent", &request.parent));
        let of = tenant.clone().unwrap_or_default();
        let request_id = std::mem::take(&mut request.request_id);
        let encoded = |record: &EventTypeRecord| encode(&of, record).encode_to_vec();
        let once = bad.keep(convert::once(&of, "CreateEventType", &request_id, &request, encoded));
        if let Some(problem) = registered::name_problem(&request.event_type_id) {
            bad.add("event_type_id", problem);
        }
        let sent = request.event_type.unwrap_or_default();
        let fields = check(&mut bad, &sent, &Mask::all(CHANGEABLE));
        bad.into_result()?;
        call.sees(&of, &request.parent)?;
        let name = type_name(&of, &request.event_type_id);
        let new = NewEventType { tenant: of.to_string(), name: request.event_type_id, fields };
        let (effect, once) = match request.validate_only {
            true => (Effect::DryRun, None),
            false => (Effect::Apply, once.flatten()),
        };
        let limit = self.0.parts.limits.event_types_per_tenant.into();
        match self.0.parts.store.create_event_type(new, limit, effect, once).await {
            Ok(Answer::Done(record)) => Ok(encode(&of, &record)),
            Ok(Answer::Replayed(answer)) => call.replayed(&answer),
            Err(crate::store::Error::NotFound) => Err(Error::NotFound { resource: request.parent }),
            Err(error) => Err(call.failed(error, About { resource: &name, id: &request_id })),
        }
    }

    async fn get(&self, call: &Call, request: &v1::GetEventTypeRequest) -> Result<v1::EventType, Error> {
        let mut bad = Violations::new();
        let name = bad.keep(names::event_type("name", &request.name));
        bad.check("schema_version", request.schema_version >= 0, "is negative");
        bad.into_result()?;
        let (tenant, name) = name.unwrap_or_default();
        self.0.see_tenant(call, &tenant, &request.name).await?;
        let version = (request.schema_version != 0).then_some(request.schema_version);
        if let Some(built_in) = catalogue::find(&name) {
            let newest = built_in.latest_version();
            return self
                .built_in(&tenant, built_in, version.unwrap_or(newest))
                .ok_or_else(|| Error::NotFound { resource: request.name.clone() });
        }
        let found = self.0.parts.store.get_event_type(&tenant, &name, version).await;
        Ok(encode(&tenant, &found.map_err(|error| call.failed(error, &request.name))?))
    }

    async fn list(&self, call: &Call, request: &v1::ListEventTypesRequest) -> Result<v1::ListEventTypesResponse, Error> {
        let mut bad = Violations::new();
        let tenant = bad.keep(names::tenant("parent", &request.parent)).unwrap_or_default();
        let filter = bad.keep(lists::filter(&request.filter, FIELDS)).unwrap_or_default();
        let canonical = filter.canonical();
        let query = Query { method: "ListEventTypes", parent: &request.parent, filter: &canonical, order: "" };
        let page = self.0.page(&mut bad, &query, request.page_size, &request.page_token);
        bad.into_result()?;
        let mut page = page.unwrap_or_default();
        self.0.see_tenant(call, &tenant, &request.parent).await?;
        let registered = self.0.parts.store.list_event_types(&tenant).await.map_err(|error| call.failed(error, &request.parent))?;
        let after = page.text().map_err(|error| call.failed(error, &request.parent))?.map(str::to_owned);
        // Both are few enough to be put together here.
        let mut types: Vec<(&str, v1::EventType)> =
            registered.iter().map(|record| (record.name.as_str(), encode(&tenant, record))).collect();
        types.extend(
            catalogue::all()
                .filter_map(|built_in| Some((built_in.name, self.built_in(&tenant, built_in, built_in.latest_version())?))),
        );
        types.sort_unstable_by_key(|(name, _)| *name);
        types.retain(|(name, shown)| after.as_deref().is_none_or(|after| *name > after) && matches(&filter, name, shown.origin()));
        loop {
            let size = page.rows().min(types.len());
            let shown: Vec<v1::EventType> = types[..size].iter().map(|(_, shown)| shown.clone()).collect();
            if lists::fits(&mut page, &shown) {
                let last = types[..size].last().filter(|_| size < types.len()).map(|(name, _)| name.as_bytes().to_vec());
                return Ok(v1::ListEventTypesResponse { event_types: shown, next_page_token: self.0.next_token(&query, last) });
            }
        }
    }

    async fn update(&self, call: &Call, request: v1::UpdateEventTypeRequest) -> Result<v1::EventType, Error> {
        let sent = request.event_type.unwrap_or_default();
        let mut bad = Violations::new();
        let name = bad.keep(names::event_type("event_type.name", &sent.name));
        let mask = Mask::read(&mut bad, request.update_mask.as_ref(), CHANGEABLE, |field| is_set(&sent, field));
        let change = check(&mut bad, &sent, &mask);
        bad.into_result()?;
        let (tenant, name) = name.unwrap_or_default();
        call.sees(&tenant, &sent.name)?;
        let etag = convert::revision(&sent.name, &sent.etag)?;
        let effect = if request.validate_only { Effect::DryRun } else { Effect::Apply };
        let updated = self.0.parts.store.update_event_type(&tenant, &name, etag, change, effect).await;
        Ok(encode(&tenant, &updated.map_err(|error| call.failed(error, &sent.name))?))
    }

    async fn delete(&self, call: &Call, request: &v1::DeleteEventTypeRequest) -> Result<(), Error> {
        let (tenant, name) = names::event_type("name", &request.name)?;
        call.sees(&tenant, &request.name)?;
        let etag = convert::revision(&request.name, &request.etag)?;
        let deleted = self.0.parts.store.delete_event_type(&tenant, &name, etag).await;
        deleted.map_err(|error| call.failed(error, &request.name))
    }

    fn built_in(&self, tenant: &str, built_in: &catalogue::EventType, version: i32) -> Option<v1::EventType> {
        let base_url = self.0.parts.site.schema_base_url.as_deref();
        Some(v1::EventType {
            name: type_name(tenant, built_in.name),
            description: built_in.friendly(),
            schema: built_in.schema_document(version, base_url)?,
            example: built_in.example().to_owned(),
            schema_version: version,
            origin: Origin::BuiltIn.into(),
            reserved: built_in.publisher == Publisher::Gatepost,
            security_events: built_in.set.iter().map(|known| known.uri.clone()).collect(),
            ..v1::EventType::default()
        })
    }
}

fn is_set(sent: &v1::EventType, field: &str) -> bool {
    match field {
        "schema" => !sent.schema.is_empty(),
        "description" => !sent.description.is_empty(),
        "example" => !sent.example.is_empty(),
        _ => false,
    }
}

/// Checks the fields of the mask and notes every bad one. Whether the example satisfies the schema shows where both are known.
fn check(bad: &mut Violations, sent: &v1::EventType, mask: &Mask) -> EventTypeChange {
    let mut change = EventTypeChange::default();
    if mask.has("description") {
        change.description = bad.keep(convert::text("event_type.description", sent.description.clone(), MAX_DESCRIPTION));
    }
    if mask.has("schema") {
        match Schema::compile(&sent.schema) {
            Ok(_) => change.schema = Some(sent.schema.clone()),
            Err(problems) => problems.iter().for_each(|problem| bad.add("event_type.schema", problem)),
        }
    }
    if mask.has("example") {
        change.example = Some(sent.example.clone());
    }
    change
}

fn matches(filter: &Filter, name: &str, origin: Origin) -> bool {
    filter.matches(|field| match field {
        "type" => Some(Found::Text(name)),
        "origin" => Some(Found::Text(if origin == Origin::Tenant { "TENANT" } else { "BUILT_IN" })),
        _ => None,
    })
}

fn type_name(tenant: &str, name: &str) -> String {
    ["tenants/", tenant, "/eventTypes/", name].concat()
}

fn encode(tenant: &str, record: &EventTypeRecord) -> v1::EventType {
    v1::EventType {
        name: type_name(tenant, &record.name),
        description: record.description.clone(),
        schema: record.schema.clone(),
        example: record.example.clone(),
        schema_version: record.schema_version,
        origin: Origin::Tenant.into(),
        reserved: false,
        security_events: Vec::new(),
        create_time: Some(timestamp(record.create_time)),
        update_time: Some(timestamp(record.update_time)),
        etag: record.revision.to_string(),
    }
}
