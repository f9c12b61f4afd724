//! Values as JSON: what `{{ }}` prints, what texts get of lists and maps, and whether a body is JSON.

use std::fmt::{self, Write};

use minijinja::value::{ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, Output, State, Value};

use super::payload::{Absent, Content, Part};
use super::{MAX_BODY_BYTES, MAX_DEPTH, RenderError, absent, fails};

/// What `{{ }}` prints.
pub(super) fn format(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    write(out, value, 0)
}

/// A value as a JSON text of at most [`MAX_BODY_BYTES`].
pub(super) fn text(value: &Value) -> Result<String, Error> {
    let mut out = Bounded(String::new());
    write(&mut out, value, 0)?;
    Ok(out.0)
}

struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_BODY_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

fn write(out: &mut dyn Write, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > 2 * MAX_DEPTH {
        return Err(fails("a value is nested too deep"));
    }
    match value.kind() {
        ValueKind::None => out.write_str("null")?,
        ValueKind::Bool => out.write_str(if value.is_true() { "true" } else { "false" })?,
        ValueKind::Number if value.is_integer() => write!(out, "{value}")?,
        ValueKind::Number => {
            let number = f64::try_from(value.clone()).ok().and_then(serde_json::Number::from_f64);
            let number = number.ok_or_else(|| fails("a number is out of range"))?;
            write!(out, "{number}")?;
        }
        ValueKind::String if value.is_safe() => {
            // Made by `tojson`; joined to another it may be no JSON any more.
            let text = value.as_str().unwrap_or_default();
            serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|_| fails("what `tojson` gives stands alone"))?;
            out.write_str(text)?;
        }
        ValueKind::String => write_text(out, value.as_str().unwrap_or_default())?,
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        _ => return write_object(out, value, depth),
    }
    Ok(())
}

fn write_object(out: &mut dyn Write, value: &Value, depth: usize) -> Result<(), Error> {
    if let Some(part) = value.downcast_object_ref::<Part>() {
        return write_part(out, part).map_err(Error::from);
    }
    if let Some(missing) = value.downcast_object_ref::<Absent>() {
        return Err(fails(absent(&missing.path)));
    }
    let Some(object) = value.as_object() else { return Err(fails("this is no value to print")) };
    let unprintable = || fails("this is no value to print");
    match object.repr() {
        ObjectRepr::Seq | ObjectRepr::Iterable => {
            out.write_char('[')?;
            for (index, item) in object.try_iter().ok_or_else(unprintable)?.enumerate() {
                if index > 0 {
                    out.write_char(',')?;
                }
                write(out, &item, depth + 1)?;
            }
            out.write_char(']')?;
        }
        ObjectRepr::Map => {
            out.write_char('{')?;
            for (index, (key, item)) in object.try_iter_pairs().ok_or_else(unprintable)?.enumerate() {
                if index > 0 {
                    out.write_char(',')?;
                }
                match key.as_str() {
                    Some(key) => write_text(out, key)?,
                    None if key.is_number() => write!(out, "\"{key}\"")?,
                    None => return Err(fails("a key of a map is no text")),
                }
                out.write_char(':')?;
                write(out, &item, depth + 1)?;
            }
            out.write_char('}')?;
        }
        ObjectRepr::Plain => return Err(unprintable()),
        _ => return Err(unprintable()),
    }
    Ok(())
}

/// A list or map of the payload.
pub(super) fn write_part(out: &mut dyn Write, part: &Part) -> fmt::Result {
    let item = |out: &mut dyn Write, value: &Value| match value.downcast_object_ref::<Part>() {
        Some(part) => write_part(out, part),
        None => write(out, value, 0).map_err(|_| fmt::Error),
    };
    match &part.content {
        Content::List(items) => {
            out.write_char('[')?;
            for (index, value) in items.iter().enumerate() {
                if index > 0 {
                    out.write_char(',')?;
                }
                item(out, value)?;
            }
            out.write_char(']')
        }
        Content::Map(members) => {
            out.write_char('{')?;
            for (index, (key, value)) in members.iter().enumerate() {
                if index > 0 {
                    out.write_char(',')?;
                }
                write_text(out, key)?;
                out.write_char(':')?;
                item(out, value)?;
            }
            out.write_char('}')
        }
    }
}

fn write_text(out: &mut dyn Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    while let Some(at) = rest.find(|letter: char| matches!(letter, '"' | '\\' | '\0'..='\x1f')) {
        let (plain, from) = rest.split_at(at);
        out.write_str(plain)?;
        let escaped = from.bytes().next().unwrap_or_default();
        match escaped {
            b'"' => out.write_str("\\\"")?,
            b'\\' => out.write_str("\\\\")?,
            b'\n' => out.write_str("\\n")?,
            b'\r' => out.write_str("\\r")?,
            b'\t' => out.write_str("\\t")?,
            control => write!(out, "\\u{control:04x}")?,
        }
        rest = from.get(1..).unwrap_or_default();
    }
    out.write_str(rest)?;
    out.write_char('"')
}

/// A body without the space around it, if it is JSON and not nested too deep.
pub(super) fn checked(body: &[u8]) -> Result<&[u8], RenderError> {
    let body = body.trim_ascii();
    let fail = |message: String| RenderError { message, line: None };
    if body.is_empty() {
        return Err(fail("the template makes an empty body".to_owned()));
    }
    // Depth first: the parser recurses.
    if depth(body) > MAX_DEPTH {
        return Err(fail(format!("the body is nested more than {MAX_DEPTH} deep")));
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(|error| {
        // Its place is in the body, which the author of a template sees when trying it out.
        let (line, column) = (error.line(), error.column());
        fail(format!(
            "the body is no JSON at its line {line}, column {column}: look for a comma too many or too few; `{{{{ }}}}` prints texts \
             with their quotes"
        ))
    })?;
    Ok(body)
}

fn depth(body: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_text, mut escaped) = (0usize, 0usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' if !in_text => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
