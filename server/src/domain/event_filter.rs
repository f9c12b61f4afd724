//! An endpoint's `filter`: a CEL expression over `{type, data, tags, tenant}` that says whether an event is for it.
//!
//! The API compiles it when an endpoint is written, matching evaluates it for each event, and `ExplainEvent` shows what it read.
//! The text comes from tenants and so does the data: `shape` bounds the text before the recursive CEL parser sees it, and the
//! parsed expression is evaluated here, not by the crate's interpreter, which has no bound: every step and every byte looked at
//! costs fuel, and values are borrowed from the event. So no filter takes longer than [`FUEL`] allows, whatever it says about
//! whatever event. No error quotes a value of the payload: errors name paths, operators and kinds.
//!
//! Source: CEL language definition, <https://github.com/google/cel-spec/blob/master/doc/langdef.md>. JSON integers are `int`
//! (`uint` above its range), other numbers `double`; numbers compare across kinds; what is absent is an error, so `has()` asks
//! first.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::program::{Program, Read};

mod compile;
mod eval;
mod functions;
mod moment;
mod pattern;
mod program;
mod shape;
mod value;

/// Bytes of a filter.
pub const MAX_BYTES: usize = 4096;
/// Steps of one evaluation: about a millisecond of the worst kind of step. A typical filter takes 30.
pub const FUEL: u32 = 50_000;
/// Characters of a value in an [`Explanation`].
pub const MAX_SHOWN: usize = 200;

/// A compiled filter. Clones share it.
#[derive(Clone)]
pub struct EventFilter(Arc<Program>);

/// What a filter is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `type`.
    pub event_type: &'a str,
    /// `tenant`: the id of the tenant.
    pub tenant: &'a str,
    /// `tags`.
    pub tags: &'a BTreeMap<String, String>,
    /// `data`: the event's payload.
    pub data: &'a serde_json::Value,
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct CompileError {
    /// What is wrong, for people.
    pub message: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

/// Why a filter has no answer for an event. None quotes a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// Too much work for one event.
    #[error("the filter needs more than its share of work for this event")]
    OutOfFuel,
    /// A field, key or index that is not there.
    #[error("no such key: `{path}`")]
    NoSuchKey {
        /// As the filter says it.
        path: String,
    },
    /// An operator or function that these kinds do not have.
    #[error("no such overload: {call}")]
    NoSuchOverload {
        /// Such as `int < string`.
        call: String,
    },
    /// A number or time that does not fit, or a division by zero.
    #[error("{problem} in `{call}`")]
    Arithmetic {
        /// What went wrong.
        problem: &'static str,
        /// The operator or function.
        call: String,
    },
    /// A value that cannot be made into another kind.
    #[error("`{function}` cannot read this {kind}")]
    Conversion {
        /// The function.
        function: String,
        /// Kind of its argument.
        kind: &'static str,
    },
    /// The filter gives something else than true or false.
    #[error("the filter gives {kind}, not true or false")]
    NotBoolean {
        /// What it gives.
        kind: &'static str,
    },
}

/// What a filter said and what it looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// As [`EventFilter::evaluate`].
    pub outcome: Result<bool, EvalError>,
    /// Each path that the filter names, such as `data.user.department`, with its value as JSON of at most [`MAX_SHOWN`] characters,
    /// or `(absent)`.
    pub values: Vec<(String, String)>,
}

impl EventFilter {
    /// Reads a filter.
    ///
    /// # Errors
    /// [`CompileError`]: no CEL, over a bound, an unknown name, or no expression of true and false.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        compile::compile(text).map(|program| Self(Arc::new(program)))
    }

    /// The text it was compiled from.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Bytes of memory that it takes, about: most of it is the tables of its patterns.
    pub fn bytes(&self) -> usize {
        let patterns =
            self.0.nodes.iter().map(|node| if let program::Node::Matches(_, pattern) = node { pattern.bytes() } else { 0 });
        self.0.text.len() * 8 + patterns.sum::<usize>()
    }

    /// Whether the event passes.
    ///
    /// # Errors
    /// [`EvalError`]: it has no answer for this event.
    pub fn evaluate(&self, input: &Input<'_>) -> Result<bool, EvalError> {
        eval::run(&self.0, input, FUEL).0
    }

    /// What it says, and the values it read.
    pub fn explain(&self, input: &Input<'_>) -> Explanation {
        let values = self.0.reads.iter().map(|read| (read.path.clone(), shown(read, input))).collect();
        Explanation { outcome: self.evaluate(input), values }
    }
}

impl fmt::Debug for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventFilter").field(&self.0.text).finish()
    }
}

/// A value that a filter reads, as people are shown it.
fn shown(read: &Read, input: &Input<'_>) -> String {
    let mut out = Bounded(Vec::new());
    // The writer fails when it is full: a large value is not written out to be cut.
    let written = match eval::find(read, input) {
        None => return "(absent)".to_owned(),
        Some(value::Value::Text(text)) => serde_json::to_writer(&mut out, text),
        Some(value::Value::Tags(tags)) => serde_json::to_writer(&mut out, tags),
        Some(value::Value::Json(json)) => serde_json::to_writer(&mut out, json),
        Some(other) => serde_json::to_writer(&mut out, &other.to_json()),
    };
    let text = String::from_utf8_lossy(&out.0);
    if written.is_ok() && text.chars().count() <= MAX_SHOWN {
        text.into_owned()
    } else {
        text.chars().take(MAX_SHOWN - 1).chain(std::iter::once('…')).collect()
    }
}

/// Takes the bytes of [`MAX_SHOWN`] characters and no more.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = (MAX_SHOWN * 4).saturating_sub(self.0.len());
        self.0.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        // Zero ends `write_all` with an error, unless there was nothing to write.
        Ok(room.min(bytes.len()))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
