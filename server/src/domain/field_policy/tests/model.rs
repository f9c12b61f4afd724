//! Random payloads and policies against a model that asks of every value what all rules say about it, one by one.

use super::*;

/// A JSON value together with a spelling of it.
#[derive(Debug, Clone)]
enum Json {
    Object(Vec<(String, Json, u8)>),
    Array(Vec<Json>, u8),
    /// Becomes a string or a number that stands nowhere else.
    Leaf(bool),
}

/// What [`render`] made of it: the same shape with the text of each part.
#[derive(Debug, Clone)]
struct Spelled {
    text: String,
    parts: Parts,
}

#[derive(Debug, Clone)]
enum Parts {
    Object(Vec<(String, Spelled)>),
    Array(Vec<Spelled>),
    Leaf,
}

/// What should come out, without space.
#[derive(Debug, Clone, PartialEq)]
enum Expected {
    Object(Vec<(String, Expected)>),
    Array(Vec<Expected>),
    /// As it was spelled.
    Verbatim(String),
    Hashed(String),
}

const NAMES: [&str; 8] = ["a", "b", "c", "", "*", "m~n/", "é", "0"];
const SEGMENTS: [&str; 10] = ["a", "b", "c", "", "m~0n~1", "é", "0", "1", "*", "*"];

fn json() -> impl Strategy<Value = Json> {
    let leaf = any::<bool>().prop_map(Json::Leaf);
    let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    let any_json = leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            2 => prop::collection::vec((name.clone(), inner.clone(), any::<u8>()), 0..5).prop_map(Json::Object),
            1 => (prop::collection::vec(inner, 0..4), any::<u8>()).prop_map(|(elements, style)| Json::Array(elements, style)),
        ]
    });
    let name = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    prop::collection::vec((name, any_json, any::<u8>()), 0..5).prop_map(Json::Object)
}

pub(super) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let pointer = prop::collection::vec(prop::sample::select(&SEGMENTS[..]), 1..5).prop_map(|path| format!("/{}", path.join("/")));
    let action = prop::sample::select(vec![Keep, Omit, Hash]);
    prop::collection::vec((pointer, action).prop_map(|(pointer, action)| Rule { pointer, action }), 0..8)
}

fn render(json: &Json, count: &mut usize) -> Spelled {
    const SPACE: [&str; 4] = ["", " ", "\n\t", ""];
    let space = |style: u8, shift: u8| SPACE[usize::from(style >> shift & 3)];
    match json {
        Json::Leaf(string) => {
            *count += 1;
            let text = if *string { format!("\"cn{count:06}\\u00e9 \\/\"") } else { format!("-9{count:06}.10E+0") };
            Spelled { text, parts: Parts::Leaf }
        }
        Json::Array(elements, style) => {
            let parts: Vec<_> = elements.iter().map(|element| render(element, count)).collect();
            let texts: Vec<_> = parts.iter().map(|part| format!("{}{}{}", space(*style, 0), part.text, space(*style, 2))).collect();
            Spelled { text: format!("[{}]", texts.join(",")), parts: Parts::Array(parts) }
        }
        Json::Object(members) => {
            let mut texts = Vec::new();
            let mut parts = Vec::new();
            for (name, value, style) in members {
                let value = render(value, count);
                let spelled: String =
                    if style & 1 == 1 { name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect() } else { name.clone() };
                let (before, after) = (space(*style, 2), space(*style, 4));
                texts.push(format!("{before}\"{spelled}\"{after}:{before}{}{after}", value.text));
                parts.push((name.clone(), value));
            }
            Spelled { text: format!("{{{}}}", texts.join(",")), parts: Parts::Object(parts) }
        }
    }
}

fn names(rule: &Rule, path: &[String]) -> bool {
    let segments: Vec<_> = rule.pointer[1..].split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
    segments.len() == path.len() && segments.iter().zip(path).all(|(segment, name)| segment == "*" || segment == name)
}

fn action(path: &[String], rules: &[Rule], default: Action) -> Action {
    let stars = |rule: &Rule| rule.pointer[1..].split('/').map(|segment| segment == "*").collect::<Vec<_>>();
    for depth in (1..=path.len()).rev() {
        // `false` sorts before `true`: exact before `*`, the first segment first.
        if let Some(rule) = rules.iter().filter(|rule| names(rule, &path[..depth])).min_by_key(|rule| stars(rule)) {
            return rule.action;
        }
    }
    default
}

fn children(value: &Spelled) -> Vec<(String, &Spelled)> {
    match &value.parts {
        Parts::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Parts::Array(elements) => elements.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        Parts::Leaf => Vec::new(),
    }
}

fn named_inside(value: &Spelled, path: &[String], rules: &[Rule]) -> bool {
    children(value).into_iter().any(|(name, value)| {
        let path = [path, &[name]].concat();
        rules.iter().any(|rule| names(rule, &path)) || named_inside(value, &path, rules)
    })
}

fn expect(value: &Spelled, path: &[String], rules: &[Rule], default: Action) -> Option<Expected> {
    let action = action(path, rules, default);
    if named_inside(value, path, rules) {
        let all: Vec<_> = children(value)
            .into_iter()
            .filter_map(|(name, value)| Some((name.clone(), expect(value, &[path, &[name]].concat(), rules, default)?)))
            .collect();
        return match &value.parts {
            _ if all.is_empty() && action == Omit => None,
            Parts::Object(_) => Some(Expected::Object(all)),
            _ => Some(Expected::Array(all.into_iter().map(|(_, value)| value).collect())),
        };
    }
    match action {
        Keep => Some(Expected::Verbatim(value.text.clone())),
        Omit => None,
        Hash => Some(Expected::Hashed(key().hash(&value.text).unwrap())),
    }
}

/// Whether the output, read token by token, is what was expected; `rest` is what follows it.
fn agrees<'a>(out: &'a str, expected: &Expected) -> Option<&'a str> {
    let out = out.trim_start();
    match expected {
        Expected::Verbatim(text) => out.strip_prefix(text.as_str()),
        Expected::Hashed(hash) => out.strip_prefix(&format!("\"{hash}\"")),
        Expected::Array(elements) => {
            let mut rest = out.strip_prefix('[')?;
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    rest = rest.trim_start().strip_prefix(',')?;
                }
                rest = agrees(rest, element)?;
            }
            rest.trim_start().strip_prefix(']')
        }
        Expected::Object(members) => {
            let mut rest = out.strip_prefix('{')?;
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    rest = rest.trim_start().strip_prefix(',')?;
                }
                let quoted = rest.trim_start();
                let end = quoted[1..].find('"')? + 2;
                if serde_json::from_str::<String>(&quoted[..end]).ok()? != *name {
                    return None;
                }
                rest = agrees(quoted[end..].trim_start().strip_prefix(':')?, value)?;
            }
            rest.trim_start().strip_prefix('}')
        }
    }
}

/// Texts of the leaves that are in no part that was kept.
fn withheld(value: &Spelled, kept: &str, found: &mut Vec<String>) {
    if matches!(value.parts, Parts::Leaf) {
        let canary = value.text.trim_matches(|sign| sign == '"').chars().take(8).collect::<String>();
        if !kept.contains(&canary) {
            found.push(canary);
        }
    }
    children(value).into_iter().for_each(|(_, value)| withheld(value, kept, found));
}

fn kept(expected: &Expected, texts: &mut String) {
    match expected {
        Expected::Object(members) => members.iter().for_each(|(_, value)| kept(value, texts)),
        Expected::Array(elements) => elements.iter().for_each(|value| kept(value, texts)),
        Expected::Verbatim(text) => texts.push_str(text),
        Expected::Hashed(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_policy_does_what_its_rules_say_one_by_one(json in json(), rules in rules(), only in any::<bool>()) {
        let (default, action) = if only { (Only, Omit) } else { (AllBut, Keep) };
        let Ok(policy) = FieldPolicy::parse(default, rules) else { return Ok(()) };
        let payload = render(&json, &mut 0);
        let out = applied(&policy, &payload.text);

        let expected = expect(&payload, &[], policy.rules(), action).unwrap_or(Expected::Object(Vec::new()));
        prop_assert_eq!(agrees(&out, &expected).map(str::trim), Some(""), "{} became {}", payload.text, out);

        let mut texts = String::new();
        kept(&expected, &mut texts);
        let mut canaries = Vec::new();
        withheld(&payload, &texts, &mut canaries);
        for canary in canaries {
            prop_assert!(!out.contains(&canary), "{canary} came through: {out}");
        }
        prop_assert!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&out).is_ok());
    }

    #[test]
    fn omitting_by_name_twice_is_omitting_once(json in json(), rules in rules(), only in any::<bool>()) {
        let rules = rules
            .into_iter()
            .filter(|rule| rule.action != Hash && !rule.pointer.split('/').any(|segment| segment.parse::<u8>().is_ok()))
            .collect();
        let Ok(policy) = FieldPolicy::parse(if only { Only } else { AllBut }, rules) else { return Ok(()) };
        let once = applied(&policy, &render(&json, &mut 0).text);
        prop_assert_eq!(applied(&policy, &once), once);
    }
}
