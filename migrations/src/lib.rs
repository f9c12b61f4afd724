//! The schema of Gatepost's database: one frozen migration a change, applied in order.
//!
//! The server applies or checks them at start; nothing here knows an entity of the server, so that a later change of an entity can
//! never change what a migration did. A migration is never edited once released: the next change is the next file. Each must suit
//! the release before too, as nodes are replaced one by one: it only adds what that release can ignore.

use sea_orm_migration::prelude::*;

mod m20261125_000001_spine;
mod m20261125_000002_payloads;

/// The list of migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261125_000001_spine::Migration), Box::new(m20261125_000002_payloads::Migration)]
    }
}
