//! One lean row per event and endpoint.

use sea_orm::entity::prelude::*;

/// A row of `deliveries`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deliveries")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_seq: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_key: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub part: i16,
    pub state: i16,
    pub revision: i32,
    pub attempt_count: i32,
    pub last_class: i16,
    pub last_status: i16,
    pub last_ms: i32,
    pub update_time: i64,
    pub owner_epoch: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
