//! Values of a filter: borrowed from the event or the filter where they can be, and how they compare.
//!
//! What looks into values takes the fuel it costs: a step for a value, one more for each [`PACE`] bytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::eval::{Fault, Fuel};

/// Bytes that are compared or copied for one step.
pub(super) const PACE: usize = 64;

#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    /// Of the event or the filter.
    Text(&'a str),
    /// Made by the filter.
    Made(Rc<str>),
    /// Nanoseconds since 1970.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i128),
    /// An array or an object of the event.
    Json(&'a serde_json::Value),
    Tags(&'a BTreeMap<String, String>),
    List(Rc<[Value<'a>]>),
    Map(Rc<[(Value<'a>, Value<'a>)]>),
}

/// What a value is, as CEL names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Timestamp,
    Duration,
    List,
    Map,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::List => "list",
            Self::Map => "map",
        }
    }

    /// With its article.
    pub(super) fn a(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a bool",
            Self::Int => "an int",
            Self::Uint => "a uint",
            Self::Double => "a double",
            Self::String => "a string",
            Self::Timestamp => "a timestamp",
            Self::Duration => "a duration",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }
}

impl<'a> Value<'a> {
    /// Integers are `int`, beyond its range `uint`; all others `double`.
    pub(super) fn from_json(json: &'a serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(bool) => Self::Bool(*bool),
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(int), ..) => Self::Int(int),
                (None, Some(uint), _) => Self::Uint(uint),
                (None, None, Some(double)) => Self::Double(double),
                (None, None, None) => Self::Null,
            },
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => Self::Json(json),
        }
    }

    /// Scalars of the event back to what they were.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(bool) => (*bool).into(),
            Self::Int(int) => (*int).into(),
            Self::Uint(uint) => (*uint).into(),
            Self::Double(double) => (*double).into(),
            _ => serde_json::Value::Null,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Int(_) => Kind::Int,
            Self::Uint(_) => Kind::Uint,
            Self::Double(_) => Kind::Double,
            Self::Text(_) | Self::Made(_) => Kind::String,
            Self::Timestamp(_) => Kind::Timestamp,
            Self::Duration(_) => Kind::Duration,
            Self::Json(serde_json::Value::Array(_)) | Self::List(_) => Kind::List,
            Self::Json(_) | Self::Tags(_) | Self::Map(_) => Kind::Map,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            _ => None,
        }
    }

    /// Items of a list, entries of a map.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Json(serde_json::Value::Array(items)) => Some(items.len()),
            Self::Json(serde_json::Value::Object(members)) => Some(members.len()),
            Self::Tags(tags) => Some(tags.len()),
            Self::List(items) => Some(items.len()),
            Self::Map(entries) => Some(entries.len()),
            _ => None,
        }
    }

    /// An item of a list.
    pub(super) fn item(&self, index: usize) -> Option<Self> {
        match self {
            Self::Json(serde_json::Value::Array(items)) => items.get(index).map(Self::from_json),
            Self::List(items) => items.get(index).cloned(),
            _ => None,
        }
    }

    /// The value of a map's key; the inner `None`: it has no such key, or the value is no map.
    pub(super) fn entry(&self, key: &Value<'_>, fuel: &mut Fuel) -> Result<Option<Self>, Fault> {
        match (self, key.text()) {
            (Self::Json(serde_json::Value::Object(members)), Some(name)) => {
                fuel.search(name.len(), members.len())?;
                Ok(members.get(name).map(Self::from_json))
            }
            (Self::Tags(tags), Some(name)) => {
                fuel.search(name.len(), tags.len())?;
                Ok(tags.get(name).map(|text| Self::Text(text)))
            }
            (Self::Map(entries), _) => {
                for (name, value) in entries.iter() {
                    if equal(name, key, fuel)? {
                        return Ok(Some(value.clone()));
                    }
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Items of a list or keys of a map, one by one.
    pub(super) fn items(self) -> Option<Items<'a>> {
        Some(match self {
            Self::Json(serde_json::Value::Array(items)) => Items::Array(items.iter()),
            Self::Json(serde_json::Value::Object(members)) => Items::Keys(members.keys()),
            Self::Tags(tags) => Items::Tags(tags.keys()),
            Self::List(items) => Items::List(items, 0),
            Self::Map(entries) => Items::Map(entries, 0),
            _ => return None,
        })
    }
}

pub(super) enum Items<'a> {
    Array(std::slice::Iter<'a, serde_json::Value>),
    Keys(serde_json::map::Keys<'a>),
    Tags(std::collections::btree_map::Keys<'a, String, String>),
    List(Rc<[Value<'a>]>, usize),
    Map(Rc<[(Value<'a>, Value<'a>)]>, usize),
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        match self {
            Self::Array(items) => items.next().map(Value::from_json),
            Self::Keys(keys) => keys.next().map(|key| Value::Text(key)),
            Self::Tags(keys) => keys.next().map(|key| Value::Text(key)),
            Self::List(items, at) => {
                *at += 1;
                items.get(*at - 1).cloned()
            }
            Self::Map(entries, at) => {
                *at += 1;
                entries.get(*at - 1).map(|(key, _)| key.clone())
            }
        }
    }
}

/// CEL's `==`: numbers by their value across kinds, other kinds never equal each other.
pub(super) fn equal(left: &Value<'_>, right: &Value<'_>, fuel: &mut Fuel) -> Result<bool, Fault> {
    fuel.take(1)?;
    if let (Some(left), Some(right)) = (left.text(), right.text()) {
        if left.len() != right.len() {
            return Ok(false);
        }
        fuel.bytes(left.len(), PACE)?;
        return Ok(left == right);
    }
    let kind = left.kind();
    if kind.is_number() && right.kind().is_number() {
        return Ok(numbers(left, right) == Some(Ordering::Equal));
    }
    if kind != right.kind() {
        return Ok(false);
    }
    match (left, right) {
        (Value::Null, _) => Ok(true),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Timestamp(left), Value::Timestamp(right)) | (Value::Duration(left), Value::Duration(right)) => Ok(left == right),
        _ if left.len() != right.len() => Ok(false),
        // Depth is bounded by the filter's and the payload's own nesting.
        _ if kind == Kind::List => {
            for index in 0..left.len().unwrap_or(0) {
                match (left.item(index), right.item(index)) {
                    (Some(left), Some(right)) if equal(&left, &right, fuel)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        _ => maps(left, right, fuel),
    }
}

fn maps(left: &Value<'_>, right: &Value<'_>, fuel: &mut Fuel) -> Result<bool, Fault> {
    let Some(keys) = left.clone().items() else { return Ok(false) };
    for key in keys {
        fuel.take(1)?;
        match (left.entry(&key, fuel)?, right.entry(&key, fuel)?) {
            (Some(left), Some(right)) if equal(&left, &right, fuel)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// CEL's order; the outer `None`: these kinds have none. The inner `None`: not a number is in no order.
pub(super) fn order(left: &Value<'_>, right: &Value<'_>, fuel: &mut Fuel) -> Result<Option<Option<Ordering>>, Fault> {
    fuel.take(1)?;
    if let (Some(left), Some(right)) = (left.text(), right.text()) {
        fuel.bytes(left.len().min(right.len()), PACE)?;
        return Ok(Some(Some(left.cmp(right))));
    }
    Ok(match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(Some(left.cmp(right))),
        (Value::Timestamp(left), Value::Timestamp(right)) | (Value::Duration(left), Value::Duration(right)) => {
            Some(Some(left.cmp(right)))
        }
        _ if left.kind().is_number() && right.kind().is_number() => Some(numbers(left, right)),
        _ => None,
    })
}

/// By value; beside a `double`, as doubles.
fn numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::Uint(left), Value::Uint(right)) => Some(left.cmp(right)),
        (Value::Int(left), Value::Uint(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
        (Value::Uint(left), Value::Int(right)) => Some(i128::from(*left).cmp(&i128::from(*right))),
        _ => double(left)?.partial_cmp(&double(right)?),
    }
}

#[allow(clippy::cast_precision_loss, reason = "what CEL's comparisons do")]
fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(int) => Some(*int as f64),
        Value::Uint(uint) => Some(*uint as f64),
        Value::Double(double) => Some(*double),
        _ => None,
    }
}
