//! What a tenant's endpoints and event types are, from a cache: read for every event published and every attempt sent.
//!
//! Every change of either raises its tenant's `settings_version` in the same commit. A publish reads the version in its own
//! transaction and matches again when it has moved, so no event misses an endpoint made before it. Attempts use what is cached:
//! fresh at once on the node that made the change, within a second on the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _};

use super::db::{Arg, sql};
use super::entity::{endpoint_secrets, endpoints, tenants};
use super::{Error, Store};
use crate::domain::Time;
use crate::domain::endpoint::Endpoint;
use crate::domain::registered::RegisteredTypes;

/// Endpoints kept in memory, over all tenants.
const CACHED_ENDPOINTS: u64 = 100_000;
/// What an endpoint takes, about.
const ENDPOINT_BYTES: usize = 4 << 10;

/// A tenant's endpoints at one version.
#[derive(Debug)]
pub struct TenantSettings {
    /// The version that this is.
    pub version: i64,
    /// Whether the tenant accepts anything.
    pub active: bool,
    /// Its endpoints in the order of their keys.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Types of its own that it may publish.
    pub types: Arc<RegisteredTypes>,
    by_key: HashMap<i64, usize>,
    fan_out: usize,
}

impl TenantSettings {
    fn new(version: i64, active: bool, endpoints: Vec<Arc<Endpoint>>, types: Arc<RegisteredTypes>) -> Self {
        let by_key = endpoints.iter().enumerate().map(|(index, endpoint)| (endpoint.key, index)).collect();
        let fan_out = endpoints.iter().map(|endpoint| endpoint.shape.most_parts()).sum();
        Self { version, active, endpoints, types, by_key, fan_out }
    }

    /// An endpoint by its key; `None` when it was deleted.
    pub fn endpoint(&self, key: i64) -> Option<&Arc<Endpoint>> {
        self.by_key.get(&key).and_then(|index| self.endpoints.get(*index))
    }

    /// What it takes in memory, counted in endpoints of the common kind.
    fn weight(&self) -> usize {
        1 + self.endpoints.len() + (self.program_bytes(None) + self.types.bytes()) / ENDPOINT_BYTES
    }

    /// Bytes that the filters and templates of its endpoints take, about. `except`: an endpoint that does not count.
    pub(crate) fn program_bytes(&self, except: Option<i64>) -> usize {
        self.endpoints.iter().filter(|endpoint| Some(endpoint.key) != except).map(|endpoint| endpoint.program_bytes()).sum()
    }

    /// The most deliveries that one event makes.
    pub(crate) fn fan_out(&self) -> usize {
        self.fan_out
    }

    /// The same without one endpoint; `None`: it is not among them.
    pub(crate) fn without(&self, key: i64) -> Option<Self> {
        self.by_key.get(&key)?;
        let endpoints: Vec<_> = self.endpoints.iter().filter(|endpoint| endpoint.key != key).cloned().collect();
        Some(Self::new(self.version, self.active, endpoints, Arc::clone(&self.types)))
    }
}

#[derive(Debug)]
pub(crate) struct Settings {
    tenants: Cache<Arc<str>, Arc<TenantSettings>>,
}

impl Default for Settings {
    fn default() -> Self {
        let weigh = |_: &Arc<str>, settings: &Arc<TenantSettings>| u32::try_from(settings.weight()).unwrap_or(u32::MAX);
        Self { tenants: Cache::builder().max_capacity(CACHED_ENDPOINTS).weigher(weigh).build() }
    }
}

impl Store {
    /// What is cached of a tenant; `None` when nothing is.
    pub fn cached_settings(&self, tenant: &str) -> Option<Arc<TenantSettings>> {
        self.inner.settings.tenants.get(tenant)
    }

    /// A tenant's settings, read when they are not cached.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such tenant.
    pub async fn settings(&self, tenant: &Arc<str>) -> Result<Arc<TenantSettings>, Error> {
        match self.cached_settings(tenant) {
            Some(settings) => Ok(settings),
            None => self.reload_settings(tenant).await,
        }
    }

    /// A tenant's settings, not older than this call: for what the cached ones do not know, as another node may have changed them.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such tenant.
    pub async fn fresh_settings(&self, tenant: &Arc<str>) -> Result<Arc<TenantSettings>, Error> {
        let reader = self.inner.db.orm_reader();
        let row = self.inner.db.answer(tenants::Entity::find_by_id(tenant.as_ref()).one(&reader)).await?.ok_or(Error::NotFound)?;
        match self.cached_settings(tenant) {
            Some(cached) if cached.version >= row.settings_version => Ok(cached),
            _ => self.reload_settings(tenant).await,
        }
    }

    /// Reads a tenant's settings anew and caches them.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such tenant.
    pub async fn reload_settings(&self, tenant: &Arc<str>) -> Result<Arc<TenantSettings>, Error> {
        let reader = self.inner.db.orm_reader();
        // The version first: what is read after it is of that version or a later one, and is read again if so.
        let row = self.inner.db.answer(tenants::Entity::find_by_id(tenant.as_ref()).one(&reader)).await?.ok_or(Error::NotFound)?;
        let found = endpoints::Entity::find()
            .filter(endpoints::Column::Tenant.eq(tenant.as_ref()))
            .filter(endpoints::Column::DeleteTime.is_null())
            .order_by_asc(endpoints::Column::Key);
        let found = self.inner.db.answer(found.all(&reader)).await?;
        let mut secrets: HashMap<i64, Vec<endpoint_secrets::Model>> = HashMap::new();
        for keys in found.chunks(500) {
            let rows = endpoint_secrets::Entity::find()
                .filter(endpoint_secrets::Column::EndpointKey.is_in(keys.iter().map(|endpoint| endpoint.key)))
                .order_by_desc(endpoint_secrets::Column::Number);
            for row in self.inner.db.answer(rows.all(&reader)).await? {
                secrets.entry(row.endpoint_key).or_default().push(row);
            }
        }
        let active = row.state == super::tenants::ACTIVE;
        let mut endpoints = Vec::with_capacity(found.len());
        if !found.is_empty() && active {
            let key = self.data_key(tenant).await?;
            for model in found {
                let secrets = secrets.remove(&model.key).unwrap_or_default();
                endpoints.push(Arc::new(self.load_endpoint(&key, Arc::clone(tenant), &model, &secrets)?));
            }
        }
        let types = if active { Arc::new(self.registered_types(tenant).await?) } else { Arc::default() };
        let settings = Arc::new(TenantSettings::new(row.settings_version, active, endpoints, types));
        // Of two that read at once the older must not stay.
        if self.cached_settings(tenant).is_none_or(|cached| cached.version <= settings.version) {
            self.inner.settings.tenants.insert(Arc::clone(tenant), Arc::clone(&settings));
        }
        Ok(settings)
    }

    /// After a commit that changed a tenant's endpoints: nothing that begins later uses the old ones.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: the cache is emptied of the tenant instead.
    pub(crate) async fn settings_changed(&self, tenant: &str) -> Result<(), Error> {
        let tenant = Arc::from(tenant);
        let reloaded = self.reload_settings(&tenant).await;
        if reloaded.is_err() {
            self.inner.settings.tenants.invalidate(&tenant);
        }
        self.inner.bells.settings.notify_waiters();
        self.inner.bells.backlog.notify_one();
        reloaded.map(|_| ())
    }

    /// Looks for settings that other nodes changed since `since`, and reads those that are cached here. Returns the time to look
    /// from next.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn follow_settings(&self, since: Time) -> Result<Time, Error> {
        // Commits may become visible a little after the time they carry.
        let next = self.now().minus(Duration::from_secs(10)).max(since);
        let rows = self.inner.db.fetch(sql!("list_changed_settings"), &[Arg::Int(since.millis())]).await?;
        for row in rows {
            let (tenant, version): (Arc<str>, _) = (row.text(0)?.into(), row.int(1)?);
            if row.int(2)? != i64::from(super::tenants::ACTIVE) {
                // Another node destroyed it.
                self.forget_data_key(&tenant).await;
            }
            if self.cached_settings(&tenant).is_some_and(|cached| cached.version < version) {
                self.announce_settings(&tenant).await;
            }
        }
        Ok(next)
    }
}
