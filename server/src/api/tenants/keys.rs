//! The keys that sign a tenant's security event tokens: listed with their public halves, and replaced.

use std::time::Duration;

use gatepost_client::v1;
use prost::Message as _;

use crate::api::access::Call;
use crate::api::convert::{self, About, timestamp};
use crate::api::{Api, Error, Violations, names};
use crate::store::requests::Answer;
use crate::store::signing_keys::SigningKeyRecord;

/// How long a new key is published before it signs when the caller names no time, and the longest.
const DEFAULT_AHEAD: Duration = Duration::from_secs(3600);
const LONGEST_AHEAD: Duration = Duration::from_secs(7 * 86_400);

pub(super) async fn list(api: &Api, call: &Call, parent: &str) -> Result<v1::ListSigningKeysResponse, Error> {
    let tenant = names::tenant("parent", parent)?;
    api.see_tenant(call, &tenant, parent).await?;
    let keys = api.parts.store.list_signing_keys(&tenant).await.map_err(|error| call.failed(error, parent))?;
    Ok(v1::ListSigningKeysResponse { signing_keys: keys.iter().map(|key| encode(&tenant, key)).collect() })
}

pub(super) async fn rotate(api: &Api, call: &Call, mut request: v1::RotateSigningKeyRequest) -> Result<v1::SigningKey, Error> {
    let mut bad = Violations::new();
    let tenant = bad.keep(names::tenant("parent", &request.parent)).unwrap_or_default();
    let request_id = std::mem::take(&mut request.request_id);
    let encoded = |key: &SigningKeyRecord| encode(&tenant, key).encode_to_vec();
    let once = bad.keep(convert::once(&tenant, "RotateSigningKey", &request_id, &request, encoded));
    let ahead = match &request.activate_after_duration {
        None => Some(DEFAULT_AHEAD),
        Some(sent) => bad.keep(convert::bounded("activate_after_duration", sent, Duration::ZERO..=LONGEST_AHEAD)),
    };
    bad.into_result()?;
    call.sees(&tenant, &request.parent)?;
    let rotated = api.parts.store.rotate_signing_key(&tenant, ahead.unwrap_or(DEFAULT_AHEAD), once.flatten()).await;
    match rotated.map_err(|error| call.failed(error, About { resource: &request.parent, id: &request_id }))? {
        Answer::Done(key) => Ok(encode(&tenant, &key)),
        Answer::Replayed(answer) => call.replayed(&answer),
    }
}

fn encode(tenant: &str, key: &SigningKeyRecord) -> v1::SigningKey {
    v1::SigningKey {
        name: format!("tenants/{tenant}/signingKeys/{}", key.number),
        key_id: key.key_id.clone(),
        public_jwk: key.public_jwk.clone(),
        create_time: Some(timestamp(key.create_time)),
        activate_time: Some(timestamp(key.activate_time)),
        expire_time: key.expire_time.map(timestamp),
    }
}
