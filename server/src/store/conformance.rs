//! One suite for both databases: every method of the store, and the promises that its callers build on.
//!
//! Each behaviour is an `async fn(Fixture)` and becomes two tests, `behaviour::sqlite` and `behaviour::postgres`. PostgreSQL is the server
//! at `GATEPOST_TEST_POSTGRES_URL`, each test in a database of its own; two stores on it are two nodes. Without a server its tests are
//! named as skipped, and fail where `GATEPOST_REQUIRE_POSTGRES` is set.

mod at_rest;
mod claiming;
mod endpoints;
mod fixture;
mod health;
mod keys;
mod lanes;
mod moving;
mod outcomes;
mod ownership;
mod payloads;
mod plans;
mod publishing;
mod reading;
mod removing;
mod requests;
mod schema;
mod settings;
mod tenants;

use fixture::Fixture;

/// Turns each behaviour into a test on SQLite and one on PostgreSQL.
macro_rules! on_both {
    ($($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            use crate::store::conformance::Fixture;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$behaviour(Fixture::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(fixture) = Fixture::postgres(concat!(module_path!(), "::postgres")).await {
                    super::$behaviour(fixture).await;
                }
            }
        }
    )+};
}

/// Turns each behaviour of two nodes into a test on PostgreSQL, the database that nodes share.
macro_rules! on_postgres {
    ($($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            use crate::store::conformance::Fixture;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                if let Some(fixture) = Fixture::postgres(concat!(module_path!(), "::postgres")).await {
                    super::$behaviour(fixture).await;
                }
            }
        }
    )+};
}

use {on_both, on_postgres};
