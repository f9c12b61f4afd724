//! Filters of lists and maps. What they give holds items of what they were given, none twice.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::super::{fails, is_absent};
use super::{bounded, charge, missing, text};

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("first", |state: &State<'_, '_>, value: &Value| {
        if let Some(text) = value.as_str() {
            return Ok(text.chars().next().map(String::from).map_or(Value::UNDEFINED, Value::from));
        }
        Ok(items(state, value)?.into_iter().next().unwrap_or(Value::UNDEFINED))
    });
    environment.add_filter("last", |state: &State<'_, '_>, value: &Value| {
        if let Some(text) = value.as_str() {
            return Ok(text.chars().next_back().map(String::from).map_or(Value::UNDEFINED, Value::from));
        }
        Ok(items(state, value)?.pop().unwrap_or(Value::UNDEFINED))
    });
    environment.add_filter("list", |state: &State<'_, '_>, value: &Value| items(state, value));
    environment.add_filter("reverse", |state: &State<'_, '_>, value: &Value| {
        items(state, value).map(|mut items| {
            items.reverse();
            items
        })
    });
    environment.add_filter("items", pairs);
    environment.add_filter("dictsort", pairs);
    environment.add_filter("join", join);
    environment.add_filter("split", |state: &State<'_, '_>, value: &Value, at: Option<Cow<'_, str>>| {
        let text = text(state, value)?;
        charge(state, text.len())?;
        let mut parts = Vec::new();
        let mut each = |part: &str| -> Result<(), Error> {
            charge(state, part.len())?;
            parts.push(Value::from(part));
            Ok(())
        };
        match at.as_deref() {
            Some("") => return Err(fails("`split` looks for a text that is not empty")),
            Some(at) => text.split(at).try_for_each(&mut each)?,
            None => text.split_whitespace().try_for_each(&mut each)?,
        }
        Ok(parts)
    });
    environment.add_filter("map", |state: &State<'_, '_>, value: &Value, named: Kwargs| {
        let attribute: String = named.get("attribute")?;
        let default: Option<Value> = named.get("default")?;
        named.assert_all_used()?;
        let mapped = items(state, value)?.into_iter().map(|item| {
            let found = walk(state, &item, &attribute)?;
            Ok(if is_absent(&found) { default.clone().unwrap_or(found) } else { found })
        });
        mapped.collect::<Result<Vec<_>, Error>>()
    });
    environment.add_filter("sort", sort);
    environment.add_filter("unique", unique);
    for (name, keep, by_attribute) in
        [("select", true, false), ("reject", false, false), ("selectattr", true, true), ("rejectattr", false, true)]
    {
        environment.add_filter(name, move |state: &mut State<'_, '_>, value: &Value, rest: Rest<Value>| {
            let mut arguments = rest.0.into_iter();
            let attribute = if by_attribute {
                let attribute = arguments.next().and_then(|name| name.as_str().map(str::to_owned));
                Some(attribute.ok_or_else(|| fails(format!("`{name}` names an attribute in quotes")))?)
            } else {
                None
            };
            let test = arguments.next().and_then(|name| name.as_str().map(str::to_owned));
            let with: Vec<Value> = arguments.collect();
            let mut kept = Vec::new();
            for item in items(state, value)? {
                let tested = attribute.as_deref().map_or_else(|| Ok(item.clone()), |attribute| walk(state, &item, attribute))?;
                let passes = match &test {
                    None => tested.is_true(),
                    Some(test) => {
                        let all: Vec<Value> = std::iter::once(tested).chain(with.iter().cloned()).collect();
                        state.perform_test(test, &all)?
                    }
                };
                if passes == keep {
                    kept.push(item);
                }
            }
            Ok(kept)
        });
    }
}

/// Items of a list, keys of a map; each takes a fuel.
fn items(state: &State<'_, '_>, value: &Value) -> Result<Vec<Value>, Error> {
    if is_absent(value) {
        return Err(missing(value));
    }
    if value.as_str().is_some() || value.is_none() {
        return Err(fails(format!("this filter takes a list, not a {}", value.kind())));
    }
    state.consume_fuel(u64::try_from(value.len().unwrap_or(0)).unwrap_or(u64::MAX))?;
    Ok(value.try_iter().map_err(|_| fails(format!("this filter takes a list, not a {}", value.kind())))?.collect())
}

/// A dotted path below an item.
fn walk(state: &State<'_, '_>, item: &Value, path: &str) -> Result<Value, Error> {
    charge(state, path.len())?;
    path.split('.').try_fold(item.clone(), |value, name| {
        let index = name.parse::<u32>().ok().filter(|_| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable));
        match index {
            _ if value.is_undefined() => Ok(value),
            Some(index) => value.get_item(&Value::from(index)).map_err(|_| missing(&value)),
            None => value.get_attr(name).map_err(|_| missing(&value)),
        }
    })
}

fn pairs(state: &State<'_, '_>, value: &Value) -> Result<Vec<Value>, Error> {
    if is_absent(value) {
        return Err(missing(value));
    }
    if value.kind() != ValueKind::Map {
        return Err(fails(format!("this filter takes a map, not a {}", value.kind())));
    }
    state.consume_fuel(u64::try_from(value.len().unwrap_or(0)).unwrap_or(u64::MAX).saturating_mul(2))?;
    items(state, value)?.into_iter().map(|key| value.get_item(&key).map(|item| Value::from(vec![key, item]))).collect()
}

fn join(state: &State<'_, '_>, value: &Value, with: Option<Cow<'_, str>>, named: Kwargs) -> Result<String, Error> {
    let attribute: Option<String> = named.get("attribute")?;
    named.assert_all_used()?;
    let (with, mut out) = (with.unwrap_or_default(), String::new());
    for (index, item) in items(state, value)?.iter().enumerate() {
        let item = attribute.as_deref().map_or_else(|| Ok(item.clone()), |attribute| walk(state, item, attribute))?;
        let part = text(state, &item)?;
        let between = if index == 0 { "" } else { &*with };
        bounded(state, "join", out.len() + between.len() + part.len()).and_then(|()| charge(state, between.len()))?;
        out.push_str(between);
        out.push_str(&part);
    }
    Ok(out)
}

/// What items are sorted and told apart by: texts without regard to case, numbers, and what is neither.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Nothing,
    Bool(bool),
    Number(Total),
    Text(String),
}

struct Total(f64);

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Each item with its key; pays for the comparisons to come.
fn keyed(state: &State<'_, '_>, value: &Value, filter: &str, attribute: Option<&str>) -> Result<Vec<(Key, Value)>, Error> {
    let items = items(state, value)?;
    let compared = items.len().checked_ilog2().unwrap_or(0) + 1;
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        let by = attribute.map_or_else(|| Ok(item.clone()), |attribute| walk(state, &item, attribute))?;
        let key = match (by.kind(), by.as_str(), super::number(&by)) {
            (_, Some(text), _) => {
                charge(state, text.len().saturating_mul(usize::try_from(compared).unwrap_or(1)))?;
                Key::Text(text.to_lowercase())
            }
            (_, _, Some(number)) => Key::Number(Total(number)),
            (ValueKind::Bool, ..) => Key::Bool(by.is_true()),
            (ValueKind::None, ..) => Key::Nothing,
            _ if is_absent(&by) => Key::Nothing,
            _ => return Err(fails(format!("`{filter}` compares texts and numbers: name an attribute of the items"))),
        };
        state.consume_fuel(u64::from(compared))?;
        keyed.push((key, item));
    }
    Ok(keyed)
}

fn sort(state: &State<'_, '_>, value: &Value, named: Kwargs) -> Result<Vec<Value>, Error> {
    let (attribute, reverse): (Option<String>, Option<bool>) = (named.get("attribute")?, named.get("reverse")?);
    named.assert_all_used()?;
    let mut keyed = keyed(state, value, "sort", attribute.as_deref())?;
    keyed.sort_by(|(one, _), (two, _)| if reverse == Some(true) { two.cmp(one) } else { one.cmp(two) });
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

fn unique(state: &State<'_, '_>, value: &Value, named: Kwargs) -> Result<Vec<Value>, Error> {
    let attribute: Option<String> = named.get("attribute")?;
    named.assert_all_used()?;
    let mut seen = BTreeSet::new();
    let keyed = keyed(state, value, "unique", attribute.as_deref())?;
    Ok(keyed.into_iter().filter_map(|(key, item)| seen.insert(key).then_some(item)).collect())
}
