//! `TenantService`. A key sees the tenants that it is bound to; only an admin's changes them. [`keys`] are those that sign a tenant's
//! security event tokens.

mod keys;

use std::sync::Arc;

use gatepost_client::v1;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::access::{Call, enter};
use super::convert::{self, About, timestamp};
use super::generated::tenant_service_server::TenantService;
use super::mask::Mask;
use super::page::Query;
use super::{Api, Error, Violations, names};
use crate::domain::id;
use crate::store::requests::Answer;
use crate::store::tenants::{NewTenant, Tenant};

/// Characters of a display name.
pub(super) const MAX_DISPLAY_NAME: usize = 200;

/// The service.
pub(super) struct Tenants(pub(super) Arc<Api>);

#[tonic::async_trait]
impl TenantService for Tenants {
    async fn create_tenant(&self, request: Request<v1::CreateTenantRequest>) -> Result<Response<v1::Tenant>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.create(&call, request).await?))
    }

    async fn get_tenant(&self, request: Request<v1::GetTenantRequest>) -> Result<Response<v1::Tenant>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.get(&call, &request.name).await?))
    }

    async fn list_tenants(&self, request: Request<v1::ListTenantsRequest>) -> Result<Response<v1::ListTenantsResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.list(&call, request).await?))
    }

    async fn update_tenant(&self, request: Request<v1::UpdateTenantRequest>) -> Result<Response<v1::Tenant>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.update(&call, request).await?))
    }

    async fn delete_tenant(&self, request: Request<v1::DeleteTenantRequest>) -> Result<Response<v1::Tenant>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.delete(&call, &request).await?))
    }

    async fn list_signing_keys(
        &self,
        request: Request<v1::ListSigningKeysRequest>,
    ) -> Result<Response<v1::ListSigningKeysResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(keys::list(&self.0, &call, &request.parent).await?))
    }

    async fn rotate_signing_key(&self, request: Request<v1::RotateSigningKeyRequest>) -> Result<Response<v1::SigningKey>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(keys::rotate(&self.0, &call, request).await?))
    }
}

impl Tenants {
    async fn create(&self, call: &Call, mut request: v1::CreateTenantRequest) -> Result<v1::Tenant, Error> {
        let mut bad = Violations::new();
        let request_id = std::mem::take(&mut request.request_id);
        let once = bad.keep(convert::once("", "CreateTenant", &request_id, &request, |tenant| encode(tenant).encode_to_vec()));
        let id = match request.tenant_id.as_str() {
            "" => id::make(id::Kind::Tenant, self.0.parts.store.clock().uuid()),
            id => id.to_owned(),
        };
        bad.check("tenant_id", id::is_resource_id(&id), "must be 1 to 63 characters of [a-z0-9_-], the first a letter or digit");
        let sent = request.tenant.unwrap_or_default();
        let display_name = bad.keep(convert::text("tenant.display_name", sent.display_name, MAX_DISPLAY_NAME));
        bad.into_result()?;
        let name = format!("tenants/{id}");
        // Out of a key's bounds a new tenant is like any other that it may not see.
        call.sees(&id, &name)?;
        let new = NewTenant { id, display_name: display_name.unwrap_or_default() };
        let about = About { resource: &name, id: &request_id };
        match self.0.parts.store.create_tenant(new, once.flatten()).await.map_err(|error| call.failed(error, about))? {
            Answer::Done(tenant) => Ok(encode(&tenant)),
            Answer::Replayed(answer) => call.replayed(&answer),
        }
    }

    async fn get(&self, call: &Call, name: &str) -> Result<v1::Tenant, Error> {
        let id = names::tenant("name", name)?;
        call.sees(&id, name)?;
        let tenant = self.0.parts.store.get_tenant(&id).await.map_err(|error| call.failed(error, name))?;
        Ok(encode(&tenant))
    }

    async fn list(&self, call: &Call, request: v1::ListTenantsRequest) -> Result<v1::ListTenantsResponse, Error> {
        let visible: Option<Vec<String>> = call.caller().tenants().map(|tenants| tenants.map(str::to_owned).collect());
        let mut bad = Violations::new();
        let query = Query { method: "ListTenants", parent: "", filter: "", order: "" };
        let page = self.0.page(&mut bad, &query, request.page_size, &request.page_token);
        bad.into_result()?;
        let listed = self.0.parts.store.list_tenants(&page.unwrap_or_default(), visible.as_deref()).await;
        let listed = listed.map_err(|error| call.failed(error, "tenants"))?;
        let next_page_token = self.0.next_token(&query, listed.next);
        Ok(v1::ListTenantsResponse { tenants: listed.items.iter().map(encode).collect(), next_page_token })
    }

    async fn update(&self, call: &Call, request: v1::UpdateTenantRequest) -> Result<v1::Tenant, Error> {
        let sent = request.tenant.unwrap_or_default();
        let mut bad = Violations::new();
        let id = bad.keep(names::tenant("tenant.name", &sent.name));
        let mask = Mask::read(&mut bad, request.update_mask.as_ref(), &["display_name"], |_| !sent.display_name.is_empty());
        let display_name = bad.keep(convert::text("tenant.display_name", sent.display_name, MAX_DISPLAY_NAME));
        bad.into_result()?;
        let (id, name) = (id.unwrap_or_default(), sent.name);
        call.sees(&id, &name)?;
        let etag = convert::revision(&name, &sent.etag)?;
        let display_name = display_name.filter(|_| mask.has("display_name"));
        let updated = self.0.parts.store.update_tenant(&id, etag, display_name).await;
        Ok(encode(&updated.map_err(|error| call.failed(error, &name))?))
    }

    async fn delete(&self, call: &Call, request: &v1::DeleteTenantRequest) -> Result<v1::Tenant, Error> {
        let id = names::tenant("name", &request.name)?;
        call.sees(&id, &request.name)?;
        let etag = convert::revision(&request.name, &request.etag)?;
        let deleted = self.0.parts.store.delete_tenant(&id, etag).await;
        Ok(encode(&deleted.map_err(|error| call.failed(error, &request.name))?))
    }
}

fn encode(tenant: &Tenant) -> v1::Tenant {
    let state = if tenant.deleting { v1::tenant::State::Deleting } else { v1::tenant::State::Active };
    v1::Tenant {
        name: format!("tenants/{}", tenant.id),
        display_name: tenant.display_name.clone(),
        state: state.into(),
        create_time: Some(timestamp(tenant.create_time)),
        update_time: Some(timestamp(tenant.update_time)),
        etag: tenant.revision.to_string(),
    }
}
