//! Deliveries that are neither fresh nor finished well.

use sea_orm::entity::prelude::*;

/// A row of `backlog`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "backlog")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_seq: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_key: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub part: i16,
    pub state: i16,
    pub priority: i16,
    pub due: Option<i64>,
    pub lease_epoch: Option<i64>,
    pub lease_token: i64,
    pub attempt_count: i32,
    pub schedule_attempts: i32,
    pub loss_count: i32,
    pub ordering_key: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
