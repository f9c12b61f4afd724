//! Moving an endpoint's state: by a person, and by what its receiver answers. What its tenant should hear of is published in the same
//! commit.

use std::sync::Arc;

use sea_orm::EntityTrait as _;

use super::{DisabledReason, EndpointRecord, PausedReason};
use crate::domain::Time;
use crate::domain::endpoint::State;
use crate::store::db::{Arg, Tx, sql};
use crate::store::entity::endpoints;
use crate::store::journal::Written;
use crate::store::publish::own::{OwnEvent, may_follow};
use crate::store::{Error, Store, at};

/// A move of an endpoint's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Hold its deliveries.
    Pause(PausedReason),
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
            (Self::Pause(_), State::Active | State::Paused) => Some(State::Paused),
            (Self::Resume, State::Active | State::Paused) | (Self::Enable, State::Active | State::Disabled) => Some(State::Active),
            (Self::Disable(_), _) => Some(State::Disabled),
            (Self::Pause(_) | Self::Resume, State::Disabled) | (Self::Enable, State::Paused) => None,
        }
    }

    /// What the endpoint's tenant is told of it.
    fn event(self, endpoint_id: &str) -> Option<OwnEvent> {
        let (event_type, data) = match self {
            Self::Disable(reason) => {
                let reason = match reason {
                    DisabledReason::Manual => "manual",
                    DisabledReason::Gone => "gone",
                };
                ("webhook.endpoint_disabled", serde_json::json!({ "endpoint_id": endpoint_id, "reason": reason }))
            }
            Self::Enable => ("webhook.endpoint_recovered", serde_json::json!({ "endpoint_id": endpoint_id })),
            Self::Pause(_) | Self::Resume => return None,
        };
        Some(OwnEvent { event_type, data, txn: None })
    }
}

impl Store {
    /// Moves an endpoint's state. One that is there already is returned as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::WrongState`]: with the code of the state that it is in; [`Error::EpochLost`], [`Error::Unavailable`].
    pub async fn set_endpoint_state(&self, tenant: &str, id: &str, wanted: Wanted) -> Result<EndpointRecord, Error> {
        self.set_state(tenant, id, wanted, true).await
    }

    /// `tell`: whether the tenant hears of it.
    async fn set_state(&self, tenant: &str, id: &str, wanted: Wanted, tell: bool) -> Result<EndpointRecord, Error> {
        // Before the transaction: on SQLite it holds the only connection that could write a key.
        self.data_key(tenant).await?;
        let tenant: Arc<str> = tenant.into();
        let mut control = self.control().await?;
        loop {
            let (mut tx, now) = control.begin().await?;
            let written = self.move_endpoint(&mut tx, &tenant, id, wanted, tell, now).await;
            if let Some(moved) = control.finish(tx, written).await? {
                if moved {
                    self.announce_settings(&tenant).await;
                }
                return self.get_endpoint(&tenant, id).await;
            }
        }
    }

    /// Whether it moved, and what watchers must be told.
    async fn move_endpoint(
        &self,
        tx: &mut Tx,
        tenant: &Arc<str>,
        id: &str,
        wanted: Wanted,
        tell: bool,
        now: Time,
    ) -> Result<(bool, Written), Error> {
        let row = tx.fetch_optional(sql!("lock_endpoint" by dialect), &[Arg::Text(tenant), Arg::Text(id)]).await?;
        let row = row.ok_or(Error::NotFound)?;
        let (key, code): (i64, i16) = (row.int(0)?, row.num(1)?);
        let from = State::from_code(code).ok_or(Error::WrongState(code))?;
        let to = wanted.from(from).ok_or(Error::WrongState(code))?;
        if from == to {
            return Ok((false, Vec::new()));
        }
        let own = wanted.event(id).filter(|_| tell).map(|event| (Arc::clone(tenant), event)).into_iter().collect();
        // By the settings from before the move, but never to the endpoint that it is about.
        let written = self.publish_own(tx, own, now, Some(key)).await?;
        let disabled = if let Wanted::Disable(reason) = wanted { reason.code() } else { 0 };
        let paused = if let Wanted::Pause(reason) = wanted { reason.code() } else { 0 };
        let args = [Arg::Int(key), Arg::Int(to.code().into()), Arg::Int(disabled.into()), Arg::Int(paused.into()), at(now)];
        tx.execute(sql!("move_endpoint"), &args).await?;
        tx.execute(sql!("raise_settings"), &[Arg::Text(tenant), at(now)]).await?;
        Ok((true, written))
    }

    /// Disables an endpoint whose receiver answered 410. False: it is disabled or deleted already.
    ///
    /// `event_type`: of what it was sent. When that told of Gatepost itself, the tenant is told nothing further: endpoints that hear of
    /// one another would disable one another.
    ///
    /// # Errors
    /// [`Error::EpochLost`], [`Error::Unavailable`].
    pub async fn disable_gone(&self, endpoint_key: i64, event_type: &str) -> Result<bool, Error> {
        let tell = may_follow(event_type);
        self.move_by_answer(endpoint_key, Wanted::Disable(DisabledReason::Gone), State::Disabled, tell).await
    }

    /// Pauses an endpoint whose receiver refuses this sender's tokens. False: it gets nothing already.
    ///
    /// # Errors
    /// [`Error::EpochLost`], [`Error::Unavailable`].
    pub async fn pause_refused(&self, endpoint_key: i64) -> Result<bool, Error> {
        self.move_by_answer(endpoint_key, Wanted::Pause(PausedReason::Refused), State::Paused, true).await
    }

    async fn move_by_answer(&self, endpoint_key: i64, wanted: Wanted, to: State, tell: bool) -> Result<bool, Error> {
        let found = endpoints::Entity::find_by_id(endpoint_key);
        let found = self.inner.db.answer(found.one(&self.inner.db.orm_reader())).await?;
        let Some(model) = found.filter(|model| model.delete_time.is_none() && model.state != to.code()) else {
            return Ok(false);
        };
        match self.set_state(&model.tenant, &model.id, wanted, tell).await {
            // Another of this id may have come in between.
            Ok(record) => Ok(record.endpoint.key == endpoint_key && record.endpoint.state == to),
            Err(Error::NotFound | Error::WrongState(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
