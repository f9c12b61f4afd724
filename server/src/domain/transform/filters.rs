//! Filters of templates. Each is our own, says in its errors kinds and never values, and pays for what it looks at and makes: a
//! fuel for each 64 bytes or item, before it is made. What they give is a text or number, or parts of what they were given, none
//! twice.

use std::borrow::Cow;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::payload::Absent;
use super::{MAX_BODY_BYTES, absent, fails, is_absent, json};
use crate::domain::Time;

mod lists;

/// What a filter gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    Number,
    /// A text, a number or true or false, however it was called.
    Scalar,
    /// What it was given, or parts of it.
    Value,
}

pub(super) fn gives(name: &str) -> Option<Gives> {
    Some(match name {
        "length" | "count" | "int" | "float" | "round" | "abs" | "epoch" => Gives::Number,
        "upper" | "lower" | "title" | "capitalize" | "trim" | "replace" | "truncate" | "urlencode" | "mrkdwn" | "join"
        | "tojson" | "string" | "bool" => Gives::Scalar,
        "default" | "d" | "attr" | "first" | "last" | "list" | "items" | "dictsort" | "sort" | "unique" | "reverse" | "map"
        | "select" | "reject" | "selectattr" | "rejectattr" | "split" => Gives::Value,
        _ => return None,
    })
}

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("upper", |state: &State<'_, '_>, value: &Value| letters(state, value).map(|text| text.to_uppercase()));
    environment.add_filter("lower", |state: &State<'_, '_>, value: &Value| letters(state, value).map(|text| text.to_lowercase()));
    environment
        .add_filter("capitalize", |state: &State<'_, '_>, value: &Value| letters(state, value).map(|text| capitalized(&text)));
    environment.add_filter("title", |state: &State<'_, '_>, value: &Value| {
        letters(state, value).map(|text| {
            text.split_inclusive(|letter: char| letter.is_whitespace() || "-({[<".contains(letter))
                .map(capitalized)
                .collect::<String>()
        })
    });
    environment.add_filter("trim", |state: &State<'_, '_>, value: &Value, letters: Option<Cow<'_, str>>| {
        let text = text(state, value)?;
        let trimmed = match &letters {
            Some(letters) if letters.len() > 64 => return Err(fails("`trim` takes a few letters")),
            Some(letters) => text.trim_matches(|letter| letters.contains(letter)),
            None => text.trim(),
        };
        Ok(trimmed.to_owned())
    });
    environment.add_filter("replace", replace);
    environment.add_filter("truncate", |state: &State<'_, '_>, value: &Value, length: Option<u32>, end: Option<Cow<'_, str>>| {
        let (text, end) = (text(state, value)?, end.unwrap_or(Cow::Borrowed("…")));
        if end.len() > 64 {
            return Err(fails("`truncate` ends a text with a few letters"));
        }
        let length = usize::try_from(length.unwrap_or(255)).unwrap_or(usize::MAX);
        if text.char_indices().nth(length).is_none() {
            return Ok(text.into_owned());
        }
        let kept = length.saturating_sub(end.chars().count());
        Ok(text.chars().take(kept).chain(end.chars()).collect::<String>())
    });
    environment.add_filter("urlencode", |state: &State<'_, '_>, value: &Value| {
        let text = letters(state, value)?;
        charge(state, 2 * text.len())?;
        let mut out = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => out.push(char::from(byte)),
                other => out.push_str(&format!("%{other:02X}")),
            }
        }
        Ok(out)
    });
    // Slack's texts: `<!channel>` in a name must not call the channel.
    environment.add_filter("mrkdwn", |state: &State<'_, '_>, value: &Value| {
        let text = letters(state, value)?;
        let made = text.bytes().map(|byte| if matches!(byte, b'&' | b'<' | b'>') { 5 } else { 1 }).sum();
        bounded(state, "mrkdwn", made)?;
        Ok(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
    });
    environment.add_filter("string", |state: &State<'_, '_>, value: &Value| text(state, value).map(Cow::into_owned));
    environment.add_filter("tojson", |state: &State<'_, '_>, value: &Value| {
        let text = json::text(value)?;
        charge(state, text.len().saturating_mul(WRITTEN))?;
        Ok(Value::from_safe_string(text))
    });
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("int", |state: &State<'_, '_>, value: &Value, default: Option<i64>| {
        let text = text(state, value)?;
        let whole = |number: f64| {
            #[allow(clippy::cast_possible_truncation, reason = "in range")]
            (number.abs() < 9e15).then_some(number.trunc() as i64)
        };
        let read = value.as_i64().or_else(|| text.trim().parse().ok()).or_else(|| text.trim().parse().ok().and_then(whole));
        match (value.kind(), read.or(default)) {
            (ValueKind::Bool, _) => Ok(i64::from(value.is_true())),
            (_, Some(number)) => Ok(number),
            (kind, None) => Err(fails(format!("`int` cannot read this {kind}: it takes a default, int(0)"))),
        }
    });
    environment.add_filter("float", |state: &State<'_, '_>, value: &Value, default: Option<f64>| {
        let text = text(state, value)?;
        let read = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        read.or(default).ok_or_else(|| fails(format!("`float` cannot read this {}: it takes a default, float(0)", value.kind())))
    });
    environment.add_filter("bool", |value: &Value| value.is_true());
    environment.add_filter("abs", |value: &Value| match (value.as_i64(), number(value)) {
        (Some(whole), _) => whole.checked_abs().map(Value::from).ok_or_else(|| fails("a number is out of range")),
        (None, Some(number)) => Ok(Value::from(number.abs())),
        (None, None) => Err(fails(format!("`abs` takes a number, not a {}", value.kind()))),
    });
    environment.add_filter("round", |value: &Value, digits: Option<u32>| match (value.as_i64(), number(value)) {
        (Some(whole), _) => Ok(Value::from(whole)),
        (None, Some(number)) => {
            let scale = 10f64.powi(i32::try_from(digits.unwrap_or(0).min(12)).unwrap_or(0));
            Ok(Value::from((number * scale).round() / scale))
        }
        (None, None) => Err(fails(format!("`round` takes a number, not a {}", value.kind()))),
    });
    environment.add_filter("epoch", |value: &Value| {
        let time = value.as_str().filter(|text| text.len() <= 64).and_then(Time::parse_rfc3339);
        time.map(|time| time.millis().div_euclid(1000)).ok_or_else(|| fails("`epoch` takes a time such as 2026-11-25T09:00:00Z"))
    });
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("attr", |state: &State<'_, '_>, value: &Value, key: &Value| {
        charge(state, key.as_str().map_or(0, str::len))?;
        // The engine finds letters of texts by their index without fuel.
        if value.as_str().is_some() { Ok(Value::UNDEFINED) } else { value.get_item(key).map_err(|_| missing(value)) }
    });
    lists::add(environment);
}

/// How much more it takes to write a byte of JSON, or to look at a letter, than to copy it.
const WRITTEN: usize = 4;

/// Pays for this many bytes.
pub(super) fn charge(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(u64::try_from(bytes / 64).unwrap_or(u64::MAX).saturating_add(1))
}

/// A scalar's text; of a list or map its JSON.
fn text<'v>(state: &State<'_, '_>, value: &'v Value) -> Result<Cow<'v, str>, Error> {
    let text = match value.as_str() {
        Some(text) => Cow::Borrowed(text),
        None if is_absent(value) => return Err(missing(value)),
        None => Cow::Owned(json::text(value)?),
    };
    let times = if matches!(text, Cow::Owned(_)) { WRITTEN } else { 1 };
    charge(state, text.len().saturating_mul(times))?;
    Ok(text)
}

/// The same, for filters that look at each letter.
fn letters<'v>(state: &State<'_, '_>, value: &'v Value) -> Result<Cow<'v, str>, Error> {
    let text = text(state, value)?;
    charge(state, text.len().saturating_mul(WRITTEN))?;
    Ok(text)
}

fn missing(value: &Value) -> Error {
    let path = value.downcast_object_ref::<Absent>().map(|missing| missing.path.as_str());
    fails(path.map_or_else(|| "a value is absent: give it a `| default(..)` or ask `is defined`".to_owned(), absent))
}

fn number(value: &Value) -> Option<f64> {
    if value.is_number() { f64::try_from(value.clone()).ok() } else { None }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect()).unwrap_or_default()
}

fn replace(state: &State<'_, '_>, value: &Value, from: Cow<'_, str>, to: Cow<'_, str>) -> Result<String, Error> {
    let text = text(state, value)?;
    if from.is_empty() {
        return Err(fails("`replace` looks for a text that is not empty"));
    }
    charge(state, text.len().saturating_mul(2))?;
    let made = text.matches(&*from).count().saturating_mul(to.len()).saturating_add(text.len());
    bounded(state, "replace", made)?;
    Ok(text.replace(&*from, &to))
}

/// Pays for a text that is about to be made.
fn bounded(state: &State<'_, '_>, filter: &str, bytes: usize) -> Result<(), Error> {
    if bytes > MAX_BODY_BYTES {
        return Err(fails(format!("`{filter}` makes a text of more than {MAX_BODY_BYTES} bytes")));
    }
    charge(state, bytes)
}

fn length(state: &State<'_, '_>, value: &Value) -> Result<usize, Error> {
    if let Some(text) = value.as_str() {
        charge(state, text.len())?;
        return Ok(text.chars().count());
    }
    if is_absent(value) {
        return Err(missing(value));
    }
    value.len().ok_or_else(|| fails(format!("a {} has no length", value.kind())))
}

/// The second argument: also for what is false, empty or null. A default that is absent itself leaves the value absent.
fn default(value: Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let boolean: Option<bool> = named.get("boolean")?;
    named.assert_all_used()?;
    let (other, boolean) = match rest.as_slice() {
        [] => (Value::from(""), boolean),
        [other] => (other.clone(), boolean),
        [other, whenever] => (other.clone(), Some(whenever.is_true())),
        _ => return Err(fails("`default` has one or two arguments")),
    };
    let replaced = is_absent(&value) || boolean == Some(true) && !value.is_true();
    Ok(if replaced { other } else { value })
}
