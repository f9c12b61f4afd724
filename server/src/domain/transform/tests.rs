use super::*;
use serde_json::json;

mod hostile;
mod oracle;
mod recipes;

fn payload() -> serde_json::Value {
    json!({
        "id": "evt_1", "type": "user.terminated", "timestamp": "2026-11-25T09:00:00.999Z", "data": {
            "user": {"id": "usr_1", "given_name": "Jane \"J\"", "email": "jane@acme.test", "tags": ["b", "a", "B"], "level": 3, "manager": null},
            "changes": [{"field": "department", "old": "Sales", "new": "Marketing"}, {"field": "title", "new": "Boss"}],
            "reason": "voluntary", "ratio": 2.5, "secret": "do not quote me",
        },
    })
}

fn render(text: &str) -> Result<String, String> {
    let transform = Transform::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    transform.render(&payload()).map(|body| String::from_utf8(body.to_vec()).unwrap()).map_err(|error| error.to_string())
}

fn check(cases: &[(&str, &str)]) {
    for (text, body) in cases {
        assert_eq!(render(text).as_deref(), Ok(*body), "{text}");
    }
}

#[test]
fn values_are_printed_as_json_and_cannot_leave_their_place() {
    check(&[
        (r#"{"text": {{ "Left: " ~ data.user.given_name }} }"#, r#"{"text": "Left: Jane \"J\"" }"#),
        (
            r#"[{{ type }}, {{ data.user.level }}, {{ data.ratio }}, {{ data.user.manager }}, {{ true }}]"#,
            r#"["user.terminated", 3, 2.5, null, true]"#,
        ),
        ("{{ data.changes }}", r#"[{"field":"department","new":"Marketing","old":"Sales"},{"field":"title","new":"Boss"}]"#),
        (r#"{{ {"a": type, "b": [1, data.user.level]} }}"#, r#"{"a":"user.terminated","b":[1,3]}"#),
        ("  {{ payload.data.reason }}\n\n", r#""voluntary""#),
        ("{{ data.reason | tojson }}", r#""voluntary""#),
        (r#"{{ "tags: " ~ data.user.tags }}"#, r#""tags: [\"b\",\"a\",\"B\"]""#),
        (r#"{{ "a\u0001b\\" ~ "/é💡" }}"#, r#""a\u0001b\\/é💡""#),
    ]);
}

#[test]
fn statements_and_operators_work() {
    check(&[
        (
            "[{% for change in data.changes %}{{ change.field }}{% if not loop.last %},{% endif %}{% endfor %}]",
            r#"["department","title"]"#,
        ),
        ("[{% for key, value in data.user | items if value is string %}{{ loop.index }},{% endfor %}0]", "[1,2,3,0]"),
        (r#"{% set table = {"user.terminated": "critical"} %}{{ table[type] | default("info") }}"#, r#""critical""#),
        (r#"{% set table = {"a": 1} %}{{ table[type] | default("info") }}"#, r#""info""#),
        (r#"{% with who = data.user %}{{ who.email }}{% endwith %}"#, r#""jane@acme.test""#),
        ("{% if data.user.level > 2 and type is startingwith(\"user.\") %}1{% elif true %}2{% else %}3{% endif %}", "1"),
        ("{{ data.user.level + 1 }}", "4"),
        ("{{ (data.user.level | int) * 2 - 1 }}", "5"),
        (r#"{{ "much" if data.ratio > 2 else "little" }}"#, r#""much""#),
        (r#"{{ "Jane" in data.user.given_name and "a" in data.user.tags and "x" not in ["y", type] }}"#, "true"),
        ("{{ data.changes[0].old }}", r#""Sales""#),
        (r#"{{ data.changes | last | attr("fie" ~ "ld") }}"#, r#""title""#),
        ("{# a comment #}{{ 1 }}{%- raw %} {%- endraw %}", "1"),
        ("{{ payload.data.user == data.user and data.user != data.changes[0] }}", "true"),
    ]);
}

#[test]
fn filters_work() {
    check(&[
        ("{{ data.reason | upper ~ (type | title) ~ (\"ABC\" | lower | capitalize) }}", r#""VOLUNTARYUser.terminatedAbc""#),
        ("{{ \" a \" | trim ~ (\"xax\" | trim(\"x\")) ~ (\"aXa\" | replace(\"X\", \"-\")) }}", r#""aaa-a""#),
        ("{{ \"abcdef\" | truncate(4) ~ (\"abc\" | truncate(3)) ~ (\"abcdef\" | truncate(4, \"..\")) }}", r#""abc…abcab..""#),
        ("{{ \"a b&c/d\" | urlencode }}", r#""a%20b%26c/d""#),
        ("{{ \"<!here> & you\" | mrkdwn }}", r#""&lt;!here&gt; &amp; you""#),
        ("{{ timestamp | epoch }}", "1795597200"),
        ("[{{ data.user.tags | length }},{{ type | count }},{{ data.user.tags | first }},{{ type | last }}]", r#"[3,15,"b","d"]"#),
        (r#"{{ data.changes | map(attribute="old", default="none") | join(", ") }}"#, r#""Sales, none""#),
        (r#"{{ [data.user.id, none, data.user.email] | select | join(" ") }}"#, r#""usr_1 jane@acme.test""#),
        (r#"{{ data.changes | selectattr("old", "defined") | map(attribute="field") | list }}"#, r#"["department"]"#),
        (r#"{{ data.changes | rejectattr("field", "eq", "title") | join("", attribute="new") }}"#, r#""Marketing""#),
        (
            "[{{ data.user.tags | sort }},{{ data.user.tags | unique }},{{ data.user.tags | reverse }}]",
            r#"[["a","b","B"],["b","a"],["B","a","b"]]"#,
        ),
        (r#"{{ data.changes | sort(attribute="field", reverse=true) | map(attribute="field") }}"#, r#"["title","department"]"#),
        (
            "[{{ 2.567 | round(1) }},{{ -3 | abs }},{{ \"42\" | int }},{{ \"x\" | int(7) }},{{ \"1.5\" | float }},{{ 3 | string }},{{ 0 | bool }}]",
            r#"[2.6,3,42,7,1.5,"3",false]"#,
        ),
        ("{{ \"a,b\" | split(\",\") | dictsort if false else (\"a b\" | split) }}", r#"["a","b"]"#),
        ("{{ data.user | items | map(attribute=\"0\") | first }}", r#""email""#),
    ]);
}

#[test]
fn what_is_absent_can_have_a_default_and_is_else_named() {
    check(&[
        (r#"{{ data.manager.email | default("nobody") }}"#, r#""nobody""#),
        (r#"{{ data.user.nickname | default(data.user.alias) | default(data.user.id) }}"#, r#""usr_1""#),
        (r#"{{ data.user.manager | default("x", true) }}"#, r#""x""#),
        (r#"{% if data.manager %}1{% elif data.manager.email is undefined and data.user is defined %}2{% endif %}"#, "2"),
        (r#"{{ data.changes[9].field | default("-") }}"#, r#""-""#),
        (r#"{{ data.user.id.more | default("-") }}"#, r#""-""#),
    ]);
    for (text, message) in [
        (
            "{\n\"a\": {{ data.user.nickname }} }",
            "line 2: `data.user.nickname` is absent: give it a `| default(..)` or ask `is defined`",
        ),
        ("{{ data.manager.email }}", "line 1: `data.manager` is absent: give it a `| default(..)` or ask `is defined`"),
        ("{{ dta.user }}", "line 1: `dta` is absent: give it a `| default(..)` or ask `is defined`"),
        ("{{ \"Hi \" ~ data.user.nickname }}", "`data.user.nickname` is absent: give it a `| default(..)` or ask `is defined`"),
        ("{% for x in data.itmes %}{% endfor %}", "line 1: `data.itmes` is absent: give it a `| default(..)` or ask `is defined`"),
        ("{{ data.changes[9].field }}", "line 1: `changes[9]` is absent: give it a `| default(..)` or ask `is defined`"),
        (
            "{{ data.user.nickname | upper }}",
            "line 1: `data.user.nickname` is absent: give it a `| default(..)` or ask `is defined`",
        ),
        ("{{ data.user.nickname + 1 }}", "line 1: tried to use + operator on unsupported types an absent value and number"),
    ] {
        assert_eq!(render(text), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn errors_of_rendering_quote_no_value() {
    for (text, message) in [
        ("{{ data.secret - 1 }}", "line 1: tried to use - operator on unsupported types string and number"),
        ("{{ data.secret | int }}", "line 1: `int` cannot read this string: it takes a default, int(0)"),
        ("{{ data.secret | epoch }}", "line 1: `epoch` takes a time such as 2026-11-25T09:00:00Z"),
        ("{{ data.user.level / 0 }}", "line 1: a number is out of range, or divided by zero"),
        ("{% for a, b in data.changes %}{% endfor %}", "line 1: the loop has another number of names than its items have values"),
        ("{% for a in data.user.level %}{% endfor %}", "line 1: number is not iterable"),
        ("{{ data.secret | sort }}", "line 1: this filter takes a list, not a string"),
        ("{{ data.changes | sort }}", "line 1: `sort` compares texts and numbers: name an attribute of the items"),
        ("{{ data.changes | join(1, 2, 3) }}", "line 1: a filter or test has other arguments than these"),
        ("{{ (data.secret | tojson) ~ (data.secret | tojson) }}", "line 1: what `tojson` gives stands alone"),
        ("{{ 1e308 * 10 }}", "line 1: a number is out of range"),
        ("", "the template makes an empty body"),
        (
            "{\"a\": {{ data.secret }},}",
            "the body is no JSON at its line 1, column 25: look for a comma too many or too few; `{{ }}` prints texts with their quotes",
        ),
        (
            "{{ data.secret }}{{ data.secret }}",
            "the body is no JSON at its line 1, column 18: look for a comma too many or too few; `{{ }}` prints texts with their quotes",
        ),
    ] {
        let error = render(text).unwrap_err();
        assert_eq!(error, message, "{text}");
        assert!(!error.contains("quote me"));
    }
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    assert_eq!(render(&deep), Err("the body is nested more than 64 deep".to_owned()));
    assert!(render(&deep[1..129]).is_ok());
    let wide = format!("[{}1]", "{% for x in data.changes %}{{ data.secret }},{% endfor %}".repeat(10));
    assert!(render(&wide).is_ok());
}

#[test]
fn what_is_no_template_is_said_with_its_place() {
    for (text, line, column, message) in [
        ("{\n \"a\": \"{{ type }}\"}", 2, Some(11), "`{{ }}` prints texts with their quotes"),
        ("{\"a\": \"x{% if type %}{{ type }}{% endif %}\"}", 1, Some(25), "`{{ }}` prints texts with their quotes"),
        ("{% if type %}\"x{% else %}\"y{% endif %}\"", 1, Some(4), "a text of the body must begin and end within one block"),
        ("{% for x in data %}\"{% endfor %}", 1, Some(4), "a text of the body must begin and end within one block"),
        ("{\"a\": \"x}", 1, None, "a text of the body has no end"),
        ("{{ type | nope }}", 1, Some(11), "there is no filter `nope`"),
        ("{{ type | safe }}", 1, Some(11), "there is no filter `safe`"),
        ("{{ type is nope }}", 1, Some(12), "there is no test `nope`"),
        ("{{ data | select(\"nope\") }}", 1, Some(11), "there is no test `nope`"),
        ("{{ now() }}", 1, Some(4), "there are no functions and methods"),
        ("{{ range(9) }}", 1, Some(4), "there are no functions and methods"),
        ("{{ type.upper() }}", 1, Some(8), "there are no functions and methods"),
        ("{% for x in data recursive %}{{ loop(x) }}{% endfor %}", 1, Some(4), "loops are not recursive here"),
        ("\n{% set a = [data, data] %}1", 2, Some(12), "a name cannot hold a list or map made of variables"),
        ("{% set a = [data] | select %}1", 1, Some(21), "a name cannot hold a list or map made of variables"),
        ("{% set a = {\"a\": data} if type else 1 %}1", 1, Some(10), "a name cannot hold a list or map made of variables"),
        ("{% set a = nope | default([data]) %}1", 1, Some(19), "a name cannot hold a list or map made of variables"),
        ("{% with a = (data, data) %}1{% endwith %}", 1, Some(13), "a name cannot hold a list or map made of variables"),
        ("{% for x in [[data]] %}1{% endfor %}", 1, Some(13), "a loop may not go over a list of made lists"),
        ("{{ [data] ~ type }}", 1, Some(4), "a list cannot be joined to a text"),
        ("{% set a %}x{% endset %}1", 1, Some(4), "write `{% set name = value %}`"),
        ("{% filter upper %}x{% endfilter %}", 1, Some(4), "filters apply to values, not to blocks"),
        ("{% autoescape false %}x{% endautoescape %}", 1, Some(4), "escaping is always that of JSON"),
        ("{{ type + type }}", 1, Some(4), "`+` adds numbers"),
        ("{{ type * 3 }}", 1, Some(4), "`*` multiplies numbers"),
        ("{{ \"a\" * 1000000000 }}", 1, Some(4), "`*` multiplies numbers"),
        ("{{ 2 ** 3 }}", 1, Some(4), "there is no `**`"),
        ("{{ type[1:] }}", 1, Some(4), "there are no slices"),
        ("{{ data[type] }}", 1, Some(4), "an index is a constant here"),
        ("{{ data[-1] }}", 1, Some(4), "an index is a constant here"),
        ("{% set t = {\"a\": 1} %}{% set t = data %}{{ t[type] }}", 1, Some(44), "an index is a constant here"),
        ("{{ data | map(\"upper\") }}", 1, Some(11), "`map` is written map(attribute=\"name\")"),
        ("{{ data | map(attribute=\"a\", default=data) }}", 1, Some(11), "`map` is written map(attribute=\"name\")"),
        ("{{ data | default(*data) }}", 1, Some(11), "arguments are written one by one"),
        ("{% include \"x\" %}", 1, None, "unknown statement include"),
        ("{% macro a() %}{% endmacro %}", 1, None, "unknown statement macro"),
        ("{{ 1", 1, None, "unexpected end of input"),
        ("{% if type %}", 1, None, "unexpected end of input"),
        ("{{ ((((((((((((((1)))))))))))))) }}", 1, None, "a tag has brackets at most 12 deep"),
    ] {
        let error = Transform::compile(text).unwrap_err();
        assert!(error.message.starts_with(message), "{text}: {error}");
        assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
    }
    let long = " ".repeat(MAX_BYTES + 1);
    assert_eq!(Transform::compile(&long).unwrap_err().message, "a template has at most 65536 bytes");
    assert!(Transform::compile(&format!("{}1", " ".repeat(MAX_BYTES - 1))).is_ok());
}

#[test]
fn the_largest_payload_can_be_printed_once_and_the_largest_body_made() {
    let items: Vec<_> =
        (0..2500).map(|n| json!({"field": format!("name {n:06}"), "old": "a \"quoted\" text", "new": [n, true, null]})).collect();
    let mut largest = payload();
    largest["data"]["changes"] = json!(items);
    let mut text = largest.to_string();
    assert!(text.len() < 256 * 1024);
    largest["data"]["filler"] = json!("x".repeat(256 * 1024 - text.len()));
    text = largest.to_string();
    let body = Transform::compile("{\"event\": {{ payload }}, \"id\": {{ id }} }").unwrap().render(&largest).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["event"].to_string(), text);
    let filler = |bytes: usize| json!({"a": "x".repeat(bytes)});
    let four = Transform::compile("{{ a }}").unwrap();
    assert_eq!(four.render(&filler(MAX_BODY_BYTES - 2)).map(|body| body.len()), Ok(MAX_BODY_BYTES));
    assert_eq!(four.render(&filler(MAX_BODY_BYTES - 1)).unwrap_err().message, "the body is over 1048576 bytes");
}

#[test]
fn a_rendering_repeats_and_clones_share_the_template() {
    let transform = Transform::compile("{{ payload }}").unwrap();
    let first = transform.render(&payload()).unwrap();
    assert_eq!(transform.clone().render(&payload()).unwrap(), first);
    assert!(Arc::ptr_eq(&transform.0, &transform.clone().0));
    assert_eq!(format!("{transform:?}"), "Transform");
}
