//! The catalogue as a page for people, in Markdown: `server/catalogue/README.md`.

use std::fmt::Write as _;

use serde_json::Value;

use super::document::reference;
use super::source::{Family, Member, SharedType};
use super::{CATALOGUE, EventType, Publisher, SetFamily};

const INTRODUCTION: &str = "\
# Event catalogue

Every type of event that Gatepost knows by itself: what it means, who publishes it, what its `data` holds, and which security events an
endpoint of format `SET` gets for it. A tenant registers further types with `CreateEventType`; their names begin with none of the words
below.

This page and the JSON Schemas that `GetEventType` returns come from the files beside it, one a family. Edit those, then run
`GATEPOST_WRITE_CATALOGUE=1 cargo test -p gatepost-server the_page_is_the_committed_one`.

## How to read it

A publisher sends the most specific type, and not `user.updated` for the same change. What is published by Gatepost alone is refused from
callers, `RESERVED_EVENT_TYPE`. A `data` that does not satisfy its schema is refused, `SCHEMA_VIOLATION`, with a JSON Pointer to every
place. Members that are not listed pass through, everywhere.

A time is text as in RFC 3339, such as `2026-11-25T09:00:00.000Z`; a date is text such as `2026-11-25`; a count has no sign. Inside the
shared types only that is required which says which one it is, so personal data can be left out: `id`, of an application `app_id`.

Every version is 1 so far. A new optional member keeps the version of a schema, any other change raises it.

";

/// The page.
pub fn page() -> String {
    let mut text = INTRODUCTION.to_owned();
    // A text can always be written to.
    let _ = write(&mut text);
    text
}

fn write(text: &mut String) -> std::fmt::Result {
    families(text, |text, family, types| {
        let names: Vec<_> = types.iter().map(|known| format!("[`{}`](#{})", known.name, known.name.replace('.', ""))).collect();
        writeln!(text, "- {}: {}", family.title, names.join(", "))
    })?;
    text.push_str("\n## Members of every event\n\nEvery `data` may hold these too; the tables below leave them out.\n\n");
    let everywhere = CATALOGUE.shared.everywhere_len();
    let common = CATALOGUE.types.first().map(|known| known.members.as_slice()).unwrap_or_default();
    table(text, common.get(common.len().saturating_sub(everywhere)..).unwrap_or_default())?;
    text.push_str("\n## Shared types\n");
    for (name, shared) in &CATALOGUE.shared.types {
        shared_type(text, name, shared)?;
    }
    text.push_str("\n## Security events\n\nThe names below are short for these URIs, `...` standing for the name.\n\n");
    text.push_str("| name | URI | source |\n| --- | --- | --- |\n");
    for (family, source) in [
        (SetFamily::Caep, "OpenID Continuous Access Evaluation Profile 1.0"),
        (SetFamily::Risc, "OpenID RISC Profile 1.0"),
        (SetFamily::Scim, "RFC 9967"),
        (SetFamily::Ssf, "OpenID Shared Signals Framework 1.0"),
    ] {
        writeln!(text, "| {} | `{}...` | {source} |", title(family), family.prefix())?;
    }
    families(text, |text, family, types| {
        write!(text, "\n## {}\n\n{}\n", family.title, family.about)?;
        types.iter().try_for_each(|known| event_type(text, known))
    })
}

/// Calls `write` for each family with its types.
fn families(text: &mut String, write: impl Fn(&mut String, &Family, &[EventType]) -> std::fmt::Result) -> std::fmt::Result {
    let mut rest = CATALOGUE.types.as_slice();
    for family in &CATALOGUE.families {
        let (types, others) = rest.split_at_checked(family.len).unwrap_or((rest, &[]));
        rest = others;
        write(text, family, types)?;
    }
    Ok(())
}

fn event_type(text: &mut String, known: &EventType) -> std::fmt::Result {
    let publisher = match known.publisher {
        Publisher::Caller => "Published by callers.",
        Publisher::Gatepost => "Published by Gatepost alone.",
    };
    write!(text, "\n### `{}`\n\n{}. {publisher}", known.name, known.friendly())?;
    if !known.set.is_empty() {
        let name = |uri: &super::SetUri| format!("{} `{}`", title(uri.family), uri.uri.trim_start_matches(uri.family.prefix()));
        write!(text, " Security events: {}.", known.set.iter().map(name).collect::<Vec<_>>().join(", "))?;
    }
    text.push_str("\n\n");
    let own = known.members.len().saturating_sub(CATALOGUE.shared.everywhere_len());
    table(text, known.members.get(..own).unwrap_or_default())?;
    writeln!(text, "\n```json\n{}\n```", known.spelled)
}

fn shared_type(text: &mut String, name: &str, shared: &SharedType) -> std::fmt::Result {
    write!(text, "\n### {name}\n\n{}\n", shared.about)?;
    if shared.members.is_empty() {
        return Ok(());
    }
    text.push('\n');
    table(text, &shared.members)
}

fn table(text: &mut String, members: &[Member]) -> std::fmt::Result {
    text.push_str("| member | type | required | meaning |\n| --- | --- | --- | --- |\n");
    for member in members {
        let required = if member.required { "yes" } else { "" };
        let about = member.schema.get("description").and_then(Value::as_str).unwrap_or_default();
        writeln!(text, "| `{}` | {} | {required} | {about} |", member.name, kind(&member.schema))?;
    }
    Ok(())
}

/// What a member is, in few words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(reference) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(options) = schema.get("enum").and_then(Value::as_array) {
        return options.iter().filter_map(Value::as_str).map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(alternatives) = schema.get("anyOf").and_then(Value::as_array) {
        return alternatives.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let named = |name: &str| match (name, schema.get("format").and_then(Value::as_str)) {
        ("string", Some("date-time")) => "time".to_owned(),
        ("string", Some("date")) => "date".to_owned(),
        ("integer", _) if schema.get("minimum").is_some() => "count".to_owned(),
        ("array", _) => format!("array of {}", schema.get("items").map(kind).unwrap_or_default()),
        (name, _) => name.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(name)) => named(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(named).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    }
}

fn title(family: SetFamily) -> &'static str {
    match family {
        SetFamily::Caep => "CAEP",
        SetFamily::Risc => "RISC",
        SetFamily::Scim => "SCIM",
        SetFamily::Ssf => "SSF",
    }
}
