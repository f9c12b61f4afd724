//! Changing endpoints. Each change is one endpoint's row and the tenant's settings version, in one commit; no delivery is touched.
//!
//! The tenant's row is held from the start, so that changes of one tenant's endpoints come one after the other.

use std::time::Duration;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, DatabaseTransaction, EntityTrait as _, IntoActiveModel as _,
    PaginatorTrait as _, QueryFilter as _, Set, Statement,
};
use url::Url;

use super::secrets::insert_secret;
use super::shape::ShapeChange;
use super::{EndpointRecord, event_types_text, find, open_headers, seal_headers};
use crate::domain::Time;
use crate::domain::endpoint::{DEFAULT_ATTEMPT_TIMEOUT, DEFAULT_MAX_IN_FLIGHT, HeaderChange, State, TypePattern, change_headers};
use crate::domain::format::Format;
use crate::domain::retry::RetryPolicy;
use crate::domain::secret::DataKey;
use crate::domain::signature::SigningSecret;
use crate::store::db::sql;
use crate::store::entity::{endpoint_secrets, endpoints};
use crate::store::requests::{Answer, Begun, Effect, Once};
use crate::store::tenants::{check_etag, lock_active, raise_settings};
use crate::store::{Error, Store};

/// Bytes of memory that the filters and templates of one tenant's endpoints may take together, about.
const PROGRAM_BYTES: usize = 64 << 20;

/// An endpoint to make; every field is checked.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// Id of its tenant.
    pub tenant: String,
    /// Its id.
    pub id: String,
    /// What signs its requests.
    pub secret: SigningSecret,
    /// Its fields; one that is `None` gets its default.
    pub fields: EndpointChange,
}

/// New values of an endpoint's fields, checked; `None` leaves one as it is.
#[derive(Debug, Clone, Default)]
pub struct EndpointChange {
    /// Where deliveries are posted.
    pub url: Option<Url>,
    /// Name for people.
    pub display_name: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Types it gets.
    pub event_types: Option<Vec<TypePattern>>,
    /// Headers of its own, all of them.
    pub headers: Option<Vec<HeaderChange>>,
    /// When a failed delivery is tried again.
    pub retry: Option<RetryPolicy>,
    /// From the name lookup to the last byte of the answer.
    pub attempt_timeout: Option<Duration>,
    /// Requests on the wire at once, on each node.
    pub max_in_flight: Option<u32>,
    /// Statuses that end a delivery at once.
    pub permanent_statuses: Option<Vec<u16>>,
    /// It gets no event.
    pub hooks_only: Option<bool>,
    /// Which events it gets beyond their type, a text that compiles; empty: all of them.
    pub filter: Option<String>,
    /// How its payloads are made.
    pub shape: ShapeChange,
}

impl Store {
    /// Makes an endpoint. `limit`: endpoints that its tenant may have.
    ///
    /// # Errors
    /// [`Error::NotFound`]: no such tenant; [`Error::AlreadyExists`]; [`Error::Limit`]; [`Error::IdempotencyMismatch`].
    pub async fn create_endpoint(
        &self,
        new: NewEndpoint,
        limit: u64,
        effect: Effect,
        once: Option<Once<'_, EndpointRecord>>,
    ) -> Result<Answer<EndpointRecord>, Error> {
        let key = self.data_key(&new.tenant).await?;
        let change = match self.begin_change(once).await? {
            Begun::New(change) => change,
            Begun::Replayed(answer) => return Ok(Answer::Replayed(answer)),
        };
        let (tx, tenant) = (&change.tx, new.tenant.clone());
        lock_active(tx, &tenant).await?;
        if find(tx, &tenant, &new.id).await?.is_some() {
            return Err(Error::AlreadyExists);
        }
        let living =
            endpoints::Entity::find().filter(endpoints::Column::Tenant.eq(&tenant)).filter(endpoints::Column::DeleteTime.is_null());
        if living.count(tx).await? >= limit {
            return Err(Error::Limit { name: "endpoints_per_tenant", value: limit });
        }
        let model = self.insert_endpoint(tx, &key, new).await?;
        raise_settings(tx, &tenant, self.now()).await?;
        let record = self.endpoint_record(tx, &key, model).await?;
        self.check_settings(&record)?;
        let record = change.finish(effect, record).await?;
        if effect == Effect::Apply {
            self.announce_settings(&tenant).await;
        }
        Ok(Answer::Done(record))
    }

    async fn insert_endpoint(&self, tx: &DatabaseTransaction, key: &DataKey, new: NewEndpoint) -> Result<endpoints::Model, Error> {
        let next = Statement::from_string(tx.get_database_backend(), sql!("next_endpoint_key").postgres);
        let endpoint_key: i64 = tx.query_one_raw(next).await?.ok_or(Error::NotFound)?.try_get_by_index(0)?;
        let now = self.now();
        let blank = endpoints::Model {
            key: endpoint_key,
            headers: seal_headers(key, &new.tenant, endpoint_key, &[])?,
            id: new.id,
            url: String::new(),
            display_name: String::new(),
            description: String::new(),
            event_types: event_types_text(&[]),
            retry_policy: retry_text(&RetryPolicy::default()),
            attempt_timeout_ms: millis(DEFAULT_ATTEMPT_TIMEOUT),
            max_in_flight: count(DEFAULT_MAX_IN_FLIGHT),
            permanent_statuses: statuses_text(&[]),
            state: State::Active.code(),
            disabled_reason: 0,
            revision: 1,
            create_time: now.millis(),
            update_time: now.millis(),
            delete_time: None,
            hooks_only: false,
            filter: String::new(),
            format: Format::Standard.code(),
            field_policy: String::new(),
            transform: String::new(),
            encryption: String::new(),
            set_options: String::new(),
            paused_reason: 0,
            tenant: new.tenant,
        };
        let model = apply(key, blank, new.fields, now)?;
        endpoints::Entity::insert(model.clone().into_active_model()).exec_without_returning(tx).await?;
        insert_secret(tx, key, &model.tenant, endpoint_key, 1, &new.secret, now).await?;
        Ok(model)
    }

    /// Changes an endpoint's fields.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::EtagMismatch`]; [`Error::Headers`]: one that was to be kept is not there.
    pub async fn update_endpoint(
        &self,
        tenant: &str,
        id: &str,
        etag: Option<i64>,
        change: EndpointChange,
        effect: Effect,
    ) -> Result<EndpointRecord, Error> {
        let key = self.data_key(tenant).await?;
        let (tx, model) = self.begin_endpoint(tenant, id, etag).await?;
        let now = self.now();
        let revision = model.revision + 1;
        let model = endpoints::Model { revision, update_time: now.millis(), ..apply(&key, model, change, now)? };
        self.finish_endpoint(tx, &key, model.into_active_model().reset_all(), effect).await
    }

    /// An endpoint as it would be with these changes. Nothing is written.
    ///
    /// # Errors
    /// As [`Store::update_endpoint`].
    pub async fn try_endpoint(&self, tenant: &str, id: &str, change: EndpointChange) -> Result<EndpointRecord, Error> {
        let reader = self.inner.db.orm_reader();
        let key = self.data_key(tenant).await?;
        let model = find(&reader, tenant, id).await?.ok_or(Error::NotFound)?;
        let record = self.endpoint_record(&reader, &key, apply(&key, model, change, self.now())?).await?;
        self.check_settings(&record)?;
        Ok(record)
    }

    /// What only shows when all settings are there: some that do not go together, or programs that take too much memory with those of the
    /// tenant's other endpoints.
    fn check_settings(&self, record: &EndpointRecord) -> Result<(), Error> {
        let (endpoint, conflicts) = (&record.endpoint, record.endpoint.conflicts());
        if !conflicts.is_empty() {
            return Err(Error::Fields(conflicts));
        }
        let others = self.cached_settings(&endpoint.tenant).map_or(0, |settings| settings.program_bytes(Some(endpoint.key)));
        if endpoint.program_bytes() > 0 && others + endpoint.program_bytes() > PROGRAM_BYTES {
            return Err(Error::Limit { name: "endpoint_program_bytes", value: PROGRAM_BYTES as u64 });
        }
        Ok(())
    }

    /// Deletes an endpoint with its secrets. It gets nothing more; what it leaves is cancelled by [`Store::cancel_deleted_step`].
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::EtagMismatch`].
    pub async fn delete_endpoint(&self, tenant: &str, id: &str, etag: Option<i64>) -> Result<(), Error> {
        let (tx, model) = self.begin_endpoint(tenant, id, etag).await?;
        endpoint_secrets::Entity::delete_many().filter(endpoint_secrets::Column::EndpointKey.eq(model.key)).exec(&tx).await?;
        let now = self.now();
        endpoints::Entity::update_many()
            .col_expr(endpoints::Column::DeleteTime, Expr::value(now.millis()))
            .col_expr(endpoints::Column::Headers, Expr::value(Vec::<u8>::new()))
            .filter(endpoints::Column::Key.eq(model.key))
            .exec(&tx)
            .await?;
        raise_settings(&tx, tenant, now).await?;
        tx.commit().await?;
        self.announce_settings(tenant).await;
        self.bells().removals.notify_one();
        Ok(())
    }

    /// Begins a change of an endpoint, with its tenant's row held.
    pub(super) async fn begin_endpoint(
        &self,
        tenant: &str,
        id: &str,
        etag: Option<i64>,
    ) -> Result<(DatabaseTransaction, endpoints::Model), Error> {
        let tx = self.begin_orm().await?;
        lock_active(&tx, tenant).await?;
        let model = find(&tx, tenant, id).await?.ok_or(Error::NotFound)?;
        check_etag(etag, model.revision)?;
        Ok((tx, model))
    }

    /// The row to write, of a new revision.
    pub(super) fn touched(&self, model: endpoints::Model) -> endpoints::ActiveModel {
        let revision = model.revision + 1;
        let mut row = model.into_active_model();
        row.revision = Set(revision);
        row.update_time = Set(self.now().millis());
        row
    }

    async fn finish_endpoint(
        &self,
        tx: DatabaseTransaction,
        key: &DataKey,
        row: endpoints::ActiveModel,
        effect: Effect,
    ) -> Result<EndpointRecord, Error> {
        let model = row.update(&tx).await?;
        let tenant = model.tenant.clone();
        raise_settings(&tx, &tenant, self.now()).await?;
        let record = self.endpoint_record(&tx, key, model).await?;
        self.check_settings(&record)?;
        match effect {
            Effect::DryRun => tx.rollback().await?,
            Effect::Apply => {
                tx.commit().await?;
                self.announce_settings(&tenant).await;
            }
        }
        Ok(record)
    }
}

/// The row with new values.
///
/// # Errors
/// [`Error::Headers`]: one that was to be kept is not there.
fn apply(key: &DataKey, mut row: endpoints::Model, change: EndpointChange, now: Time) -> Result<endpoints::Model, Error> {
    if let Some(changes) = change.headers {
        let stored = open_headers(key, &row.tenant, row.key, &row.headers)?;
        let changed = change_headers(changes, &stored).map_err(Error::Headers)?;
        row.headers = seal_headers(key, &row.tenant, row.key, &changed)?;
    }
    set(&mut row.url, change.url.map(String::from));
    set(&mut row.display_name, change.display_name);
    set(&mut row.description, change.description);
    set(&mut row.event_types, change.event_types.as_deref().map(event_types_text));
    set(&mut row.retry_policy, change.retry.as_ref().map(retry_text));
    set(&mut row.attempt_timeout_ms, change.attempt_timeout.map(millis));
    set(&mut row.max_in_flight, change.max_in_flight.map(count));
    set(&mut row.permanent_statuses, change.permanent_statuses.as_deref().map(statuses_text));
    set(&mut row.hooks_only, change.hooks_only);
    set(&mut row.filter, change.filter);
    change.shape.apply(&mut row, now)?;
    Ok(row)
}

fn set<T>(column: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *column = value;
    }
}

fn retry_text(retry: &RetryPolicy) -> String {
    // Numbers always serialise.
    serde_json::to_string(retry).unwrap_or_default()
}

fn statuses_text(statuses: &[u16]) -> String {
    serde_json::to_string(statuses).unwrap_or_default()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
