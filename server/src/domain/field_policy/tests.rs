use super::*;
use proptest::prelude::*;

mod model;

fn key() -> HashKey {
    HashKey::new([7; 32])
}

fn policy(default: DefaultAction, rules: &[(&str, Action)]) -> FieldPolicy {
    let rules = rules.iter().map(|(pointer, action)| Rule { pointer: (*pointer).to_owned(), action: *action }).collect();
    FieldPolicy::parse(default, rules).unwrap()
}

fn applied(policy: &FieldPolicy, data: &str) -> String {
    String::from_utf8(policy.apply(data.as_bytes(), &key()).unwrap().into_owned()).unwrap()
}

fn hashed(value: &str) -> String {
    format!("\"{}\"", key().hash(value).unwrap())
}

use Action::{Hash, Keep, Omit};
use DefaultAction::{Keep as AllBut, Omit as Only};

const JANE: &str = r#"{ "user": {"id": "usr_1", "email":"jane@acme.test",  "n": 1.10e0}, "tags" : ["a","b", "c"] , "x":"\u00e9" }"#;

#[test]
fn what_no_rule_touches_is_the_very_same_bytes() {
    for rules in
        [&[][..], &[("/other", Omit)], &[("/user/phone", Hash)], &[("/user", Keep)], &[("/tags/3", Omit)], &[("/x/y", Omit)]]
    {
        let policy = policy(AllBut, rules);
        let out = policy.apply(JANE.as_bytes(), &key()).unwrap();
        assert!(matches!(out, std::borrow::Cow::Borrowed(same) if same == JANE.as_bytes()), "{rules:?}");
    }
}

#[test]
fn rules_omit_hash_and_keep() {
    let email = hashed(r#""jane@acme.test""#);
    for (default, rules, expected) in [
        (AllBut, &[("/user", Omit)][..], r#"{"tags":["a","b", "c"],"x":"\u00e9"}"#.to_owned()),
        (
            AllBut,
            &[("/user/email", Hash)],
            format!(r#"{{"user":{{"id":"usr_1","email":{email},"n":1.10e0}},"tags":["a","b", "c"],"x":"\u00e9"}}"#),
        ),
        (
            AllBut,
            &[("/user", Omit), ("/user/id", Keep)],
            r#"{"user":{"id":"usr_1"},"tags":["a","b", "c"],"x":"\u00e9"}"#.to_owned(),
        ),
        (Only, &[("/user/n", Keep), ("/tags/1", Keep)], r#"{"user":{"n":1.10e0},"tags":["b"]}"#.to_owned()),
        (Only, &[("/user", Keep), ("/user/email", Omit)], r#"{"user":{"id":"usr_1","n":1.10e0}}"#.to_owned()),
        (Only, &[("/*/email", Hash)], format!(r#"{{"user":{{"email":{email}}}}}"#)),
        (Only, &[("/user/phone", Keep), ("/tags/x", Keep)], "{}".to_owned()),
        (Only, &[], "{}".to_owned()),
        (AllBut, &[("/tags/0", Omit), ("/tags/2", Omit), ("/user", Omit)], r#"{"tags":["b"],"x":"\u00e9"}"#.to_owned()),
        (AllBut, &[("/*", Omit)], "{}".to_owned()),
        (AllBut, &[("/*/*", Omit)], r#"{"user":{},"tags":[],"x":"\u00e9"}"#.to_owned()),
        (Only, &[("/*/*", Omit), ("/x", Keep)], r#"{"x":"\u00e9"}"#.to_owned()),
        // Hashed whole, as nothing in it is named that is there; member by member, as something is.
        (Only, &[("/tags", Hash), ("/tags/7", Keep)], format!(r#"{{"tags":{}}}"#, hashed(r#"["a","b","c"]"#))),
        (Only, &[("/tags", Hash), ("/tags/1", Keep)], format!(r#"{{"tags":[{},"b",{}]}}"#, hashed("\"a\""), hashed("\"c\""))),
    ] {
        assert_eq!(applied(&policy(default, rules), JANE), expected, "{default:?} {rules:?}");
    }
}

#[test]
fn the_deepest_rule_wins_and_an_exact_segment_beats_the_star() {
    let data = r#"{"a":{"b":{"c":1},"d":{"c":2}},"e":{"b":{"c":3}}}"#;
    for (rules, expected) in [
        (&[("/a", Omit), ("/*/b/c", Keep)][..], r#"{"a":{"b":{"c":1}},"e":{"b":{"c":3}}}"#),
        (&[("/*", Omit), ("/a", Keep)], r#"{"a":{"b":{"c":1},"d":{"c":2}}}"#),
        (&[("/a/*/c", Omit), ("/*/b/c", Keep)], r#"{"a":{"b":{},"d":{}},"e":{"b":{"c":3}}}"#),
        (&[("/*/b/c", Omit), ("/a/*/c", Keep)], r#"{"a":{"b":{"c":1},"d":{"c":2}},"e":{"b":{}}}"#),
        (&[("/*/*/c", Omit), ("/*/b/*", Keep)], r#"{"a":{"b":{"c":1},"d":{}},"e":{"b":{"c":3}}}"#),
    ] {
        assert_eq!(applied(&policy(AllBut, rules), data), expected, "{rules:?}");
        let reversed: Vec<_> = rules.iter().rev().copied().collect();
        assert_eq!(applied(&policy(AllBut, &reversed), data), expected, "the order of rules means nothing: {rules:?}");
    }
}

#[test]
fn no_spelling_of_a_name_escapes_a_rule() {
    let rules = policy(AllBut, &[("/user/email", Omit), ("/a~1b", Omit), ("/m~0n", Omit), ("/", Omit), ("/é", Omit)]);
    for data in [
        r#"{"user":{"\u0065mail":"CANARY"}}"#,
        r#"{"\u0075ser":{"email":"CANARY"}}"#,
        r#"{"user":{"email":"CANARY","email":"CANARY"}}"#,
        r#"{"user":{"email":"CANARY"},"user":{"emai\u006C":["CANARY"]},"user":{"email" : {"x":"CANARY"}}}"#,
        r#"{"a/b":"CANARY","a\/b":"CANARY","m~n":"CANARY","":"CANARY"}"#,
        r#"{"é":"CANARY","\u00e9":"CANARY","\u00E9":"CANARY"}"#,
        "\n{\t\"user\" : \r{ \"email\"\n:\t\"CANARY\" } } ",
    ] {
        assert!(!applied(&rules, data).contains("CANARY"), "{data}");
    }
    let twice = applied(&rules, r#"{"user":{"email":1,"id":2,"email":3,"id":4}}"#);
    assert_eq!(twice, r#"{"user":{"id":2,"id":4}}"#, "duplicates that are kept are all kept");
    let other = r#"{"Email":1,"user":{"email ":2,"e-mail":3,"email\u0000":4,"email\ud800":5}}"#;
    assert_eq!(applied(&rules, other), other);
}

#[test]
fn a_star_names_every_member_also_one_that_utf8_cannot_spell() {
    assert_eq!(applied(&policy(AllBut, &[("/a/*", Omit)]), r#"{"a":{"\ud800":1,"*":2,"":3}}"#), r#"{"a":{}}"#);
}

#[test]
fn an_index_is_spelled_in_one_way() {
    let data = r#"{"a":["p","q"],"b":{"00":"p","0":"q"}}"#;
    let rules = policy(AllBut, &[("/a/00", Omit), ("/a/-", Omit), ("/a/+1", Omit), ("/b/00", Omit)]);
    assert_eq!(applied(&rules, data), r#"{"a":["p","q"],"b":{"0":"q"}}"#);
}

#[test]
fn equal_values_hash_equally_and_others_do_not() {
    for (one, other) in [
        (r#""é/""#, r#""\u00e9\/""#),
        (r#""\ud83d\udca1""#, r#""💡""#),
        (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true ,\nnull ], \"\\u0061\":1 }"),
        (r#"{"a":"\u000a\u001f"}"#, r#"{"a":"\n\u001F"}"#),
    ] {
        assert_eq!(hashed(one), hashed(other), "{one} {other}");
    }
    let all = [
        "1",
        "1.0",
        "1e0",
        "\"1\"",
        "true",
        "\"true\"",
        "null",
        "\"null\"",
        "{}",
        "[]",
        "\"{}\"",
        "[1]",
        "[[1]]",
        "[\"1\"]",
        r#"{"a":1,"a":2}"#,
        r#"{"a":2,"a":1}"#,
        r#"{"a":2}"#,
        r#"["a,b"]"#,
        r#"["a","b"]"#,
        r#""\ud800""#,
        r#""\ud801""#,
        "\"\"",
        "\"\u{fffd}\"",
        "\"A\"",
        "\"a\"",
    ];
    for (index, one) in all.iter().enumerate() {
        for other in &all[index + 1..] {
            assert_ne!(hashed(one), hashed(other), "{one} {other}");
        }
    }
    assert_ne!(HashKey::new([8; 32]).hash("\"a\"").unwrap(), key().hash("\"a\"").unwrap(), "another endpoint's key");
}

/// Made with Python's `hmac` and `json`: see `tests/oracles/field_hash.py`.
#[test]
fn hashes_are_those_of_an_independent_computation() {
    for (value, hash) in [
        (r#""jane@acme.test""#, "hmac-sha256:srPWzv_m1BYndDqgKGNFa8poLVb99rN4LMhgYZpup_E"),
        (r#""\u00e9\ud83d\udca1\"/""#, "hmac-sha256:O4jQk2xZVh2YFlr1fdL-KY2FCkThHH9Rg9ughUUTf9Q"),
        (r#""""#, "hmac-sha256:4rlsgEMh1tPnjO-5OgY8VSAWV__AywglIch-Lo4uOA4"),
        (r#"1"#, "hmac-sha256:W6OpUnw31MVTf3hZBooCWgyPkXZUi93Z4TQq-1zUryQ"),
        (r#"-0.10E+2"#, "hmac-sha256:TVd0Pp6QCttvBOfo9Iiryn4uh9bHzwPPsfTEr-CxYjQ"),
        (r#"true"#, "hmac-sha256:VVyu4n0C3vlW1P_-wuPIPvRLBex9sp0Lw3CA-mv-rl0"),
        (r#"null"#, "hmac-sha256:VwNryc8hbYvmSPC4G5AWSCgjqZCjIu_xgqmh5qWEIMU"),
        (r#"{}"#, "hmac-sha256:JxPpqnbKtmSbCqbetpn--3SDw8fWO1DG0pjBExrgMck"),
        (r#"[]"#, "hmac-sha256:QzY8zsdJxhRlUK0d0HWHAXA9ma41T1-C0EchQpjil9M"),
        (
            r#"{"b": [1.0, "x\u001f\n\/"], "a": {"\u00e9": null, "z": false}, "b": 2, "\ud83d\ude00": 1, "\uffee": 2}"#,
            "hmac-sha256:4UAejnqm-zS5ALIv2YnU2iZ9pQWIEXGjvqMyVx_stKo",
        ),
        (r#""\ud800""#, "hmac-sha256:BkRzAaemr_90gIdX9sDt-B3U6BrOL97pZ_Kv-jAUOvQ"),
        (r#"["\ud800\u007f"]"#, "hmac-sha256:IG7pHFruLppBWGhekwdb5pfUDZJkMJKKHEqzvlcHz_A"),
    ] {
        assert_eq!(key().hash(value).unwrap(), hash, "{value}");
    }
}

#[test]
fn every_bad_rule_is_named_at_once() {
    let long = format!("/{}", "x".repeat(MAX_POINTER_BYTES));
    let deep = "/a".repeat(MAX_SEGMENTS + 1);
    let rules = ["/ok", "", "user", "/a~2", "/a~", &long, &deep, "/ok", "/a~01/*", "/a~01/*"];
    let rules = rules.map(|pointer| Rule { pointer: pointer.to_owned(), action: Omit });
    let problems = FieldPolicy::parse(AllBut, rules.to_vec()).unwrap_err();
    let expected = [
        (1, ProblemKind::Root),
        (2, ProblemKind::NoPointer),
        (3, ProblemKind::Escape),
        (4, ProblemKind::Escape),
        (5, ProblemKind::TooLong(513)),
        (6, ProblemKind::TooDeep(17)),
        (7, ProblemKind::Duplicate(0)),
        (9, ProblemKind::Duplicate(8)),
    ];
    assert_eq!(problems, expected.map(|(index, kind)| Problem { index: Some(index), kind }));
    assert_eq!(problems[1].to_string(), "rules[2].pointer: must be a JSON pointer, which starts with `/`");

    let many = |count: usize| (0..count).map(|n| Rule { pointer: format!("/{n}"), action: Keep }).collect();
    assert!(FieldPolicy::parse(AllBut, many(MAX_RULES)).is_ok());
    assert_eq!(FieldPolicy::parse(AllBut, many(101)).unwrap_err()[0].to_string(), "rules: must be at most 100, not 101");
    assert!(FieldPolicy::parse(AllBut, vec![Rule { pointer: "/a".repeat(MAX_SEGMENTS), action: Keep }]).is_ok());
}

#[test]
fn a_policy_is_stored_as_json_and_read_back() {
    let policy = policy(Only, &[("/user/email", Hash), ("/user/*", Keep)]);
    let text = serde_json::to_string(&policy).unwrap();
    assert_eq!(
        text,
        r#"{"default":"OMIT","rules":[{"pointer":"/user/email","action":"HASH"},{"pointer":"/user/*","action":"KEEP"}]}"#
    );
    assert_eq!(serde_json::from_str::<FieldPolicy>(&text).unwrap(), policy);
    for bad in [
        r#"{"default":"OMIT","rules":[],"more":1}"#,
        r#"{"default":"OMIT"}"#,
        r#"{"default":"HASH","rules":[]}"#,
        r#"{"default":"KEEP","rules":[{"pointer":"x","action":"OMIT"}]}"#,
        r#"{"default":"KEEP","rules":[{"pointer":"/x","action":"OMIT","unless":1}]}"#,
    ] {
        assert!(serde_json::from_str::<FieldPolicy>(bad).is_err(), "{bad}");
    }
}

#[test]
fn only_what_withholds_nothing_keeps_everything() {
    assert!(FieldPolicy::default().keeps_everything());
    assert!(policy(AllBut, &[("/a", Keep)]).keeps_everything());
    assert!(!policy(AllBut, &[("/a", Keep), ("/b", Hash)]).keeps_everything());
    assert!(!policy(Only, &[("/*", Keep)]).keeps_everything());
}

#[test]
fn what_is_no_payload_is_an_error_that_quotes_nothing() {
    let policy = policy(AllBut, &[("/a", Hash), ("/b/*/*", Omit)]);
    for data in ["", "[]", "\"a\"", "1", "{", r#"{"a":CANARY}"#, r#"{"a":1}x"#, r#"{"a":1,}"#, r#"{a:1}"#, r#"{"a":"CANARY"#] {
        let error = policy.apply(data.as_bytes(), &key()).unwrap_err();
        assert_eq!(error, Error::NotAnObject, "{data}");
    }
    assert!(policy.apply(b"{\"a\":\"\xff\"}", &key()).is_err());
    assert!(policy.apply(b"{\"a\":\"\xed\xa0\x80\"}", &key()).is_err());
}

#[test]
fn depth_costs_no_stack() {
    let deep = |levels: usize, open: &str, close: &str| format!("{{\"a\":{}1{}}}", open.repeat(levels), close.repeat(levels));
    for (open, close) in [("[", "]"), ("{\"b\":", "}")] {
        let worst = deep(20_000, open, close);
        let stars = "/*".repeat(MAX_SEGMENTS);
        assert_eq!(applied(&policy(AllBut, &[("/b", Omit)]), &worst), worst);
        assert_eq!(applied(&policy(AllBut, &[("/a", Omit)]), &worst), "{}");
        assert!(applied(&policy(AllBut, &[(&stars, Omit)]), &worst).len() < 200);
        for hash in ["/a", &stars] {
            assert_eq!(policy(AllBut, &[(hash, Hash)]).apply(worst.as_bytes(), &key()), Err(Error::TooDeep));
        }
        // The deepest that is accepted as an event.
        assert!(applied(&policy(AllBut, &[("/a", Hash)]), &deep(63, open, close)).len() < 70);
    }
}

#[test]
fn a_key_is_never_printed() {
    assert_eq!(format!("{:?}", HashKey::new([65; 32])), "HashKey([REDACTED])");
}

proptest! {
    #[test]
    fn any_bytes_are_shaped_without_a_panic(
        data in prop::collection::vec(any::<u8>(), 0..200),
        text in r#"[\{\}\[\]":,a*\\u01 ]{0,60}"#,
        rules in model::rules(),
    ) {
        if let Ok(policy) = FieldPolicy::parse(AllBut, rules) {
            let _ = policy.apply(&data, &key());
            if let Ok(out) = policy.apply(text.as_bytes(), &key()) {
                prop_assert!(serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&out).is_ok() || text.contains("\\u"));
            }
        }
    }

    #[test]
    fn any_pointer_is_judged_without_a_panic(pointer in r"[/~01*é\PC]{0,30}") {
        let _ = FieldPolicy::parse(AllBut, vec![Rule { pointer, action: Omit }]);
    }
}
