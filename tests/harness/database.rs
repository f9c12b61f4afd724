//! A database of its own for each test, on SQLite and on PostgreSQL.
//!
//! Used through `on_both_databases!`, which turns one behaviour into two tests. A database is dropped with its value. A test
//! that needs PostgreSQL where no server answers is named as skipped, never silently passed over, and fails where
//! `GATEPOST_REQUIRE_POSTGRES` is set.

use std::{io::Write, time::Duration};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, postgres::PgConnectOptions};

const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// A database that nobody else uses: dropped with this value.
#[derive(Debug)]
pub struct Database {
    url: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sqlite { folder: tempfile::TempDir },
    Postgres { name: String },
    Served,
}

impl Database {
    /// A new SQLite file in a folder of its own.
    #[must_use]
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}", folder.path().join("gatepost.db").display());
        Self { url, kind: Kind::Sqlite { folder } }
    }

    /// A new database on the server at `GATEPOST_TEST_POSTGRES_URL`, or `None` where none answers.
    ///
    /// `test`: who asks, for the line that names it as skipped.
    ///
    /// # Panics
    /// Where no server answers and `GATEPOST_REQUIRE_POSTGRES` is set.
    pub async fn postgres(test: &str) -> Option<Self> {
        let name = format!("gatepost_test_{}", uuid::Uuid::new_v4().simple());
        match administer(format!("CREATE DATABASE {name}")).await {
            Ok(()) => {
                let server = http::Uri::try_from(server_url()).expect("GATEPOST_TEST_POSTGRES_URL is a URL");
                // What stands behind the `?`, such as `sslmode`, is for every database.
                let query = server.query().map(|query| format!("?{query}")).unwrap_or_default();
                let mut url = server.into_parts();
                url.path_and_query = Some(format!("/{name}{query}").parse().expect("a path"));
                let url = http::Uri::from_parts(url).expect("a URL").to_string();
                Some(Self { url, kind: Kind::Postgres { name } })
            }
            Err(error) if std::env::var_os("GATEPOST_REQUIRE_POSTGRES").is_some() => {
                panic!("PostgreSQL is required and does not answer: {error}")
            }
            Err(error) => {
                // Straight to the stream: what `eprintln!` says in a test that passes is swallowed.
                let _ = writeln!(std::io::stderr(), "SKIPPED postgres: {test} ({error})");
                None
            }
        }
    }

    /// The one on a PostgreSQL server of a test's own, with which it ends.
    pub(crate) fn served_at(url: String) -> Self {
        Self { url, kind: Kind::Served }
    }

    /// What `GATEPOST_DATABASE__URL` takes.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything that is stored, as bytes: the files of SQLite, all rows of all tables of PostgreSQL.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn contents(&self) -> Vec<u8> {
        match &self.kind {
            Kind::Sqlite { folder } => std::fs::read_dir(folder.path())
                .expect("the folder")
                .flat_map(|entry| std::fs::read(entry.expect("an entry").path()).expect("a file"))
                .collect(),
            Kind::Postgres { .. } | Kind::Served => rows(&self.url).await.expect("the database answers"),
        }
    }

    /// The one number that a statement selects, for what the API does not show.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn count(&self, statement: &'static str) -> i64 {
        match &self.kind {
            Kind::Sqlite { .. } => count::<sqlx::Sqlite>(&self.url, statement).await,
            Kind::Postgres { .. } | Kind::Served => count::<sqlx::Postgres>(&self.url, statement).await,
        }
        .expect("the database answers")
    }

    /// Whether it is on PostgreSQL, where several servers may share it.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        !matches!(self.kind, Kind::Sqlite { .. })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Kind::Postgres { name } = &self.kind else { return };
        let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        // A runtime of its own: the test's may be ending, and a drop cannot await.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
            runtime.block_on(administer(statement)).map_err(|error| error.to_string())
        })
        .join();
        if !matches!(dropped, Ok(Ok(()))) {
            eprintln!("could not drop the database {name}: {dropped:?}");
        }
    }
}

fn server_url() -> String {
    std::env::var("GATEPOST_TEST_POSTGRES_URL").unwrap_or_else(|_| POSTGRES.to_owned())
}

/// Each row as text, in which bytes are written in hexadecimal.
async fn rows(url: &str) -> Result<Vec<u8>, sqlx::Error> {
    let mut connection = url.parse::<PgConnectOptions>()?.disable_statement_logging().connect().await?;
    let tables = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema()";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await?;
    let mut all = Vec::new();
    for table in tables {
        let statement = format!("SELECT t::text FROM {table} t");
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(&mut connection).await?;
        rows.iter().for_each(|row| all.extend_from_slice(row.as_bytes()));
    }
    connection.close().await?;
    Ok(all)
}

async fn count<D: sqlx::Database>(url: &str, statement: &'static str) -> Result<i64, sqlx::Error>
where
    for<'c> &'c mut D::Connection: sqlx::Executor<'c, Database = D>,
    for<'q> D::Arguments: sqlx::IntoArguments<D>,
    i64: sqlx::Type<D> + for<'r> sqlx::Decode<'r, D>,
    usize: sqlx::ColumnIndex<D::Row>,
{
    let mut connection = D::Connection::connect(url).await?;
    let found = sqlx::query_scalar(statement).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(found)
}

async fn administer(statement: String) -> Result<(), sqlx::Error> {
    let options: PgConnectOptions = server_url().parse()?;
    let options = options.disable_statement_logging();
    let connecting = tokio::time::timeout(Duration::from_secs(5), options.connect());
    let mut connection = connecting.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

/// Turns each behaviour, an `async fn(Database)`, into two tests: `behaviour::sqlite` and `behaviour::postgres`.
#[macro_export]
macro_rules! on_both_databases {
    ($($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$behaviour($crate::Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let test = concat!(module_path!(), "::postgres");
                if let Some(database) = $crate::Database::postgres(test).await {
                    super::$behaviour(database).await;
                }
            }
        }
    )+};
}
