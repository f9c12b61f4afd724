//! Databases for tests beside the code: one of its own for each test, dropped with its value.
//!
//! A test that needs PostgreSQL where no server answers is named as skipped, and fails where `GATEPOST_REQUIRE_POSTGRES` is set.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::schema::{Mode, Schema};
use super::{Options, Store};
use crate::clock::Clock;
use crate::domain::secret::KeyRing;

const POSTGRES: &str = "postgres://postgres@127.0.0.1:5432/postgres";

/// An empty database.
#[derive(Debug)]
pub(crate) struct Database {
    url: String,
    _folder: Option<tempfile::TempDir>,
    postgres: Option<String>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("gatepost.db").display());
        Self { url, _folder: Some(folder), postgres: None }
    }

    /// `None` where no server answers. `test`: who asks.
    pub(crate) async fn postgres(test: &str) -> Option<Self> {
        let name = format!("gatepost_test_{}", uuid::Uuid::new_v4().simple());
        match administer(format!("CREATE DATABASE {name}")).await {
            Ok(()) => {
                let mut url = url::Url::parse(&server_url()).unwrap();
                url.set_path(&name);
                Some(Self { url: url.into(), _folder: None, postgres: Some(name) })
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

    /// What [`Options::url`] takes.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// Opens it as one node does. All nodes share one key ring.
    pub(crate) async fn open(&self, clock: Clock) -> Store {
        let schema = Schema::open(&self.url, clock.clone()).await.unwrap();
        schema.ensure(Mode::Apply).await.unwrap();
        schema.close().await;
        drop(schema);
        let keys = KeyRing::parse(KeyRing::entry("test", &[7; 32]).expose_secret()).unwrap();
        Store::open(Options { url: self.url.clone(), max_connections: 4, keys, clock, metrics: Arc::default(), site: site() })
            .await
            .unwrap()
    }
}

impl Drop for Database {
    #[allow(clippy::disallowed_methods, reason = "a drop cannot await, and the runtime of the test may be ending")]
    fn drop(&mut self) {
        let Some(name) = self.postgres.take() else { return };
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
    let options: sqlx::postgres::PgConnectOptions = server_url().parse()?;
    let options = options.disable_statement_logging();
    let connecting = tokio::time::timeout(Duration::from_secs(5), options.connect());
    let mut connection = connecting.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
    connection.close().await
}

/// Turns each behaviour, an `async fn(Database)`, into two tests: `behaviour::sqlite` and `behaviour::postgres`.
macro_rules! on_both_databases {
    ($($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$behaviour($crate::store::testing::Database::sqlite()).await;
            }

            $crate::store::testing::on_postgres!($behaviour);
        }
    )+};
}

/// The second of the two, for behaviours of several nodes.
macro_rules! on_postgres {
    ($behaviour:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn postgres() {
            let test = concat!(module_path!(), "::postgres");
            if let Some(database) = $crate::store::testing::Database::postgres(test).await {
                super::$behaviour(database).await;
            }
        }
    };
}

pub(crate) use {on_both_databases, on_postgres};

/// An installation that is found somewhere, so that every format can be had.
pub(crate) fn site() -> Arc<crate::domain::site::Site> {
    Arc::new(crate::domain::site::Site {
        public_base_url: Some("https://gatepost.acme.test".to_owned()),
        schema_base_url: Some("https://schemas.acme.test".to_owned()),
    })
}
