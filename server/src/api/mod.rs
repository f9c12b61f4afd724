//! The gRPC surface: every service decodes, makes one call and encodes.
//!
//! `status` is the only place that makes a `tonic::Status`; `page` holds the rules of lists; `violations` gathers bad fields.

pub mod page;
pub mod status;
pub mod violations;

pub use status::Error;
pub use violations::{Violation, Violations};
