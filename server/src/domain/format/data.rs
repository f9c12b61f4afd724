//! Reading `data` as far as a format needs it.
//!
//! An object is split into its members once, each still the text that was published; a member is parsed when somebody asks for it.
//! So a shared object goes over as it came, numbers keep their digits, and what nobody asks for costs nothing. Data is hostile:
//! registered types put anything anywhere, so every getter answers `None` for a member of another type, and nothing here recurses.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object, as they stand in it. A list and no map: few are asked for, and most objects are small.
#[derive(Debug, Default)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads an object; of anything else, no members.
    pub(super) fn read(json: &'a [u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_default()
    }

    /// A member as it was published. Of a repeated name the last counts, as in most parsers.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// A member that is an object.
    pub(super) fn object(&self, name: &str) -> Option<Object<'a>> {
        object(self.raw(name)?)
    }

    /// A member that is an array.
    pub(super) fn array(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        parse(self.raw(name)?)
    }

    /// A member that is a string and not empty: an empty one says as little as none.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(self.raw(name)?)
    }

    /// A member that is one of these strings.
    pub(super) fn one_of(&self, name: &str, values: &[&'static str]) -> Option<&'static str> {
        let text = self.text(name)?;
        values.iter().copied().find(|value| *value == text)
    }

    /// A member that is an array of strings.
    pub(super) fn strings(&self, name: &str) -> Option<Vec<String>> {
        parse(self.raw(name)?)
    }

    /// A member that is a text in several languages.
    pub(super) fn texts(&self, name: &str) -> Option<BTreeMap<String, String>> {
        texts(self.raw(name)?)
    }

    /// Names of the members that are not null, as they stand in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| value.get() != "null").map(|(name, _)| name.as_ref())
    }
}

/// A value that is an object.
pub(super) fn object(value: &RawValue) -> Option<Object<'_>> {
    parse(value)
}

/// A value that is a string and not empty.
pub(super) fn text(value: &RawValue) -> Option<String> {
    parse(value).filter(|text: &String| !text.is_empty())
}

/// The strings of a value that is an object: a text in several languages, by language. `None` when there is none.
pub(super) fn texts(value: &RawValue) -> Option<BTreeMap<String, String>> {
    let members = object(value)?.0.into_iter().filter(|(language, _)| !language.is_empty());
    let texts: BTreeMap<_, _> = members.filter_map(|(language, value)| Some((language.into_owned(), text(value)?))).collect();
    (!texts.is_empty()).then_some(texts)
}

/// A value that is an integer of at least 0.
pub(super) fn integer(value: &RawValue) -> Option<u64> {
    parse(value)
}

/// The value without insignificant space, otherwise as published: same digits, same escapes, same order.
pub(super) fn compact(value: &RawValue) -> Option<Box<RawValue>> {
    let mut compacted = String::with_capacity(value.get().len());
    let (mut in_string, mut escaped) = (false, false);
    for character in value.get().chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            in_string = character == '"';
        }
        compacted.push(character);
    }
    RawValue::from_string(compacted).ok()
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        // A name is taken unread too: an escaped lone surrogate, which is no text, must not cost the other members.
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            if let Some(name) = member_name(name.get()) {
                members.push((name, value));
            }
        }
        Ok(Object(members))
    }
}

/// The text of a quoted name.
fn member_name(quoted: &str) -> Option<Cow<'_, str>> {
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(name) if !name.contains('\\') => Some(Cow::Borrowed(name)),
        _ => serde_json::from_str(quoted).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_whatever_stands_beside_them() {
        for json in [
            r#"{"user":{"id":"usr_1"}}"#,
            r#" { "user" : { "id" : "usr_1" } , "x" : 1e999 } "#,
            r#"{"\ud800":1,"user":{"id":"usr_1","\udfff":"\ud800"}}"#,
            r#"{"user":"jane","user":{"id":7,"id":"usr_1"}}"#,
            r#"{"\u0075ser":{"\u0069d":"usr_\u0031"}}"#,
        ] {
            let data = Object::read(json.as_bytes());
            assert_eq!(data.object("user").and_then(|user| user.text("id")).as_deref(), Some("usr_1"), "{json}");
        }
    }

    #[test]
    fn a_member_of_another_type_is_absent() {
        let data = Object::read(br#"{"n":1.5,"s":"","t":["a"],"o":{"en":"x","de":7,"":"y"},"z":null,"u":"\ud800","big":1e999}"#);
        assert!(data.text("n").is_none() && data.text("s").is_none() && data.text("u").is_none() && data.text("none").is_none());
        assert!(["n", "s", "big", "t", "z"].into_iter().all(|name| integer(data.raw(name).unwrap()).is_none()));
        assert!(data.object("t").is_none() && data.object("z").is_none() && data.array("o").is_none());
        assert_eq!(data.texts("o"), Some(BTreeMap::from([("en".into(), "x".into())])));
        assert!(data.texts("s").is_none());
        assert_eq!(data.names().collect::<Vec<_>>(), ["n", "s", "t", "o", "u", "big"]);
        for none in ["[]", "null", "7", "no json", "", "{\"a\":1", "\u{feff}{}"] {
            assert!(Object::read(none.as_bytes()).names().next().is_none(), "{none}");
        }
    }

    #[test]
    fn compacting_drops_space_outside_strings_alone() {
        let raw: &RawValue = serde_json::from_str("{ \"a b\\\" \" : [ 1.10 , \"\\\\\" ,\t\"\\u00e9 \" ]\r\n}").unwrap();
        assert_eq!(compact(raw).unwrap().get(), "{\"a b\\\" \":[1.10,\"\\\\\",\"\\u00e9 \"]}");
    }
}
