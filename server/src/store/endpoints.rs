//! Endpoints: read for people and for delivery.
//!
//! Called by the API and, through the cache of settings, by publishing and the dispatcher. [`write`] changes them, [`secrets`] rotates
//! what signs their requests, [`cancel`] cancels what a deleted one leaves. Header values and secrets are sealed in their rows and
//! bound to them.

mod cancel;
mod secrets;
mod shape;
mod state;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::entity::{endpoint_health, endpoint_secrets, endpoints};
use super::page::{Listed, Page};
use super::{Error, Store, time, vault};
use crate::domain::Time;
use crate::domain::endpoint::{ActiveSecret, CustomHeader, Endpoint, State, TypePattern, parse_event_types, parse_headers};
use crate::domain::secret::{DataKey, Place, Row};
use crate::domain::signature::SigningSecret;

pub use secrets::RevealedSecret;
pub use shape::ShapeChange;
pub use state::Wanted;
pub use write::{EndpointChange, NewEndpoint};

/// An endpoint with everything that its users see.
#[derive(Debug, Clone)]
pub struct EndpointRecord {
    /// As delivery uses it.
    pub endpoint: Endpoint,
    /// Name for people.
    pub display_name: String,
    /// Free text.
    pub description: String,
    /// Why it is disabled; `None`: it is not.
    pub disabled_reason: Option<DisabledReason>,
    /// Why it is paused; `None`: it is not.
    pub paused_reason: Option<PausedReason>,
    /// Its active signing secrets, newest first.
    pub secrets: Vec<SecretInfo>,
    /// How its receiver did lately.
    pub health: Health,
    /// Rises with every change: its etag.
    pub revision: i64,
    /// When it was made.
    pub create_time: Time,
    /// When it was last changed.
    pub update_time: Time,
}

/// Why an endpoint is disabled. The numbers are those of the contract and of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum DisabledReason {
    /// Somebody disabled it.
    Manual = 1,
    /// Its receiver answered 410.
    Gone = 2,
}

impl DisabledReason {
    /// Its number in rows and in the contract; 0 there means that the endpoint is not disabled.
    pub const fn code(self) -> i16 {
        self as i16
    }

    fn from_code(code: i16) -> Option<Self> {
        [Self::Manual, Self::Gone].into_iter().find(|reason| reason.code() == code)
    }
}

/// Why an endpoint is paused. The numbers are those of the contract and of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub enum PausedReason {
    /// Somebody paused it.
    Manual = 1,
    /// Its receiver refused a security event token and will refuse the next.
    Refused = 2,
}

impl PausedReason {
    /// Its number in rows and in the contract; 0 there means that the endpoint is not paused.
    pub const fn code(self) -> i16 {
        self as i16
    }

    fn from_code(code: i16) -> Option<Self> {
        [Self::Manual, Self::Refused].into_iter().find(|reason| reason.code() == code)
    }
}

/// A signing secret without the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// Names it without telling it.
    pub fingerprint: String,
    /// When it became active.
    pub create_time: Time,
    /// When it stops signing; `None`: the current one.
    pub expire_time: Option<Time>,
}

/// How an endpoint's receiver did lately, at most a second old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Last attempt that succeeded.
    pub last_success_time: Option<Time>,
    /// Last attempt that failed.
    pub last_failure_time: Option<Time>,
    /// Failed attempts since the last that succeeded.
    pub consecutive_failures: i32,
    /// Nothing is sent before this time.
    pub hold_until: Option<Time>,
}

impl Store {
    /// An endpoint by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there is none, it was deleted, or its tenant is being removed.
    pub async fn get_endpoint(&self, tenant: &str, id: &str) -> Result<EndpointRecord, Error> {
        let reader = self.inner.db.orm_reader();
        let key = self.data_key(tenant).await?;
        let model = find(&reader, tenant, id).await?.ok_or(Error::NotFound)?;
        self.endpoint_record(&reader, &key, model).await
    }

    /// A tenant's endpoints by id. `states`: only those in one of them.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such tenant; [`Error::BadPosition`].
    pub async fn list_endpoints(&self, tenant: &str, page: &Page, states: &[State]) -> Result<Listed<EndpointRecord>, Error> {
        let reader = self.inner.db.orm_reader();
        let key = self.data_key(tenant).await?;
        let mut query = endpoints::Entity::find()
            .filter(endpoints::Column::Tenant.eq(tenant))
            .filter(endpoints::Column::DeleteTime.is_null())
            .filter(endpoints::Column::State.is_in(states.iter().map(|state| state.code())));
        if let Some(after) = page.text()? {
            query = query.filter(endpoints::Column::Id.gt(after));
        }
        let models = query.order_by_asc(endpoints::Column::Id).limit(page.limit()).all(&reader).await?;
        let listed = Listed::cut(models, page, |model: &endpoints::Model| model.id.clone().into_bytes());
        Ok(Listed { items: self.endpoint_records(&reader, &key, listed.items).await?, next: listed.next })
    }

    async fn endpoint_record(
        &self,
        reader: &impl ConnectionTrait,
        key: &DataKey,
        model: endpoints::Model,
    ) -> Result<EndpointRecord, Error> {
        self.endpoint_records(reader, key, vec![model]).await?.pop().ok_or(Error::NotFound)
    }

    /// Rows with their secrets and health, in the same order; at most a page of them.
    async fn endpoint_records(
        &self,
        reader: &impl ConnectionTrait,
        key: &DataKey,
        models: Vec<endpoints::Model>,
    ) -> Result<Vec<EndpointRecord>, Error> {
        let keys: Vec<i64> = models.iter().map(|model| model.key).collect();
        let mut secrets: HashMap<i64, Vec<endpoint_secrets::Model>> = HashMap::new();
        let rows = endpoint_secrets::Entity::find()
            .filter(endpoint_secrets::Column::EndpointKey.is_in(keys.iter().copied()))
            .order_by_desc(endpoint_secrets::Column::Number)
            .all(reader)
            .await?;
        for row in rows {
            secrets.entry(row.endpoint_key).or_default().push(row);
        }
        let health = endpoint_health::Entity::find().filter(endpoint_health::Column::EndpointKey.is_in(keys)).all(reader).await?;
        let mut health: HashMap<i64, endpoint_health::Model> = health.into_iter().map(|row| (row.endpoint_key, row)).collect();
        let now = self.now();
        let record = |model: endpoints::Model| {
            let secrets = secrets.remove(&model.key).unwrap_or_default();
            let endpoint = self.load_endpoint(key, Arc::from(model.tenant.as_str()), &model, &secrets)?;
            let active = secrets.into_iter().filter(|row| row.expire_time.is_none_or(|expire| now.millis() < expire));
            Ok(EndpointRecord {
                health: health.remove(&model.key).map(Health::from).unwrap_or_default(),
                disabled_reason: DisabledReason::from_code(model.disabled_reason),
                // One that was paused before there were reasons has none: a person did it.
                paused_reason: (endpoint.state == State::Paused)
                    .then(|| PausedReason::from_code(model.paused_reason).unwrap_or(PausedReason::Manual)),
                display_name: model.display_name,
                description: model.description,
                secrets: active.map(SecretInfo::from).collect(),
                revision: model.revision,
                create_time: time(model.create_time),
                update_time: time(model.update_time),
                endpoint,
            })
        };
        models.into_iter().map(record).collect()
    }
}

impl From<endpoint_secrets::Model> for SecretInfo {
    fn from(row: endpoint_secrets::Model) -> Self {
        Self { fingerprint: row.fingerprint, create_time: time(row.create_time), expire_time: row.expire_time.map(time) }
    }
}

impl From<endpoint_health::Model> for Health {
    fn from(row: endpoint_health::Model) -> Self {
        Self {
            last_success_time: row.last_success_time.map(time),
            last_failure_time: row.last_failure_time.map(time),
            consecutive_failures: row.consecutive_failures,
            hold_until: row.hold_until_time.map(time),
        }
    }
}

/// The row of an endpoint that was not deleted.
async fn find(reader: &impl ConnectionTrait, tenant: &str, id: &str) -> Result<Option<endpoints::Model>, Error> {
    let query = endpoints::Entity::find()
        .filter(endpoints::Column::Tenant.eq(tenant))
        .filter(endpoints::Column::Id.eq(id))
        .filter(endpoints::Column::DeleteTime.is_null());
    Ok(query.one(reader).await?)
}

impl Store {
    /// Reads a row. `secrets`: the endpoint's, newest first.
    ///
    /// # Errors
    /// [`Error::BadRow`]; [`Error::Sealed`]: under another key, or moved from another row.
    pub(crate) fn load_endpoint(
        &self,
        key: &DataKey,
        tenant: Arc<str>,
        model: &endpoints::Model,
        secrets: &[endpoint_secrets::Model],
    ) -> Result<Endpoint, Error> {
        let bad = |problem: String| Error::BadRow { table: "endpoints", row: format!("{tenant}/{}", model.id), problem };
        let event_types: Vec<String> = json(&model.event_types).map_err(bad)?;
        let active = secrets
            .iter()
            .map(|row| Ok(ActiveSecret { secret: open_secret(key, &tenant, row)?, expire: row.expire_time.map(time) }));
        let filter = match model.filter.as_str() {
            "" => None,
            text => Some(self.inner.compiled.filter(text).map_err(|error| bad(format!("filter: {error}")))?),
        };
        Ok(Endpoint {
            key: model.key,
            id: model.id.as_str().into(),
            url: Url::parse(&model.url).map_err(|error| bad(error.to_string()))?,
            event_types: parse_event_types(&event_types).map_err(|_| bad("event_types".to_owned()))?,
            headers: open_headers(key, &tenant, model.key, &model.headers)?,
            retry: json(&model.retry_policy).map_err(bad)?,
            attempt_timeout: Duration::from_millis(
                u64::try_from(model.attempt_timeout_ms).map_err(|error| bad(error.to_string()))?,
            ),
            max_in_flight: u32::try_from(model.max_in_flight).map_err(|error| bad(error.to_string()))?,
            permanent_statuses: json(&model.permanent_statuses).map_err(bad)?,
            state: State::from_code(model.state).ok_or_else(|| bad(format!("state {}", model.state)))?,
            secrets: active.collect::<Result<_, Error>>()?,
            hooks_only: model.hooks_only,
            filter,
            shape: self.load_shape(key, &tenant, model).map_err(bad)?,
            tenant,
        })
    }
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn event_types_text(event_types: &[TypePattern]) -> String {
    let texts: Vec<String> = event_types.iter().map(ToString::to_string).collect();
    // A list of texts always serialises.
    serde_json::to_string(&texts).unwrap_or_default()
}

fn headers_place(tenant: &str, endpoint_key: i64) -> Place<'_> {
    Place { tenant, table: "endpoints", row: Row::Number(endpoint_key), column: "headers" }
}

fn seal_headers(key: &DataKey, tenant: &str, endpoint_key: i64, headers: &[CustomHeader]) -> Result<Vec<u8>, Error> {
    let values: Vec<(&str, SecretString)> = headers.iter().map(|header| (header.name.as_str(), header.value())).collect();
    let shown: BTreeMap<&str, &str> = values.iter().map(|(name, value)| (*name, value.expose_secret())).collect();
    let text = zeroize::Zeroizing::new(serde_json::to_vec(&shown).unwrap_or_default());
    Ok(key.seal(&headers_place(tenant, endpoint_key), vault::nonce(), &text)?)
}

fn open_headers(key: &DataKey, tenant: &str, endpoint_key: i64, sealed: &[u8]) -> Result<Vec<CustomHeader>, Error> {
    let text = zeroize::Zeroizing::new(key.open(&headers_place(tenant, endpoint_key), sealed)?);
    let bad = || Error::BadRow { table: "endpoints", row: endpoint_key.to_string(), problem: "headers".to_owned() };
    let headers: BTreeMap<String, String> = serde_json::from_slice(&text).map_err(|_| bad())?;
    parse_headers(headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))).map_err(|_| bad())
}

/// Seals or opens in the place of one secret.
fn in_place<T>(
    tenant: &str,
    endpoint_key: i64,
    number: i64,
    act: impl FnOnce(&Place<'_>) -> Result<T, crate::domain::secret::Error>,
) -> Result<T, Error> {
    let row = format!("{endpoint_key}/{number}");
    Ok(act(&Place { tenant, table: "endpoint_secrets", row: Row::Text(&row), column: "sealed" })?)
}

fn open_secret(key: &DataKey, tenant: &str, row: &endpoint_secrets::Model) -> Result<SigningSecret, Error> {
    let text = in_place(tenant, row.endpoint_key, row.number, |place| key.open(place, &row.sealed))?;
    let text = zeroize::Zeroizing::new(text);
    std::str::from_utf8(&text).ok().and_then(|text| SigningSecret::parse(text).ok()).ok_or_else(|| Error::BadRow {
        table: "endpoint_secrets",
        row: format!("{}/{}", row.endpoint_key, row.number),
        problem: "it is no secret".to_owned(),
    })
}
