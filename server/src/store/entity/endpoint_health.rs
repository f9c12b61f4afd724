//! How receivers did lately.

use sea_orm::entity::prelude::*;

/// A row of `endpoint_health`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoint_health")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_key: i64,
    pub last_success_time: Option<i64>,
    pub last_failure_time: Option<i64>,
    pub consecutive_failures: i32,
    pub hold_until_time: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
