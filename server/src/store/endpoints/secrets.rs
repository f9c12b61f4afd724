//! Rotating and revealing what signs an endpoint's requests.

use std::time::Duration;

use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, Set,
};

use super::{EndpointRecord, SecretInfo, find, in_place, open_secret};
use crate::domain::Time;
use crate::domain::endpoint::MOST_SECRETS;
use crate::domain::secret::DataKey;
use crate::domain::signature::SigningSecret;
use crate::store::entity::endpoint_secrets::{Column, Entity, Model};
use crate::store::requests::{Answer, Begun, Effect, Once};
use crate::store::tenants::{lock_active, raise_settings};
use crate::store::{Error, Store, vault};
use secrecy::ExposeSecret as _;

/// A signing secret in clear.
#[derive(Debug, Clone)]
pub struct RevealedSecret {
    /// The secret.
    pub secret: SigningSecret,
    /// Which one it is.
    pub info: SecretInfo,
}

impl Store {
    /// Makes a secret the first one. Those before it that have no end yet stay valid for `overlap`; zero drops all of them at once.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Limit`]: five are active; [`Error::IdempotencyMismatch`].
    pub async fn rotate_secret(
        &self,
        tenant: &str,
        id: &str,
        secret: &SigningSecret,
        overlap: Duration,
        once: Option<Once<'_, EndpointRecord>>,
    ) -> Result<Answer<EndpointRecord>, Error> {
        let key = self.data_key(tenant).await?;
        let change = match self.begin_change(once).await? {
            Begun::New(change) => change,
            Begun::Replayed(answer) => return Ok(Answer::Replayed(answer)),
        };
        let tx = &change.tx;
        lock_active(tx, tenant).await?;
        let model = find(tx, tenant, id).await?.ok_or(Error::NotFound)?;
        let now = self.now();
        let rows = secrets_of(tx, model.key).await?;
        let number = rows.first().map_or(1, |newest| newest.number + 1);
        let (kept, ended): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| !overlap.is_zero() && is_active(row, now));
        if kept.len() >= MOST_SECRETS {
            return Err(Error::Limit { name: "signing_secrets", value: MOST_SECRETS as u64 });
        }
        for row in ended {
            Entity::delete_by_id((row.endpoint_key, row.number)).exec(tx).await?;
        }
        for row in kept.into_iter().filter(|row| row.expire_time.is_none()) {
            let mut row = row.into_active_model();
            row.expire_time = Set(Some(now.plus(overlap).millis()));
            row.update(tx).await?;
        }
        insert_secret(tx, &key, tenant, model.key, number, secret, now).await?;
        let model = self.touched(model).update(tx).await?;
        raise_settings(tx, tenant, now).await?;
        let record = self.endpoint_record(tx, &key, model).await?;
        let record = change.finish(Effect::Apply, record).await?;
        self.announce_settings(tenant).await;
        Ok(Answer::Done(record))
    }

    /// The active secrets in clear, newest first.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn reveal_secrets(&self, tenant: &str, id: &str) -> Result<Vec<RevealedSecret>, Error> {
        let reader = self.inner.db.orm_reader();
        let key = self.data_key(tenant).await?;
        let model = find(&reader, tenant, id).await?.ok_or(Error::NotFound)?;
        let now = self.now();
        let active = secrets_of(&reader, model.key).await?.into_iter().filter(|row| is_active(row, now));
        active.map(|row| Ok(RevealedSecret { secret: open_secret(&key, tenant, &row)?, info: row.into() })).collect()
    }
}

/// Newest first.
async fn secrets_of(reader: &impl ConnectionTrait, endpoint_key: i64) -> Result<Vec<Model>, Error> {
    Ok(Entity::find().filter(Column::EndpointKey.eq(endpoint_key)).order_by_desc(Column::Number).all(reader).await?)
}

fn is_active(row: &Model, now: Time) -> bool {
    row.expire_time.is_none_or(|expire| now.millis() < expire)
}

/// `number`: larger than that of any secret the endpoint had, as it is part of what the ciphertext is bound to.
pub(super) async fn insert_secret(
    tx: &impl ConnectionTrait,
    key: &DataKey,
    tenant: &str,
    endpoint_key: i64,
    number: i64,
    secret: &SigningSecret,
    now: Time,
) -> Result<(), Error> {
    let text = secret.to_text();
    let seal = |place: &crate::domain::secret::Place<'_>| key.seal(place, vault::nonce(), text.expose_secret().as_bytes());
    let row = Model {
        endpoint_key,
        number,
        sealed: in_place(tenant, endpoint_key, number, seal)?,
        fingerprint: secret.fingerprint(),
        create_time: now.millis(),
        expire_time: None,
    };
    Entity::insert(row.into_active_model()).exec_without_returning(tx).await?;
    Ok(())
}
