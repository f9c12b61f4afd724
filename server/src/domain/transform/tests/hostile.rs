//! What hostile tenants may write: none of it panics, overflows a stack, takes long or makes much.

use std::time::{Duration, Instant};

use super::*;
use proptest::prelude::*;

/// For a debug build on a busy machine. A release build takes a tenth of a second at most.
const PATIENCE: Duration = Duration::from_secs(4);

/// Payloads of 256 KiB, each bad for something.
fn payloads() -> Vec<(&'static str, serde_json::Value)> {
    let half = "a".repeat(125_000);
    let few: Vec<_> = (0..200).collect();
    vec![
        ("numbers", json!({"items": (0..40_000).collect::<Vec<_>>(), "a": "x", "b": "y"})),
        ("empty lists", json!({"items": vec![json!([]); 80_000], "a": "x", "b": "y"})),
        ("maps", json!({"items": vec![json!({"a": 1}); 25_000], "a": {"x": 1}, "b": {"x": 1}})),
        ("two texts", json!({"items": few, "a": half, "b": half})),
        ("two lists", json!({"items": few, "a": [vec![vec![1]; 30_000]], "b": [vec![vec![1]; 30_000]]})),
        ("control letters", json!({"items": few, "a": "\u{1}".repeat(40_000), "b": "\"".repeat(100_000)})),
        ("unicode", json!({"items": few, "a": "ŉ\u{10348}".repeat(40_000), "b": "ﬃ"})),
    ]
}

/// Within three loops over all items.
const IN_LOOPS: &[&str] = &[
    "",
    "{{ a }}",
    "{{ a == b }}",
    "{% if a < b or a < b or a < b %}{% endif %}",
    "{% if a in b or b in a %}{% endif %}",
    "{% if a in items %}{% endif %}",
    "{% set q = a ~ b %}",
    "{% if a | title | urlencode %}{% endif %}",
    "{% if a[255] %}{% endif %}",
    "{% if a | replace('a', 'bb') %}{% endif %}",
    "{% if items | tojson %}{% endif %}",
    "{% if items | join(a) %}{% endif %}",
    "{% if a | split('a') %}{% endif %}",
    "{% if items ~ '' %}{% endif %}",
    "{% if (items | list) ~ '' %}{% endif %}",
    "{% if a is containing 'aaaaaaaab' %}{% endif %}",
    "{% if items | select('eq', a) %}{% endif %}",
    "{% if [a, b, a, b] == [b, a, b, a] %}{% endif %}",
    "{% if nope.x.y %}{% endif %}",
    "{% if a | truncate(200000) %}{% endif %}",
    "{% for c in a %}{% endfor %}",
    "{% with q = a ~ a %}{{ q }}{% endwith %}",
    "{% if items | unique %}{% endif %}",
    "{% if a | int(0) %}{% endif %}",
];

fn alone() -> Vec<String> {
    let many = |text: &str, times: usize| text.repeat(times);
    vec![
        format!("{}{{{{ a }}}}", many("{% set a = a ~ a %}", 2000)),
        format!("{{% set a = 'aaaaaaaaaaaaaaaa' %}}{}1", many("{% set a = a ~ a ~ a ~ a %}", 2000)),
        format!("{}{{{{ items }}}}", many("{% set items = items | list %}", 2000)),
        format!("{}1", many("{% set items = items | items %}", 2000)),
        "{% for x in items %}{% set a = a ~ 'x' %}{% endfor %}1".to_owned(),
        "{% for x in items %}{{ payload }}{% endfor %}".to_owned(),
        format!("[{}]", many("{{ payload }},", 4000)),
        format!("{{{{ [{}] }}}}", many("payload,", 140)),
        format!("{{{{ [{}] | tojson }}}}", many("payload,", 140)),
        format!("{{{{ [{}] | join }}}}", many("payload,", 140)),
        format!("{{{{ [{}] | sort }}}}", many("a,b,", 70)),
        format!("{{{{ [{}] == [{}] }}}}", many("a,", 70), many("b,", 70)),
        format!("{{{{ {} }}}}", ["payload"; 140].join(" ~ ")),
        format!("{{{{ {} }}}}", ["payload"; 140].join(" == ")),
        format!("{{{{ a{} }}}}", many(" | tojson", 140)),
        format!("{{{{ a | replace('a', '{}') }}}}", many("b", 60_000)),
    ]
}

#[test]
fn no_rendering_takes_or_makes_much_whatever_the_payload() {
    let loops = |body: &&str| format!("{0}{0}{0}{body}{1}{1}{1}", "{% for x in items %}", "{% endfor %}");
    let (mut slowest, mut spent) = ((Duration::ZERO, String::new()), 0);
    for text in IN_LOOPS.iter().map(loops).chain(alone()) {
        let transform = Transform::compile(&text).unwrap_or_else(|error| panic!("{text:.200}: {error}"));
        for (name, payload) in payloads() {
            let begun = Instant::now();
            match transform.render(&payload) {
                Ok(body) => assert!(body.len() <= MAX_BODY_BYTES),
                Err(error) => spent += usize::from(error.message == TOO_MUCH),
            }
            if begun.elapsed() > slowest.0 {
                slowest = (begun.elapsed(), format!("{name}: {text:.160}"));
            }
        }
    }
    println!("slowest to render: {slowest:?}");
    assert!(slowest.0 < PATIENCE && spent > 100, "{slowest:?} {spent}");
}

#[test]
fn hostile_templates_are_refused_or_compiled_quickly_on_a_small_stack() {
    let mut texts = Vec::new();
    for times in [10usize, 31, 100, 290, 2000] {
        let many = |text: &str| text.repeat(times);
        texts.extend([
            format!("{{{{ {}a{} }}}}", many("("), many(")")),
            format!("{{{{ {}{} }}}}", many("["), many("]")),
            format!("{{{{ {}1 }}}}", many("not ")),
            format!("{{{{ {}1 }}}}", many("-")),
            format!("{{{{ a{} }}}}", many(".a")),
            format!("{{{{ a{} }}}}", many("|trim")),
            format!("{{{{ 1{} }}}}", many("+1")),
            format!("{{{{ a {}}}}}", many("if a else a ")),
            format!("{{{{ a {}}}}}", many("is defined ")),
            format!("{}1{}", many("{% if a %}"), many("{% endif %}")),
            format!("{}1{}", many("{% for x in a %}"), many("{% endfor %}")),
            format!("{}1{}", many("{% with x = a %}"), many("{% endwith %}")),
            format!("{{% if a %}}{}{{% endif %}}", many("{% elif a %}")),
            format!("{{% set {} = 1 %}}", many("(a,")),
            many("{{"),
            many("{% if a %}"),
            many("{# #}"),
            many("{% raw %}"),
            many("\""),
            many("{{ \"a\" "),
            "\n".repeat(times * 30),
            format!("{}{{{{ a", "\n".repeat(times * 30)),
        ]);
    }
    #[allow(clippy::disallowed_methods, reason = "the stack is what is tested")]
    let slowest = std::thread::Builder::new()
        .stack_size(if cfg!(debug_assertions) { 2 << 20 } else { 512 << 10 })
        .spawn(move || {
            texts
                .into_iter()
                .map(|text| {
                    let begun = Instant::now();
                    let _ = Transform::compile(&text).map(|transform| transform.render(&json!({"a": [1]})));
                    (begun.elapsed(), format!("{text:.60}"))
                })
                .max()
        })
        .unwrap()
        .join()
        .unwrap()
        .unwrap();
    println!("slowest to compile: {slowest:?}");
    assert!(slowest.0 < PATIENCE, "{slowest:?}");
}

#[test]
fn what_the_engine_does_unasked_is_metered() {
    let nested = json!([vec![vec![1]; 20_000]]);
    let payload = json!({"items": (0..200).collect::<Vec<_>>(), "a": nested, "b": nested});
    let often = |body: &str| format!("{{% for x in items %}}{body}{{% endfor %}}1");
    for body in
        ["{% if a == b %}{% endif %}", "{% if a < b %}{% endif %}", "{% if a in [b] %}{% endif %}", "{% if a is eq b %}{% endif %}"]
    {
        let error = Transform::compile(&often(body)).unwrap().render(&payload).unwrap_err();
        assert_eq!(error.message, TOO_MUCH, "{body}");
    }
    assert!(Transform::compile("{{ a == b }}").unwrap().render(&payload).is_ok());
}

fn token() -> impl Strategy<Value = String> {
    let words = "{{ }} {% %} {%- -%} {# #} data type payload a loop if elif else endif for in endfor set with endwith not and or is defined default ( ) [ ] { } , : . | ~ + - * / \
                 // % == != < ** = true none 1 2.5 1e99 99999999999999999999999999999999999999999 'x' \"y\" \" \\ upper join items
                 // map attribute raw endraw filter endfilter x y";
    let words = words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    prop_oneof![12 => prop::sample::select(words), 1 => ".{0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)))]

    #[test]
    fn any_tokens_are_read_and_rendered_without_a_panic(tokens in prop::collection::vec(token(), 0..40), tight in any::<bool>()) {
        let text = tokens.join(if tight { "" } else { " " });
        match Transform::compile(&text) {
            Ok(transform) => {
                if let Ok(body) = transform.render(&payload()) {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
                }
            }
            Err(error) => prop_assert!(error.line >= 1 && !error.message.is_empty()),
        }
    }

    #[test]
    fn any_expression_is_rendered_without_a_panic(tokens in prop::collection::vec(token(), 1..12)) {
        let tokens: Vec<_> = tokens.iter().filter(|token| !token.contains(['{', '}', '%', '#'])).map(String::as_str).collect();
        if let Ok(transform) = Transform::compile(&format!("{{{{ {} }}}}", tokens.join(" "))) {
            let _ = transform.render(&payload());
        }
    }

    #[test]
    fn any_text_survives_its_way_into_the_body(text in ".{0,60}") {
        let body = Transform::compile("[{{ a }}, {{ 'x' ~ a }}, {{ [a] }}, {{ {a: 1} }}]").unwrap().render(&json!({"a": text})).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(body, json!([text, format!("x{text}"), [text], {text.as_str(): 1}]));
    }
}
