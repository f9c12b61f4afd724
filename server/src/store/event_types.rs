//! Event types that tenants register beside the catalogue: their schemas, version by version.
//!
//! Called by the API; publishing reads them through the cache of settings. Every change raises the tenant's settings version, as one of an
//! endpoint does, so that no node goes on checking by an old schema for long. A version never means two schemas: a deleted type's row
//! stays, and one that is registered again goes on counting.

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Set,
};

use super::entity::{event_type_versions, event_types};
use super::requests::{Answer, Begun, Effect, Once};
use super::tenants::{check_etag, lock_active, raise_settings};
use super::{Error, Store, time};
use crate::domain::registered::{self, RegisteredType, RegisteredTypes};
use crate::domain::schema::{Change, Schema};
use crate::domain::{Time, Violation};

/// Versions of one type's schema that are kept: a publisher may name any of them.
const MOST_VERSIONS: i32 = 100;
/// Bytes of all schemas of a tenant: they are held in memory.
const SCHEMA_BYTES: u64 = 4 << 20;

/// A registered type with one version of its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTypeRecord {
    /// Its name.
    pub name: String,
    /// What it means.
    pub description: String,
    /// JSON Schema of `data`.
    pub schema: String,
    /// The version of that schema.
    pub schema_version: i32,
    /// An example of `data`; empty: none.
    pub example: String,
    /// Rises with every change: its etag.
    pub revision: i64,
    /// When it was registered.
    pub create_time: Time,
    /// When it was last changed.
    pub update_time: Time,
}

/// A type to register; name and schema are checked.
#[derive(Debug, Clone)]
pub struct NewEventType {
    /// Id of its tenant.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub fields: EventTypeChange,
}

/// New values of a type's fields; `None` leaves one as it is.
#[derive(Debug, Clone, Default)]
pub struct EventTypeChange {
    /// What it means.
    pub description: Option<String>,
    /// JSON Schema of `data`, one that compiles.
    pub schema: Option<String>,
    /// An example of `data`, JSON; empty: none.
    pub example: Option<String>,
}

impl Store {
    /// Registers a type. `limit`: types that its tenant may have.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such tenant; [`Error::AlreadyExists`]; [`Error::Limit`]; [`Error::Fields`]: the example does not satisfy the
    /// schema; [`Error::IdempotencyMismatch`].
    pub async fn create_event_type(
        &self,
        new: NewEventType,
        limit: u64,
        effect: Effect,
        once: Option<Once<'_, EventTypeRecord>>,
    ) -> Result<Answer<EventTypeRecord>, Error> {
        let change = match self.begin_change(once).await? {
            Begun::New(change) => change,
            Begun::Replayed(answer) => return Ok(Answer::Replayed(answer)),
        };
        let (tx, tenant) = (&change.tx, new.tenant.clone());
        lock_active(tx, &tenant).await?;
        let before = event_types::Entity::find_by_id((tenant.clone(), new.name.clone())).one(tx).await?;
        if before.as_ref().is_some_and(|model| model.delete_time.is_none()) {
            return Err(Error::AlreadyExists);
        }
        if living(&tenant).count(tx).await? >= limit {
            return Err(Error::Limit { name: "event_types_per_tenant", value: limit });
        }
        let now = self.now().millis();
        let model = event_types::Model {
            tenant: tenant.clone(),
            name: new.name,
            description: new.fields.description.unwrap_or_default(),
            example: new.fields.example.unwrap_or_default(),
            schema_version: before.as_ref().map_or(1, |model| model.schema_version + 1),
            revision: before.as_ref().map_or(1, |model| model.revision + 1),
            create_time: now,
            update_time: now,
            delete_time: None,
        };
        let schema = new.fields.schema.unwrap_or_default();
        check_example(&schema, &model.example)?;
        let row = model.clone().into_active_model();
        match before {
            Some(_) => drop(row.reset_all().update(tx).await?),
            None => drop(event_types::Entity::insert(row).exec_without_returning(tx).await?),
        }
        write_schema(tx, &model, &schema).await?;
        raise_settings(tx, &tenant, self.now()).await?;
        let record = change.finish(effect, record(model, schema)).await?;
        if effect == Effect::Apply {
            self.announce_settings(&tenant).await;
        }
        Ok(Answer::Done(record))
    }

    /// A registered type with its newest schema, or with that of `version`.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such type, or no such version of it.
    pub async fn get_event_type(&self, tenant: &str, name: &str, version: Option<i32>) -> Result<EventTypeRecord, Error> {
        let reader = self.inner.db.orm_reader();
        let mut model = self.inner.db.answer(find(tenant, name).one(&reader)).await?.ok_or(Error::NotFound)?;
        model.schema_version = version.unwrap_or(model.schema_version);
        let key = (tenant.to_owned(), name.to_owned(), model.schema_version);
        let found = self.inner.db.answer(event_type_versions::Entity::find_by_id(key).one(&reader)).await?;
        Ok(record(model, found.ok_or(Error::NotFound)?.schema))
    }

    /// All registered types of a tenant with their newest schemas, by name. Their number and size are bounded when they are written.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn list_event_types(&self, tenant: &str) -> Result<Vec<EventTypeRecord>, Error> {
        let reader = self.inner.db.orm_reader();
        let models = self.inner.db.answer(living(tenant).order_by_asc(event_types::Column::Name).all(&reader)).await?;
        if models.is_empty() {
            return Ok(Vec::new());
        }
        let mut schemas: HashMap<(String, i32), String> =
            self.schemas(tenant).await?.into_iter().map(|row| ((row.name, row.schema_version), row.schema)).collect();
        let with_schema = |model: event_types::Model| {
            let schema = schemas.remove(&(model.name.clone(), model.schema_version)).unwrap_or_default();
            record(model, schema)
        };
        Ok(models.into_iter().map(with_schema).collect())
    }

    /// Changes a type. A schema that is not compatible with the newest makes the next version.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::EtagMismatch`]; [`Error::Fields`]: the example does not satisfy the schema; [`Error::Limit`].
    pub async fn update_event_type(
        &self,
        tenant: &str,
        name: &str,
        etag: Option<i64>,
        change: EventTypeChange,
        effect: Effect,
    ) -> Result<EventTypeRecord, Error> {
        let tx = self.begin_orm().await?;
        lock_active(&tx, tenant).await?;
        let mut model = find(tenant, name).one(&tx).await?.ok_or(Error::NotFound)?;
        check_etag(etag, model.revision)?;
        let key = (tenant.to_owned(), name.to_owned(), model.schema_version);
        let before = event_type_versions::Entity::find_by_id(key).one(&tx).await?.ok_or(Error::NotFound)?.schema;
        let schema = change.schema.unwrap_or_else(|| before.clone());
        if Schema::change(&before, &schema) == Change::Breaking {
            model.schema_version += 1;
        }
        if model.schema_version > MOST_VERSIONS {
            return Err(Error::Limit { name: "event_type_versions", value: MOST_VERSIONS.unsigned_abs().into() });
        }
        model.description = change.description.unwrap_or(model.description);
        model.example = change.example.unwrap_or(model.example);
        model.revision += 1;
        model.update_time = self.now().millis();
        check_example(&schema, &model.example)?;
        model.clone().into_active_model().reset_all().update(&tx).await?;
        if schema != before {
            write_schema(&tx, &model, &schema).await?;
        }
        raise_settings(&tx, tenant, self.now()).await?;
        match effect {
            Effect::DryRun => tx.rollback().await?,
            Effect::Apply => {
                tx.commit().await?;
                self.announce_settings(tenant).await;
            }
        }
        Ok(record(model, schema))
    }

    /// Removes a type: nobody can publish it any more. Its versions stay taken.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::EtagMismatch`].
    pub async fn delete_event_type(&self, tenant: &str, name: &str, etag: Option<i64>) -> Result<(), Error> {
        let tx = self.begin_orm().await?;
        lock_active(&tx, tenant).await?;
        let model = find(tenant, name).one(&tx).await?.ok_or(Error::NotFound)?;
        check_etag(etag, model.revision)?;
        let now = self.now();
        let mut row = model.into_active_model();
        row.delete_time = Set(Some(now.millis()));
        row.update(&tx).await?;
        event_type_versions::Entity::delete_many()
            .filter(event_type_versions::Column::Tenant.eq(tenant))
            .filter(event_type_versions::Column::Name.eq(name))
            .exec(&tx)
            .await?;
        raise_settings(&tx, tenant, now).await?;
        tx.commit().await?;
        self.announce_settings(tenant).await;
        Ok(())
    }

    /// What publishing checks by. A schema that does not compile any more, as after a change of its rules, refuses its events.
    pub(super) async fn registered_types(&self, tenant: &str) -> Result<RegisteredTypes, Error> {
        let reader = self.inner.db.orm_reader();
        let models = self.inner.db.answer(living(tenant).all(&reader)).await?;
        if models.is_empty() {
            return Ok(RegisteredTypes::default());
        }
        let mut types: HashMap<String, RegisteredType> =
            models.into_iter().map(|model| (model.name, RegisteredType::new(model.schema_version))).collect();
        for row in self.schemas(tenant).await? {
            let Some(known) = types.get_mut(&row.name) else { continue };
            match self.inner.compiled.schema(&row.schema) {
                Ok(schema) => known.add(row.schema_version, schema),
                Err(problems) => {
                    tracing::error!(
                        tenant,
                        event_type = row.name,
                        version = row.schema_version,
                        ?problems,
                        "a schema does not compile"
                    );
                }
            }
        }
        Ok(RegisteredTypes::new(types))
    }

    async fn schemas(&self, tenant: &str) -> Result<Vec<event_type_versions::Model>, Error> {
        let rows = event_type_versions::Entity::find().filter(event_type_versions::Column::Tenant.eq(tenant));
        self.inner.db.answer(rows.all(&self.inner.db.orm_reader())).await
    }
}

fn living(tenant: &str) -> sea_orm::Select<event_types::Entity> {
    event_types::Entity::find().filter(event_types::Column::Tenant.eq(tenant)).filter(event_types::Column::DeleteTime.is_null())
}

fn find(tenant: &str, name: &str) -> sea_orm::Select<event_types::Entity> {
    living(tenant).filter(event_types::Column::Name.eq(name))
}

fn check_example(schema: &str, example: &str) -> Result<(), Error> {
    let bad: Vec<Violation> = registered::check_example(schema, example);
    if bad.is_empty() { Ok(()) } else { Err(Error::Fields(bad)) }
}

/// Writes a version's schema, within what a tenant's schemas may take together.
async fn write_schema(tx: &DatabaseTransaction, model: &event_types::Model, schema: &str) -> Result<(), Error> {
    let row = event_type_versions::Model {
        tenant: model.tenant.clone(),
        name: model.name.clone(),
        schema_version: model.schema_version,
        schema: schema.to_owned(),
    };
    let key = [event_type_versions::Column::Tenant, event_type_versions::Column::Name, event_type_versions::Column::SchemaVersion];
    let replace = sea_orm::sea_query::OnConflict::columns(key).update_column(event_type_versions::Column::Schema).to_owned();
    event_type_versions::Entity::insert(row.into_active_model()).on_conflict(replace).exec_without_returning(tx).await?;
    if schema_bytes(tx, &model.tenant).await? > SCHEMA_BYTES {
        return Err(Error::Limit { name: "event_type_schema_bytes", value: SCHEMA_BYTES });
    }
    Ok(())
}

async fn schema_bytes(tx: &impl ConnectionTrait, tenant: &str) -> Result<u64, Error> {
    let bytes = match tx.get_database_backend() {
        DbBackend::Postgres => "CAST(SUM(OCTET_LENGTH(schema)) AS BIGINT)",
        _ => "SUM(LENGTH(CAST(schema AS BLOB)))",
    };
    let bytes: Option<Option<i64>> = event_type_versions::Entity::find()
        .select_only()
        .expr(Expr::cust(bytes))
        .filter(event_type_versions::Column::Tenant.eq(tenant))
        .into_tuple()
        .one(tx)
        .await?;
    Ok(bytes.flatten().map_or(0, i64::unsigned_abs))
}

fn record(model: event_types::Model, schema: String) -> EventTypeRecord {
    EventTypeRecord {
        name: model.name,
        description: model.description,
        schema,
        schema_version: model.schema_version,
        example: model.example,
        revision: model.revision,
        create_time: time(model.create_time),
        update_time: time(model.update_time),
    }
}
