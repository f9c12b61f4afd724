//! What hostile tenants may write: none of it panics, overflows a stack or takes long.

use std::time::{Duration, Instant};

use super::*;
use proptest::prelude::*;

/// For a debug build on a busy machine. A release build takes 1.5 ms at most.
const PATIENCE: Duration = Duration::from_millis(500);

/// A quarter of what a thread of the server has. The parser's frames are large in debug builds.
fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    #[allow(clippy::disallowed_methods, reason = "the stack is what is tested")]
    std::thread::Builder::new()
        .stack_size(if cfg!(debug_assertions) { 3 << 20 } else { 512 << 10 })
        .spawn(work)
        .unwrap()
        .join()
        .unwrap()
}

fn nested(open: &str, close: &str, middle: &str, times: usize) -> String {
    format!("{}{middle}{}", open.repeat(times), close.repeat(times))
}

fn hostile_texts() -> Vec<String> {
    let mut texts = Vec::new();
    for times in [10, 15, 16, 17, 60, 300, 2000] {
        texts.extend([
            nested("(", ")", "true", times),
            nested("[", "]", "1", times),
            nested("{1:", "}", "1", times),
            nested("dyn(", ")", "true", times),
            nested("true ? ", " : false", "true", times),
            format!("{}true", "true ? true : ".repeat(times)),
            format!("{}true", "!".repeat(times)),
            format!("{}1 == 1", "-".repeat(times)),
            format!("{}true", "true && ".repeat(times)),
            format!("{}true", "true || false && ".repeat(times)),
            format!("1{} == 1", "+1".repeat(times)),
            format!("1{}", "<1".repeat(times)),
            format!("data{} == 1", ".a".repeat(times)),
            format!("data{} == 1", "[0]".repeat(times)),
            format!("data{} == 1", ".size()".repeat(times)),
            format!("a.b.c{{{}}}", "x:1,".repeat(times)),
            nested("data.all(x, ", ")", "true", times),
            nested("data.map(x, x.filter(y, ", "))", "true", times),
            format!("type in [{}]", "\"a\",".repeat(times)),
            "a ".repeat(times),
            "? ".repeat(times),
            "{ ".repeat(times),
            "}".repeat(times),
            "\"\"\"".repeat(times),
            ".".repeat(times),
            format!("{}true", "[".repeat(times)),
            format!("data.matches('{}')", "(a*)*".repeat(times.min(400))),
            format!("data.matches('{}')", "[\\\\w\\\\d]{1000}".repeat(times.min(100))),
            format!("data.matches('(a|b)*a(a|b){{{times}}}')"),
            format!("has({})", "a.".repeat(times)),
        ]);
    }
    texts
}

#[test]
fn hostile_filters_are_refused_or_compiled_quickly_on_a_small_stack() {
    let slowest = on_a_small_stack(|| {
        let mut slowest = (Duration::ZERO, String::new());
        for text in hostile_texts() {
            let begun = Instant::now();
            if let Ok(filter) = EventFilter::compile(&text) {
                let _ = evaluate(&filter, &json!({"a": [[1]]}));
            }
            if begun.elapsed() > slowest.0 {
                slowest = (begun.elapsed(), text);
            }
        }
        slowest
    });
    println!("slowest to compile: {:?} for {:.60}", slowest.0, slowest.1);
    assert!(slowest.0 < PATIENCE, "{slowest:?}");
}

/// Payloads of 256 KiB, each bad for something.
fn hostile_payloads() -> Vec<(&'static str, serde_json::Value)> {
    let big = "a".repeat(250_000);
    let half = "a".repeat(125_000);
    vec![
        ("numbers", json!({"items": (0..60_000).collect::<Vec<_>>()})),
        ("empty lists", json!({"items": vec![json!([]); 60_000]})),
        ("texts", json!({"items": vec![json!("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"); 4000]})),
        ("one text", json!({"items": [1, 2, 3, 4, 5, 6, 7, 8], "a": big, "b": "b"})),
        ("two texts", json!({"items": (0..1000).collect::<Vec<_>>(), "a": half, "b": half})),
        ("two lists", json!({"items": (0..1000).collect::<Vec<_>>(), "a": vec![1; 40_000], "b": vec![1; 40_000]})),
        ("long keys", {
            let members = (0..120).map(|n| (format!("{}{n}", "k".repeat(2000)), json!(n))).collect::<serde_json::Map<_, _>>();
            json!({"items": (0..1000).collect::<Vec<_>>(), "a": members, "b": members})
        }),
        ("many keys", {
            let members = (0..14_000).map(|n| (format!("key{n}"), json!(n))).collect::<serde_json::Map<_, _>>();
            json!({"items": members, "a": members, "b": members})
        }),
        ("unicode", json!({"items": (0..1000).collect::<Vec<_>>(), "a": "\u{10348}".repeat(60_000), "b": "é"})),
    ]
}

const COSTLY: &[&str] = &[
    "data.items.all(x, data.items.all(y, data.items.all(z, true)))",
    "data.items.all(x, data.items.exists(y, y == x))",
    "data.items.map(x, data.items.map(y, y)).size() == 1",
    "data.items.map(x, data.items.map(y, [x, y, [x, y]])) == data.items.map(x, data.items.map(y, [x, y, [x, y]]))",
    "data.items.all(x, data.a == data.b)",
    "data.items.all(x, !(data.a < data.b))",
    "data.items.all(x, data.a.contains(data.b) || true)",
    "data.items.all(x, data.a.contains('aaaaaaaaaaaaaaaaaaaaaaaaaaab') || true)",
    "data.items.all(x, data.a.matches('(a|b|ab)*c') || true)",
    "data.items.all(x, data.a.matches('(?i)^.*x.*y$') || true)",
    "data.items.all(x, (data.a + data.a + data.a).size() > 0)",
    "data.items.map(x, data.a + data.b).size() > 0",
    "data.items.all(x, data.a.size() > 0)",
    "data.items.all(x, data.a.lowerAscii() == data.a.upperAscii() || true)",
    "data.items.all(x, x in data.items)",
    "data.items.all(x, data.a[x] == data.b[x])",
    "(data.items + data.items + data.items + data.items).size() > 0",
    "data.items.all(x, (data.items + data.items) != [])",
    "data.items.map(x, data.items + data.items).size() > 0",
    "data.items.all(x, string(x) == 'a' || double(string(1.0e300)) > 1.0 || true)",
    "data.items.all(x, timestamp('2026-11-25T09:00:00.123456789Z') + duration('1h2m3.5s') > timestamp(0))",
    "data.items.all(x, string(timestamp(0) + duration('1ms')) != string(duration('1ms')))",
    "data.items.all(x, {'a': x, 'b': x, 'c': x, 'd': x, 'e': x, 'f': x}['f'] == x)",
    "data.items.all(x, [x, x, x, x, x, x, x, x][7] == x)",
    "data.items.all(x, data.foo == 1 || x.foo == 1 || true)",
];

#[test]
fn no_filter_takes_more_than_its_share_whatever_the_payload() {
    let mut all = Vec::new();
    for (name, data) in hostile_payloads() {
        for text in COSTLY {
            let filter = EventFilter::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let begun = Instant::now();
            let outcome = evaluate(&filter, &data);
            all.push((begun.elapsed(), name, *text, outcome));
        }
    }
    all.sort_by_key(|(elapsed, ..)| std::cmp::Reverse(*elapsed));
    for (elapsed, name, text, outcome) in all.iter().take(12) {
        println!("{elapsed:?} {name}: {text} -> {outcome:?}");
    }
    assert!(all[0].0 < PATIENCE, "{:?}", all[0]);
    assert!(all.iter().any(|(.., outcome)| *outcome == Err(EvalError::OutOfFuel)));
}

#[test]
fn every_byte_looked_at_costs_fuel() {
    let data = json!({"a": "a".repeat(64_000), "b": "a".repeat(64_000), "c": vec![1; 1000], "d": vec![1; 1000], "e": {"k".repeat(64_000): 1}});
    let tags = BTreeMap::new();
    let input = Input { event_type: "a.b", tenant: "t", tags: &tags, data: &data };
    for (text, least) in [
        ("data.a == data.b", 1000),
        ("data.a <= data.b", 1000),
        ("data.a in [data.b]", 1000),
        ("data.a.contains('b')", 8000),
        ("data.a.matches('b')", 8000),
        ("data.a.startsWith(data.b)", 1000),
        ("size(data.a) > 0", 1000),
        ("data.a.lowerAscii() != ''", 1000),
        ("data.a + data.b != ''", 2000),
        ("data.c == data.d", 1000),
        ("data.c + data.d != []", 4000),
        ("2 in data.c", 1000),
        ("data.c.map(x, x) != []", 2000),
        ("data.e[data.a] == 1 || true", 1000),
        ("data.e.all(k, k == data.a) || true", 1000),
        ("[1, 2, 3, 4, 5, 6, 7, 8] != []", 16),
    ] {
        let filter = EventFilter::compile(text).unwrap();
        let (outcome, fuel) = super::eval::run(&filter.0, &input, FUEL);
        assert!(outcome.is_ok() && fuel >= least, "{text}: {outcome:?}, {fuel}");
    }
}

fn token() -> impl Strategy<Value = String> {
    let words = "type data tags tenant x items true false null in has all exists exists_one map filter size int matches timestamp duration \
                 && || ! == != < <= > >= + - * / % ? : ( ) [ ] { } . , 1 2u 1.5 0x1f -1 1e400 9223372036854775808 as for @result .type \
                 data.items data.a (x, , // ` a.b{c:1}";
    let words = words.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let literals = r#""a" 'b' r"\d" """c""" '''d''' b"x" "\ud800" "\377" "\x4" '\\' "\U0001f600" "\U00110000" "é" "\q" '"#;
    let literals = literals.split(' ').map(str::to_owned).collect::<Vec<_>>();
    prop_oneof![8 => prop::sample::select(words), 3 => prop::sample::select(literals), 1 => ".{0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)))]

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,200}") {
        let _ = EventFilter::compile(&text);
    }

    #[test]
    fn any_tokens_are_read_and_evaluated_without_a_panic(tokens in prop::collection::vec(token(), 0..30), tight in any::<bool>()) {
        let text = tokens.join(if tight { "" } else { " " });
        match EventFilter::compile(&text) {
            Ok(filter) => {
                let data = json!({"items": [1, {"x": 2}], "a": {"b": "c"}});
                let tags = BTreeMap::new();
                let input = Input { event_type: "a.b", tenant: "t", tags: &tags, data: &data };
                prop_assert_eq!(filter.explain(&input).outcome, filter.evaluate(&input));
            }
            Err(error) => prop_assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty()),
        }
    }
}
