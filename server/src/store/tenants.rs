//! Tenants.

/// State code of a tenant in use.
pub(crate) const ACTIVE: i16 = 1;
/// State code of a tenant being removed.
pub(crate) const DELETING: i16 = 2;
