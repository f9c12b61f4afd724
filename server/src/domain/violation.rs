//! One thing wrong with a caller's input. Checks collect all of them, so that a caller mends everything at once.

use std::fmt::Display;

/// A bad field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field as the contract names it, such as `endpoint.url` or `requests[3].data`.
    pub field: String,
    /// What is wrong, for people, lower case without a full stop.
    pub description: String,
}

impl Violation {
    /// A violation of `field`.
    pub fn new(field: impl Into<String>, description: impl Display) -> Self {
        Self { field: field.into(), description: description.to_string() }
    }
}
