//! `AdminService`: API keys, and facts about this node. A key's text is in the answer of its creation and nowhere else.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatepost_client::v1;
use prost::Message as _;
use secrecy::ExposeSecret as _;
use tonic::{Request, Response, Status};

use super::access::{Call, enter};
use super::convert::{self, About, timestamp};
use super::generated::admin_service_server::AdminService;
use super::page::Query;
use super::tenants::MAX_DISPLAY_NAME;
use super::{Api, Error, Violations, names};
use crate::domain::caller::{ApiKey, Scope};
use crate::store::Dialect;
use crate::store::keys::{KeyRecord, NewKey};
use crate::store::requests::Answer;

/// Scopes of one key.
const MAX_SCOPES: usize = 100;

/// The service.
pub(super) struct Admin(pub(super) Arc<Api>);

#[tonic::async_trait]
impl AdminService for Admin {
    async fn create_api_key(&self, request: Request<v1::CreateApiKeyRequest>) -> Result<Response<v1::ApiKey>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.create(&call, request).await?))
    }

    async fn list_api_keys(&self, request: Request<v1::ListApiKeysRequest>) -> Result<Response<v1::ListApiKeysResponse>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.list(&call, &request).await?))
    }

    async fn revoke_api_key(&self, request: Request<v1::RevokeApiKeyRequest>) -> Result<Response<v1::ApiKey>, Status> {
        let (call, request) = enter(request)?;
        Ok(Response::new(self.revoke(&call, &request.name).await?))
    }

    async fn get_server_info(&self, request: Request<v1::GetServerInfoRequest>) -> Result<Response<v1::ServerInfo>, Status> {
        let (call, _) = enter(request)?;
        Ok(Response::new(self.info(&call)?))
    }
}

impl Admin {
    async fn create(&self, call: &Call, mut request: v1::CreateApiKeyRequest) -> Result<v1::ApiKey, Error> {
        let store = &self.0.parts.store;
        let key = ApiKey::generate(store.clock().uuid(), &rand::random());
        let mut bad = Violations::new();
        let request_id = std::mem::take(&mut request.request_id);
        let answer = |record: &KeyRecord| v1::ApiKey { key: key.text().expose_secret().to_owned(), ..encode(record) };
        let once = bad.keep(convert::once("", "CreateApiKey", &request_id, &request, |record| answer(record).encode_to_vec()));
        let sent = request.api_key.unwrap_or_default();
        let display_name = bad.keep(convert::text("api_key.display_name", sent.display_name, MAX_DISPLAY_NAME));
        let scopes = check_scopes(&mut bad, &sent.scopes);
        let expire_time = sent.expire_time.and_then(|time| bad.keep(convert::time("api_key.expire_time", &time)));
        if let Some(expire) = expire_time {
            bad.check("api_key.expire_time", expire > store.now(), "must lie in the future");
        }
        bad.into_result()?;
        if let Some(missing) = scopes.iter().find(|scope| !call.caller().covers([*scope])) {
            return Err(Error::ScopeMissing { scope: missing.to_string() });
        }
        let new = NewKey {
            id: key.key_id.clone(),
            display_name: display_name.unwrap_or_default(),
            hash: store.key_ring().hash_api_key(&key.key_id, key.secret.expose_secret()),
            scopes,
            expire_time,
        };
        let name = format!("apiKeys/{}", key.key_id);
        let about = About { resource: &name, id: &request_id };
        match store.create_key(new, once.flatten()).await.map_err(|error| call.failed(error, about))? {
            Answer::Done(record) => Ok(answer(&record)),
            Answer::Replayed(answer) => call.replayed(&answer),
        }
    }

    async fn list(&self, call: &Call, request: &v1::ListApiKeysRequest) -> Result<v1::ListApiKeysResponse, Error> {
        let mut bad = Violations::new();
        let query = Query { method: "ListApiKeys", parent: "", filter: "", order: "" };
        let page = self.0.page(&mut bad, &query, request.page_size, &request.page_token);
        bad.into_result()?;
        let visible = |key: &KeyRecord| call.caller().covers(&key.scopes);
        let listed = self.0.parts.store.list_keys(&page.unwrap_or_default(), visible).await;
        let listed = listed.map_err(|error| call.failed(error, "apiKeys"))?;
        let next_page_token = self.0.next_token(&query, listed.next);
        Ok(v1::ListApiKeysResponse { api_keys: listed.items.iter().map(encode).collect(), next_page_token })
    }

    async fn revoke(&self, call: &Call, name: &str) -> Result<v1::ApiKey, Error> {
        let store = &self.0.parts.store;
        let id = names::api_key("name", name)?;
        let found = store.find_key(&id).await.map_err(|error| call.failed(error, name))?;
        // A key that may do more is, to this caller, none.
        if !found.is_some_and(|key| call.caller().covers(&key.scopes)) {
            return Err(Error::NotFound { resource: name.to_owned() });
        }
        Ok(encode(&store.revoke_key(&id).await.map_err(|error| call.failed(error, name))?))
    }

    fn info(&self, call: &Call) -> Result<v1::ServerInfo, Error> {
        let (parts, limits) = (&self.0.parts, &self.0.parts.limits);
        let epoch = parts.store.epoch().map_err(|error| call.failed(error, "server"))?;
        let database = match parts.store.dialect() {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgres => "postgres",
        };
        let count = |limit: usize| i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(v1::ServerInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            database: database.to_owned(),
            epoch: epoch.id,
            start_time: Some(timestamp(parts.start_time)),
            now_time: Some(timestamp(parts.store.now())),
            limits: Some(v1::server_info::Limits {
                event_data_bytes: count(limits.event_data_bytes),
                endpoints_per_tenant: limits.endpoints_per_tenant.into(),
                message_bytes: count(limits.message_bytes),
                events_per_batch: count(limits.events_per_batch),
            }),
        })
    }
}

/// Each scope once, in order.
fn check_scopes(bad: &mut Violations, sent: &[String]) -> Vec<Scope> {
    if !bad.check("api_key.scopes", (1..=MAX_SCOPES).contains(&sent.len()), format_args!("must be 1 to {MAX_SCOPES}")) {
        return Vec::new();
    }
    let parse = |(index, text): (usize, &String)| bad.take(&format!("api_key.scopes[{index}]"), Scope::parse(text));
    sent.iter().enumerate().filter_map(parse).collect::<BTreeSet<_>>().into_iter().collect()
}

fn encode(key: &KeyRecord) -> v1::ApiKey {
    v1::ApiKey {
        name: format!("apiKeys/{}", key.id),
        display_name: key.display_name.clone(),
        scopes: key.scopes.iter().map(Scope::to_string).collect(),
        create_time: Some(timestamp(key.create_time)),
        expire_time: key.expire_time.map(timestamp),
        revoke_time: key.revoke_time.map(timestamp),
        last_use_time: key.last_use_time.map(timestamp),
        key: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_kept_once_and_every_unknown_one_is_named() {
        let check = |scopes: &[&str]| {
            let mut bad = Violations::new();
            let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            (check_scopes(&mut bad, &scopes).len(), bad.into_result())
        };
        assert_eq!(check(&["publish", "publish", "tenants:acme"]), (2, Ok(())));
        let Err(Error::InvalidFields(fields)) = check(&["publish", "root", "tenants:"]).1 else { panic!("two are unknown") };
        assert_eq!(fields.iter().map(|bad| bad.field.as_str()).collect::<Vec<_>>(), ["api_key.scopes[1]", "api_key.scopes[2]"]);
        assert!(check(&[]).1.is_err() && check(&["publish"; 101]).1.is_err());
    }
}
