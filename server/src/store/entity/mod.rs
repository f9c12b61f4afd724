//! sea-orm entities: the shape of rows, no logic. The columns' meaning is in the migrations.

#![allow(missing_docs, unreachable_pub, reason = "generated shapes; columns are explained in the migrations")]

pub mod api_keys;
pub mod data_keys;
pub mod endpoint_health;
pub mod endpoint_secrets;
pub mod endpoints;
pub mod event_type_versions;
pub mod event_types;
pub mod requests;
pub mod signing_keys;
pub mod tenants;
