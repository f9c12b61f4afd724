//! Signing secrets of endpoints, sealed.

use sea_orm::entity::prelude::*;

/// A row of `endpoint_secrets`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "endpoint_secrets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub endpoint_key: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    pub sealed: Vec<u8>,
    pub fingerprint: String,
    pub create_time: i64,
    pub expire_time: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
