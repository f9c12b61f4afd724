//! What receivers fetch to check and understand what they are sent: key sets of tenants, and schemas of the catalogue.
//!
//! Nobody is asked for a key there, as all of it is meant for the public. A tenant that does not exist has an empty key set, as one without
//! tokens has: who asks learns of no tenant.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::domain::catalogue;
use crate::domain::id;
use crate::domain::jose::jws;
use crate::domain::site::Site;
use crate::store::Store;
use std::sync::Arc;

/// Keys are published an hour before they sign unless somebody is in a hurry, so receivers may keep a set for a while; but not one without
/// keys, as the first signs at once.
const KEEP_KEYS: &str = "public, max-age=300";
const KEEP_NOTHING: &str = "no-store";
/// A version of a schema only gains optional members.
const KEEP_SCHEMAS: &str = "public, max-age=3600";

#[derive(Clone)]
struct Shown {
    store: Store,
    site: Arc<Site>,
}

/// `/tenants/{tenant}/jwks.json` and `/events/{type}/{version}.json`.
pub fn keys(store: Store, site: Arc<Site>) -> Router {
    Router::new()
        .route("/tenants/{tenant}/jwks.json", get(key_set))
        .route("/events/{event_type}/{version}", get(schema))
        .with_state(Shown { store, site })
}

async fn key_set(State(shown): State<Shown>, Path(tenant): Path<String>) -> Response {
    if !id::is_resource_id(&tenant) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match shown.store.list_signing_keys(&tenant).await {
        Ok(keys) => {
            let keys: Vec<&str> = keys.iter().map(|key| key.public_jwk.as_str()).collect();
            let keep = if keys.is_empty() { KEEP_NOTHING } else { KEEP_KEYS };
            ([(CONTENT_TYPE, "application/jwk-set+json"), (CACHE_CONTROL, keep)], jws::key_set(&keys)).into_response()
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a key set cannot be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn schema(State(shown): State<Shown>, Path((event_type, version)): Path<(String, String)>) -> Response {
    let number = version.strip_suffix(".json").and_then(|number| number.parse::<i32>().ok());
    let base_url = shown.site.schema_base_url.as_deref();
    let found = catalogue::find(&event_type).zip(number).and_then(|(known, number)| known.schema_document(number, base_url));
    match found {
        Some(document) => ([(CONTENT_TYPE, "application/schema+json"), (CACHE_CONTROL, KEEP_SCHEMAS)], document).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
