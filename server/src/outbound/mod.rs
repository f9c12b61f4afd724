//! x

pub mod address;
