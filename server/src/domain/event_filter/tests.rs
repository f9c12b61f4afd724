use super::*;
use serde_json::json;

mod conformance;
mod hostile;
mod oracle;

fn evaluate(filter: &EventFilter, data: &serde_json::Value) -> Result<bool, EvalError> {
    let tags = BTreeMap::from([("source".to_owned(), "hr".to_owned())]);
    filter.evaluate(&Input { event_type: "user.created", tenant: "acme", tags: &tags, data })
}

fn payload() -> serde_json::Value {
    json!({
        "user": {"id": "usr_1", "department": "Sales", "email": "Jane@Acme.test", "level": 3, "manager": null},
        "permissions": [{"id": "p1", "label": "Read"}, {"id": "p2", "label": "Write", "risky": true}],
        "expires_at": "2026-12-01T00:00:00Z", "ratio": 0.5, "secret": "do not quote me",
    })
}

fn says(text: &str) -> Result<bool, EvalError> {
    evaluate(&EventFilter::compile(text).unwrap_or_else(|error| panic!("{text}: {error}")), &payload())
}

#[test]
fn filters_choose_by_type_tags_tenant_and_data() {
    for text in [
        r#"type.startsWith("user.") && has(data.user.department) && data.user.department in ["Sales", "Finance"] && tags.source == "hr""#,
        r#"tenant == "acme" && !has(tags.region)"#,
        "data.permissions.exists(p, has(p.risky) && p.risky)",
        "data.permissions.all(p, p.id.matches('^p[0-9]$')) && data.permissions.exists_one(p, p.label == 'Write')",
        "data.permissions.filter(p, p.id != 'p1').map(p, p.label) == ['Write']",
        "size(data.permissions) == 2 && data.permissions[1].label.size() == 5",
        "data.user.level >= 3 && data.user.level < 3.5 && data.user.level + 1 == 4",
        "timestamp(data.expires_at) - timestamp('2026-11-25T00:00:00Z') == duration('144h')",
        "data.user.email.lowerAscii().endsWith('@acme.test')",
        "data.user.manager == null && 'department' in data.user && data['user']['id'] == 'usr_1'",
        "(data.ratio > 0.4 ? 'much' : 'little') == 'much'",
        "data.permissions.exists(data, data.id == 'p2') && data.user.id == 'usr_1'",
        "data.permissions.exists(a, data.permissions.exists(b, a.id < b.id)) // a comment",
        "data.user == {'id': 'usr_1', 'department': 'Sales', 'email': 'Jane@Acme.test', 'level': 3u, 'manager': null}",
    ] {
        assert_eq!(says(text), Ok(true), "{text}");
        assert_eq!(says(&format!("!({})", text.replace(" // a comment", ""))), Ok(false), "{text}");
    }
}

#[test]
fn either_side_of_a_logical_operator_may_decide_and_absorbs_the_others_error() {
    for (text, answer) in [
        ("data.none == 1 || true", true),
        ("true || data.none == 1", true),
        ("data.none == 1 && false", false),
        ("false && data.none == 1", false),
        ("data.permissions.exists(p, p.risky)", true),
        ("data.permissions.all(p, p.risky && p.id == 'p1')", false),
    ] {
        assert_eq!(says(text), Ok(answer), "{text}");
    }
    assert!(says("data.none == 1 || false").is_err());
    assert!(says("data.permissions.all(p, p.risky)").is_err());
}

#[test]
fn errors_name_paths_and_kinds_and_never_values() {
    for (text, message) in [
        ("data.user.nickname == 'x'", "no such key: `data.user.nickname`"),
        ("data.permissions[7].id == 'x'", "no such key: `data.permissions[7]`"),
        (r#"tags["a-b"] == "x""#, r#"no such key: `tags["a-b"]`"#),
        ("data.secret > 1", "no such overload: string > int"),
        ("data.secret.id == 'x'", "no such overload: `data.secret.id`, as `data.secret` is a string"),
        ("data.user.level && true", "no such overload: &&(int)"),
        ("data.user.level / 0 == 1", "a division by zero in `/`"),
        ("9223372036854775807 + data.user.level == 1", "a number out of range in `+`"),
        ("int(data.secret) == 1", "`int` cannot read this string"),
        ("timestamp(data.secret) > timestamp(0)", "`timestamp` cannot read this string"),
        ("data.secret", "the filter gives a string, not true or false"),
        ("data.permissions.map(p, p.risky) == []", "no such key: `p.risky`"),
    ] {
        let error = says(text).unwrap_err().to_string();
        assert_eq!(error, message, "{text}");
        assert!(!error.contains("quote me"));
    }
}

#[test]
fn what_is_no_filter_is_said_with_its_place() {
    for (text, place, message) in [
        (r#""x""#, (1, 1), "a filter says true or false, and this is a string"),
        ("data", (1, 1), "a filter says true or false, and this is a map"),
        ("tags.source", (1, 5), "a filter says true or false, and this is a string"),
        ("data.permissions.map(p, p.id)", (1, 21), "a filter says true or false, and this is a list"),
        ("true &&\n  user.id == 'x'", (2, 3), "there is no variable `user`; a filter has type, data, tags and tenant"),
        ("'é💡' == tenant && nope", (1, 19), "there is no variable `nope`; a filter has type, data, tags and tenant"),
        ("data.permissions.exists(p, q.id == 'x')", (1, 28), "there is no variable `q`; a filter has type, data, tags and tenant"),
        ("now() > timestamp(0)", (1, 4), "there is no function `now`"),
        ("type.reverse() == 'x'", (1, 13), "there is no function `reverse`"),
        ("startsWith(type, 'x')", (1, 11), "write `value.startsWith(..)`"),
        ("type.contains('a', 'b')", (1, 14), "`contains` has 2 argument(s), with the value before the dot"),
        ("type == 1", (1, 6), "`==` compares a string with an int"),
        ("type.id == 'x'", (1, 5), "a string has no field `id`"),
        ("!type", (1, 2), "`!` takes a bool, and this is a string"),
        ("1 + 1u == 2", (1, 3), "there is no int + uint: numbers of two kinds need int(), uint() or double()"),
        ("data.x == b'a'", (1, 11), "events hold no bytes: write a text"),
        ("data.x.matches(data.y)", (1, 20), "the regular expression of matches() must be a text in quotes"),
        ("data.x.matches('(')", (1, 16), "not a regular expression"),
        (r"data.x.matches(r'\bx')", (1, 16), r"a word boundary is written `(?-u:\b)` here"),
        ("data.x ==", (1, 10), "not a CEL expression"),
        ("'é💡' ==\n 'é💡' == ]", (2, 10), "not a CEL expression"),
        ("data.x == 'a", (1, 11), "a text without its end"),
        ("data.x = 1", (1, 8), "`=` is not allowed here"),
        ("", (1, 1), "not a CEL expression"),
        ("Message{a: 1} == 1", (1, 8), "this is not available in filters"),
        ("((((((((((true))))))))))", (1, 9), "a filter has brackets at most 8 deep"),
    ] {
        let error = EventFilter::compile(text).unwrap_err();
        assert_eq!(((error.line, error.column), error.message.as_str()), (place, message), "{text}");
    }
    let long = format!("type == '{}'", "a".repeat(MAX_BYTES));
    assert_eq!(EventFilter::compile(&long).unwrap_err().message, "a filter has at most 4096 bytes");
    let many = "type != 'a' && ".repeat(160) + "true";
    assert_eq!(EventFilter::compile(&many).unwrap_err().message, "a filter has at most 600 names, literals and operators");
}

#[test]
fn an_explanation_lists_the_paths_it_read_with_their_values() {
    let filter = EventFilter::compile(
        r#"type == "user.created" && has(data.user.nickname) && data.user.level > 2 && data.permissions.exists(p, p.id == tags["source"])
           && data.user.level < 9 && data.permissions[0].label == "Read" && data.big != """#,
    )
    .unwrap();
    let mut data = payload();
    data["big"] = json!("é\"".repeat(100_000));
    let tags = BTreeMap::from([("source".to_owned(), "hr".to_owned())]);
    let explanation = filter.explain(&Input { event_type: "user.created", tenant: "acme", tags: &tags, data: &data });
    assert_eq!(explanation.outcome, Ok(false));
    let (big, values): (Vec<_>, Vec<_>) = explanation.values.into_iter().partition(|(path, _)| path == "data.big");
    let values: Vec<_> = values.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
    assert_eq!(
        values,
        [
            ("type", r#""user.created""#),
            ("data.user.nickname", "(absent)"),
            ("data.user.level", "3"),
            ("data.permissions", r#"[{"id":"p1","label":"Read"},{"id":"p2","label":"Write","risky":true}]"#),
            (r#"tags["source"]"#, r#""hr""#),
            ("data.permissions[0].label", r#""Read""#),
        ]
    );
    assert_eq!(big[0].1.chars().count(), MAX_SHOWN);
    assert!(big[0].1.starts_with("\"é\\\"é") && big[0].1.ends_with('…'));
}

#[test]
fn a_typical_filter_takes_a_thousandth_of_its_fuel_and_clones_share_it() {
    let text = r#"type.startsWith("user.") && has(data.user.department) && data.user.department in ["Sales", "Finance"]"#;
    let filter = EventFilter::compile(text).unwrap();
    let tags = BTreeMap::new();
    let data = payload();
    let input = Input { event_type: "user.created", tenant: "acme", tags: &tags, data: &data };
    let (outcome, fuel) = eval::run(&filter.0, &input, FUEL);
    assert_eq!(outcome, Ok(true));
    assert!(fuel <= FUEL / 1000, "{fuel}");
    assert_eq!(eval::run(&filter.0, &input, fuel - 1).0, Err(EvalError::OutOfFuel));
    assert!(Arc::ptr_eq(&filter.0, &filter.clone().0));
    assert_eq!(format!("{filter:?}"), format!("EventFilter({text:?})"));
}

#[test]
fn running_out_of_fuel_is_never_absorbed() {
    let data = json!({"items": vec![1; 100_000]});
    for text in [
        "data.items.all(x, true) || true",
        "true == data.items.all(x, true) || true",
        "data.items.exists(x, false) == true || true",
    ] {
        let filter = EventFilter::compile(text).unwrap();
        assert_eq!(evaluate(&filter, &data), Err(EvalError::OutOfFuel), "{text}");
    }
}
