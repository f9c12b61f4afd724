use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn compile(schema: &Value) -> Result<Schema, Vec<String>> {
    Schema::compile(&schema.to_string()).map_err(|problems| problems.iter().map(SchemaProblem::to_string).collect())
}

fn refusals(schema: &Value) -> Vec<String> {
    compile(schema).err().unwrap_or_default()
}

fn violations(schema: &Value, data: &Value) -> Vec<String> {
    let found = compile(schema).unwrap().violations(data, 20);
    found.into_iter().map(|violation| format!("{} {}", violation.pointer, violation.message)).collect()
}

#[test]
fn violations_name_the_place_and_what_the_schema_wants() {
    let check = |member: Value, data: Value, says: &[&str]| {
        assert_eq!(violations(&json!({ "properties": { "a": member } }), &json!({ "a": data })), says, "{member}");
    };
    check(json!({ "type": "string" }), json!(5), &["/a must be a string"]);
    check(json!({ "type": ["integer", "null"] }), json!("x"), &["/a must be an integer or null"]);
    check(json!({ "enum": ["staged", "active", 5] }), json!("secret"), &["/a must be one of staged, active, 5"]);
    check(json!({ "const": { "x": 1 } }), json!("secret"), &["/a must be {\"x\":1}"]);
    check(json!({ "format": "email" }), json!("secret"), &["/a must be of format email"]);
    check(
        json!({ "format": "date-time" }),
        json!("secret"),
        &["/a must be a time as in RFC 3339, such as 2026-11-25T09:00:00.000Z"],
    );
    check(json!({ "pattern": "^[a-z]+$" }), json!("SECRET"), &["/a must match `^[a-z]+$`"]);
    check(json!({ "minimum": 3, "multipleOf": 2 }), json!(1), &["/a must be a multiple of 2", "/a must be at least 3"]);
    check(json!({ "minLength": 3 }), json!("ab"), &["/a must be at least 3 characters"]);
    check(json!({ "maxItems": 1 }), json!([1, 2]), &["/a must hold at most 1 items"]);
    check(json!({ "uniqueItems": true }), json!([1, 1]), &["/a must not hold an item twice"]);
    check(json!({ "contains": { "const": 1 } }), json!([2]), &["/a must hold as many items as `contains` wants"]);
    check(json!({ "required": ["x/y", "z"] }), json!({}), &["/a/x~1y is required", "/a/z is required"]);
    check(
        json!({ "properties": { "c": {} }, "additionalProperties": false }),
        json!({ "b~": "secret" }),
        &["/a/b~0 is not allowed"],
    );
    check(json!({ "additionalProperties": false }), json!({ "b~": "secret" }), &["/a must hold no members"]);
    check(
        json!({ "properties": { "additionalProperties": false } }),
        json!({ "additionalProperties": 1 }),
        &["/a/additionalProperties is not allowed"],
    );
    check(json!({ "unevaluatedProperties": false }), json!({ "b": "secret" }), &["/a/b is not allowed"]);
    check(
        json!({ "propertyNames": { "maxLength": 1 } }),
        json!({ "bcd": 1 }),
        &["/a holds a member whose name must be at most 1 characters"],
    );
    check(json!({ "not": { "type": "string" } }), json!("secret"), &["/a is not allowed"]);
    check(json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] }), json!(3), &["/a must satisfy one alternative alone"]);
    check(json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }), json!(3), &["/a must be a string or null"]);
    check(json!({ "oneOf": [{ "type": "string" }, { "type": "object", "required": ["id"] }] }), json!({}), &["/a/id is required"]);
}

#[test]
fn violations_are_few_short_and_in_order() {
    let items: Vec<_> = (0..100).map(|place| json!(place)).collect();
    let schema = compile(&json!({ "properties": { "a": { "items": { "type": "string" } } } })).unwrap();
    let found = schema.violations(&json!({ "a": items }), 20);
    assert_eq!(found.len(), 20);
    assert!(found.is_sorted());
    let long = "x".repeat(5000);
    let schema = json!({ "properties": { &long: { "enum": [&long, 1] } } });
    let found = compile(&schema).unwrap().violations(&json!({ &long: "y" }), 20);
    assert!(found[0].pointer.chars().count() <= 301 && found[0].message.chars().count() <= 301);
}

#[test]
fn no_message_quotes_the_payload() {
    let schemas = [
        json!({ "type": "object", "properties": { "a": { "type": "integer" }, "b": { "enum": [1] }, "c": { "format": "uuid" } } }),
        json!({ "properties": { "a": { "pattern": "^x$" }, "b": { "const": "x" }, "c": { "maxLength": 1 } } }),
        json!({ "properties": { "a": { "not": {} }, "b": { "anyOf": [{ "type": "null" }, { "minLength": 99 }] }, "c": false } }),
        json!({ "properties": { "a": { "oneOf": [{ "type": "null" }, { "type": "array" }] }, "b": { "if": {}, "then": false } } }),
    ];
    for schema in schemas {
        let found = violations(&schema, &json!({ "a": "canary-1", "b": "canary-2", "c": "canary-3" }));
        assert!(found.len() >= 2 && !found.iter().any(|text| text.contains("canary")), "{found:?}");
    }
}

#[test]
fn references_within_the_document_are_followed() {
    let schema = json!({
        "$id": "https://schemas.acme.test/events/ticket.opened/1.json",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": { "a": { "$ref": "#/$defs/Odd~1name%20%25" }, "b": { "$ref": "#anchor" }, "c": { "$dynamicRef": "#tree" },
            "d": { "$ref": "#/properties/e/items" }, "e": { "items": { "type": "null" } } },
        "$defs": { "Odd/name %": { "type": "string" }, "x": { "$anchor": "anchor", "type": "integer" },
            "tree": { "$dynamicAnchor": "tree", "type": "object", "additionalProperties": { "$dynamicRef": "#tree" } } }
    });
    let data = json!({ "a": 1, "b": "x", "c": { "x": { "y": 1 } }, "d": 1 });
    assert_eq!(
        violations(&schema, &data),
        ["/a must be a string", "/b must be an integer", "/c/x/y must be an object", "/d must be null"]
    );
    assert_eq!(violations(&schema, &json!({ "a": "x", "b": 1, "c": { "x": { "y": {} } }, "d": null })), [""; 0]);
}

#[test]
fn keywords_that_say_nothing_about_validity_may_stand_anywhere() {
    let schema = json!({
        "title": "x", "x-owner": { "$ref": "https://evil.test" }, "default": { "$ref": "#/nowhere" }, "nullable": true,
        "properties": { "$ref": { "type": "string", "format": "x-unknown", "examples": [1], "contentMediaType": "application/json" } }
    });
    assert_eq!(violations(&schema, &json!({ "$ref": "not {json" })), [""; 0]);
    assert_eq!(violations(&schema, &json!({ "$ref": 1 })), ["/$ref must be a string"]);
}

#[test]
fn a_schema_that_leaves_the_document_or_the_draft_is_refused_by_its_pointer() {
    for (schema, pointer) in [
        (json!({ "$ref": "https://evil.test/x.json" }), "/$ref"),
        (json!({ "properties": { "a": { "$ref": "file:///etc/passwd" } } }), "/properties/a/$ref"),
        (json!({ "items": { "$ref": "other.json#/a" } }), "/items/$ref"),
        (json!({ "$dynamicRef": "https://evil.test#x" }), "/$dynamicRef"),
        (json!({ "$ref": "" }), "/$ref"),
        (json!({ "$ref": "#/$defs/none" }), "/$ref"),
        (json!({ "$ref": "#/title", "title": "x" }), "/$ref"),
        (json!({ "$ref": "#none" }), "/$ref"),
        (json!({ "$ref": "#/%zz" }), "/$ref"),
        (json!({ "$defs": { "a": { "$id": "https://json-schema.org/draft/2020-12/schema" } } }), "/$defs/a/$id"),
        (json!({ "$schema": "http://json-schema.org/draft-07/schema#" }), "/$schema"),
        (json!({ "$schema": "https://evil.test/meta" }), "/$schema"),
        (json!({ "allOf": [{ "$schema": "http://json-schema.org/draft-07/schema#" }] }), "/allOf/0/$schema"),
        (json!({ "$defs": { "a": { "$anchor": "x" }, "b": { "$anchor": "x" } } }), "/$defs/b/$anchor"),
        (json!({ "dependencies": {} }), "/dependencies"),
        (json!({ "additionalItems": false }), "/additionalItems"),
        (json!({ "type": "array" }), "/type"),
        (json!({ "type": ["string", "null"] }), "/type"),
        (json!({ "type": "text" }), "/type"),
        (json!({ "properties": { "a": { "minLength": -1 } } }), "/properties/a/minLength"),
        (json!({ "properties": { "a": 5 } }), "/properties/a"),
        (json!({ "items": [{}] }), "/items"),
        (json!({ "properties": { "a": { "pattern": "(?=x)" } } }), "/properties/a/pattern"),
        (json!({ "patternProperties": { "(a)\\1": {} } }), "/patternProperties/(a)\\1"),
    ] {
        let problems = Schema::compile(&schema.to_string()).unwrap_err();
        assert_eq!(problems[0].pointer, pointer, "{schema} {problems:?}");
    }
}

#[test]
fn a_text_that_is_no_bounded_object_is_refused() {
    let deep = format!("{}{}", "{\"not\":".repeat(32) + "{}", "}".repeat(32));
    let very_deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let long = format!("{{\"title\":\"{}\"}}", "x".repeat(MAX_BYTES));
    for text in ["", "{", "true", "false", "null", "[]", "5", "\"x\"", "{\"minimum\":1e999}", &deep, &very_deep, &long] {
        let problems = Schema::compile(text).unwrap_err();
        assert!(problems.len() == 1 && problems[0].pointer.is_empty(), "{problems:?}");
    }
    assert!(compile(&json!({})).is_ok() && compile(&json!({ "type": ["object", "null"] })).is_ok());
}

#[test]
fn a_schema_that_applies_itself_to_the_same_value_is_refused() {
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }, { "$ref": "#" }] }),
        json!({ "not": { "$ref": "#" } }),
        json!({ "if": { "$ref": "#" }, "then": {} }),
        json!({ "dependentSchemas": { "a": { "$ref": "#" } } }),
        json!({ "$dynamicAnchor": "x", "allOf": [{ "$dynamicRef": "#x" }] }),
        json!({ "properties": { "a": { "$ref": "#/$defs/b" } },
            "$defs": { "b": { "oneOf": [{ "$ref": "#/$defs/c" }] }, "c": { "allOf": [{ "$ref": "#/$defs/b" }] } } }),
    ] {
        let problems = refusals(&schema);
        assert!(problems.len() == 1 && problems[0].ends_with("applies itself to the same value again"), "{schema} {problems:?}");
    }
    // What takes a step into the value may come back.
    for schema in [
        json!({ "properties": { "a": { "$ref": "#" } } }),
        json!({ "additionalProperties": { "anyOf": [{ "$ref": "#" }, { "type": "string" }] } }),
        json!({ "items": { "$ref": "#" }, "type": ["object", "array"] }),
    ] {
        assert_eq!(refusals(&schema), [""; 0], "{schema}");
    }
}

/// `d0` applies `d1` several times as `keyword` says, `d1` applies `d2`, and so on.
fn ladder(steps: usize, rung: impl Fn(&str) -> Value) -> Value {
    let mut defs = serde_json::Map::new();
    for step in 0..steps {
        defs.insert(format!("d{step}"), rung(&format!("#/$defs/d{}", step + 1)));
    }
    defs.insert(format!("d{steps}"), json!({ "type": "string" }));
    json!({ "$ref": "#/$defs/d0", "$defs": defs })
}

#[test]
fn a_schema_whose_work_multiplies_is_refused_in_no_time() {
    let began = Instant::now();
    let twice = |of: &str| json!([{ "$ref": of }, { "$ref": of }]);
    for schema in [
        ladder(30, |of| json!({ "anyOf": twice(of) })),
        ladder(30, |of| json!({ "allOf": twice(of) })),
        ladder(30, |of| json!({ "oneOf": [{ "$ref": of }, { "not": { "$ref": of } }] })),
        ladder(30, |of| json!({ "if": { "$ref": of }, "then": { "$ref": of }, "else": { "$ref": of } })),
        ladder(30, |of| json!({ "allOf": [{ "properties": { "a": { "$ref": of } } }, { "properties": { "a": { "$ref": of } } }] })),
        ladder(30, |of| json!({ "properties": { "a": { "$ref": of } }, "patternProperties": { "a": { "$ref": of } } })),
        ladder(30, |of| json!({ "items": { "$ref": of }, "contains": { "$ref": of } })),
        // Two ways back for every step into the value.
        json!({ "anyOf": [{ "additionalProperties": { "$ref": "#" } }, { "additionalProperties": { "$ref": "#" } }] }),
        json!({ "allOf": [{ "properties": { "a": { "$ref": "#" } } }, { "unevaluatedProperties": { "$ref": "#" } }] }),
        json!({ "properties": { "a": { "$ref": "#" } }, "patternProperties": { "^a": { "$ref": "#" } } }),
        json!({ "type": ["object", "array"], "items": { "$ref": "#" }, "contains": { "$ref": "#" } }),
        // Wide rather than deep.
        json!({ "anyOf": vec![json!({ "$ref": "#/$defs/a" }); 40], "$defs": { "a": { "enum": vec![0; 1000] } } }),
        json!({ "allOf": vec![json!({ "uniqueItems": true }); 800] }),
        json!({ "allOf": vec![json!({ "pattern": "^[a-z]{1,300}$" }); 20] }),
    ] {
        let problems = refusals(&schema);
        assert!(problems.len() == 1 && problems[0].contains("would take too long to check"), "{problems:?} {schema:.200}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn bounds_on_what_a_schema_holds() {
    let defs = |count: usize, of: &Value| (0..count).map(|n| (format!("d{n}"), of.clone())).collect::<serde_json::Map<_, _>>();
    for (schema, says) in [
        (json!({ "enum": vec![0; 10_000] }), "must hold at most 10000 values"),
        (json!({ "$defs": defs(2000, &json!({})) }), "must have at most 2000 subschemas"),
        (
            json!({ "$defs": defs(1001, &json!({ "$ref": "#/properties/x" })), "properties": { "x": {} } }),
            "is one reference more than 1000",
        ),
        (json!({ "$defs": defs(51, &json!({ "pattern": "a" })) }), "is one regular expression more than 50"),
        (
            json!({ "$defs": defs(40, &json!({ "pattern": "\\p{L}" })), "pattern": "\\p{L}{40}" }),
            "makes the regular expressions too large",
        ),
        (json!({ "pattern": "((a{100}){100}){100}" }), "is too long a regular expression, repetitions included"),
        (json!({ "$defs": defs(11, &json!({ "unevaluatedItems": false })) }), "must not stand in more than 10 places"),
        (ladder(301, |of| json!({ "$ref": of })), "nests schemas too deep, references followed"),
        (json!({ "allOf": vec![json!({ "allOf": [{ "allOf": [{ "additionalProperties": { "$ref": "#" } }] }] }); 1] }), "nests"),
    ] {
        let problems = refusals(&schema);
        assert!(problems.iter().any(|problem| problem.contains(says)), "{problems:?}");
    }
}

#[test]
fn large_data_is_judged_within_the_bound_and_never_passes_unjudged() {
    // Valid, invalid early, invalid late: many values, many bytes.
    let schema = compile(&json!({ "properties": { "a": { "items": { "type": "string", "pattern": "^[a-z]*$" } } } })).unwrap();
    let texts = |count: usize, last: Value| {
        let mut items = vec![json!("abc"); count];
        items.push(last);
        json!({ "a": items })
    };
    assert!(schema.violations(&texts(40_000, json!("x")), 20).is_empty());
    let found = schema.violations(&texts(40_000, json!(5)), 20);
    assert_eq!((found.len(), found[0].pointer.as_str()), (1, "/a/40000"));
    // Alternatives would tell everything about each: that is too much to hold.
    let schema =
        compile(&json!({ "anyOf": [{ "properties": { "a": { "items": { "type": "string" } } } }, { "required": ["b"] }] }))
            .unwrap();
    let found = schema.violations(&texts(60_000, json!(5)), 20);
    assert_eq!((found.len(), found[0].pointer.as_str()), (1, ""));
    assert!(found[0].message.contains("too much to say where"));
    // A thousand values are always judged, a hundred thousand not by a schema that is as dear as one may be.
    let dear = compile(&json!({ "properties": { "a": { "items": { "enum": vec![json!([0]); 4000] } } } })).unwrap();
    assert!(dear.violations(&json!({ "a": vec![json!([0]); 400] }), 20).is_empty());
    let found = dear.violations(&json!({ "a": vec![json!([0]); 40_000] }), 20);
    assert_eq!(found[0].message, "holds too much to be checked against this schema");
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!({ "a": deep });
    }
    assert_eq!(compile(&json!({})).unwrap().violations(&deep, 20)[0].message, "is nested too deep");
}

#[test]
fn a_large_value_is_not_copied_for_every_alternative_that_refuses_it() {
    let names: Vec<String> = (0..3000).map(|number| format!("m{number}")).collect();
    for schema in [
        json!({ "anyOf": vec![json!({ "minProperties": 99 }); 1500] }),
        json!({ "oneOf": vec![json!({ "minProperties": 99 }); 1500] }),
        json!({ "anyOf": [{ "required": names }, { "required": ["a"] }] }),
        json!({ "allOf": [{ "anyOf": vec![json!({ "properties": { "items": { "minItems": 90_000 } } }); 40] }] }),
    ] {
        let schema = compile(&schema).unwrap();
        let begun = Instant::now();
        let found = schema.violations(&json!({ "items": vec![json!([]); 60_000] }), 20);
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert!(found[0].message.contains("too much to say where"), "{found:?}");
        // A small one is told where.
        let found = schema.violations(&json!({ "items": [1] }), 20);
        assert!(!found.is_empty() && found.iter().all(|found| !found.message.contains("too much")), "{found:?}");
    }
}

#[test]
fn the_deepest_recursion_fits_a_small_stack() {
    let run = || {
        // Four schemas within one another for each step into the value.
        let schema = json!({ "additionalProperties": { "allOf": [{ "anyOf": [{ "$ref": "#" }] }] } });
        let schema = compile(&schema).unwrap();
        let mut data = json!(1);
        for _ in 0..63 {
            data = json!({ "a": data });
        }
        assert!(schema.violations(&data, 20).is_empty());
        let long = ladder(280, |of| json!({ "allOf": [{ "$ref": of }] }));
        assert!(compile(&long).is_err() || !compile(&long).unwrap().violations(&data, 20).is_empty());
        let long = ladder(290, |of| json!({ "$ref": of }));
        assert!(!compile(&long).unwrap().violations(&data, 20).is_empty());
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn only_new_optional_members_and_other_words_keep_the_version() {
    let old = json!({
        "title": "Ticket", "type": "object", "required": ["id", "kind"],
        "properties": { "id": { "type": "string" }, "kind": { "enum": ["a", "b"] },
            "title": { "type": "string" }, "items": { "items": { "$ref": "#/$defs/Item" } } },
        "$defs": { "Item": { "properties": { "n": { "type": "integer" } } } },
        "if": { "properties": { "kind": { "const": "a" } } }, "then": { "properties": {} }
    });
    let change = |edit: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        edit(&mut new);
        Schema::change(&old.to_string(), &new.to_string())
    };
    let compatible: [&dyn Fn(&mut Value); 10] = [
        &|new| new["title"] = json!("Another"),
        &|new| new["properties"]["id"]["description"] = json!("words"),
        &|new| new["properties"]["note"] = json!({ "type": "string" }),
        &|new| new["$defs"]["Item"]["properties"]["m"] = json!({}),
        &|new| new["$defs"]["More"] = json!({}),
        &|new| new["then"]["properties"]["extra"] = json!({ "type": "string" }),
        &|new| new["examples"] = json!([{}]),
        &|new| new["$comment"] = json!("x"),
        &|new| new["required"] = json!(["kind", "id"]),
        &|new| new["$id"] = json!("https://schemas.acme.test/2"),
    ];
    for (at, edit) in compatible.iter().enumerate() {
        assert_eq!(change(edit), Change::Compatible, "{at}");
    }
    let breaking: [&dyn Fn(&mut Value); 14] = [
        &|new| new["required"] = json!(["id"]),
        &|new| new["required"] = json!(["id", "kind", "note"]),
        &|new| {
            new["properties"]["note"] = json!({});
            new["required"] = json!(["id", "kind", "note"]);
        },
        &|new| new["properties"]["id"] = json!({ "type": "integer" }),
        &|new| new["properties"]["id"]["maxLength"] = json!(5),
        &|new| new["properties"]["kind"]["enum"] = json!(["a", "b", "c"]),
        // A member named like an annotation is a member.
        &|new| new["properties"]["title"] = json!({ "type": "integer" }),
        &|new| drop(new["properties"].as_object_mut().unwrap().remove("id")),
        &|new| drop(new["$defs"].as_object_mut().unwrap().remove("Item")),
        &|new| new["$defs"]["Item"]["required"] = json!(["n"]),
        &|new| new["if"]["properties"]["n"] = json!({}),
        &|new| new["additionalProperties"] = json!(false),
        &|new| new["properties"]["items"]["minItems"] = json!(1),
        &|new| *new = json!(true),
    ];
    for (at, edit) in breaking.iter().enumerate() {
        assert_eq!(change(edit), Change::Breaking, "{at}");
    }
    assert_eq!(change(&|_| {}), Change::Same);
    assert_eq!(Schema::change("{\"a\":1,\"b\":2}", "{ \"b\": 2, \"a\": 1 }"), Change::Same);
    assert_eq!(Schema::change("{", "{"), Change::Breaking);
}

/// Schemas of a few keywords, with references that may go in circles.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!(true)),
        Just(json!(false)),
        Just(json!({ "type": "string" })),
        Just(json!({ "type": ["object", "array"] })),
        Just(json!({ "$ref": "#" })),
        Just(json!({ "$ref": "#/$defs/a" })),
        Just(json!({ "$dynamicRef": "#x" })),
        Just(json!({ "pattern": "^(a|b)*$", "format": "date-time" })),
        Just(json!({ "enum": [1, "a", [1], { "a": 1 }], "minimum": 0 })),
        Just(json!({ "required": ["a"], "uniqueItems": true, "minProperties": 1 })),
    ];
    leaf.prop_recursive(4, 40, 4, |inside| {
        let keyword = prop::sample::select(vec![
            "items",
            "contains",
            "not",
            "if",
            "then",
            "else",
            "additionalProperties",
            "propertyNames",
            "unevaluatedProperties",
            "unevaluatedItems",
        ]);
        prop_oneof![
            (keyword, inside.clone()).prop_map(|(keyword, schema)| json!({ keyword: schema })),
            (prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]), prop::collection::vec(inside.clone(), 1..4))
                .prop_map(|(keyword, schemas)| json!({ keyword: schemas })),
            (
                prop::sample::select(vec!["properties", "patternProperties", "dependentSchemas", "$defs"]),
                inside.clone(),
                inside.clone()
            )
                .prop_map(|(keyword, a, b)| json!({ keyword: { "a": a, "b": b } })),
            (inside.clone(), inside).prop_map(|(one, other)| {
                let mut both = one.as_object().cloned().unwrap_or_default();
                both.extend(other.as_object().cloned().unwrap_or_default());
                Value::Object(both)
            }),
        ]
    })
}

fn any_data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(1)),
        Just(json!(1.5)),
        Just(json!("a")),
        Just(json!("2026-11-25")),
        Just(json!(true))
    ];
    leaf.prop_recursive(5, 60, 4, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[ab]{1,2}", inside, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_judged_without_a_panic(text in ".{0,200}|[{}\\[\\]\":,a$ref#/0-9]{0,60}") {
        let _ = Schema::compile(&text);
        let _ = Schema::change(&text, "{}");
    }

    #[test]
    fn a_schema_that_compiles_says_what_the_plain_validator_says(
        root in any_schema(), a in any_schema(), data in any_data(), other in any_schema()
    ) {
        let mut schema = json!({ "$defs": { "a": a, "x": { "$dynamicAnchor": "x", "type": "object" } } });
        if let Value::Object(keywords) = root {
            schema.as_object_mut().unwrap().extend(keywords.into_iter().filter(|(name, _)| name != "$defs"));
        }
        if let Ok(compiled) = Schema::build(&schema, 0) {
            let plain = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).build(&schema).unwrap();
            prop_assert_eq!(compiled.violations(&data, 20).is_empty(), plain.is_valid(&data), "{} {}", schema, data);
        }
        let _ = Schema::change(&schema.to_string(), &other.to_string());
    }
}
