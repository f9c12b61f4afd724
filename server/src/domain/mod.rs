//! What Gatepost decides, without I/O, clocks or randomness: time and random numbers are arguments.

pub mod caller;
pub mod change;
pub mod change_filter;
pub mod delivery;
pub mod endpoint;
pub mod event;
pub mod event_type;
pub mod filter;
pub mod format;
pub mod id;
pub mod peer;
pub mod retry;
pub mod secret;
pub mod signature;
pub mod time;
pub mod violation;
pub mod watch_token;

pub use id::DeliveryKey;
pub use time::Time;
pub use violation::Violation;
