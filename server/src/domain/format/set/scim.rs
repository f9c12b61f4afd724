//! SCIM events: which resource they are about, and the SCIM names of what was set or changed.
//!
//! A notice names attributes and holds no value; who wants one asks the identity provider.
//!
//! Source: RFC 9967, sections 2.1 and 2.4; RFC 7643, sections 4.1 to 4.3.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::subject::Identifier;
use crate::domain::format::data::{self, Object};
use crate::domain::format::percent;

/// The resource, by the first segment of the event's type: an event about membership is about the group.
pub(super) fn resource(first_segment: &str, data: &Object<'_>) -> Option<Identifier> {
    let (folder, member) = if first_segment == "group" { ("Groups", "group") } else { ("Users", "user") };
    let resource = data.object(member)?;
    let id = percent::encode(&resource.text("id")?, is_path_character);
    Some(Identifier::Scim { uri: format!("/{folder}/{id}"), external_id: resource.text("external_id") })
}

/// What one segment of a path may hold unencoded. Source: RFC 3986, section 3.3.
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

/// The event object. `name`: the URI without its family's prefix.
pub(super) fn members(name: &str, event_type: &str, data: &Object<'_>) -> BTreeMap<&'static str, Value> {
    let names = match (name, event_type) {
        ("create:notice", _) => set_names(data),
        ("patch:notice", "user.department_changed") => vec![scim_name("department")],
        ("patch:notice", "user.manager_changed") => vec![scim_name("manager")],
        ("patch:notice", "user.role_changed") => vec![scim_name("role")],
        ("patch:notice", "group.member_added" | "group.member_removed") => vec!["members".to_owned()],
        ("patch:notice", _) => changed_names(data),
        _ => return BTreeMap::new(),
    };
    let mut once = BTreeSet::new();
    BTreeMap::from([("attributes", names.into_iter().filter(|name| once.insert(name.clone())).collect())])
}

/// Names of what a new user has; its `attributes` are fields of their own.
fn set_names(data: &Object<'_>) -> Vec<String> {
    let user = data.object("user").unwrap_or_default();
    let attributes = user.object("attributes").unwrap_or_default();
    let fields = user.names().filter(|name| *name != "attributes").chain(attributes.names());
    fields.map(scim_name).collect()
}

fn changed_names(data: &Object<'_>) -> Vec<String> {
    let changes = data.array("changes").unwrap_or_default();
    changes.into_iter().filter_map(|change| Some(scim_name(&data::object(change)?.text("field")?))).collect()
}

/// The SCIM name of a field.
fn scim_name(field: &str) -> String {
    match field {
        "given_name" => "name.givenName",
        "family_name" => "name.familyName",
        "email" => "emails",
        "phone_number" => "phoneNumbers",
        "external_id" => "externalId",
        "role" => "title",
        "department" => "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
        "manager" => "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
        other => other,
    }
    .to_owned()
}
