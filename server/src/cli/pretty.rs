//! JSON with line breaks, for people. Members keep their order and numbers their spelling, so that what is shown is what is sent.

use serde::de::IgnoredAny;

/// The same JSON with line breaks and two spaces a level. What is no JSON is returned as it is.
pub(crate) fn pretty(json: &str) -> String {
    // It also bounds the depth.
    if serde_json::from_str::<IgnoredAny>(json).is_err() {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut opened, mut quoted, mut escaped) = (0_usize, false, false, false);
    for letter in json.chars() {
        if quoted {
            out.push(letter);
            quoted = escaped || letter != '"';
            escaped = letter == '\\' && !escaped;
            continue;
        }
        match letter {
            ' ' | '\t' | '\r' | '\n' => continue,
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !opened {
                    break_line(&mut out, depth);
                }
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                if opened {
                    break_line(&mut out, depth);
                }
                out.push(letter);
                quoted = letter == '"';
                depth += usize::from(matches!(letter, '{' | '['));
            }
        }
        opened = matches!(letter, '{' | '[');
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn order_and_spelling_are_kept() {
        let json = r#"{"b":[1.50,{}, []],"a":"x\"}, {y\\","c":{"d":null}}"#;
        let expected = [
            "{",
            r#"  "b": ["#,
            "    1.50,",
            "    {},",
            "    []",
            "  ],",
            r#"  "a": "x\"}, {y\\","#,
            r#"  "c": {"#,
            r#"    "d": null"#,
            "  }",
            "}",
        ];
        assert_eq!(pretty(json), expected.join("\n"));
        for scalar in ["1", "\"a b\"", "[]", "{}", "null"] {
            assert_eq!(pretty(scalar), scalar);
        }
        assert_eq!(pretty("not {json"), "not {json");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), ".{0,12}".prop_map(Value::from)];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..6).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_serde_json_would_write(value in any_json()) {
            prop_assert_eq!(pretty(&value.to_string()), format!("{value:#}"));
        }

        #[test]
        fn no_text_is_too_much(text in ".{0,200}") {
            pretty(&text);
        }
    }
}
