//! Tenants: made with their data key, removed by destroying it.
//!
//! Called by the API, and by upkeep for the rows of a tenant that was deleted. Every change of a tenant's endpoints locks the tenant's
//! row and raises its settings version in the same commit ([`lock_active`], [`raise_settings`]). The row of a removed tenant stays,
//! so that its id is never given again.

mod remove;

use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Set,
};

use super::entity::{data_keys, tenants};
use super::page::{Listed, Page};
use super::requests::{Answer, Begun, Effect, Once};
use super::{Error, Store, time};
use crate::domain::Time;

/// State code of a tenant in use.
pub(crate) const ACTIVE: i16 = 1;
/// State code of a tenant being removed.
pub(crate) const DELETING: i16 = 2;
/// State code of a tenant of which only the id is left.
pub(crate) const REMOVED: i16 = 3;

/// A customer organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: String,
    /// Name for people.
    pub display_name: String,
    /// Whether it is being removed; it accepts nothing then.
    pub deleting: bool,
    /// Rises with every change of its own fields: its etag.
    pub revision: i64,
    /// When it was made.
    pub create_time: Time,
    /// When it was last changed.
    pub update_time: Time,
}

/// A tenant to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// Its id, checked.
    pub id: String,
    /// Name for people, checked.
    pub display_name: String,
}

impl Store {
    /// Makes a tenant with its first data key.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]: also when a tenant of this id was deleted. [`Error::IdempotencyMismatch`].
    pub async fn create_tenant(&self, new: NewTenant, once: Option<Once<'_, Tenant>>) -> Result<Answer<Tenant>, Error> {
        let change = match self.begin_change(once).await? {
            Begun::New(change) => change,
            Begun::Replayed(answer) => return Ok(Answer::Replayed(answer)),
        };
        let now = self.now();
        let model = tenants::Model {
            id: new.id,
            display_name: new.display_name,
            state: ACTIVE,
            settings_version: 1,
            settings_time: now.millis(),
            revision: 1,
            create_time: now.millis(),
            update_time: now.millis(),
        };
        let conflict = sea_orm::sea_query::OnConflict::new().do_nothing().to_owned();
        let row = model.clone().into_active_model();
        if tenants::Entity::insert(row).on_conflict(conflict).exec_without_returning(&change.tx).await? == 0 {
            return Err(Error::AlreadyExists);
        }
        self.first_data_key(&model.id)?.insert(&change.tx).await?;
        change.finish(Effect::Apply, Tenant::from(model)).await.map(Answer::Done)
    }

    /// A tenant; one that is being removed too, until nothing of it is left.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn get_tenant(&self, id: &str) -> Result<Tenant, Error> {
        let found = self.inner.db.answer(tenants::Entity::find_by_id(id).one(&self.inner.db.orm_reader())).await?;
        found.filter(|model| model.state != REMOVED).map(Tenant::from).ok_or(Error::NotFound)
    }

    /// Tenants by id. `visible`: only these; `None`: all.
    ///
    /// # Errors
    /// [`Error::BadPosition`]; [`Error::Unavailable`].
    pub async fn list_tenants(&self, page: &Page, visible: Option<&[String]>) -> Result<Listed<Tenant>, Error> {
        let mut query = tenants::Entity::find().filter(tenants::Column::State.ne(REMOVED));
        if let Some(after) = page.text()? {
            query = query.filter(tenants::Column::Id.gt(after));
        }
        if let Some(visible) = visible {
            query = query.filter(tenants::Column::Id.is_in(visible));
        }
        let query = query.order_by_asc(tenants::Column::Id).limit(page.limit());
        let rows = self.inner.db.answer(query.all(&self.inner.db.orm_reader())).await?;
        let tenants = rows.into_iter().map(Tenant::from).collect();
        Ok(Listed::cut(tenants, page, |tenant: &Tenant| tenant.id.clone().into_bytes()))
    }

    /// Changes a tenant's fields; `None` leaves one as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::EtagMismatch`]; [`Error::WrongState`]: it is being removed.
    pub async fn update_tenant(&self, id: &str, etag: Option<i64>, display_name: Option<String>) -> Result<Tenant, Error> {
        let tx = self.begin_orm().await?;
        let model = lock(&tx, id).await?;
        check_etag(etag, model.revision)?;
        if model.state != ACTIVE {
            return Err(Error::WrongState(model.state));
        }
        let revision = model.revision + 1;
        let mut row = model.into_active_model();
        if let Some(display_name) = display_name {
            row.display_name = Set(display_name);
        }
        row.revision = Set(revision);
        row.update_time = Set(self.now().millis());
        let model = row.update(&tx).await?;
        tx.commit().await?;
        Ok(model.into())
    }

    /// Starts the removal of a tenant: from the commit on it accepts nothing, and its data key is gone. One that is being removed is
    /// returned as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::EtagMismatch`].
    pub async fn delete_tenant(&self, id: &str, etag: Option<i64>) -> Result<Tenant, Error> {
        let tx = self.begin_orm().await?;
        let model = lock(&tx, id).await?;
        check_etag(etag, model.revision)?;
        if model.state != ACTIVE {
            return Ok(model.into());
        }
        let now = self.now().millis();
        let (revision, version) = (model.revision + 1, model.settings_version + 1);
        let mut row = model.into_active_model();
        row.state = Set(DELETING);
        row.revision = Set(revision);
        row.update_time = Set(now);
        // A publish reads the version in its own transaction: from this commit on it finds no tenant.
        row.settings_version = Set(version);
        row.settings_time = Set(now);
        let model = row.update(&tx).await?;
        data_keys::Entity::delete_many().filter(data_keys::Column::Tenant.eq(id)).exec(&tx).await?;
        tx.commit().await?;
        self.forget_data_key(id).await;
        self.announce_settings(id).await;
        self.bells().removals.notify_one();
        Ok(model.into())
    }

    /// Tells this node's loops of a commit that changed a tenant's settings. What cannot be read now is read when it is needed.
    pub(crate) async fn announce_settings(&self, tenant: &str) {
        if let Err(error) = self.settings_changed(tenant).await {
            tracing::warn!(tenant, error = &error as &dyn std::error::Error, "changed settings cannot be read yet");
        }
    }
}

impl From<tenants::Model> for Tenant {
    fn from(model: tenants::Model) -> Self {
        Self {
            id: model.id,
            display_name: model.display_name,
            deleting: model.state != ACTIVE,
            revision: model.revision,
            create_time: time(model.create_time),
            update_time: time(model.update_time),
        }
    }
}

/// Holds a tenant's row until the commit.
async fn lock(tx: &impl ConnectionTrait, id: &str) -> Result<tenants::Model, Error> {
    let found = tenants::Entity::find_by_id(id).lock_exclusive().one(tx).await?;
    found.filter(|model| model.state != REMOVED).ok_or(Error::NotFound)
}

/// Holds the row of a tenant in use until the commit. Changes of one tenant's endpoints so come one after the other.
pub(crate) async fn lock_active(tx: &impl ConnectionTrait, id: &str) -> Result<(), Error> {
    if lock(tx, id).await?.state == ACTIVE { Ok(()) } else { Err(Error::NotFound) }
}

/// Makes every node read the tenant's endpoints anew.
///
/// Invariant: in the same commit as the change, or a publish could miss an endpoint made before it.
pub(crate) async fn raise_settings(tx: &impl ConnectionTrait, id: &str, now: Time) -> Result<(), Error> {
    tenants::Entity::update_many()
        .col_expr(tenants::Column::SettingsVersion, Expr::col(tenants::Column::SettingsVersion).add(1))
        .col_expr(tenants::Column::SettingsTime, Expr::value(now.millis()))
        .filter(tenants::Column::Id.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}

pub(crate) fn check_etag(etag: Option<i64>, revision: i64) -> Result<(), Error> {
    if etag.is_none_or(|etag| etag == revision) { Ok(()) } else { Err(Error::EtagMismatch) }
}
