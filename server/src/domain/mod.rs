//! What Gatepost decides, without I/O, clocks or randomness: time and random numbers are arguments.

pub mod caller;
pub mod filter;
pub mod id;
pub mod secret;
pub mod time;

pub use id::DeliveryKey;
pub use time::Time;
