//! API keys of callers, as keyed hashes.
//!
//! Read for every call, so kept in memory for a second: a revocation is known at once on the node that made it and within that
//! second on the others. Unknown ids are kept too, so that guessing costs the database nothing much. No secret is ever here.

use std::sync::Arc;
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use secrecy::ExposeSecret as _;

use super::entity::api_keys::{self, Column, Entity};
use super::page::{Listed, Page};
use super::requests::{Answer, Begun, Effect, Once};
use super::{Error, Store, time};
use crate::clock::Instant;
use crate::domain::Time;
use crate::domain::caller::{ApiKey, Scope, Verb};
use crate::domain::secret::KeyRing;

/// How long what was read is used.
const FRESH: Duration = Duration::from_secs(1);
/// Ids kept, known and unknown.
const CACHED: u64 = 10_000;
/// A last use is written at most this often.
const USE_STEP: Duration = Duration::from_secs(60);
/// Rows read for one page of keys at most.
const SCAN: u64 = 5_000;

/// A key as its row holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// `key_…`.
    pub id: String,
    /// Name for people.
    pub display_name: String,
    /// Keyed hash of its secret, see [`crate::domain::secret::KeyRing::check_api_key`].
    pub hash: String,
    /// What it may do, and where.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub create_time: Time,
    /// When it ends; `None`: never.
    pub expire_time: Option<Time>,
    /// When it was revoked.
    pub revoke_time: Option<Time>,
    /// When it last opened a call, within a minute.
    pub last_use_time: Option<Time>,
}

/// A key to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// `key_…`.
    pub id: String,
    /// Name for people, checked.
    pub display_name: String,
    /// Keyed hash of its secret.
    pub hash: String,
    /// What it may do, and where.
    pub scopes: Vec<Scope>,
    /// When it ends; `None`: never.
    pub expire_time: Option<Time>,
}

impl NewKey {
    /// A key that may do everything for all tenants.
    pub fn root(key: &ApiKey, ring: &KeyRing, display_name: impl Into<String>) -> Self {
        Self {
            id: key.key_id.clone(),
            display_name: display_name.into(),
            hash: ring.hash_api_key(&key.key_id, key.secret.expose_secret()),
            scopes: vec![Scope::Verb(Verb::Admin), Scope::AllTenants],
            expire_time: None,
        }
    }
}

impl KeyRecord {
    /// Whether it opens anything at this time.
    pub fn is_valid(&self, now: Time) -> bool {
        self.revoke_time.is_none() && self.expire_time.is_none_or(|expire| now < expire)
    }
}

/// What was read of keys lately.
#[derive(Debug)]
pub(crate) struct Callers {
    keys: Cache<String, Seen>,
}

#[derive(Debug, Clone)]
struct Seen {
    read: Instant,
    key: Option<Arc<KeyRecord>>,
}

impl Default for Callers {
    fn default() -> Self {
        Self { keys: Cache::builder().max_capacity(CACHED).build() }
    }
}

impl Callers {
    /// Keeps what was read. A revocation is for good: whoever read the key before it must not put the old one back.
    fn keep(&self, id: &str, seen: Seen) {
        self.keys.entry_by_ref(id).and_compute_with(|kept| {
            let revoked = |seen: &Seen| seen.key.as_ref().is_some_and(|key| key.revoke_time.is_some());
            if kept.is_some_and(|kept| revoked(kept.value())) && !revoked(&seen) { Op::Nop } else { Op::Put(seen) }
        });
    }

    fn note_use(&self, id: &str, now: Time) {
        self.keys.entry_by_ref(id).and_compute_with(|kept| match kept.map(moka::Entry::into_value) {
            Some(Seen { read, key: Some(key) }) => {
                Op::Put(Seen { read, key: Some(Arc::new(KeyRecord { last_use_time: Some(now), ..(*key).clone() })) })
            }
            _ => Op::Nop,
        });
    }
}

impl Store {
    /// Makes a key.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::IdempotencyMismatch`].
    pub async fn create_key(&self, new: NewKey, once: Option<Once<'_, KeyRecord>>) -> Result<Answer<KeyRecord>, Error> {
        let change = match self.begin_change(once).await? {
            Begun::New(change) => change,
            Begun::Replayed(answer) => return Ok(Answer::Replayed(answer)),
        };
        let scopes: Vec<String> = new.scopes.iter().map(Scope::to_string).collect();
        let model = api_keys::Model {
            id: new.id,
            display_name: new.display_name,
            hash: new.hash,
            scopes: scopes.join(" "),
            create_time: self.now().millis(),
            expire_time: new.expire_time.map(Time::millis),
            revoke_time: None,
            last_use_time: None,
        };
        let conflict = sea_orm::sea_query::OnConflict::new().do_nothing().to_owned();
        let row = model.clone().into_active_model();
        if Entity::insert(row).on_conflict(conflict).exec_without_returning(&change.tx).await? == 0 {
            return Err(Error::AlreadyExists);
        }
        let key = change.finish(Effect::Apply, record(model)?).await?;
        self.inner.callers.keys.invalidate(&key.id);
        Ok(Answer::Done(key))
    }

    /// A key by its id, at most a second old; revoked and expired ones too.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn find_key(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, Error> {
        let read = self.inner.clock.instant();
        if let Some(seen) = self.inner.callers.keys.get(id)
            && read.duration_since(seen.read) < FRESH
        {
            return Ok(seen.key);
        }
        let found = self.inner.db.answer(Entity::find_by_id(id).one(&self.inner.db.orm_reader())).await?;
        let key = found.map(record).transpose()?.map(Arc::new);
        self.inner.callers.keep(id, Seen { read, key: key.clone() });
        Ok(key)
    }

    /// Keys, newest first. `visible` says which of them the caller may see; a page may be short while more follow.
    ///
    /// # Errors
    /// [`Error::BadPosition`]; [`Error::Unavailable`].
    pub async fn list_keys(&self, page: &Page, visible: impl Fn(&KeyRecord) -> bool) -> Result<Listed<KeyRecord>, Error> {
        let mut query = Entity::find();
        if let Some(after) = page.text()? {
            let (created, id) = after.split_once(' ').ok_or(Error::BadPosition)?;
            let created: i64 = created.parse().map_err(|_| Error::BadPosition)?;
            let same_time = Condition::all().add(Column::CreateTime.eq(created)).add(Column::Id.lt(id));
            query = query.filter(Condition::any().add(Column::CreateTime.lt(created)).add(same_time));
        }
        let query = query.order_by_desc(Column::CreateTime).order_by_desc(Column::Id).limit(SCAN);
        let rows = self.inner.db.answer(query.all(&self.inner.db.orm_reader())).await?;
        let position = |key: &KeyRecord| format!("{} {}", key.create_time.millis(), key.id).into_bytes();
        let keys = rows.into_iter().map(record).collect::<Result<Vec<_>, _>>()?;
        let scanned_all = keys.len() < usize::try_from(SCAN).unwrap_or(usize::MAX);
        let last = keys.last().map(position);
        let mut listed = Listed::cut(keys.into_iter().filter(|key| visible(key)).collect(), page, position);
        if listed.next.is_none() && !scanned_all {
            listed.next = last;
        }
        Ok(listed)
    }

    /// Ends a key: it opens nothing more after the return. One that is revoked is returned as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn revoke_key(&self, id: &str) -> Result<KeyRecord, Error> {
        let writer = self.inner.db.orm_writer();
        Entity::update_many()
            .col_expr(Column::RevokeTime, Expr::value(self.now().millis()))
            .filter(Column::Id.eq(id))
            .filter(Column::RevokeTime.is_null())
            .exec(&writer)
            .await?;
        let read = self.inner.clock.instant();
        let key = record(Entity::find_by_id(id).one(&writer).await?.ok_or(Error::NotFound)?)?;
        self.inner.callers.keep(id, Seen { read, key: Some(Arc::new(key.clone())) });
        Ok(key)
    }

    /// Notes that a key opened a call: at most once a minute in the database.
    ///
    /// # Errors
    /// [`Error::Unavailable`]: nothing is lost but the note.
    pub async fn touch_key(&self, key: &KeyRecord) -> Result<(), Error> {
        let now = self.now();
        if key.last_use_time.is_some_and(|last| now.since(last) < USE_STEP) {
            return Ok(());
        }
        // Before the write, so that of many calls at once one writes.
        self.inner.callers.note_use(&key.id, now);
        let written_before =
            Condition::any().add(Column::LastUseTime.is_null()).add(Column::LastUseTime.lte(now.minus(USE_STEP).millis()));
        Entity::update_many()
            .col_expr(Column::LastUseTime, Expr::value(now.millis()))
            .filter(Column::Id.eq(&key.id))
            .filter(written_before)
            .exec(&self.inner.db.orm_writer())
            .await?;
        Ok(())
    }

    /// Replaces a key's hash by one under the first master key. `from`: the hash that was checked; nothing happens to another.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn rehash_key(&self, id: &str, from: &str, to: &str) -> Result<(), Error> {
        Entity::update_many()
            .col_expr(Column::Hash, Expr::value(to))
            .filter(Column::Id.eq(id))
            .filter(Column::Hash.eq(from))
            .exec(&self.inner.db.orm_writer())
            .await?;
        self.inner.callers.keys.invalidate(id);
        Ok(())
    }

    /// Makes a key that opens everything, unless one of its id is there: also when that one was revoked.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ensure_root_key(&self, key: &ApiKey) -> Result<(), Error> {
        match self.create_key(NewKey::root(key, &self.inner.keys, "root"), None).await {
            Ok(_) | Err(Error::AlreadyExists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether any key could open anything, now or once it is found.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn any_key_exists(&self) -> Result<bool, Error> {
        let found = Entity::find().filter(Column::RevokeTime.is_null()).limit(1).one(&self.inner.db.orm_reader()).await?;
        Ok(found.is_some())
    }
}

fn record(model: api_keys::Model) -> Result<KeyRecord, Error> {
    let scopes = model.scopes.split_whitespace().map(Scope::parse).collect::<Result<_, _>>();
    let bad = |error: crate::domain::caller::UnknownScope| Error::BadRow {
        table: "api_keys",
        row: model.id.clone(),
        problem: error.to_string(),
    };
    Ok(KeyRecord {
        scopes: scopes.map_err(bad)?,
        id: model.id,
        display_name: model.display_name,
        hash: model.hash,
        create_time: time(model.create_time),
        expire_time: model.expire_time.map(time),
        revoke_time: model.revoke_time.map(time),
        last_use_time: model.last_use_time.map(time),
    })
}
