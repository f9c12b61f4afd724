//! Seals and opens tenants' columns: keeps their data keys open in memory, and makes a tenant's first one.

use moka::future::Cache;

use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, Set};

use super::entity::data_keys;
use super::{Error, Store};
use crate::domain::secret::{DataKey, Nonce, Place};

/// Tenants whose keys are kept open.
const OPEN_KEYS: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct Vault {
    open: Cache<String, DataKey>,
}

impl Default for Vault {
    fn default() -> Self {
        Self { open: Cache::builder().max_capacity(OPEN_KEYS).build() }
    }
}

/// A new nonce: 12 random bytes.
pub(crate) fn nonce() -> Nonce {
    rand::random()
}

impl Store {
    /// The tenant's data key. The empty tenant is the server's own.
    ///
    /// # Errors
    /// [`Error::NotFound`]: the tenant never had one, or it was destroyed with the tenant.
    pub(crate) async fn data_key(&self, tenant: &str) -> Result<DataKey, Error> {
        if let Some(key) = self.inner.vault.open.get(tenant).await {
            return Ok(key);
        }
        let newest =
            data_keys::Entity::find().filter(data_keys::Column::Tenant.eq(tenant)).order_by_desc(data_keys::Column::Number);
        let mut row = self.inner.db.answer(newest.clone().one(&self.inner.db.orm_reader())).await?;
        if row.is_none() && tenant.is_empty() {
            self.ensure_server_key().await?;
            row = self.inner.db.answer(newest.one(&self.inner.db.orm_reader())).await?;
        }
        let row = row.ok_or(Error::NotFound)?;
        let key = self.inner.keys.open_data_key(tenant, &row.wrapped)?;
        self.inner.vault.open.insert(tenant.to_owned(), key.clone()).await;
        Ok(key)
    }

    /// A row for a tenant's first data key, to be inserted with the tenant.
    pub(crate) fn first_data_key(&self, tenant: &str) -> Result<data_keys::ActiveModel, Error> {
        let (_, wrapped) = self.inner.keys.make_data_key(tenant, 1, &rand::random(), nonce())?;
        Ok(data_keys::ActiveModel {
            tenant: Set(tenant.to_owned()),
            number: Set(1),
            wrapped: Set(wrapped),
            create_time: Set(self.now().millis()),
        })
    }

    /// Makes the server's own data key, unless it is there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ensure_server_key(&self) -> Result<(), Error> {
        let on_conflict = sea_orm::sea_query::OnConflict::new().do_nothing().to_owned();
        data_keys::Entity::insert(self.first_data_key("")?)
            .on_conflict(on_conflict)
            .exec_without_returning(&self.inner.db.orm_writer())
            .await?;
        Ok(())
    }

    /// The key of a destroyed tenant is no longer kept open.
    pub(crate) async fn forget_data_key(&self, tenant: &str) {
        self.inner.vault.open.invalidate(tenant).await;
    }

    pub(crate) async fn seal(&self, place: &Place<'_>, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.data_key(place.tenant).await?.seal(place, nonce(), plaintext)?)
    }

    pub(crate) async fn open_sealed(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.data_key(place.tenant).await?.open(place, sealed)?)
    }
}
