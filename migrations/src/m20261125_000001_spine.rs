//! Tenants, endpoints, events, deliveries, journal: the tables that everything later stands on.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// The tables, newest first, for the way down.
const TABLES: [&str; 18] = [
    "journal",
    "attempts",
    "backlog",
    "deliveries",
    "event_keys",
    "events",
    "beats",
    "nodes",
    "requests",
    "api_keys",
    "endpoint_minutes",
    "endpoint_health",
    "endpoint_secrets",
    "endpoints",
    "data_keys",
    "tenants",
    "counters",
    "meta",
];

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
#[allow(elided_lifetimes_in_paths, reason = "the trait's signature elides it")]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = match manager.get_database_backend() {
            DbBackend::Postgres => include_str!("sql/m20261125_000001_spine.postgres.sql"),
            _ => include_str!("sql/m20261125_000001_spine.sqlite.sql"),
        };
        manager.get_connection().execute_unprepared(sql).await.map(|_| ())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for table in TABLES {
            connection.execute_unprepared(&format!("DROP TABLE IF EXISTS {table}")).await?;
        }
        if manager.get_database_backend() == DbBackend::Postgres {
            connection.execute_unprepared("DROP SEQUENCE IF EXISTS event_seq").await?;
        }
        Ok(())
    }
}
