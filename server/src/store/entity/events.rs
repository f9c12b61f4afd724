//! Events, append only.

use sea_orm::entity::prelude::*;

/// A row of `events`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub tenant: String,
    pub id: String,
    #[sea_orm(column_name = "type")]
    pub event_type: String,
    pub subject: String,
    pub subject_hash: Vec<u8>,
    pub tags: String,
    pub ordering_key: String,
    pub occurred_time: i64,
    pub create_time: i64,
    pub txn: String,
    pub schema_version: i32,
    pub delivery_count: i32,
    pub payload: Vec<u8>,
    pub trace_context: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
