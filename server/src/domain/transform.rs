//! An endpoint's `transform`: a MiniJinja template that makes the body out of the rendered payload.
//!
//! The API compiles it when an endpoint is written; an attempt renders it after the format and before encryption. Members of the
//! payload are variables and the whole is `payload`. What `{{ }}` prints is JSON, quotes included, and it may not stand inside a
//! JSON text of the template, so no value can break out of its place. The body must be JSON. No time, randomness or environment
//! gets in.
//!
//! Template and payload come from tenants, and these bounds hold whatever they are: 64 MiB of memory and a tenth of a second. Why:
//! 1. `shape` bounds tokens and nesting before the recursive parser sees the text.
//! 2. `check` walks the syntax tree and lets through only statements, operators, filters and tests whose cost is known. No name is
//!    ever bound to a list or map that the template made of variables, and nothing repeats or joins lists: so each value is a part
//!    of the payload, a list of disjoint parts of it, a constant or a text, and no structure grows by being put into itself.
//! 3. The engine's fuel pays for instructions and for every byte of every text that operators and filters make, before it is made.
//!    All filters and tests are our own (`filters`, `predicates`) and pay for what they look at.
//! 4. What the engine does without fuel, comparing and printing parts of the payload, is done by `payload`, which has a meter.
//! 5. Output goes to a writer that stops at [`MAX_BODY_BYTES`].
//!
//! No error quotes a value of the payload: the engine's own words are replaced wherever they could.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

mod check;
mod filters;
mod json;
mod payload;
mod predicates;
mod shape;

/// Bytes of a template.
pub const MAX_BYTES: usize = 64 * 1024;
/// Bytes of the body that it makes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Nesting of that body.
pub const MAX_DEPTH: usize = 64;
/// Fuel of one rendering: instructions, and 64 bytes of text each. Printing 4 bytes of a list or map takes one, so that the largest
/// payload can be printed once.
const FUEL: u64 = 80_000;
/// What the engine calls the template.
const NAME: &str = "transform";

/// A compiled template. Clones share it.
#[derive(Clone)]
pub struct Transform(Arc<Environment<'static>>);

/// Why a text is no transform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct CompileError {
    /// What is wrong, for people.
    pub message: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1; `None` where only the line is known.
    pub column: Option<usize>,
}

/// Why a template makes no body of a payload. It quotes no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", .line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct RenderError {
    /// What is wrong, for people.
    pub message: String,
    /// Line of the template, counted from 1, where one is to blame.
    pub line: Option<usize>,
}

impl Transform {
    /// Reads a template.
    ///
    /// # Errors
    /// [`CompileError`]: no template, over a bound, or something that is not available: filters, tests, functions and statements
    /// are looked up now.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        shape::check(text)?;
        check::check(text)?;
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(64);
        environment.set_formatter(json::format);
        filters::add(&mut environment);
        predicates::add(&mut environment);
        environment.add_template_owned(NAME, text.to_owned()).map_err(|error| unread(&error))?;
        Ok(Self(Arc::new(environment)))
    }

    /// The template as it was written.
    pub fn text(&self) -> String {
        // It was added when this was made.
        self.0.get_template(NAME).map(|template| template.source().to_owned()).unwrap_or_default()
    }

    /// The body.
    ///
    /// `payload`: the rendered body of the endpoint's format, a JSON object.
    ///
    /// # Errors
    /// [`RenderError`]: the template fails for this payload, or what it makes is no JSON or too large.
    pub fn render(&self, payload: &serde_json::Value) -> Result<Bytes, RenderError> {
        let (root, meter) = payload::root(payload);
        let mut body = Body { bytes: Vec::new(), full: false };
        let rendered = self.0.get_template(NAME).and_then(|template| template.render_captured_to(root, &mut body).map(drop));
        if body.full {
            return Err(RenderError { message: format!("the body is over {MAX_BODY_BYTES} bytes"), line: None });
        }
        if meter.is_spent() {
            return Err(RenderError { message: TOO_MUCH.to_owned(), line: None });
        }
        rendered.map_err(|error| {
            let told = told(&error);
            // The engine only knows that something could not be used: the payload knows what was not there.
            let message = if told.1 { told.0 } else { meter.missing().map_or(told.0, |path| absent(&path)) };
            RenderError { message, line: error.line() }
        })?;
        if let Some(path) = meter.missing() {
            return Err(RenderError { message: absent(&path), line: None });
        }
        json::checked(&body.bytes).map(Bytes::copy_from_slice)
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transform")
    }
}

const TOO_MUCH: &str = "the template does too much work for one event";

fn absent(path: &str) -> String {
    format!("`{path}` is absent: give it a `| default(..)` or ask `is defined`")
}

/// A syntax error of the engine: its words are about the template's text.
fn unread(error: &minijinja::Error) -> CompileError {
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    CompileError { message, line: error.line().unwrap_or(1), column: None }
}

/// What an error of our own filters says; it travels through the engine as a source.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

/// An error of a filter, for people; it must quote no value.
fn fails(message: impl Into<String>) -> minijinja::Error {
    minijinja::Error::from(ErrorKind::InvalidOperation).with_source(Told(message.into()))
}

/// An error in words that quote no value, and whether they are our own.
fn told(error: &minijinja::Error) -> (String, bool) {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(Told(message)) = cause.downcast_ref::<Told>() {
            return (message.clone(), true);
        }
        source = cause.source();
    }
    // These details name kinds, never values.
    let safe = error.detail().filter(|detail| detail.starts_with("tried to use ") || detail.ends_with(" is not iterable"));
    let message = match (error.kind(), safe) {
        (ErrorKind::OutOfFuel, _) => return (TOO_MUCH.to_owned(), true),
        _ if error.detail().is_some_and(|detail| detail.starts_with("unable to calculate")) => {
            "a number is out of range, or divided by zero".to_owned()
        }
        (_, Some(detail)) => detail.replace("plain object", "an absent value"),
        (ErrorKind::UndefinedError, _) => "a value is absent: give it a `| default(..)` or ask `is defined`".to_owned(),
        (ErrorKind::TooManyArguments | ErrorKind::MissingArgument, _) => {
            "a filter or test has other arguments than these".to_owned()
        }
        (ErrorKind::WriteFailure, _) => format!("a value is over {MAX_BODY_BYTES} bytes as JSON"),
        (ErrorKind::CannotUnpack, _) => "the loop has another number of names than its items have values".to_owned(),
        (kind, _) => format!("{kind}: a filter, test or operator does not take this kind of value"),
    };
    (message, false)
}

/// Where the engine writes: it stops at [`MAX_BODY_BYTES`].
struct Body {
    bytes: Vec<u8>,
    full: bool,
}

impl std::io::Write for Body {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_BODY_BYTES {
            self.full = true;
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A value that is not there, whichever of the two ways the engine has for it.
fn is_absent(value: &Value) -> bool {
    value.is_undefined() || value.downcast_object_ref::<payload::Absent>().is_some()
}

#[cfg(test)]
mod tests;
