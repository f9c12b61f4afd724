//! The schema: applied or checked before the store opens, never by two nodes at once.

use std::time::Duration;

use gatepost_migrations::Migrator;
use sea_orm_migration::MigratorTrait as _;

use super::db::{Arg, Db, Tx, sql};
use super::{Dialect, Error};
use crate::clock::Clock;

/// What to do about the schema at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Bring it up to date.
    Apply,
    /// Refuse to start unless it is.
    Check,
}

/// One migration and whether it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// The schema of one database.
#[derive(Debug)]
pub struct Schema {
    db: Db,
    clock: Clock,
    _lock: Option<std::fs::File>,
}

/// How long a migrator may hold the lease before another takes it over.
const LEASE: Duration = Duration::from_secs(60);
/// How long a start waits for another node's migration.
const PATIENCE: Duration = Duration::from_secs(120);

impl Schema {
    /// Opens a database for the sake of its schema.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Unavailable`].
    pub async fn open(url: &str, clock: Clock) -> Result<Self, Error> {
        let lock = lock_file(url)?;
        Ok(Self { db: Db::open(url, 2).await?, clock, _lock: lock })
    }

    /// Applies or checks.
    ///
    /// # Errors
    /// [`Error::Schema`]: it is not up to date, with what to do about it.
    pub async fn ensure(&self, mode: Mode) -> Result<(), Error> {
        let missing = self.status().await?.into_iter().filter(|step| !step.applied).count();
        match mode {
            _ if missing == 0 => Ok(()),
            Mode::Apply => self.up().await,
            Mode::Check => Err(Error::Schema(format!("the schema lacks {missing} migrations: run `gatepost migrate up`"))),
        }
    }

    /// Every migration of this release.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn status(&self) -> Result<Vec<Step>, Error> {
        let known = Migrator::migrations();
        let applied = match self.db.fetch(sql!("list_migrations"), &[]).await {
            Ok(rows) => rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?,
            // There is no such table in an empty database. Asked so, a check needs no right to create one.
            Err(Error::Defect(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        let step = |name: String| Step { applied: applied.contains(&name), name };
        Ok(known.iter().map(|migration| step(migration.name().to_owned())).collect())
    }

    /// Applies every missing migration.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; [`Error::Schema`]: another node holds the lease for too long.
    pub async fn up(&self) -> Result<(), Error> {
        let holder = self.take_lease().await?;
        let result = Migrator::up(&self.db.orm_writer(), None).await.map_err(Error::from);
        self.release_lease(&holder).await?;
        result
    }

    /// Takes the last migration back, with all data of its tables.
    ///
    /// # Errors
    /// As [`Schema::up`].
    pub async fn down(&self) -> Result<(), Error> {
        let holder = self.take_lease().await?;
        let result = Migrator::down(&self.db.orm_writer(), Some(1)).await.map_err(Error::from);
        self.release_lease(&holder).await?;
        result
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.db.close().await;
    }

    /// sea-orm-migration takes no lock, and two nodes that start together must not race.
    async fn take_lease(&self) -> Result<String, Error> {
        let holder = uuid::Uuid::new_v4().simple().to_string();
        let deadline = self.clock.now().plus(PATIENCE);
        loop {
            match self.try_lease(&holder).await {
                Ok(true) => return Ok(holder),
                Ok(false) => {}
                // Two that create the table at once: the second is refused by the catalogue's own key.
                Err(Error::Data(_) | Error::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
            if self.clock.now() > deadline {
                return Err(Error::Schema("another node has been migrating for two minutes".to_owned()));
            }
            self.clock.sleep(Duration::from_millis(200)).await;
        }
    }

    async fn try_lease(&self, holder: &str) -> Result<bool, Error> {
        let mut tx = self.db.begin().await?;
        tx.execute(sql!("create_migration_lease"), &[]).await?;
        tx.commit().await?;
        let mut tx = self.db.begin().await?;
        let now = self.clock.now();
        let args = [Arg::Text(holder), Arg::Int(now.millis()), Arg::Int(now.plus(LEASE).millis())];
        let taken = tx.execute(sql!("take_migration_lease"), &args).await?;
        tx.commit().await?;
        Ok(taken > 0)
    }

    async fn release_lease(&self, holder: &str) -> Result<(), Error> {
        let mut tx: Tx = self.db.begin().await?;
        tx.execute(sql!("release_migration_lease"), &[Arg::Text(holder)]).await?;
        tx.commit().await
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.db.dialect()
    }
}

/// Locks a file beside the SQLite database, so that a second process exits instead of sharing it. `None` where there is no file.
pub(crate) fn lock_file(url: &str) -> Result<Option<std::fs::File>, Error> {
    let Some(path) = sqlite_path(url) else { return Ok(None) };
    let path = format!("{path}.lock");
    let unusable = |source| Error::File { path: path.clone(), source };
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked(path.trim_end_matches(".lock").to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// The file of a `sqlite://` URL; `None` for other databases and for memory.
pub fn sqlite_path(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split('?').next().unwrap_or(path);
    (!path.is_empty() && path != ":memory:").then_some(path)
}
