//! Whether a schema that replaces another one keeps the version of its type.

use serde_json::{Map, Value};

/// What a new schema is beside the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The same.
    Same,
    /// New optional members, or other words about old ones: the version stays.
    Compatible,
    /// Anything else: the version grows.
    Breaking,
}

/// Compares two schemas. Texts that are no JSON break.
pub(super) fn between(old: &str, new: &str) -> Change {
    let (Ok(old), Ok(new)) = (serde_json::from_str::<Value>(old), serde_json::from_str::<Value>(new)) else {
        return Change::Breaking;
    };
    if old == new {
        Change::Same
    } else if keeps(&old, &new, true) {
        Change::Compatible
    } else {
        Change::Breaking
    }
}

/// Whether the new schema says what the old one says. `may_grow`: also where it has new optional members; not where a schema is a
/// condition, as a member there changes what it is a condition of.
fn keeps(old: &Value, new: &Value, may_grow: bool) -> bool {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return old == new };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().all(|name| keyword_keeps(name, old, new, may_grow))
}

fn keyword_keeps(name: &str, old: &Map<String, Value>, new: &Map<String, Value>, may_grow: bool) -> bool {
    let both = (old.get(name), new.get(name));
    match (name, both) {
        ("properties" | "$defs" | "definitions", both) => {
            let empty = Map::new();
            let members = |value: Option<&Value>| value.map_or(Some(empty.clone()), |value| value.as_object().cloned());
            let (Some(before), Some(after)) = (members(both.0), members(both.1)) else { return both.0 == both.1 };
            // A required one shows in `required`. A definition that is new is named by what is new, or by nothing.
            let grows = may_grow || name != "properties";
            (grows || before.len() == after.len())
                && before.iter().all(|(key, schema)| after.get(key).is_some_and(|now| keeps(schema, now, may_grow)))
        }
        ("patternProperties" | "dependentSchemas", (Some(Value::Object(before)), Some(Value::Object(after)))) => {
            before.len() == after.len()
                && before.iter().all(|(key, schema)| after.get(key).is_some_and(|now| keeps(schema, now, may_grow)))
        }
        ("allOf" | "anyOf" | "oneOf" | "prefixItems", (Some(Value::Array(before)), Some(Value::Array(after)))) => {
            before.len() == after.len() && before.iter().zip(after).all(|(schema, now)| keeps(schema, now, may_grow))
        }
        (
            "items" | "additionalProperties" | "unevaluatedItems" | "unevaluatedProperties" | "then" | "else",
            (Some(before), Some(after)),
        ) => keeps(before, after, may_grow),
        ("not" | "if" | "contains" | "propertyNames", (Some(before), Some(after))) => keeps(before, after, false),
        ("required" | "enum" | "type", (before, after)) => as_set(before) == as_set(after),
        (name, (before, after)) => before == after || !is_assertion(name),
    }
}

/// The values of a list in one order; what is no list is a list of it alone, and nothing is none.
fn as_set(value: Option<&Value>) -> Vec<String> {
    let mut values: Vec<String> = match value {
        Some(Value::Array(values)) => values.iter().map(Value::to_string).collect(),
        Some(value) => vec![value.to_string()],
        None => Vec::new(),
    };
    values.sort_unstable();
    values.dedup();
    values
}

/// Whether a keyword that is not named above decides what is valid. Others are words for people, or unknown.
fn is_assertion(name: &str) -> bool {
    matches!(
        name,
        "$ref"
            | "$dynamicRef"
            | "$anchor"
            | "$dynamicAnchor"
            | "patternProperties"
            | "dependentSchemas"
            | "allOf"
            | "anyOf"
            | "oneOf"
            | "prefixItems"
            | "items"
            | "additionalProperties"
            | "unevaluatedItems"
            | "unevaluatedProperties"
            | "then"
            | "else"
            | "not"
            | "if"
            | "contains"
            | "propertyNames"
            | "const"
            | "format"
            | "pattern"
            | "minimum"
            | "maximum"
            | "exclusiveMinimum"
            | "exclusiveMaximum"
            | "multipleOf"
            | "minLength"
            | "maxLength"
            | "minItems"
            | "maxItems"
            | "minContains"
            | "maxContains"
            | "minProperties"
            | "maxProperties"
            | "uniqueItems"
            | "dependentRequired"
    )
}
