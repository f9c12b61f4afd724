//! Tests of templates: what may stand after `is`.

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, Value};

use super::{fails, filters, is_absent};

pub(super) const NAMES: [&str; 21] = [
    "defined",
    "undefined",
    "none",
    "string",
    "number",
    "integer",
    "boolean",
    "mapping",
    "sequence",
    "startingwith",
    "endingwith",
    "containing",
    "in",
    "eq",
    "equalto",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "empty",
];

pub(super) fn is_one(name: &str) -> bool {
    NAMES.contains(&name)
}

pub(super) fn add(environment: &mut Environment<'_>) {
    environment.add_test("defined", |value: &Value| !is_absent(value));
    environment.add_test("undefined", |value: &Value| is_absent(value));
    environment.add_test("none", |value: &Value| value.is_none());
    environment.add_test("string", |value: &Value| value.kind() == ValueKind::String);
    environment.add_test("number", |value: &Value| value.is_number());
    environment.add_test("integer", |value: &Value| value.is_integer());
    environment.add_test("boolean", |value: &Value| value.kind() == ValueKind::Bool);
    environment.add_test("mapping", |value: &Value| value.kind() == ValueKind::Map);
    environment.add_test("sequence", |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable));
    environment.add_test("empty", |value: &Value| is_absent(value) || value.is_none() || value.len() == Some(0));
    for name in ["startingwith", "endingwith", "containing", "in", "eq", "equalto", "ne", "lt", "le", "gt", "ge"] {
        environment.add_test(name, move |state: &minijinja::State<'_, '_>, value: &Value, with: Rest<Value>, _: Kwargs| {
            let [with] = with.as_slice() else { return Err(fails(format!("`is {name}` has one argument"))) };
            filters::charge(state, value.as_str().map_or(0, str::len))?;
            two(state, name, value, with)
        });
    }
}

fn two(state: &minijinja::State<'_, '_>, name: &str, value: &Value, with: &Value) -> Result<bool, Error> {
    let texts = || match (value.as_str(), with.as_str()) {
        (Some(value), Some(with)) => Ok((value, with)),
        _ => Err(fails(format!("`is {name}` compares texts"))),
    };
    Ok(match name {
        "startingwith" => texts().map(|(value, with)| value.starts_with(with))?,
        "endingwith" => texts().map(|(value, with)| value.ends_with(with))?,
        "containing" => texts().map(|(value, with)| value.contains(with))?,
        "in" => match with.as_str() {
            Some(text) => {
                filters::charge(state, text.len())?;
                value.as_str().is_some_and(|part| text.contains(part))
            }
            None => {
                let mut found = false;
                for item in with.try_iter().map_err(|_| fails("`is in` looks into a list or a text"))? {
                    filters::charge(state, item.as_str().map_or(0, str::len))?;
                    found = found || item == *value;
                }
                found
            }
        },
        "ne" => value != with,
        "lt" => value < with,
        "le" => value <= with,
        "gt" => value > with,
        "ge" => value >= with,
        _ => value == with,
    })
}
