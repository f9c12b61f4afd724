//! What a publisher reads about a payload that its schema refuses. Messages name what the schema wants, never what the payload holds.

use std::fmt::Write as _;

use jsonschema::JsonType;
use jsonschema::error::{TypeKind, ValidationError, ValidationErrorKind as Kind};
use serde_json::Value;

use super::SchemaViolation;

/// Characters of a message or of a pointer.
const LONGEST: usize = 300;

/// A text cut to a length that fits into an error.
pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Adds what the error says: a violation for every place that it is about.
pub(super) fn explain(error: &ValidationError<'_>, found: &mut Vec<SchemaViolation>) {
    let at = error.instance_path().as_str();
    match error.kind() {
        Kind::Required { property } => add(found, at, property.as_str(), "is required"),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            for name in unexpected {
                add(found, at, Some(name), "is not allowed");
            }
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => alternatives(context, at, found),
        Kind::FalseSchema if is_about_members(error.schema_path().as_str()) => add(found, at, None, "must hold no members"),
        kind => add(found, at, None, &message(kind)),
    }
}

/// Whether it is a `false` for all members, rather than for the value itself.
fn is_about_members(schema_path: &str) -> bool {
    let mut steps = schema_path.rsplit('/');
    matches!(steps.next(), Some("additionalProperties" | "propertyNames")) && steps.next() != Some("properties")
}

fn add(found: &mut Vec<SchemaViolation>, at: &str, member: Option<&str>, message: &str) {
    let pointer = match member {
        Some(name) => format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
        None => at.to_owned(),
    };
    found.push(SchemaViolation { pointer: bounded(&pointer), message: bounded(message) });
}

/// What is wrong with a value that satisfies none of several schemas: what the nearest one says, which is one whose type it has.
fn alternatives(context: &[Vec<ValidationError<'static>>], at: &str, found: &mut Vec<SchemaViolation>) {
    let wrong_type = |error: &&ValidationError<'static>| {
        error.instance_path().as_str() == at && matches!(error.kind(), Kind::Type { .. } | Kind::FalseSchema)
    };
    let nearest = context.iter().filter(|branch| !branch.iter().any(|error| wrong_type(&error))).min_by_key(|branch| branch.len());
    if let Some(branch) = nearest {
        branch.iter().for_each(|error| explain(error, found));
        return;
    }
    let types: Vec<_> = context.iter().flatten().filter(wrong_type).flat_map(|error| type_names(error.kind())).collect();
    let message = if types.is_empty() { "is not allowed".to_owned() } else { format!("must be {}", one_of(types)) };
    add(found, at, None, &message);
}

fn message(kind: &Kind) -> String {
    match kind {
        Kind::Type { .. } => format!("must be {}", one_of(type_names(kind))),
        Kind::Enum { options } => format!("must be one of {}", options.as_array().map(|options| list(options)).unwrap_or_default()),
        Kind::Constant { expected_value } => format!("must be {}", literal(expected_value)),
        Kind::Format { format } => format_wanted(format),
        Kind::Pattern { pattern } => format!("must match `{pattern}`"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must be at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must be at most {limit} characters"),
        Kind::MinItems { limit } => format!("must hold at least {limit} items"),
        Kind::MaxItems { limit } => format!("must hold at most {limit} items"),
        Kind::AdditionalItems { limit } => format!("must hold no item after the first {limit}"),
        Kind::MinProperties { limit } => format!("must hold at least {limit} members"),
        Kind::MaxProperties { limit } => format!("must hold at most {limit} members"),
        Kind::UniqueItems => "must not hold an item twice".to_owned(),
        Kind::Contains => "must hold as many items as `contains` wants".to_owned(),
        Kind::UnevaluatedItems { .. } => "holds an item that is not allowed".to_owned(),
        Kind::PropertyNames { error } => format!("holds a member whose name {}", message(error.kind())),
        Kind::OneOfMultipleValid { .. } => "must satisfy one alternative alone".to_owned(),
        Kind::FalseSchema | Kind::Not { .. } => "is not allowed".to_owned(),
        // Those above and what a compiled schema never says: references are resolved and expressions linear by then.
        _ => "does not satisfy its schema".to_owned(),
    }
}

fn type_names(kind: &Kind) -> Vec<&'static str> {
    match kind {
        Kind::Type { kind: TypeKind::Single(one) } => vec![type_name(*one)],
        Kind::Type { kind: TypeKind::Multiple(several) } => several.iter().map(type_name).collect(),
        _ => Vec::new(),
    }
}

/// Types as one reads them: none twice, null last.
fn one_of(mut types: Vec<&'static str>) -> String {
    types.sort_by_key(|name| (*name == "null", *name));
    types.dedup();
    types.join(" or ")
}

fn type_name(json_type: JsonType) -> &'static str {
    match json_type {
        JsonType::Array => "an array",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

fn format_wanted(format: &str) -> String {
    match format {
        "date-time" => "must be a time as in RFC 3339, such as 2026-11-25T09:00:00.000Z".to_owned(),
        "date" => "must be a date, such as 2026-11-25".to_owned(),
        format => format!("must be of format {format}"),
    }
}

fn list(options: &[Value]) -> String {
    let mut text = String::new();
    for option in options {
        if text.len() > LONGEST {
            break;
        }
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{}", literal(option));
    }
    text
}

/// A value of the schema, texts without their quotes.
fn literal(value: &Value) -> String {
    bounded(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}
