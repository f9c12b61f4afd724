//! A database that one test has to itself.

use std::io::Write as _;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// Dropped with this value.
#[derive(Debug)]
pub(super) enum Database {
    Sqlite(tempfile::TempDir),
    Postgres { name: String },
}

impl Database {
    pub(super) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    /// `None` where no server answers; `test` is named as skipped then.
    pub(super) async fn postgres(test: &str) -> Option<Self> {
        let name = format!("gatepost_store_{}", uuid::Uuid::new_v4().simple());
        match administer(format!("CREATE DATABASE {name}")).await {
            Ok(()) => Some(Self::Postgres { name }),
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

    pub(super) fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("gatepost.db").display()),
            Self::Postgres { name } => {
                let mut url = url::Url::parse(&server_url()).unwrap();
                url.set_path(name);
                url.into()
            }
        }
    }
}

impl Drop for Database {
    #[allow(clippy::disallowed_methods, reason = "a drop cannot await, and the test's own runtime may be ending")]
    fn drop(&mut self) {
        let Self::Postgres { name } = self else { return };
        let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
            runtime.block_on(administer(statement)).map_err(|error| error.to_string())
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            let _ = writeln!(std::io::stderr(), "could not drop the database {name}");
        }
    }
}

fn server_url() -> String {
    std::env::var("GATEPOST_TEST_POSTGRES_URL").unwrap_or_else(|_| POSTGRES.to_owned())
}

async fn administer(statement: String) -> Result<(), sqlx::Error> {
    let options = server_url().parse::<PgConnectOptions>()?.disable_statement_logging();
    let connecting = tokio::time::timeout(Duration::from_secs(5), options.connect());
    let mut connection = connecting.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}
