//! The payload as the engine sees it, and the meter of what the engine does with it unasked.
//!
//! Lists and maps are objects of our own, so that comparing and printing them, which the engine does without fuel, is counted: when
//! the meter is spent they compare as different and print nothing, and the rendering fails at its end. A member that is not there
//! is an
//! [`Absent`] value that knows its path, so that a chain through it can have a default and an error can name it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering as Memory};
use std::sync::{Arc, OnceLock};

use minijinja::Value;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};

use super::json;

/// Values looked at, and 64 bytes of text each.
const METER: i64 = 500_000;
/// Bytes of a path in an error.
const MAX_PATH: usize = 200;

#[derive(Debug)]
pub(super) struct Meter {
    left: AtomicI64,
    missing: OnceLock<String>,
}

impl Meter {
    /// `false` when it is spent.
    fn take(&self, bytes: usize) -> bool {
        let steps = 1 + i64::try_from(bytes / 64).unwrap_or(i64::MAX / 2);
        self.left.fetch_sub(steps, Memory::Relaxed) >= steps
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left.load(Memory::Relaxed) < 0
    }

    /// The first path that was printed or walked and is not there.
    pub(super) fn missing(&self) -> Option<String> {
        self.missing.get().cloned()
    }
}

/// A list or a map of the payload.
pub(super) struct Part {
    /// How the template reaches it, as far as that is known.
    label: Arc<str>,
    pub(super) content: Content,
    meter: Arc<Meter>,
}

pub(super) enum Content {
    List(Vec<Value>),
    Map(BTreeMap<Arc<str>, Value>),
}

/// What a template's names are looked up in, and the meter of this rendering.
pub(super) fn root(payload: &serde_json::Value) -> (Value, Arc<Meter>) {
    let meter = Arc::new(Meter { left: AtomicI64::new(METER), missing: OnceLock::new() });
    let whole = convert(payload, &Arc::from(""), &meter);
    (Value::from_object(Root(whole)), meter)
}

fn convert(json: &serde_json::Value, label: &Arc<str>, meter: &Arc<Meter>) -> Value {
    let content = match json {
        serde_json::Value::Null => return Value::from(()),
        serde_json::Value::Bool(bool) => return Value::from(*bool),
        serde_json::Value::String(text) => return Value::from(text.as_str()),
        serde_json::Value::Number(number) => {
            return match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Value::from(int),
                (None, Some(uint)) => Value::from(uint),
                (None, None) => Value::from(number.as_f64().unwrap_or_default()),
            };
        }
        serde_json::Value::Array(items) => Content::List(items.iter().map(|item| convert(item, label, meter)).collect()),
        serde_json::Value::Object(members) => {
            let member = |(key, value): (&String, &serde_json::Value)| {
                let key: Arc<str> = Arc::from(key.as_str());
                // The last two names are enough to find it by.
                let below = match label.rsplit('.').next() {
                    Some(last) if !last.is_empty() && value.is_object() => Arc::from(format!("{last}.{key}")),
                    _ => Arc::clone(&key),
                };
                let value = convert(value, &below, meter);
                (key, value)
            };
            Content::Map(members.iter().map(member).collect())
        }
    };
    Value::from_object(Part { label: Arc::clone(label), content, meter: Arc::clone(meter) })
}

/// The names of a template: the payload's members, and `payload`.
#[derive(Debug)]
struct Root(Value);

impl Object for Root {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if key == "payload" { Some(self.0.clone()) } else { self.0.get_attr(key).ok() }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }
}

impl Object for Part {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.content {
            Content::List(_) => ObjectRepr::Seq,
            Content::Map(_) => ObjectRepr::Map,
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match &self.content {
            Content::Map(members) => members.get(key).cloned().or_else(|| Some(self.absent(format_args!(".{key}")))),
            Content::List(_) => Some(self.absent(format_args!(".{key}"))),
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        if let Some(key) = key.as_str() {
            return self.get_value_by_str(key);
        }
        let index = key.as_i64().and_then(|index| usize::try_from(index).ok());
        match (&self.content, index) {
            (Content::List(items), Some(index)) => {
                items.get(index).cloned().or_else(|| Some(self.absent(format_args!("[{index}]"))))
            }
            _ => Some(self.absent(format_args!("[..]"))),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.content {
            Content::List(items) => Enumerator::Seq(items.len()),
            Content::Map(members) => Enumerator::Values(members.keys().map(|key| Value::from(Arc::clone(key))).collect()),
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(match &self.content {
            Content::List(items) => items.len(),
            Content::Map(members) => members.len(),
        })
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        Some(self.compare(other.downcast_ref::<Self>()?))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Part {
    fn absent(&self, step: fmt::Arguments<'_>) -> Value {
        let mut path = format!("{}{step}", self.label);
        if self.label.is_empty() {
            path = path.trim_start_matches('.').to_owned();
        }
        if let Some((end, _)) = path.char_indices().nth(MAX_PATH) {
            path.truncate(end);
        }
        Value::from_object(Absent { path, meter: Arc::clone(&self.meter) })
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (&self.content, &other.content) {
            (Content::List(left), Content::List(right)) => {
                for (left, right) in left.iter().zip(right) {
                    match self.scalar(left, right) {
                        Ordering::Equal => {}
                        decided => return decided,
                    }
                }
                left.len().cmp(&right.len())
            }
            (Content::Map(left), Content::Map(right)) => {
                for ((one, left), (two, right)) in left.iter().zip(right) {
                    match one.cmp(two).then_with(|| self.scalar(left, right)) {
                        Ordering::Equal => {}
                        decided => return decided,
                    }
                }
                left.len().cmp(&right.len())
            }
            (Content::List(_), Content::Map(_)) => Ordering::Less,
            (Content::Map(_), Content::List(_)) => Ordering::Greater,
        }
    }

    fn scalar(&self, left: &Value, right: &Value) -> Ordering {
        if !self.meter.take(left.as_str().map_or(0, str::len)) {
            return Ordering::Less;
        }
        match (left.downcast_object_ref::<Self>(), right.downcast_object_ref::<Self>()) {
            (Some(left), Some(right)) => left.compare(right),
            _ => left.cmp(right),
        }
    }
}

/// As JSON: the engine prints it so into texts. The meter stops it, as the engine has no way to.
impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut metered = Metered { f, meter: &self.meter };
        // An error here would be a panic in `format!`.
        let _ = json::write_part(&mut metered, self);
        Ok(())
    }
}

struct Metered<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    meter: &'a Meter,
}

impl fmt::Write for Metered<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.meter.take(text.len()) { self.f.write_str(text) } else { Err(fmt::Error) }
    }
}

/// A member that is not there.
pub(super) struct Absent {
    pub(super) path: String,
    meter: Arc<Meter>,
}

impl Absent {
    fn note(&self) {
        let _ = self.meter.missing.set(self.path.clone());
    }
}

impl fmt::Debug for Absent {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note();
        Ok(())
    }
}

impl Object for Absent {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    /// What is missing of something missing is missing: a chain ends in the same absence.
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_dyn_object(Arc::clone(self)))
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.note();
        Enumerator::NonEnumerable
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Self>().map(|_| Ordering::Equal)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
