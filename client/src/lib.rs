//! Client of Gatepost.

/// The messages and raw service clients, generated from `proto/gatepost/v1`.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("gatepost.v1");
}
