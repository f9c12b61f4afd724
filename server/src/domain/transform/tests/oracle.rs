//! MiniJinja itself, with its own filters, tests and JSON escaping, as the oracle for what our filters and tests share with it.
//!
//! Ours differ on purpose in `split` without an argument at leading space, `truncate` (MiniJinja has none), what is absent, and
//! numbers read by `int` (a text of decimals is cut).

use super::*;
use minijinja::AutoEscape;

const SAME: &[&str] = &[
    "data.user.given_name | upper",
    "data.reason | lower | title",
    "type | capitalize",
    "'a b-c_d' | title",
    "' x ' | trim",
    "'xyx' | trim('x')",
    "'aaa' | replace('a', 'bb')",
    "data.user.tags | length",
    "data.user.given_name | length",
    "data.user | length",
    "data.user.tags | first",
    "data.user.tags | last",
    "'héé' | first",
    "'héé' | last",
    "data.user.tags | join",
    "data.user.tags | join(', ')",
    "data.changes | join('-', attribute='field')",
    "data.user | items | list",
    "data.user | dictsort",
    "data.user.tags | sort",
    "data.user.tags | sort(reverse=true)",
    "data.changes | sort(attribute='field')",
    "data.user.tags | unique",
    "data.user.tags | reverse | list",
    "data.changes | map(attribute='field') | list",
    "data.changes | map(attribute='old', default='x') | list",
    "[1, 0, '', 'a', none] | select | list",
    "[1, 0, '', 'a', none] | reject | list",
    "[1, 'a', 2.5] | select('string') | list",
    "[1, 'a', 2.5] | reject('number') | list",
    "data.changes | selectattr('old') | map(attribute='field') | list",
    "data.changes | selectattr('field', 'eq', 'title') | length",
    "data.changes | rejectattr('field', 'startingwith', 'd') | length",
    "2.567 | round(2)",
    "2 | round",
    "-2.5 | abs",
    "-2 | abs",
    "'42' | int",
    "3.9 | int",
    "true | int",
    "'1.5' | float",
    "3 | string",
    "'' | bool",
    "'x' | bool",
    "'a,b,,c' | split(',') | list",
    "'a  b c' | split | list",
    "data.nope | default('x')",
    "data.nope | d(1)",
    "'' | default('x', true)",
    "'' | default('x')",
    "none | default('x')",
    "data.user.tags | list",
    "'abc' | list | length if false else 3",
    "data.user | tojson",
    "data.user is mapping",
    "data.user.tags is sequence",
    "1 is number",
    "1 is integer",
    "1.5 is integer",
    "true is boolean",
    "none is none",
    "'x' is string",
    "data.user is defined",
    "data.nope is undefined",
    "1 is in [1, 2]",
    "'a' is in 'abc'",
    "1 is lt 2",
    "2 is ge 2",
    "'a' is ne 'b'",
    "'abc' is startingwith 'a'",
    "'abc' is endingwith('c')",
    "1 is eq 1.0",
    "data.user.level + 1",
    "data.user.level - 1.5",
    "7 // 2",
    "7 % 2",
    "7 / 2",
    "'a' ~ 1 ~ 2.0 ~ true ~ none",
    "1 < 2 < 3",
    "'a' in data.user.tags",
    "'x' not in data.user.tags",
    "data.user.level == 3.0",
    "not data.user",
    "data.nope or data.reason",
    "data.user and 1",
    "[1, 'a', {'k': 2.50}]",
    "{'a': [true, none], 'b': -1}",
    "data.changes[1].field",
    "data['user']['id']",
    "'x' if data.user.level > 2 else 'y'",
    "1e20",
    "-0.0",
    "123456789012345678",
    "data.user.tags == ['b', 'a', 'B']",
    "data.user != payload.data.user",
    "data.changes[0] == data.changes[1]",
    "[1, 2] == [1.0, 2]",
];

#[test]
fn expressions_give_what_minijinja_gives() {
    let mut theirs = minijinja::Environment::new();
    theirs.set_auto_escape_callback(|_| AutoEscape::Json);
    let payload = payload();
    for expression in SAME {
        let text = format!("{{{{ {expression} }}}}");
        let expected = theirs.render_str(&text, plain(&payload)).unwrap_or_else(|error| panic!("{text}: {error}"));
        let expected: serde_json::Value =
            serde_json::from_str(&expected).unwrap_or_else(|error| panic!("{text}: {error}: {expected}"));
        let ours: serde_json::Value =
            serde_json::from_str(&render(&text).unwrap_or_else(|error| panic!("{text}: {error}"))).unwrap();
        assert_eq!(ours, expected, "{text}");
    }
}

/// The payload as MiniJinja's own values.
fn plain(json: &serde_json::Value) -> Value {
    fn convert(json: &serde_json::Value) -> Value {
        match json {
            serde_json::Value::Array(items) => items.iter().map(convert).collect::<Vec<_>>().into(),
            serde_json::Value::Object(members) => members
                .iter()
                .map(|(key, value)| (key.clone(), convert(value)))
                .collect::<std::collections::BTreeMap<_, _>>()
                .into(),
            serde_json::Value::String(text) => text.as_str().into(),
            serde_json::Value::Bool(bool) => (*bool).into(),
            serde_json::Value::Number(number) => number.as_i64().map_or_else(|| number.as_f64().unwrap().into(), Value::from),
            serde_json::Value::Null => ().into(),
        }
    }
    let mut members: std::collections::BTreeMap<String, Value> =
        json.as_object().unwrap().iter().map(|(key, value)| (key.clone(), convert(value))).collect();
    members.insert("payload".to_owned(), convert(json));
    members.into()
}
