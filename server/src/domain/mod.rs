//! What Gatepost decides, without I/O, clocks or randomness: time and random numbers are arguments.

pub mod caller;
pub mod catalogue;
pub mod change;
pub mod change_filter;
pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod event_filter;
pub mod event_type;
pub mod field_policy;
pub mod filter;
pub mod format;
pub mod id;
pub mod jose;
pub mod peer;
pub mod registered;
pub mod retry;
pub mod schema;
pub mod secret;
pub mod shape;
pub mod signature;
pub mod site;
pub mod time;
pub mod transform;
pub mod violation;
pub mod watch_token;

pub use id::DeliveryKey;
pub use time::Time;
pub use violation::Violation;
