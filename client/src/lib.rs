//! Client of Gatepost: publish identity events, follow their deliveries, verify the webhooks that arrive.
//!
//! ```no_run
//! use std::time::Duration;
//! use futures::TryStreamExt;
//! use gatepost_client::{Client, NewEvent};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("http://127.0.0.1:7070").key(std::env::var("GATEPOST_KEY")?).connect().await?;
//! let tenant = client.tenant("demo");
//!
//! let event = NewEvent::new("user.terminated", r#"{"user": {"id": "usr_1"}, "effective_at": "2026-11-25T09:00:00Z"}"#)
//!     .id("hr-4711")
//!     .tag("source", "hr");
//! let receipt = tenant.publish(event).await?;
//! let deliveries = receipt.delivered(Duration::from_secs(30)).await?;
//! println!("{} went to {} endpoints", receipt.event_id(), deliveries.len());
//!
//! let mut watch = tenant.watch().filter(r#"state == "DEAD""#).start().await?;
//! while let Some(item) = watch.try_next().await? {
//!     for delivery in item.changes.iter().filter_map(|change| change.delivery.as_ref()) {
//!         println!("{} gave up after {} attempts", delivery.name, delivery.attempt_count);
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! - [`Client`] holds the connection, [`Tenant`] what belongs to a tenant. Both are cheap to clone.
//! - Calls are repeated where that is safe, within one deadline ([`Builder::timeout`]). Every event and every creation carries an id
//!   that makes a repeat find the first answer, so publishing twice never makes two events.
//! - Lists are streams ([`Pages`]); a [`Watch`] goes on by itself after broken connections and restarts of the server.
//! - [`Error`] has one variant for each thing that a caller does differently.
//! - `receiver` (feature) verifies the webhooks at the other end.
//!
//! The messages are those of the contract, in [`v1`]; the generated clients are at [`Client::event_service`] and its like.

mod call;
mod client;
mod connect;
mod errors;
mod event;
mod pages;
mod payloads;
mod publish;
mod receipt;
#[cfg(feature = "receiver")]
pub mod receiver;
mod tenant;
#[cfg(test)]
mod testing;
mod watch;

pub use call::RetryPolicy;
pub use client::Client;
#[cfg(feature = "tls")]
pub use connect::Tls;
pub use connect::{Auth, Authorized, Builder};
pub use errors::{Answer, Error, FieldViolation};
pub use event::NewEvent;
pub use pages::Pages;
pub use publish::PublishStream;
pub use receipt::{NotDelivered, Receipt};
pub use tenant::Tenant;
pub use tonic::Code;
pub use watch::{Watch, WatchBuilder, WatchItem};

/// The messages and raw service clients, generated from `proto/gatepost/v1`.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("gatepost.v1");
}
