//! The schema: applied once by whoever is first, refused where it is missing, and never by two processes on one file.

use super::fixture::*;
use super::{on_both, on_postgres};
use crate::store::Error;
use crate::store::schema::{Mode, Schema};
use crate::store::testing::Database;

on_both!(a_check_refuses_what_an_apply_makes, taking_the_schema_back_leaves_nothing, a_database_keeps_its_name);
on_postgres!(two_nodes_that_start_together_apply_it_once);

async fn a_check_refuses_what_an_apply_makes(db: Fixture) {
    let empty = if db.is_postgres() { Database::postgres("schema").await.unwrap() } else { Database::sqlite() };
    let schema = Schema::open(empty.url(), db.clock.clock()).await.unwrap();
    assert!(schema.status().await.unwrap().iter().all(|step| !step.applied));
    let Err(Error::Schema(advice)) = schema.ensure(Mode::Check).await else { panic!("an empty database passed") };
    assert!(advice.contains("gatepost migrate up"));
    schema.ensure(Mode::Apply).await.unwrap();
    assert!(schema.status().await.unwrap().iter().all(|step| step.applied));
    schema.ensure(Mode::Apply).await.unwrap();
    schema.up().await.unwrap();
    schema.ensure(Mode::Check).await.unwrap();
    schema.close().await;
}

async fn taking_the_schema_back_leaves_nothing(db: Fixture) {
    db.siem().await;
    db.store.close().await;
    let Fixture { store, clock, database } = db;
    drop(store);
    let schema = Schema::open(database.url(), clock.clock()).await.unwrap();
    for newest_first in schema.status().await.unwrap().iter().rev() {
        assert!(newest_first.applied);
        schema.down().await.unwrap();
    }
    assert!(schema.status().await.unwrap().iter().all(|step| !step.applied));
    schema.up().await.unwrap();
    schema.ensure(Mode::Check).await.unwrap();
    schema.close().await;
}

async fn a_database_keeps_its_name(db: Fixture) {
    let name = db.store.incarnation().to_owned();
    assert_eq!(name.len(), 32);
    db.store.ping().await.unwrap();
    if db.is_postgres() {
        assert_eq!(db.another().await.incarnation(), name);
        return;
    }
    let again = Schema::open(db.database.url(), db.clock.clock()).await;
    assert!(matches!(again, Err(Error::Locked(_))), "the file belongs to this process");
}

async fn two_nodes_that_start_together_apply_it_once(db: Fixture) {
    // They race for the lease's own table first, and lose that race in one of several ways.
    for _ in 0..5 {
        let empty = Database::postgres("schema").await.unwrap();
        let start = async || {
            let schema = Schema::open(empty.url(), crate::clock::Clock::system()).await.unwrap();
            let applied = schema.ensure(Mode::Apply).await;
            schema.close().await;
            applied
        };
        let (one, two, three) = tokio::join!(start(), start(), start());
        assert!(one.is_ok() && two.is_ok() && three.is_ok(), "{one:?} {two:?} {three:?}");
    }
    drop(db);
}
