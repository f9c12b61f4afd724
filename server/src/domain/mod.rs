//! What Gatepost decides, without I/O, clocks or randomness: time and random numbers are arguments.

pub mod delivery;
pub mod endpoint;
pub mod event_type;
pub mod format;
pub mod id;
pub mod retry;
pub mod signature;
pub mod time;

pub use id::DeliveryKey;
pub use time::Time;
