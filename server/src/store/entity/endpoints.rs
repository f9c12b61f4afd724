//! Receivers' URLs with their settings. A deleted one stays until its deliveries are done with.

use sea_orm::entity::prelude::*;

/// A row of `endpoints`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoints")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: i64,
    pub tenant: String,
    pub id: String,
    pub url: String,
    pub display_name: String,
    pub description: String,
    pub event_types: String,
    pub headers: Vec<u8>,
    pub retry_policy: String,
    pub attempt_timeout_ms: i64,
    pub max_in_flight: i32,
    pub permanent_statuses: String,
    pub state: i16,
    pub disabled_reason: i16,
    pub revision: i64,
    pub create_time: i64,
    pub update_time: i64,
    pub delete_time: Option<i64>,
    pub hooks_only: bool,
    pub filter: String,
    pub format: i16,
    pub field_policy: String,
    pub transform: String,
    pub encryption: String,
    pub set_options: String,
    pub paused_reason: i16,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
