use super::*;
use proptest::prelude::*;

const FIELDS: &[FieldSpec] = &[
    FieldSpec { name: "endpoint", kind: Kind::Text },
    FieldSpec { name: "state", kind: Kind::State(&["PENDING", "DEAD", "SUCCEEDED"]) },
    FieldSpec { name: "create_time", kind: Kind::Time },
];

fn parse(text: &str) -> Result<Filter, Problem> {
    Filter::parse(text, FIELDS).map_err(|error| error.problem)
}

fn canonical(text: &str) -> String {
    parse(text).unwrap().canonical()
}

#[test]
fn comparisons_joined_by_and_are_read() {
    let filter =
        parse(r#"state in ["DEAD", 'PENDING'] && (endpoint == "si\"em") && create_time >= "2026-11-25T10:00:00+01:00""#).unwrap();
    let text = |text: &str| Value::Text(text.to_owned());
    let time = Value::Time(Time::from_millis(1_795_597_200_000));
    assert_eq!(
        filter.terms(),
        [
            Term { field: "create_time", op: Op::GreaterOrEqual, values: vec![time] },
            Term { field: "endpoint", op: Op::Equal, values: vec![text("si\"em")] },
            Term { field: "state", op: Op::In, values: vec![text("DEAD"), text("PENDING")] },
        ]
    );
}

#[test]
fn filters_that_mean_the_same_terms_have_one_spelling() {
    let one = canonical(r#"state in ["DEAD","PENDING"]&&endpoint!="a""#);
    assert_eq!(one, canonical(r#"endpoint != 'a' && (state in ['PENDING', "DEAD", "DEAD"]) && endpoint != "a""#));
    assert_eq!(one, r#"endpoint != "a" && state in ["DEAD", "PENDING"]"#);
    assert_eq!(canonical(&one), one);
    assert_ne!(one, canonical(r#"endpoint != "a" && state in ["DEAD"]"#));
    assert_eq!((canonical(""), canonical("  \n")), (String::new(), String::new()));
}

#[test]
fn a_text_holds_no_nul_however_it_is_written() {
    for text in [r"\u0000", r"a\x00b", r"\000", r"\U00000000"] {
        for filter in
            [format!("endpoint == \"{text}\""), format!("endpoint != '{text}'"), format!("endpoint in [\"a\", \"{text}\"]")]
        {
            assert!(matches!(parse(&filter), Err(Problem::Value { field: "endpoint", .. })), "{filter}");
        }
    }
}

#[test]
fn rewritten_texts_keep_one_spelling() {
    let filter = parse(r#"endpoint in ["a", "name/a", "b"] && state == "DEAD""#).unwrap();
    let short = |field: &str, text: String| if field == "endpoint" { text.replace("name/", "") } else { text };
    assert_eq!(filter.rewrite(short), parse(r#"state == "DEAD" && endpoint in ["b", "a"]"#).unwrap());
}

#[test]
fn rows_are_matched() {
    let row = |field: &str| match field {
        "endpoint" => Some(Found::Text("siem")),
        "create_time" => Some(Found::Time(Time::from_millis(1_795_597_200_000))),
        _ => None,
    };
    for (text, passes) in [
        ("", true),
        (r#"endpoint == "siem""#, true),
        (r#"endpoint != "siem""#, false),
        (r#"endpoint in ["a", "siem"]"#, true),
        (r#"endpoint in ["a", "b"]"#, false),
        (r#"endpoint == "siem" && endpoint == "a""#, false),
        (r#"create_time < "2026-11-25T09:00:00Z""#, false),
        (r#"create_time <= "2026-11-25T09:00:00Z""#, true),
        (r#"create_time > "2026-11-25T08:59:59.999Z""#, true),
        (r#"state == "DEAD""#, false),
        (r#"state != "DEAD""#, true),
    ] {
        assert_eq!(parse(text).unwrap().matches(row), passes, "{text}");
    }
}

#[test]
fn what_is_no_filter_is_said() {
    let not_allowed = |found: &str| Problem::NotAllowed { found: found.to_owned() };
    let too_much = |limit, what| Problem::TooMuch { limit, what };
    let expected = |field, expected: &str| Problem::Value { field, expected: expected.to_owned() };
    for (text, problem) in [
        (r#"state == "DEAD" || endpoint == "a""#.to_owned(), not_allowed("|")),
        (r#"!(state == "DEAD")"#.to_owned(), not_allowed("!")),
        (r#"endpoint.size() == "a""#.to_owned(), not_allowed(".")),
        (r#"endpoint == r"a""#.to_owned(), not_allowed("r\"")),
        (r#"endpoint == """a""""#.to_owned(), not_allowed("\"\"\"")),
        (r#"endpoint == "a"#.to_owned(), not_allowed("\" without its end")),
        ("endpoint = 'a'".to_owned(), not_allowed("=")),
        ("endpoint == 1".to_owned(), not_allowed("1")),
        ("endpoint".to_owned(), Problem::NoComparison),
        ("endpoint == state".to_owned(), expected("endpoint", "a text in quotes")),
        (r#""DEAD" == state"#.to_owned(), Problem::NoComparison),
        (r#"has(endpoint, "a")"#.to_owned(), Problem::NoComparison),
        (r#"type == "a""#.to_owned(), Problem::UnknownField { name: "type".to_owned() }),
        (r#"state == "Dead""#.to_owned(), expected("state", "one of PENDING, DEAD, SUCCEEDED")),
        (r#"state < "DEAD""#.to_owned(), Problem::Operator { field: "state", op: Op::Less }),
        (r#"create_time == "today""#.to_owned(), expected("create_time", "a time such as \"2026-11-25T09:00:00Z\"")),
        (r#"endpoint in "a""#.to_owned(), expected("endpoint", "a list in brackets")),
        ("endpoint in []".to_owned(), expected("endpoint", "at least one value")),
        (r#"endpoint == "a" &&"#.to_owned(), Problem::Syntax { column: 19 }),
        (vec![r#"endpoint != "a""#; 21].join("&&"), too_much(20, "comparisons")),
        (format!("endpoint in [{}]", vec!["'a'"; 101].join(",")), too_much(100, "values of one `in`")),
        (format!("endpoint == '{}'", "a".repeat(4096)), too_much(4096, "bytes")),
        ("(".repeat(4000), too_much(4, "nested brackets")),
        ("a in ".repeat(800), too_much(20, "comparisons")),
        ("a<".repeat(2000), too_much(20, "comparisons")),
        ("a&&".repeat(1300), too_much(20, "comparisons")),
    ] {
        assert_eq!(parse(&text), Err(problem), "{text:.80}");
    }
    let error = Filter::parse("oops == 'a'", FIELDS).unwrap_err().to_string();
    assert!(error.contains("no field `oops`") && error.contains("`endpoint`, `state`, `create_time`"), "{error}");
}

#[test]
fn the_bounds_themselves_are_allowed() {
    let terms: Vec<_> = (0..MAX_TERMS).map(|number| format!(r#"endpoint != "{number}""#)).collect();
    assert_eq!(parse(&terms.join(" && ")).unwrap().terms().len(), MAX_TERMS);
    let values: Vec<_> = (0..MAX_VALUES).map(|number| format!(r#""{number}""#)).collect();
    assert_eq!(parse(&format!("endpoint in [{}]", values.join(","))).unwrap().terms()[0].values.len(), MAX_VALUES);
}

fn token() -> impl Strategy<Value = String> {
    let words = "endpoint state create_time in true null && == != <= > ( ) [ ] ,".split(' ').map(str::to_owned).collect::<Vec<_>>();
    let literals = r#""DEAD" 'siem' "2026-11-25T09:00:00Z" "\ud800" "\377" "\x4" '\\' "\U0001f600" "é""#;
    let literals = literals.split(' ').map(str::to_owned).collect::<Vec<_>>();
    prop_oneof![6 => prop::sample::select(words), 3 => prop::sample::select(literals), 1 => ".{0,3}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_tokens_are_read_without_a_panic_and_what_passes_is_stable(tokens in prop::collection::vec(token(), 0..24)) {
        if let Ok(filter) = parse(&tokens.join(" ")) {
            prop_assert_eq!(parse(&filter.canonical()), Ok(filter));
        }
    }

    #[test]
    fn any_value_survives_its_canonical_spelling(value in "[^\\x00\n]{0,40}") {
        let filter = Filter(vec![Term { field: "endpoint", op: Op::Equal, values: vec![Value::Text(value)] }]);
        prop_assert_eq!(parse(&filter.canonical()), Ok(filter));
    }
}
