//! One face for the two databases: pools, transactions, rows. Only the rooms of the store use it.
//!
//! SQLite has one writer connection, so a write never meets another; a transaction begins IMMEDIATE. PostgreSQL has one pool for
//! the engine's own commits and one for callers, so that a flood of reads cannot keep a commit waiting. Statements are the same
//! text for both wherever the dialects allow: `$1` binds on both, and `/*rows*/` stands for the rows of a [`Bulk`]. Nothing waits for
//! PostgreSQL without a bound: see [`silence`].

mod row;
mod silence;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Acquire as _, AssertSqlSafe, Encode, PgPool, Postgres, Sqlite, SqlitePool, Transaction, Type};
use std::str::FromStr as _;
use std::time::Duration;

use super::Error;
use super::bulk::Bulk;
pub(crate) use row::Row;
use silence::Silence;

/// A statement's texts: one for both databases, or one for each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sql {
    pub(crate) postgres: &'static str,
    pub(crate) sqlite: &'static str,
}

/// `sql!("name")` reads `sql/name.sql`; `sql!("name" by dialect)` reads `sql/name.postgres.sql` and `sql/name.sqlite.sql`.
macro_rules! sql {
    ($name:literal) => {
        $crate::store::db::Sql {
            postgres: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/", $name, ".sql")),
            sqlite: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/", $name, ".sql")),
        }
    };
    ($name:literal by dialect) => {
        $crate::store::db::Sql {
            postgres: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/", $name, ".postgres.sql")),
            sqlite: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql/", $name, ".sqlite.sql")),
        }
    };
}
pub(crate) use sql;

/// A value bound to `$n`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arg<'a> {
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite, embedded.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

#[derive(Debug, Clone)]
pub(crate) enum Db {
    Postgres { engine: PgPool, callers: PgPool, silence: Silence },
    Sqlite { writer: SqlitePool, readers: SqlitePool },
}

impl Db {
    /// Opens `postgres://…`, `sqlite://path` or `sqlite::memory:`; `connections`: the callers' part of the pool.
    pub(crate) async fn open(url: &str, connections: u32) -> Result<Self, Error> {
        if url.starts_with("postgres") {
            let options = without_needless_tls(PgConnectOptions::from_str(url)?)
                .application_name("gatepost")
                // A frozen node holds no lock for longer than this; a statement that hangs is one on a lost server.
                .options([
                    ("idle_in_transaction_session_timeout", "5000"),
                    ("statement_timeout", "60000"),
                    ("lock_timeout", "20000"),
                ]);
            let silence = Silence::new();
            let pool = |size, always_prove| {
                let options = PgPoolOptions::new()
                    .max_connections(size)
                    .min_connections(1)
                    .test_before_acquire(false)
                    .acquire_timeout(Duration::from_secs(10))
                    .max_lifetime(Duration::from_secs(3600));
                silence.prove_on_release(options, always_prove)
            };
            let engine = pool(ENGINE_CONNECTIONS, false).connect_with(options.clone()).await?;
            // Callers may give up at any moment, in the middle of an answer.
            let callers = pool(connections.max(2), true).connect_with(options).await?;
            silence.watch([engine.clone(), callers.clone()]);
            return Ok(Self::Postgres { engine, callers, silence });
        }
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(false)
            .busy_timeout(Duration::from_secs(5))
            .statement_cache_capacity(256)
            .pragma("wal_autocheckpoint", "4000")
            .pragma("cache_size", "-16000")
            .pragma("mmap_size", "0");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options.clone())
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(connections.clamp(2, 8))
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(10))
            // Reads are rare beside writes, and the system caches the file: each of these would take as much memory as the writer.
            .connect_with(options.create_if_missing(false).pragma("query_only", "true").pragma("cache_size", "-2000"))
            .await?;
        Ok(Self::Sqlite { writer, readers })
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres { .. } => Dialect::Postgres,
            Self::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    /// The engine's connection for sea-orm: entities that are written.
    pub(crate) fn orm_writer(&self) -> sea_orm::DatabaseConnection {
        match self {
            Self::Postgres { callers, .. } => sea_orm::SqlxPostgresConnector::from_sqlx_postgres_pool(callers.clone()),
            Self::Sqlite { writer, .. } => sea_orm::SqlxSqliteConnector::from_sqlx_sqlite_pool(writer.clone()),
        }
    }

    /// The callers' connection for sea-orm: entities that are read.
    pub(crate) fn orm_reader(&self) -> sea_orm::DatabaseConnection {
        match self {
            Self::Postgres { callers, .. } => sea_orm::SqlxPostgresConnector::from_sqlx_postgres_pool(callers.clone()),
            Self::Sqlite { readers, .. } => sea_orm::SqlxSqliteConnector::from_sqlx_sqlite_pool(readers.clone()),
        }
    }

    /// Waits for what sea-orm asked, but not for ever.
    pub(crate) async fn answer<T>(&self, question: impl Future<Output = Result<T, sea_orm::DbErr>>) -> Result<T, Error> {
        match self {
            Self::Postgres { silence, .. } => silence.ask(question).await,
            Self::Sqlite { .. } => Ok(question.await?),
        }
    }

    /// Begins a transaction that writes, on the engine's connections.
    pub(crate) async fn begin(&self) -> Result<Tx, Error> {
        Ok(match self {
            Self::Postgres { engine, silence, .. } => Tx::Postgres(silence.ask(engine.begin()).await?, silence.clone()),
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
        })
    }

    /// One statement outside a transaction, on a connection that only reads.
    pub(crate) async fn fetch(&self, sql: Sql, args: &[Arg<'_>]) -> Result<Vec<Row>, Error> {
        match self {
            Self::Postgres { callers, silence, .. } => silence.ask(postgres_fetch_pooled(callers, sql.postgres, args)).await,
            Self::Sqlite { readers, .. } => {
                let mut connection = readers.acquire().await?;
                sqlite_fetch(connection.acquire().await?, sql.sqlite, args).await
            }
        }
    }

    /// As [`Db::fetch`], on the engine's connections where there are two kinds.
    pub(crate) async fn fetch_engine(&self, sql: Sql, args: &[Arg<'_>]) -> Result<Vec<Row>, Error> {
        match self {
            Self::Postgres { engine, silence, .. } => silence.ask(postgres_fetch_pooled(engine, sql.postgres, args)).await,
            Self::Sqlite { .. } => self.fetch(sql, args).await,
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Postgres { engine, callers, .. } => {
                engine.close().await;
                callers.close().await;
            }
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
        }
    }
}

/// Speaks plainly to a server on this machine, unless the URL demands TLS.
///
/// A statement of more than 16 KiB leaves in several TLS records, each written alone. sqlx leaves Nagle's algorithm on, and over loopback,
/// with its huge segments, every record after the first then waits for a delayed acknowledgement: 40 ms a statement.
fn without_needless_tls(options: PgConnectOptions) -> PgConnectOptions {
    let host = options.get_host();
    let is_here = host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match options.get_ssl_mode() {
        PgSslMode::Prefer if is_here => options.ssl_mode(PgSslMode::Disable),
        _ => options,
    }
}

/// Connections of the engine on PostgreSQL: its journal lanes, claims, beats and adoption.
const ENGINE_CONNECTIONS: u32 = 10;

/// A transaction that writes. Dropped without a commit, it is rolled back.
pub(crate) enum Tx {
    Postgres(Transaction<'static, Postgres>, Silence),
    Sqlite(Transaction<'static, Sqlite>),
}

impl Tx {
    pub(crate) async fn fetch(&mut self, sql: Sql, args: &[Arg<'_>]) -> Result<Vec<Row>, Error> {
        match self {
            Self::Postgres(tx, silence) => silence.ask(postgres_fetch(&mut *tx, sql.postgres, args)).await,
            Self::Sqlite(tx) => sqlite_fetch(&mut *tx, sql.sqlite, args).await,
        }
    }

    pub(crate) async fn fetch_optional(&mut self, sql: Sql, args: &[Arg<'_>]) -> Result<Option<Row>, Error> {
        Ok(self.fetch(sql, args).await?.into_iter().next())
    }

    /// Rows written.
    pub(crate) async fn execute(&mut self, sql: Sql, args: &[Arg<'_>]) -> Result<u64, Error> {
        Ok(match self {
            Self::Postgres(tx, silence) => {
                let query = bind(sqlx::query(sql.postgres), args);
                silence.ask(query.execute(&mut **tx)).await?.rows_affected()
            }
            Self::Sqlite(tx) => {
                let query = bind(sqlx::query(sql.sqlite), args);
                query.execute(&mut **tx).await?.rows_affected()
            }
        })
    }

    /// One statement over many rows: `/*rows*/` in it stands for them. Writes in chunks on SQLite.
    pub(crate) async fn bulk(&mut self, sql: Sql, args: &[Arg<'_>], rows: &Bulk) -> Result<Vec<Row>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        match self {
            Self::Postgres(tx, silence) => {
                let text = rows.postgres_text(sql.postgres, args.len());
                let query = bind(sqlx::query(AssertSqlSafe(text)), args);
                let query = rows.bind_postgres(query);
                Ok(silence.ask(query.fetch_all(&mut **tx)).await?.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite(tx) => {
                let mut found = Vec::new();
                for chunk in rows.chunks() {
                    let text = rows.sqlite_text(sql.sqlite, chunk.len());
                    let query = rows.bind_sqlite(sqlx::query(AssertSqlSafe(text)), chunk);
                    let query = bind(query, args);
                    found.extend(query.fetch_all(&mut **tx).await?.into_iter().map(Row::Sqlite));
                }
                Ok(found)
            }
        }
    }

    /// Makes partition `number` of each partitioned table, for `size` events. Does nothing on SQLite.
    pub(crate) async fn make_partitions(&mut self, number: i64, size: i64) -> Result<(), Error> {
        let Self::Postgres(tx, silence) = self else { return Ok(()) };
        // One node at a time; the second finds them there.
        silence.ask(sqlx::raw_sql("LOCK TABLE meta IN SHARE ROW EXCLUSIVE MODE").execute(&mut **tx)).await?;
        for (table, storage) in [("events", ""), ("deliveries", "WITH (fillfactor = 60)"), ("attempts", "")] {
            let name = format!("{table}_p{number}");
            let find = sqlx::query_scalar("SELECT 1 FROM pg_class WHERE oid = to_regclass($1)").bind(&name);
            let found: Option<i32> = silence.ask(find.fetch_optional(&mut **tx)).await?;
            if found.is_none() {
                // Made apart and attached, which waits for nobody; the empty default partition is looked through in no time.
                let (from, to) = (number * size, (number + 1) * size);
                let ddl = format!(
                    "CREATE TABLE {name} (LIKE {table} INCLUDING ALL) {storage};
                     ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
                );
                silence.ask(sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&mut **tx)).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Postgres(tx, silence) => silence.ask(tx.commit()).await?,
            Self::Sqlite(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

fn bind<'q, DB>(query: Query<'q, DB, DB::Arguments>, args: &[Arg<'_>]) -> Query<'q, DB, DB::Arguments>
where
    DB: sqlx::Database,
    for<'v> i64: Encode<'v, DB> + Type<DB>,
    for<'v> &'v str: Encode<'v, DB> + Type<DB>,
    for<'v> &'v [u8]: Encode<'v, DB> + Type<DB>,
{
    args.iter().fold(query, |query, arg| match *arg {
        Arg::Int(value) => query.bind(value),
        Arg::Text(value) => query.bind(value),
        Arg::Bytes(value) => query.bind(value),
    })
}

async fn postgres_fetch(connection: &mut sqlx::PgConnection, sql: &'static str, args: &[Arg<'_>]) -> Result<Vec<Row>, sqlx::Error> {
    let query = bind(sqlx::query(sql), args);
    Ok(query.fetch_all(connection).await?.into_iter().map(Row::Postgres).collect())
}

async fn postgres_fetch_pooled(pool: &PgPool, sql: &'static str, args: &[Arg<'_>]) -> Result<Vec<Row>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    postgres_fetch(connection.acquire().await?, sql, args).await
}

async fn sqlite_fetch(connection: &mut sqlx::SqliteConnection, sql: &'static str, args: &[Arg<'_>]) -> Result<Vec<Row>, Error> {
    let query = bind(sqlx::query(sql), args);
    Ok(query.fetch_all(connection).await?.into_iter().map(Row::Sqlite).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_left_out_on_this_machine_alone_and_only_where_nobody_demands_it() {
        for (url, plain) in [
            ("postgres://a@127.0.0.1/b", true),
            ("postgres://a@localhost:5433/b?application_name=x", true),
            ("postgres://a@[::1]/b", true),
            ("postgres://a@127.0.0.1/b?sslmode=require", false),
            ("postgres://a@db.example.com/b", false),
            ("postgres://a@10.0.0.1/b", false),
        ] {
            let options = without_needless_tls(url.parse().unwrap());
            assert_eq!(matches!(options.get_ssl_mode(), PgSslMode::Disable), plain, "{url}");
        }
    }
}
