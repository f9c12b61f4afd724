//! Request ids: a repeat of a change gets the first answer, for a day.
//!
//! The id is claimed first thing in the transaction that makes the change and the answer is kept, sealed, by the same commit. So of
//! two repeats at once the second waits for the first and then reads its answer; an error rolls the claim back and is not
//! remembered. Called by every method that takes a [`Once`], and by upkeep to forget what is old.

use sea_orm::{
    ActiveModelTrait as _, DatabaseTransaction, EntityTrait as _, Set, SqliteTransactionMode, TransactionOptions,
    TransactionTrait as _,
};
use std::time::Duration;

use super::db::{Arg, Tx, sql};
use super::entity::requests::{ActiveModel, Entity};
use super::{Error, Store, at, vault};
use crate::domain::secret::{DataKey, Place, Row};

/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Rows that one step of forgetting removes at most.
const STEP: i64 = 1_000;

/// A call that its caller may repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Id of the tenant it is about; empty: the server's own (tenants and API keys).
    pub tenant: String,
    /// The RPC, such as `CreateEndpoint`.
    pub method: &'static str,
    /// The caller's UUID.
    pub request_id: String,
    /// SHA-256 of the request without its id: what makes a repeat the same request.
    pub hash: [u8; 32],
}

/// Writes an answer.
pub type Encode<'a, R> = Box<dyn Fn(&R) -> Vec<u8> + Send + Sync + 'a>;

/// A request to be answered once, and how its answer is written.
pub struct Once<'a, R> {
    /// The request.
    pub request: Request,
    /// Encodes the answer that a repeat gets. It is stored sealed.
    pub encode: Encode<'a, R>,
}

impl<R> std::fmt::Debug for Once<'_, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Once").field("request", &self.request).finish_non_exhaustive()
    }
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<R> {
    /// It was made now.
    Done(R),
    /// It was made before; this is what was encoded then.
    Replayed(Vec<u8>),
}

/// Whether a change stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is committed.
    Apply,
    /// Everything is checked and done, then taken back.
    DryRun,
}

/// A transaction of a change, remembered under its request id when it has one.
pub(crate) struct Change<'a, R> {
    pub(crate) tx: DatabaseTransaction,
    remember: Option<(Once<'a, R>, DataKey)>,
}

/// What beginning a change found.
pub(crate) enum Begun<'a, R> {
    New(Change<'a, R>),
    Replayed(Vec<u8>),
}

impl Store {
    /// Begins a change, unless its request was answered already.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`]: the id was used for another request. [`Error::NotFound`]: no such tenant.
    pub(crate) async fn begin_change<'a, R>(&self, once: Option<Once<'a, R>>) -> Result<Begun<'a, R>, Error> {
        // Before the transaction: on SQLite it holds the only connection that could write a key.
        let key = match &once {
            Some(once) => Some(self.data_key(&once.request.tenant).await?),
            None => None,
        };
        let tx = self.begin_orm().await?;
        let Some((once, key)) = once.zip(key) else { return Ok(Begun::New(Change { tx, remember: None })) };
        let row = ActiveModel {
            tenant: Set(once.request.tenant.clone()),
            method: Set(once.request.method.to_owned()),
            request_id: Set(once.request.request_id.clone()),
            hash: Set(once.request.hash.to_vec()),
            response: Set(Vec::new()),
            create_time: Set(self.now().millis()),
        };
        let conflict = sea_orm::sea_query::OnConflict::new().do_nothing().to_owned();
        if Entity::insert(row).on_conflict(conflict).exec_without_returning(&tx).await? > 0 {
            return Ok(Begun::New(Change { tx, remember: Some((once, key)) }));
        }
        // The statement that met a conflict may not see the other's row yet; this one does.
        let row = Entity::find_by_id(once.request.key()).one(&tx).await?.ok_or(Error::NotFound)?;
        once.request.replay(&key, &row.hash, &row.response).map(Begun::Replayed)
    }

    /// A transaction of entities that are written.
    pub(crate) async fn begin_orm(&self) -> Result<DatabaseTransaction, Error> {
        let options =
            TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..TransactionOptions::default() };
        Ok(self.inner.db.orm_writer().begin_with_options(options).await?)
    }

    /// Claims a request in a transaction of the engine. `Some`: it was answered already, so.
    ///
    /// `key`: of the request's tenant, read before the transaction began.
    ///
    /// # Errors
    /// [`Error::IdempotencyMismatch`].
    pub(crate) async fn claim_request(&self, tx: &mut Tx, request: &Request, key: &DataKey) -> Result<Option<Vec<u8>>, Error> {
        let id = [Arg::Text(&request.tenant), Arg::Text(request.method), Arg::Text(&request.request_id)];
        let [tenant, method, request_id] = id;
        let row = [tenant, method, request_id, Arg::Bytes(&request.hash), at(self.now())];
        if tx.execute(sql!("claim_request"), &row).await? > 0 {
            return Ok(None);
        }
        let row = tx.fetch_optional(sql!("get_request"), &id).await?.ok_or(Error::NotFound)?;
        request.replay(key, &row.bytes(0)?, &row.bytes(1)?).map(Some)
    }

    /// Keeps the answer of a request claimed in this transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(crate) async fn remember_answer(&self, tx: &mut Tx, request: &Request, key: &DataKey, answer: &[u8]) -> Result<(), Error> {
        let sealed = request.seal(key, answer)?;
        let id = [Arg::Text(&request.tenant), Arg::Text(request.method), Arg::Text(&request.request_id), Arg::Bytes(&sealed)];
        tx.execute(sql!("answer_request"), &id).await?;
        Ok(())
    }

    /// One bounded step of forgetting request ids that are a day old, of changes and of events. True: there may be more.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn expire_requests_step(&self) -> Result<bool, Error> {
        let before = at(self.now().minus(KEPT));
        let mut tx = self.inner.db.begin().await?;
        let answers = tx.execute(sql!("expire_requests"), &[before, Arg::Int(STEP)]).await?;
        let events = tx.execute(sql!("expire_event_requests"), &[before, Arg::Int(STEP)]).await?;
        tx.commit().await?;
        Ok(answers.max(events) >= STEP.unsigned_abs())
    }
}

impl<R> Change<'_, R> {
    /// Keeps the answer and commits, or takes everything back.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: repeat; with a request id a change that got through is found.
    pub(crate) async fn finish(self, effect: Effect, record: R) -> Result<R, Error> {
        if effect == Effect::DryRun {
            self.tx.rollback().await?;
            return Ok(record);
        }
        if let Some((once, key)) = self.remember {
            let response = once.request.seal(&key, &(once.encode)(&record))?;
            let (tenant, method, request_id) = once.request.key();
            let row = ActiveModel {
                tenant: Set(tenant),
                method: Set(method),
                request_id: Set(request_id),
                response: Set(response),
                ..Default::default()
            };
            row.update_without_returning(&self.tx).await?;
        }
        self.tx.commit().await?;
        Ok(record)
    }
}

impl Request {
    fn key(&self) -> (String, String, String) {
        (self.tenant.clone(), self.method.to_owned(), self.request_id.clone())
    }

    fn seal(&self, key: &DataKey, answer: &[u8]) -> Result<Vec<u8>, Error> {
        self.placed(|place| key.seal(place, vault::nonce(), answer))
    }

    fn replay(&self, key: &DataKey, hash: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
        if hash != self.hash {
            return Err(Error::IdempotencyMismatch);
        }
        self.placed(|place| key.open(place, sealed))
    }

    fn placed<T>(&self, act: impl FnOnce(&Place<'_>) -> Result<T, crate::domain::secret::Error>) -> Result<T, Error> {
        // Neither part can hold a slash.
        let row = format!("{}/{}", self.method, self.request_id);
        let place = Place { tenant: &self.tenant, table: "requests", row: Row::Text(&row), column: "response" };
        Ok(act(&place)?)
    }
}
