//! A schema as a graph of its subschemas: which applies another one to the same value, and which to a member or an item of it.
//!
//! It also yields the schema as the validator gets it: keywords that assert or apply something and no others, references spelled as
//! pointers into the same document. So what the validator does is what the graph says, and nothing else.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::cost::Work;
use super::pattern;
use super::{SchemaProblem, problems};

/// Formats that are asserted. Others say nothing about validity.
pub(super) const FORMATS: [&str; 16] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Subschemas, the whole included.
const MAX_NODES: usize = 2000;
const MAX_REFERENCES: usize = 1000;
const MAX_PATTERNS: usize = 50;
/// Bytes of all regular expressions, compiled.
const MAX_PATTERN_BYTES: u64 = 1 << 20;
/// `unevaluatedProperties` and `unevaluatedItems`: each makes the validator keep all that applies beside it a second time.
const MAX_UNEVALUATED: usize = 10;

/// A schema or subschema. Numbers are places in [`Graph::nodes`].
#[derive(Debug, Default)]
pub(super) struct Node {
    /// JSON Pointer to it.
    pub(super) pointer: String,
    /// Work at the value itself.
    pub(super) own: Work,
    /// Violations about the value itself, at most.
    pub(super) told: u64,
    /// Applied to the same value, once: `allOf`, `$ref`, `then`, `else`, `dependentSchemas`.
    pub(super) once: Vec<usize>,
    /// Tried on the same value: `anyOf`, `oneOf`, `not`, `if`.
    pub(super) tried: Vec<usize>,
    /// Applied to a member: `properties`, `patternProperties`, `additionalProperties`.
    pub(super) named: Vec<usize>,
    pub(super) matched: Vec<usize>,
    pub(super) others: Option<usize>,
    /// Applied to the names of members: `propertyNames`, and the work for a byte of a name.
    pub(super) names: Option<usize>,
    pub(super) name_bytes: u64,
    /// Applied to an item: `prefixItems`, `items`, `contains`.
    pub(super) leading: Vec<usize>,
    pub(super) items: Option<usize>,
    pub(super) contained: Option<usize>,
    /// Applied to members or items that nothing else was applied to.
    pub(super) unevaluated: Vec<usize>,
}

/// A schema that refers to nothing outside of itself.
#[derive(Debug)]
pub(super) struct Graph {
    /// The whole is first.
    pub(super) nodes: Vec<Node>,
    /// The schema for the validator.
    pub(super) plain: Value,
    pattern_bytes: u64,
}

impl Graph {
    /// Reads a schema whose nesting is bounded.
    ///
    /// # Errors
    /// What is wrong with it, at least one.
    pub(super) fn read(schema: &Value) -> Result<Self, Vec<SchemaProblem>> {
        if schema.get("$schema").is_some_and(|dialect| dialect.as_str().map(|text| text.trim_end_matches('#')) != Some(DIALECT)) {
            return Err(vec![SchemaProblem::new("/$schema", format_args!("must be {DIALECT}, or absent"))]);
        }
        let against_dialect = jsonschema::draft202012::meta::validator();
        let found: Vec<_> = against_dialect.iter_errors(schema).flat_map(|error| problems(&error)).collect();
        if !found.is_empty() {
            return Err(found);
        }
        let mut reader = Reader::default();
        let (_, mut plain) = reader.schema(schema, String::new());
        reader.resolve(&mut plain);
        if reader.problems.is_empty() {
            Ok(Self { nodes: reader.nodes, plain, pattern_bytes: reader.pattern_bytes })
        } else {
            Err(reader.problems)
        }
    }

    /// About how many bytes the validator takes. `text`: bytes of the schema.
    pub(super) fn bytes(&self, text: usize) -> usize {
        self.nodes.len() * 1024 + text * 4 + usize::try_from(self.pattern_bytes).unwrap_or(usize::MAX / 2) * 2
    }
}

#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    by_pointer: HashMap<String, usize>,
    by_anchor: HashMap<String, usize>,
    /// From where, under which keyword, to what.
    references: Vec<(usize, &'static str, String)>,
    patterns: usize,
    pattern_bytes: u64,
    unevaluated: usize,
    problems: Vec<SchemaProblem>,
}

impl Reader {
    /// Reads one schema and those in it. Recursion is bounded by the nesting of the text.
    fn schema(&mut self, schema: &Value, pointer: String) -> (usize, Value) {
        let at = self.nodes.len();
        if at == MAX_NODES {
            self.problem("", format_args!("must have at most {MAX_NODES} subschemas"));
        }
        self.nodes.push(Node { pointer: pointer.clone(), own: Work::values(1), told: 1, ..Node::default() });
        self.by_pointer.insert(pointer.clone(), at);
        let Value::Object(keywords) = schema else { return (at, schema.clone()) };
        if at > MAX_NODES {
            return (at, Value::Bool(true));
        }
        let mut plain = Map::new();
        for (keyword, value) in keywords {
            let below = format!("{pointer}/{}", escaped(keyword));
            if let Some(kept) = self.keyword(at, keyword, value, below, keywords) {
                // Each name that is required may be missing.
                let told = if matches!(&**keyword, "required" | "dependentRequired") { count(value) } else { 1 };
                if let Some(node) = self.nodes.get_mut(at) {
                    node.told = node.told.saturating_add(told);
                }
                plain.insert(keyword.clone(), kept);
            }
        }
        (at, Value::Object(plain))
    }

    /// What the validator gets of a keyword; `None`: nothing.
    fn keyword(&mut self, at: usize, keyword: &str, value: &Value, pointer: String, all: &Map<String, Value>) -> Option<Value> {
        match keyword {
            "$ref" => self.reference(at, "$ref", value, &pointer),
            "$dynamicRef" if all.contains_key("$ref") => self.problem(&pointer, "must not stand beside $ref"),
            // A document without embedded ones has one scope, so both mean the same.
            "$dynamicRef" => self.reference(at, "$dynamicRef", value, &pointer),
            "$anchor" | "$dynamicAnchor" => {
                let name = value.as_str().unwrap_or_default().to_owned();
                if self.by_anchor.insert(name, at).is_some_and(|other| other != at) {
                    self.problem(&pointer, "is the name of another anchor too");
                }
            }
            "$id" | "$schema" if at != 0 => self.problem(&pointer, "is allowed for the whole alone"),
            "dependencies" => self.problem(&pointer, "is no keyword any more: use dependentRequired or dependentSchemas"),
            "additionalItems" => self.problem(&pointer, "is no keyword any more: use prefixItems and items"),
            "$defs" | "definitions" => return Some(self.map(value, &pointer).1),
            "allOf" => return Some(self.list(value, &pointer, |node| &mut node.once, at)),
            "anyOf" | "oneOf" => return Some(self.list(value, &pointer, |node| &mut node.tried, at)),
            "prefixItems" => return Some(self.list(value, &pointer, |node| &mut node.leading, at)),
            "not" => return Some(self.one(value, pointer, |node, of| node.tried.push(of), at)),
            "if" => return Some(self.one(value, pointer, |node, of| node.tried.push(of), at)),
            "then" | "else" => return Some(self.one(value, pointer, |node, of| node.once.push(of), at)),
            "items" => return Some(self.one(value, pointer, |node, of| node.items = Some(of), at)),
            "contains" => return Some(self.one(value, pointer, |node, of| node.contained = Some(of), at)),
            "additionalProperties" => return Some(self.one(value, pointer, |node, of| node.others = Some(of), at)),
            "propertyNames" => return Some(self.one(value, pointer, |node, of| node.names = Some(of), at)),
            "unevaluatedProperties" | "unevaluatedItems" => {
                self.unevaluated += 1;
                if self.unevaluated == MAX_UNEVALUATED + 1 {
                    self.problem(&pointer, format_args!("must not stand in more than {MAX_UNEVALUATED} places"));
                }
                return Some(self.one(value, pointer, |node, of| node.unevaluated.push(of), at));
            }
            "properties" | "patternProperties" | "dependentSchemas" => {
                let (inside, plain) = self.map(value, &pointer);
                let names = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
                if keyword == "patternProperties" {
                    for name in names {
                        self.pattern(name, &format!("{pointer}/{}", escaped(name)), |node| &mut node.name_bytes, at);
                    }
                }
                let node = self.nodes.get_mut(at)?;
                node.own += Work::values(inside.len() as u64);
                match keyword {
                    "properties" => node.named = inside,
                    "patternProperties" => node.matched = inside,
                    _ => node.once.extend(inside),
                }
                return Some(plain);
            }
            "pattern" => {
                self.pattern(value.as_str().unwrap_or_default(), &pointer, |node| &mut node.own.bytes, at);
                return Some(value.clone());
            }
            "format" if !value.as_str().is_some_and(|name| FORMATS.contains(&name)) => {}
            _ => {
                self.nodes.get_mut(at)?.own += assertion(keyword, value)?;
                return Some(value.clone());
            }
        }
        None
    }

    fn reference(&mut self, at: usize, keyword: &'static str, value: &Value, pointer: &str) {
        match value.as_str().and_then(|reference| reference.strip_prefix('#')) {
            _ if self.references.len() == MAX_REFERENCES => {
                self.problem(pointer, format_args!("is one reference more than {MAX_REFERENCES}"))
            }
            Some(fragment) => self.references.push((at, keyword, fragment.to_owned())),
            None => self.problem(pointer, "must begin with #: a schema refers to itself alone"),
        }
    }

    fn pattern(&mut self, text: &str, pointer: &str, weigh_on: fn(&mut Node) -> &mut u64, at: usize) {
        self.patterns += 1;
        match pattern::weigh(text) {
            _ if self.patterns > MAX_PATTERNS => {
                self.problem(pointer, format_args!("is one regular expression more than {MAX_PATTERNS}"))
            }
            Err(problem) => self.problem(pointer, problem),
            Ok(weight) => {
                self.pattern_bytes = self.pattern_bytes.saturating_add(weight.bytes);
                if self.pattern_bytes > MAX_PATTERN_BYTES {
                    self.problem(pointer, "makes the regular expressions too large");
                }
                if let Some(node) = self.nodes.get_mut(at) {
                    node.own += Work::values(2);
                    let bytes = weigh_on(node);
                    *bytes = bytes.saturating_add(weight.positions);
                }
            }
        }
    }

    fn one(&mut self, value: &Value, pointer: String, link: fn(&mut Node, usize), at: usize) -> Value {
        let (inside, plain) = self.schema(value, pointer);
        if let Some(node) = self.nodes.get_mut(at) {
            link(node, inside);
        }
        plain
    }

    fn list(&mut self, value: &Value, pointer: &str, links: fn(&mut Node) -> &mut Vec<usize>, at: usize) -> Value {
        let schemas = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let (inside, plain): (Vec<_>, Vec<_>) =
            schemas.iter().enumerate().map(|(place, schema)| self.schema(schema, format!("{pointer}/{place}"))).unzip();
        if let Some(node) = self.nodes.get_mut(at) {
            links(node).extend(inside);
        }
        Value::Array(plain)
    }

    fn map(&mut self, value: &Value, pointer: &str) -> (Vec<usize>, Value) {
        let mut inside = Vec::new();
        let mut plain = Map::new();
        for (name, schema) in value.as_object().into_iter().flatten() {
            let (node, kept) = self.schema(schema, format!("{pointer}/{}", escaped(name)));
            inside.push(node);
            plain.insert(name.clone(), kept);
        }
        (inside, Value::Object(plain))
    }

    /// Finds what the references name, and spells them as pointers.
    fn resolve(&mut self, plain: &mut Value) {
        for (from, keyword, fragment) in std::mem::take(&mut self.references) {
            let Some(pointer) = self.nodes.get(from).map(|node| node.pointer.clone()) else { continue };
            let target = decoded(&fragment).and_then(|fragment| self.find(&fragment));
            let Some((at, to)) = target else {
                self.problem(&format!("{pointer}/{keyword}"), "names no schema of this document");
                continue;
            };
            if let Some(node) = self.nodes.get_mut(from) {
                node.once.push(at);
            }
            if let Some(Value::Object(keywords)) = plain.pointer_mut(&pointer) {
                keywords.insert("$ref".to_owned(), Value::String(format!("#{}", encoded(&to))));
            }
        }
    }

    fn find(&self, fragment: &str) -> Option<(usize, String)> {
        let at = if fragment.is_empty() {
            0
        } else if fragment.starts_with('/') {
            *self.by_pointer.get(fragment)?
        } else {
            *self.by_anchor.get(fragment)?
        };
        self.nodes.get(at).map(|node| (at, node.pointer.clone()))
    }

    fn problem(&mut self, pointer: &str, message: impl std::fmt::Display) {
        self.problems.push(SchemaProblem::new(super::message::bounded(pointer), message));
    }
}

/// Work of a keyword that asserts something. `None`: it is no such keyword, so it says nothing about validity.
fn assertion(keyword: &str, value: &Value) -> Option<Work> {
    Some(match keyword {
        "type" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "minItems" | "maxItems" | "minContains"
        | "maxContains" | "minProperties" | "maxProperties" => Work::values(1),
        "multipleOf" => Work::values(20),
        "minLength" | "maxLength" => Work { values: 1, bytes: 1, ..Work::default() },
        "format" => Work { values: 5, bytes: 2, ..Work::default() },
        "enum" | "const" => Work { values: count(value), bytes: 1, ..Work::default() },
        "required" | "dependentRequired" => Work::values(count(value)),
        // Few items are compared pair by pair, many by hashes.
        "uniqueItems" => Work { values: 1, below: 15, ..Work::default() },
        _ => return None,
    })
}

/// Values in a value.
pub(super) fn count(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(count).sum::<u64>() + 1,
        Value::Object(members) => members.values().map(count).sum::<u64>() + 1,
        _ => 1,
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A fragment of a URI as text. `None`: it is none.
fn decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = if *first == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?).ok().filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            after.get(2..)?
        } else {
            bytes.push(*first);
            after
        };
    }
    String::from_utf8(bytes).ok()
}

/// A pointer as a fragment of a URI.
fn encoded(pointer: &str) -> String {
    use std::fmt::Write as _;
    pointer.bytes().fold(String::with_capacity(pointer.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/$".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
