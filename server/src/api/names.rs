//! Resource names: `tenants/{tenant}/endpoints/{endpoint}` and their like. A name that is none is a bad field.

use std::sync::Arc;

use super::Violation;
use crate::domain::event_type::is_event_type;
use crate::domain::{DeliveryKey, id};

/// `tenants/{tenant}`.
pub(super) fn tenant(field: &str, name: &str) -> Result<Arc<str>, Violation> {
    let id = name.strip_prefix("tenants/").filter(|id| id::is_resource_id(id));
    id.map(Arc::from).ok_or_else(|| Violation::new(field, "must be `tenants/{tenant}`"))
}

/// `tenants/{tenant}/endpoints/{endpoint}`.
pub(super) fn endpoint(field: &str, name: &str) -> Result<(Arc<str>, String), Violation> {
    child(name, "endpoints")
        .filter(|(_, id)| id::is_resource_id(id))
        .map(|(tenant, id)| (tenant, id.to_owned()))
        .ok_or_else(|| Violation::new(field, "must be `tenants/{tenant}/endpoints/{endpoint}`"))
}

/// `tenants/{tenant}/events/{event}`.
pub(super) fn event(field: &str, name: &str) -> Result<(Arc<str>, String), Violation> {
    child(name, "events")
        .filter(|(_, id)| id::is_event_id(id))
        .map(|(tenant, id)| (tenant, id.to_owned()))
        .ok_or_else(|| Violation::new(field, "must be `tenants/{tenant}/events/{event}`"))
}

/// `tenants/{tenant}/eventTypes/{event_type}`.
pub(super) fn event_type(field: &str, name: &str) -> Result<(Arc<str>, String), Violation> {
    child(name, "eventTypes")
        .filter(|(_, id)| is_event_type(id))
        .map(|(tenant, id)| (tenant, id.to_owned()))
        .ok_or_else(|| Violation::new(field, "must be `tenants/{tenant}/eventTypes/{event_type}`"))
}

/// `tenants/{tenant}/deliveries/{delivery}`.
pub(super) fn delivery(field: &str, name: &str) -> Result<(Arc<str>, DeliveryKey), Violation> {
    child(name, "deliveries")
        .and_then(|(tenant, id)| DeliveryKey::parse(id).map(|key| (tenant, key)))
        .ok_or_else(|| Violation::new(field, "must be `tenants/{tenant}/deliveries/{delivery}`"))
}

/// `apiKeys/{api_key}`.
pub(super) fn api_key(field: &str, name: &str) -> Result<String, Violation> {
    let id = name
        .strip_prefix("apiKeys/")
        .filter(|id| !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    id.map(str::to_owned).ok_or_else(|| Violation::new(field, "must be `apiKeys/{api_key}`"))
}

fn child<'a>(name: &'a str, collection: &str) -> Option<(Arc<str>, &'a str)> {
    let mut parts = name.split('/');
    let (head, tenant, kind, id) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole = head == "tenants" && kind == collection && parts.next().is_none() && id::is_resource_id(tenant);
    whole.then(|| (Arc::from(tenant), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_whole_or_refused() {
        assert_eq!(&*tenant("name", "tenants/acme").unwrap(), "acme");
        assert_eq!(endpoint("name", "tenants/acme/endpoints/siem").unwrap().1, "siem");
        assert_eq!(event("name", "tenants/acme/events/HR:1").unwrap().1, "HR:1");
        assert_eq!(event_type("name", "tenants/acme/eventTypes/user.created").unwrap().1, "user.created");
        assert!(event_type("name", "tenants/acme/eventTypes/user").is_err());
        assert_eq!(api_key("name", "apiKeys/key_06h14h").unwrap(), "key_06h14h");
        let key = DeliveryKey { event_seq: 7, endpoint_key: 1, part: 0 };
        assert_eq!(delivery("name", &format!("tenants/acme/deliveries/{key}")).unwrap().1, key);
        for bad in ["", "acme", "tenants/", "tenants/A", "tenants/acme/", "tenants/acme/endpoints/a/b", "tenants/acme/endpoints/"] {
            assert!(endpoint("name", bad).is_err() && event("name", bad).is_err() && delivery("name", bad).is_err());
        }
    }
}
