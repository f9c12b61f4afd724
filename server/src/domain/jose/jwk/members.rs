//! The members of a JWK that count, each at most once.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::curve::Coordinate;
use super::{JwkError, MAX_BYTES};

/// Members of a public key, and `keys`, which a set of keys has.
const KNOWN: [&str; 11] = ["kty", "crv", "x", "y", "n", "e", "use", "key_ops", "alg", "kid", "keys"];
/// Members of private and of symmetric keys.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// In the order in which they stand.
pub(super) struct Members(Vec<(&'static str, Value)>);

impl Members {
    pub(super) fn read(text: &str) -> Result<Self, JwkError> {
        if text.len() > MAX_BYTES {
            return Err(JwkError::TooLong(text.len()));
        }
        let members: Self = serde_json::from_str(text).map_err(|_| JwkError::NotAnObject)?;
        // First of all: its owner must hear of this even when more is wrong.
        if members.0.iter().any(|(name, _)| PRIVATE.contains(name)) {
            return Err(JwkError::Private);
        }
        if members.find("keys").is_some() && members.find("kty").is_none() {
            return Err(JwkError::KeySet);
        }
        for (index, (name, _)) in members.0.iter().enumerate() {
            if members.0[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(JwkError::Repeated(name));
            }
        }
        Ok(members)
    }

    fn find(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub(super) fn optional_text(&self, name: &'static str) -> Result<Option<&str>, JwkError> {
        let text = |value: &Value| value.is_string();
        match self.find(name) {
            Some(value) if !text(value) => Err(JwkError::Type { name, expected: "a string" }),
            value => Ok(value.and_then(Value::as_str)),
        }
    }

    pub(super) fn text(&self, name: &'static str) -> Result<&str, JwkError> {
        self.optional_text(name)?.ok_or(JwkError::Missing(name))
    }

    pub(super) fn optional_texts(&self, name: &'static str) -> Result<Option<Vec<&str>>, JwkError> {
        let wrong = JwkError::Type { name, expected: "a list of strings" };
        let Some(value) = self.find(name) else { return Ok(None) };
        let values = value.as_array().ok_or(wrong)?;
        values.iter().map(|value| value.as_str().ok_or(wrong)).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn bytes(&self, name: &'static str) -> Result<Vec<u8>, JwkError> {
        URL_SAFE_NO_PAD.decode(self.text(name)?).map_err(|_| JwkError::Base64(name))
    }

    pub(super) fn coordinate(&self, name: &'static str) -> Result<Coordinate, JwkError> {
        let bytes = self.bytes(name)?;
        bytes.as_slice().try_into().map_err(|_| JwkError::Length { name, bytes: bytes.len() })
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Known;

        impl<'de> Visitor<'de> for Known {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON Web Key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    match KNOWN.iter().chain(&PRIVATE).find(|known| **known == name) {
                        // What is private is not even kept.
                        Some(known) if PRIVATE.contains(known) => {
                            map.next_value::<serde::de::IgnoredAny>()?;
                            members.push((*known, Value::Null));
                        }
                        Some(known) => members.push((*known, map.next_value()?)),
                        None => {
                            map.next_value::<serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Known)
    }
}
