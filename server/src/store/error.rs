//! What can go wrong in the store, by what the caller does about it.

use crate::domain::Violation;
use crate::domain::endpoint::HeaderViolation;

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database cannot be reached or will not write now. Nothing was written, or a repeat with the same ids finds what was.
    #[error("the database is unavailable")]
    Unavailable(#[source] sqlx::Error),
    /// Another transaction stood in the way; repeating at once helps. Never leaves the store.
    #[error("the transaction must be repeated")]
    Conflict(#[source] sqlx::Error),
    /// The database refused the data of one row of several, or two rows claim one key. A batch is tried again in halves.
    #[error("the database refused the data")]
    Data(#[source] sqlx::Error),
    /// This node's epoch was taken: drop the work, another node has it.
    #[error("this node's epoch is over")]
    EpochLost,
    /// More work waits than is accepted.
    #[error("more work waits than is accepted")]
    Overloaded,
    /// No such row.
    #[error("not found")]
    NotFound,
    /// The id is taken.
    #[error("the id is taken")]
    AlreadyExists,
    /// The row changed since the caller read it.
    #[error("the row has changed")]
    EtagMismatch,
    /// The request id was used for another request.
    #[error("the request id was used with other fields")]
    IdempotencyMismatch,
    /// A configured limit is reached.
    #[error("the limit {name} = {value} is reached")]
    Limit {
        /// Which.
        name: &'static str,
        /// Its value.
        value: u64,
    },
    /// The row's state does not allow the move; the number is its state's code.
    #[error("the state does not allow it")]
    WrongState(i16),
    /// The resume token is from before the journal's oldest row, or of another incarnation.
    #[error("the resume token is too old")]
    TokenExpired,
    /// Headers of an endpoint do not fit what is stored of it.
    #[error("the headers do not fit what is stored")]
    Headers(Vec<HeaderViolation>),
    /// Fields are bad in a way that only shows beside what is stored.
    #[error("the fields do not fit what is stored")]
    Fields(Vec<Violation>),
    /// The position of a page is not one of this list.
    #[error("the position is not one of this list")]
    BadPosition,
    /// A row cannot be read: damaged, or written by something else.
    #[error("row {row} of {table} cannot be read: {problem}")]
    BadRow {
        /// The table.
        table: &'static str,
        /// Its key.
        row: String,
        /// What is wrong.
        problem: String,
    },
    /// A secret cannot be sealed or opened.
    #[error("a sealed value cannot be used")]
    Sealed(#[from] crate::domain::secret::Error),
    /// A defect: no key could be made.
    #[error("a signing key cannot be made")]
    SigningKey(#[source] crate::domain::jose::jws::Error),
    /// The schema is not what this release needs.
    #[error("{0}")]
    Schema(String),
    /// Another process has the SQLite database open.
    #[error("{0} is in use by another process")]
    Locked(String),
    /// A defect: a statement that the database does not accept.
    #[error("the database refused a statement")]
    Defect(#[source] sqlx::Error),
    /// A defect or an outage met through sea-orm.
    #[error("the database refused a statement")]
    Orm(#[source] sea_orm::DbErr),
    /// The database's file or key file cannot be used.
    #[error("cannot use {path}")]
    File {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// The database did not answer in the time that its caller had.
    pub fn timed_out() -> Self {
        Self::Unavailable(sqlx::Error::PoolTimedOut)
    }

    /// Whether repeating the same call later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_) | Self::Overloaded)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable(error),
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                let postgres = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some();
                match class(&code, postgres) {
                    Class::Unavailable => Self::Unavailable(error),
                    Class::Conflict => Self::Conflict(error),
                    Class::Data => Self::Data(error),
                    Class::Defect => Self::Defect(error),
                }
            }
            _ => Self::Defect(error),
        }
    }
}

impl From<sea_orm::DbErr> for Error {
    fn from(error: sea_orm::DbErr) -> Self {
        use sea_orm::{DbErr, RuntimeErr};
        match error {
            DbErr::Conn(RuntimeErr::SqlxError(source))
            | DbErr::Exec(RuntimeErr::SqlxError(source))
            | DbErr::Query(RuntimeErr::SqlxError(source)) => match std::sync::Arc::try_unwrap(source) {
                Ok(source) => source.into(),
                Err(shared) => Self::Orm(DbErr::Query(RuntimeErr::SqlxError(shared))),
            },
            DbErr::RecordNotFound(_) | DbErr::RecordNotUpdated => Self::NotFound,
            DbErr::ConnectionAcquire(_) => Self::Unavailable(sqlx::Error::PoolTimedOut),
            other => Self::Orm(other),
        }
    }
}

enum Class {
    Unavailable,
    Conflict,
    Data,
    Defect,
}

/// Source: PostgreSQL 15, appendix A; SQLite, "Result and Error Codes".
fn class(code: &str, postgres: bool) -> Class {
    if postgres {
        return match code.get(..2) {
            _ if matches!(code, "40001" | "40P01" | "55P03") => Class::Conflict,
            // Two that make the same table at once: IF NOT EXISTS does not wait for the other.
            _ if matches!(code, "42710" | "42P07") => Class::Conflict,
            // A read-only server is one that failed over or is being repaired.
            _ if code == "25006" || code == "25P03" => Class::Unavailable,
            Some("08" | "53" | "57" | "58") => Class::Unavailable,
            Some("22" | "23") => Class::Data,
            _ => Class::Defect,
        };
    }
    // The low byte of an extended code is the primary one.
    match code.parse::<u32>().unwrap_or(0) & 0xff {
        // BUSY, LOCKED
        5 | 6 => Class::Conflict,
        // READONLY, IOERR, FULL, CANTOPEN
        8 | 10 | 13 | 14 => Class::Unavailable,
        // TOOBIG, CONSTRAINT, MISMATCH
        18..=20 => Class::Data,
        _ => Class::Defect,
    }
}
