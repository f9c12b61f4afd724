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
use super::{DisabledReason, EndpointRecord, event_types_text, find, open_headers, seal_headers};
use crate::domain::endpoint::{CustomHeader, HeaderChange, State, TypePattern, change_headers};
use crate::domain::retry::RetryPolicy;
use crate::domain::secret::DataKey;
use crate::domain::signature::SigningSecret;
use crate::store::db::sql;
use crate::store::entity::{endpoint_secrets, endpoints};
use crate::store::requests::{Answer, Begun, Effect, Once};
use crate::store::tenants::{check_etag, lock_active, raise_settings};
use crate::store::{Error, Store};

/// An endpoint to make; every field is checked.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// Id of its tenant.
    pub tenant: String,
    /// Its id.
    pub id: String,
    /// Where deliveries are posted.
    pub url: Url,
    /// Name for people.
    pub display_name: String,
    /// Free text.
    pub description: String,
    /// Types it gets; empty: every type that is sent unasked.
    pub event_types: Vec<TypePattern>,
    /// Headers of its own.
    pub headers: Vec<CustomHeader>,
    /// When a failed delivery is tried again.
    pub retry: RetryPolicy,
    /// From the name lookup to the last byte of the answer.
    pub attempt_timeout: Duration,
    /// Requests on the wire at once, on each node.
    pub max_in_flight: u32,
    /// Statuses that end a delivery at once.
    pub permanent_statuses: Vec<u16>,
    /// What signs its requests.
    pub secret: SigningSecret,
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
}

/// A move of an endpoint's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Hold its deliveries.
    Pause,
    /// Send again what a pause held back.
    Resume,
    /// Take it out of service.
    Disable(DisabledReason),
    /// Put it back into service.
    Enable,
}

impl Wanted {
    /// The state it leads to; `None`: not from this one.
    fn from(self, state: State) -> Option<State> {
        match (self, state) {
            (Self::Pause, State::Active | State::Paused) => Some(State::Paused),
            (Self::Resume, State::Active | State::Paused) | (Self::Enable, State::Active | State::Disabled) => Some(State::Active),
            (Self::Disable(_), _) => Some(State::Disabled),
            (Self::Pause | Self::Resume, State::Disabled) | (Self::Enable, State::Paused) => None,
        }
    }
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
        let model = endpoints::Model {
            key: endpoint_key,
            headers: seal_headers(key, &new.tenant, endpoint_key, &new.headers)?,
            id: new.id,
            url: new.url.into(),
            display_name: new.display_name,
            description: new.description,
            event_types: event_types_text(&new.event_types),
            retry_policy: retry_text(&new.retry),
            attempt_timeout_ms: millis(new.attempt_timeout),
            max_in_flight: count(new.max_in_flight),
            permanent_statuses: statuses_text(&new.permanent_statuses),
            state: State::Active.code(),
            disabled_reason: 0,
            revision: 1,
            create_time: now.millis(),
            update_time: now.millis(),
            delete_time: None,
            tenant: new.tenant,
        };
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
        let endpoint_key = model.key;
        let headers = match change.headers {
            Some(changes) => {
                let stored = open_headers(&key, tenant, endpoint_key, &model.headers)?;
                let changed = change_headers(changes, &stored).map_err(Error::Headers)?;
                Some(seal_headers(&key, tenant, endpoint_key, &changed)?)
            }
            None => None,
        };
        let mut row = self.touched(model);
        set(&mut row.url, change.url.map(String::from));
        set(&mut row.display_name, change.display_name);
        set(&mut row.description, change.description);
        set(&mut row.event_types, change.event_types.as_deref().map(event_types_text));
        set(&mut row.headers, headers);
        set(&mut row.retry_policy, change.retry.as_ref().map(retry_text));
        set(&mut row.attempt_timeout_ms, change.attempt_timeout.map(millis));
        set(&mut row.max_in_flight, change.max_in_flight.map(count));
        set(&mut row.permanent_statuses, change.permanent_statuses.as_deref().map(statuses_text));
        self.finish_endpoint(tx, &key, row, effect).await
    }

    /// Moves an endpoint's state. One that is there already is returned as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongState`]: with the code of the state that it is in.
    pub async fn set_endpoint_state(&self, tenant: &str, id: &str, wanted: Wanted) -> Result<EndpointRecord, Error> {
        let key = self.data_key(tenant).await?;
        let (tx, model) = self.begin_endpoint(tenant, id, None).await?;
        let from = State::from_code(model.state).ok_or(Error::WrongState(model.state))?;
        let to = wanted.from(from).ok_or(Error::WrongState(model.state))?;
        if from == to {
            return self.endpoint_record(&tx, &key, model).await;
        }
        let mut row = self.touched(model);
        row.state = Set(to.code());
        row.disabled_reason = Set(if let Wanted::Disable(reason) = wanted { reason.code() } else { 0 });
        self.finish_endpoint(tx, &key, row, Effect::Apply).await
    }

    /// Disables an endpoint whose receiver answered 410. False: it is disabled or deleted already.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn disable_gone(&self, endpoint_key: i64) -> Result<bool, Error> {
        let found = endpoints::Entity::find_by_id(endpoint_key);
        let found = self.inner.db.answer(found.one(&self.inner.db.orm_reader())).await?;
        let Some(model) = found.filter(|model| model.delete_time.is_none() && model.state != State::Disabled.code()) else {
            return Ok(false);
        };
        match self.set_endpoint_state(&model.tenant, &model.id, Wanted::Disable(DisabledReason::Gone)).await {
            Ok(record) => Ok(record.endpoint.key == endpoint_key && record.disabled_reason == Some(DisabledReason::Gone)),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
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

fn set<T: Into<sea_orm::Value>>(column: &mut sea_orm::ActiveValue<T>, value: Option<T>) {
    if let Some(value) = value {
        *column = Set(value);
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
