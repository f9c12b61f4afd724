//! The schema of a type as a document that stands alone.

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::source::{Ordered, Shared};
use super::{CATALOGUE, EventType};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(rename = "$schema")]
    dialect: &'static str,
    #[serde(rename = "$id", skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    title: &'static str,
    description: String,
    #[serde(rename = "type")]
    kind: &'static str,
    properties: Ordered<'a, &'a Value>,
    required: Vec<&'static str>,
    additional_properties: bool,
    #[serde(rename = "$defs")]
    defs: Ordered<'a, &'a Value>,
    examples: Vec<&'a RawValue>,
}

/// The document. `base_url`: what its `$id` begins with.
pub(super) fn render(event_type: &EventType, version: i32, base_url: Option<&str>) -> String {
    let document = Document {
        dialect: DIALECT,
        id: base_url.map(|base| format!("{base}/events/{}/{version}.json", event_type.name)),
        title: event_type.name,
        description: event_type.friendly(),
        kind: "object",
        properties: Ordered(event_type.members.iter().map(|member| (member.name, &member.schema)).collect()),
        required: event_type.members.iter().filter(|member| member.required).map(|member| member.name).collect(),
        additional_properties: true,
        defs: defs(event_type, &CATALOGUE.shared),
        // An example that is no JSON would have failed when the catalogue was read.
        examples: serde_json::from_str(&event_type.example).into_iter().collect(),
    };
    // Nothing in it can fail to be written: every key is a text.
    serde_json::to_string(&document).unwrap_or_default()
}

/// The shared types that the type's members name, directly or through others, in the order of their source.
fn defs<'a>(event_type: &EventType, shared: &'a Shared) -> Ordered<'a, &'a Value> {
    let mut used = Vec::new();
    let mut next: Vec<&Value> = event_type.members.iter().map(|member| &member.schema).collect();
    while let Some(value) = next.pop() {
        match value {
            Value::Object(members) => {
                next.extend(members.values());
                let named = members.get("$ref").and_then(reference);
                if let Some(at) = named.and_then(|name| shared.types.iter().position(|(known, _)| *known == name))
                    && !used.contains(&at)
                {
                    used.push(at);
                    next.push(&shared.types[at].1.schema);
                }
            }
            Value::Array(items) => next.extend(items),
            _ => {}
        }
    }
    used.sort_unstable();
    Ordered(used.into_iter().filter_map(|at| shared.types.get(at)).map(|(name, shared)| (*name, &shared.schema)).collect())
}

/// The shared type that a `$ref` names.
pub(super) fn reference(value: &Value) -> Option<&str> {
    value.as_str()?.strip_prefix("#/$defs/")
}

impl<T: Serialize> Serialize for Ordered<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}
