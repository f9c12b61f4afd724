//! JSON read one level at a time, with what lies deeper borrowed as it is spelled: order, duplicates, escapes and space are kept.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Error;

/// One level of a value.
pub(super) enum Level<'a> {
    /// Name, with quotes and escapes, and value, in the order and number in which they stand.
    Object(Vec<(&'a RawValue, &'a RawValue)>),
    Array(Vec<&'a RawValue>),
    Scalar,
}

/// The whole of a payload. Checked to its end, without recursion.
pub(super) fn object(data: &[u8]) -> Result<&RawValue, Error> {
    let value: &RawValue = serde_json::from_slice(data).map_err(|_| Error::NotAnObject)?;
    if value.get().starts_with('{') { Ok(value) } else { Err(Error::NotAnObject) }
}

/// Opens a value by one level.
pub(super) fn open(value: &RawValue) -> Result<Level<'_>, Error> {
    let spelled = value.get();
    Ok(match spelled.as_bytes().first() {
        Some(b'{') => Level::Object(parse::<Members<'_>>(spelled)?.0),
        Some(b'[') => Level::Array(parse(spelled)?),
        _ => Level::Scalar,
    })
}

/// The bytes that a JSON string means; `spelled`: with its quotes. A surrogate without its partner, which JSON can spell and UTF-8
/// cannot, is the three bytes that UTF-8 would make of it: so every string that was accepted has one meaning here.
pub(super) fn text(spelled: &str) -> Result<Cow<'_, [u8]>, Error> {
    match spelled.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Ok(Cow::Borrowed(plain.as_bytes())),
        _ => Ok(Cow::Owned(parse::<Unescaped>(spelled)?.0)),
    }
}

/// Reads JSON that a [`RawValue`] holds, so that was checked, once from front to back.
pub(super) struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    pub(super) fn new(value: &'a RawValue) -> Self {
        Self(value.get())
    }

    /// The first byte of the next token, which is not taken.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
        self.0.as_bytes().first().copied()
    }

    /// Takes the next token if it is this sign.
    pub(super) fn takes(&mut self, sign: u8) -> bool {
        let found = self.peek() == Some(sign);
        if found {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        found
    }

    /// Takes a string with its quotes, or a number or word.
    pub(super) fn scalar(&mut self) -> Result<&'a str, Error> {
        let quoted = self.peek().ok_or(Error::NotAnObject)? == b'"';
        let mut escaped = false;
        let end = self.0.bytes().skip(1).position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' if quoted => {
                escaped = true;
                false
            }
            b'"' => quoted,
            b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' => !quoted,
            _ => false,
        });
        let bytes = match end {
            Some(end) if quoted => end + 2,
            Some(end) => end + 1,
            None => self.0.len(),
        };
        let (scalar, rest) = self.0.split_at_checked(bytes).ok_or(Error::NotAnObject)?;
        self.0 = rest;
        Ok(scalar)
    }
}

/// What fails here was checked by [`object`] before, so this is no way out for a payload.
fn parse<'a, T: Deserialize<'a>>(spelled: &'a str) -> Result<T, Error> {
    serde_json::from_str(spelled).map_err(|_| Error::NotAnObject)
}

struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All)
    }
}

struct Unescaped(Vec<u8>);

impl<'de> Deserialize<'de> for Unescaped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Unescaped;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Unescaped(bytes.to_vec()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                Err(A::Error::custom("not a string"))
            }
        }

        // As bytes, not as a `String`: a lone surrogate is no error then.
        deserializer.deserialize_bytes(Bytes)
    }
}
