//! What shapes payloads: columns of endpoints and attempts, event types of tenants, keys of security event tokens.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

const TABLES: [&str; 3] = ["signing_keys", "event_type_versions", "event_types"];

const COLUMNS: [(&str, &str); 9] = [
    ("attempts", "detail"),
    ("endpoints", "paused_reason"),
    ("endpoints", "set_options"),
    ("endpoints", "encryption"),
    ("endpoints", "transform"),
    ("endpoints", "field_policy"),
    ("endpoints", "format"),
    ("endpoints", "filter"),
    ("endpoints", "hooks_only"),
];

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
#[allow(elided_lifetimes_in_paths, reason = "the trait's signature elides it")]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = match manager.get_database_backend() {
            DbBackend::Postgres => include_str!("sql/m20261125_000002_payloads.postgres.sql"),
            _ => include_str!("sql/m20261125_000002_payloads.sqlite.sql"),
        };
        manager.get_connection().execute_unprepared(sql).await.map(|_| ())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for table in TABLES {
            connection.execute_unprepared(&format!("DROP TABLE IF EXISTS {table}")).await?;
        }
        for (table, column) in COLUMNS {
            connection.execute_unprepared(&format!("ALTER TABLE {table} DROP COLUMN {column}")).await?;
        }
        Ok(())
    }
}
