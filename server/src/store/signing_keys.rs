//! The keys that sign tenants' security event tokens: made here, sealed in their rows, published until what they signed is old.
//!
//! Called by the API, by delivery for every token and by the key sets that receivers fetch. A new key is published before it signs, so
//! receivers that keep a key set for a while know it by then; the one before it stays published for [`KEPT`] after it signed last.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _};
use secrecy::ExposeSecret as _;
use tokio::sync::Semaphore;

use super::entity::signing_keys::{Column, Entity, Model};
use super::requests::{Answer, Begun, Effect, Once};
use super::tenants::lock_active;
use super::{Error, Store, time, vault};
use crate::domain::Time;
use crate::domain::jose::jws::{self, SigningKey};
use crate::domain::secret::{DataKey, Place, Row};

/// How long a key stays published after another one took over: what it signed may still be retried.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Keys of one tenant that are published at once.
const MOST_KEYS: usize = 16;
/// How long a node may go on without looking for keys that another node made: unless somebody is in a hurry, they are published ahead for
/// longer.
const LOOK: Duration = Duration::from_secs(30);
/// Tenants whose keys are kept open.
const OPEN: u64 = 10_000;

/// A key without its private half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// Its number among its tenant's keys.
    pub number: i64,
    /// `kid` in what it signs.
    pub key_id: String,
    /// The public half, a JSON Web Key.
    pub public_jwk: String,
    /// When it was made and published.
    pub create_time: Time,
    /// From when on it signs.
    pub activate_time: Time,
    /// When it stops being published; `None`: it is the newest.
    pub expire_time: Option<Time>,
}

/// A tenant's keys, newest first, each with the time from which on it signs.
type Opened = Vec<(Time, Arc<SigningKey>)>;

/// Keys that are open on this node.
pub(crate) struct Signers {
    open: Cache<Arc<str>, Arc<Opened>>,
    /// Making a key takes a core for a good part of a second.
    making: Semaphore,
}

impl Default for Signers {
    fn default() -> Self {
        Self { open: Cache::builder().max_capacity(OPEN).time_to_live(LOOK).build(), making: Semaphore::new(1) }
    }
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signers").finish_non_exhaustive()
    }
}

impl Store {
    /// The key that signs a tenant's tokens now.
    ///
    /// # Errors
    /// [`Error::NotFound`]: it has none, or the tenant is being removed; [`Error::Unavailable`].
    pub async fn signing_key(&self, tenant: &Arc<str>) -> Result<Arc<SigningKey>, Error> {
        let now = self.now();
        let keys = match self.inner.signers.open.get(tenant).await {
            Some(keys) => keys,
            None => self.open_signing_keys(tenant).await?,
        };
        let active = keys.iter().find(|(activate, _)| *activate <= now);
        // A clock that was set back must not leave a tenant without a key.
        active.or(keys.last()).map(|(_, key)| Arc::clone(key)).ok_or(Error::NotFound)
    }

    /// The keys that are published, newest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list_signing_keys(&self, tenant: &str) -> Result<Vec<SigningKeyRecord>, Error> {
        let models = self.inner.db.answer(published(tenant, self.now()).all(&self.inner.db.orm_reader())).await?;
        Ok(models.into_iter().map(SigningKeyRecord::from).collect())
    }

    /// Makes a tenant's first key unless it has one. It signs at once.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such tenant; [`Error::Unavailable`].
    pub async fn ensure_signing_key(&self, tenant: &str) -> Result<(), Error> {
        if !self.list_signing_keys(tenant).await?.is_empty() {
            return Ok(());
        }
        let data_key = self.data_key(tenant).await?;
        let made = self.make_signing_key().await?;
        let tx = self.begin_orm().await?;
        lock_active(&tx, tenant).await?;
        if published(tenant, self.now()).one(&tx).await?.is_none() {
            insert(&tx, &data_key, tenant, &made, self.now(), Duration::ZERO).await?;
        }
        tx.commit().await?;
        self.inner.signers.open.invalidate(tenant).await;
        Ok(())
    }

    /// Makes a new key that signs after `activate_after`; those before it stay published for [`KEPT`] from then on.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such tenant; [`Error::Limit`]: too many are published; [`Error::IdempotencyMismatch`].
    pub async fn rotate_signing_key(
        &self,
        tenant: &str,
        activate_after: Duration,
        once: Option<Once<'_, SigningKeyRecord>>,
    ) -> Result<Answer<SigningKeyRecord>, Error> {
        let data_key = self.data_key(tenant).await?;
        // Before a core is busy with one.
        if self.list_signing_keys(tenant).await?.len() >= MOST_KEYS {
            return Err(Error::Limit { name: "signing_keys", value: MOST_KEYS as u64 });
        }
        let made = self.make_signing_key().await?;
        let change = match self.begin_change(once).await? {
            Begun::New(change) => change,
            Begun::Replayed(answer) => return Ok(Answer::Replayed(answer)),
        };
        let tx = &change.tx;
        lock_active(tx, tenant).await?;
        let now = self.now();
        if published(tenant, now).all(tx).await?.len() >= MOST_KEYS {
            return Err(Error::Limit { name: "signing_keys", value: MOST_KEYS as u64 });
        }
        Entity::update_many()
            .col_expr(Column::ExpireTime, Expr::value(now.plus(activate_after).plus(KEPT).millis()))
            .filter(Column::Tenant.eq(tenant))
            .filter(Column::ExpireTime.is_null())
            .exec(tx)
            .await?;
        let model = insert(tx, &data_key, tenant, &made, now, activate_after).await?;
        let record = change.finish(Effect::Apply, model.into()).await?;
        self.inner.signers.open.invalidate(tenant).await;
        Ok(Answer::Done(record))
    }

    /// Removes keys that are published no more. True: there may be more.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn expire_signing_keys_step(&self) -> Result<bool, Error> {
        let gone =
            Entity::delete_many().filter(Column::ExpireTime.lt(self.now().millis())).exec(&self.inner.db.orm_writer()).await?;
        Ok(gone.rows_affected > 0)
    }

    async fn make_signing_key(&self) -> Result<SigningKey, Error> {
        // Never closed.
        let _turn = self.inner.signers.making.acquire().await;
        let made = tokio::task::spawn_blocking(|| SigningKey::generate(&ring::rand::SystemRandom::new())).await;
        made.unwrap_or(Err(jws::Error::Key)).map_err(Error::SigningKey)
    }

    async fn open_signing_keys(&self, tenant: &Arc<str>) -> Result<Arc<Opened>, Error> {
        let data_key = self.data_key(tenant).await?;
        let models = self.inner.db.answer(published(tenant, self.now()).all(&self.inner.db.orm_reader())).await?;
        let open = |model: Model| {
            let bad =
                || Error::BadRow { table: "signing_keys", row: format!("{tenant}/{}", model.number), problem: "no key".to_owned() };
            let der = zeroize::Zeroizing::new(data_key.open(&place(tenant, model.number), &model.sealed)?);
            let key = SigningKey::from_pkcs8(&der).map_err(|_| bad())?;
            Ok((time(model.activate_time), Arc::new(key)))
        };
        let keys = Arc::new(models.into_iter().map(open).collect::<Result<Vec<_>, Error>>()?);
        if !keys.is_empty() {
            self.inner.signers.open.insert(Arc::clone(tenant), Arc::clone(&keys)).await;
        }
        Ok(keys)
    }
}

/// Newest first.
fn published(tenant: &str, now: Time) -> sea_orm::Select<Entity> {
    Entity::find()
        .filter(Column::Tenant.eq(tenant))
        .filter(Column::ExpireTime.is_null().or(Column::ExpireTime.gt(now.millis())))
        .order_by_desc(Column::Number)
}

fn place(tenant: &str, number: i64) -> Place<'_> {
    Place { tenant, table: "signing_keys", row: Row::Number(number), column: "sealed" }
}

async fn insert(
    tx: &impl ConnectionTrait,
    data_key: &DataKey,
    tenant: &str,
    key: &SigningKey,
    now: Time,
    activate_after: Duration,
) -> Result<Model, Error> {
    let newest = Entity::find().filter(Column::Tenant.eq(tenant)).order_by_desc(Column::Number).one(tx).await?;
    let number = newest.map_or(1, |newest| newest.number + 1);
    let model = Model {
        tenant: tenant.to_owned(),
        number,
        sealed: data_key.seal(&place(tenant, number), vault::nonce(), key.to_pkcs8().expose_secret())?,
        key_id: key.kid().to_owned(),
        public_jwk: key.public_jwk().to_string(),
        create_time: now.millis(),
        activate_time: now.plus(activate_after).millis(),
        expire_time: None,
    };
    Entity::insert(model.clone().into_active_model()).exec_without_returning(tx).await?;
    Ok(model)
}

impl From<Model> for SigningKeyRecord {
    fn from(model: Model) -> Self {
        Self {
            number: model.number,
            key_id: model.key_id,
            public_jwk: model.public_jwk,
            create_time: time(model.create_time),
            activate_time: time(model.activate_time),
            expire_time: model.expire_time.map(time),
        }
    }
}
