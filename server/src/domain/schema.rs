//! JSON Schema, draft 2020-12: what a payload must satisfy.
//!
//! Schemas come from tenants and payloads from publishers, so neither is trusted. A schema is read into a graph of its subschemas
//! ([`graph`]), which refuses what leaves the document; [`cost`] bounds from that graph the work for a value, so that no schema of a few
//! kilobytes can hold a core for minutes; only then the validator is built, from what the graph knows and nothing else. Before a payload is
//! judged, its size is held against that bound. Nothing here reads the network or a file, and no message quotes a payload.
//!
//! `format` is asserted for the formats of [`graph::FORMATS`]. Regular expressions are those of crate `regex`: linear, without look-around.

mod change;
mod cost;
mod graph;
mod message;
mod pattern;

use std::fmt;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use cost::{Cost, Shape};
use graph::Graph;

pub use change::Change;

/// Bytes of a schema's text.
pub const MAX_BYTES: usize = 64 << 10;
/// Nesting of a schema's text.
pub const MAX_NESTING: usize = 32;
/// JSON values in a schema.
pub const MAX_VALUES: u64 = 10_000;
/// Problems of a schema that one answer tells.
const MOST_PROBLEMS: usize = 20;
/// Bytes of one compiled regular expression, and of the states that it may keep while it runs.
const PATTERN_BYTES: usize = 2 << 20;
const PATTERN_CACHE_BYTES: usize = 64 << 10;

/// A schema, compiled.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    cost: Cost,
    bytes: usize,
}

/// What is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaProblem {
    /// JSON Pointer into the schema; empty: the whole.
    pub pointer: String,
    /// What is wrong, for people, lower case without a full stop.
    pub message: String,
}

impl SchemaProblem {
    fn new(pointer: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { pointer: pointer.into(), message: message::bounded(&message.to_string()) }
    }
}

impl fmt::Display for SchemaProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() { f.write_str(&self.message) } else { write!(f, "{} {}", self.pointer, self.message) }
    }
}

/// Where a payload does not satisfy its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaViolation {
    /// JSON Pointer to the member, one that is missing included; empty: the whole.
    pub pointer: String,
    /// What it must be, for people, lower case without a full stop. It never quotes the payload.
    pub message: String,
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    /// What is wrong with it, at least one and at most 20 problems.
    pub fn compile(text: &str) -> Result<Self, Vec<SchemaProblem>> {
        let whole = |message: &dyn fmt::Display| vec![SchemaProblem::new("", message)];
        if text.len() > MAX_BYTES {
            return Err(whole(&format_args!("must be at most {MAX_BYTES} bytes, not {}", text.len())));
        }
        // The parser bounds its own recursion, above the bound here.
        let schema: Value = serde_json::from_str(text).map_err(|error| whole(&format_args!("must be JSON: {error}")))?;
        if !schema.is_object() {
            return Err(whole(&"must be a JSON object"));
        }
        if nesting(&schema) > MAX_NESTING {
            return Err(whole(&format_args!("must be nested at most {MAX_NESTING} deep")));
        }
        if graph::count(&schema) > MAX_VALUES {
            return Err(whole(&format_args!("must hold at most {MAX_VALUES} values")));
        }
        root_problem(&schema).map_or(Ok(()), |problem| Err(vec![problem]))?;
        Self::build(&schema, text.len())
    }

    /// Builds what has passed the bounds of its text. `bytes`: of the text.
    fn build(schema: &Value, bytes: usize) -> Result<Self, Vec<SchemaProblem>> {
        let graph = Graph::read(schema).map_err(first_of)?;
        let cost = Cost::of(&graph.nodes).map_err(|problem| vec![problem])?;
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_CACHE_BYTES))
            .offline()
            .build(&graph.plain)
            .map_err(|error| first_of(problems(&error)))?;
        Ok(Self { validator, cost, bytes: graph.bytes(bytes) })
    }

    /// Where the data does not satisfy the schema, in the order of the pointers. Empty: nowhere.
    ///
    /// At most `most`. Data that holds so much that telling every place would take long gets its first violation alone, or one about
    /// the whole; never none.
    pub fn violations(&self, data: &Value, most: usize) -> Vec<SchemaViolation> {
        let whole = |message: &str| vec![SchemaViolation { pointer: String::new(), message: message.to_owned() }];
        let Some(shape) = Shape::of(data) else { return whole("is nested too deep") };
        let needed = self.cost.of_data(&shape);
        if !needed.can_decide() {
            return whole("holds too much to be checked against this schema");
        }
        if self.validator.is_valid(data) {
            return Vec::new();
        }
        let mut found = Vec::new();
        if needed.can_explain() {
            self.validator.iter_errors(data).for_each(|error| message::explain(&error, &mut found));
        } else if needed.can_explain_first()
            && let Err(error) = self.validator.validate(data)
        {
            message::explain(&error, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(most.max(1));
        if found.is_empty() { whole("does not satisfy its schema, and holds too much to say where") } else { found }
    }

    /// Whether a new schema of a type keeps its version. Texts that are no JSON are never compatible.
    pub fn change(old: &str, new: &str) -> Change {
        change::between(old, new)
    }

    /// About how many bytes of memory it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Payloads are objects, so a schema of anything else is a mistake.
fn root_problem(schema: &Value) -> Option<SchemaProblem> {
    let is_object = |name: &Value| name.as_str() == Some("object");
    let admits_objects = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().any(is_object),
        Some(name) => is_object(name),
        None => true,
    };
    (!admits_objects).then(|| SchemaProblem::new("/type", "must be object, as every payload is one"))
}

fn problems(error: &jsonschema::ValidationError<'_>) -> Vec<SchemaProblem> {
    let mut found = Vec::new();
    message::explain(error, &mut found);
    found.into_iter().map(|violation| SchemaProblem { pointer: violation.pointer, message: violation.message }).collect()
}

fn first_of(mut problems: Vec<SchemaProblem>) -> Vec<SchemaProblem> {
    problems.sort_unstable();
    problems.dedup();
    problems.truncate(MOST_PROBLEMS);
    problems
}

/// How deep the containers of a value are nested. The value comes from a parser that bounds it.
fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
