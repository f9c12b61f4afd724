//! A policy applied to one payload: one walk down as far as rules reach, copying what stays.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json::{self, Level};
use super::rules::Under;
use super::{Action, DefaultAction, Error, FieldPolicy, HashKey};

/// What becomes of one value.
enum Fate {
    Gone,
    /// It stays as it is spelled.
    Same,
    /// Another text in its place.
    New(Vec<u8>),
}

impl FieldPolicy {
    /// The payload as the endpoint may see it: a JSON object, the same bytes where nothing is withheld.
    ///
    /// `data`: a JSON object, UTF-8. `key`: the endpoint's, for what is hashed. An object or array that something was taken out of
    /// may lose the space between its members, never that inside them. Names are compared unescaped, and all members of one name
    /// share its fate. A policy is applied once: numbers of elements are those of the payload as published.
    ///
    /// Time is linear in the payload: it is read once per segment of the longest pointer, and what is hashed once more.
    ///
    /// # Errors
    /// [`Error`]: `data` would not have been accepted as an event.
    pub fn apply<'d>(&self, data: &'d [u8], key: &HashKey) -> Result<Cow<'d, [u8]>, Error> {
        let value = json::object(data)?;
        let default = match self.default {
            DefaultAction::Keep => Action::Keep,
            DefaultAction::Omit => Action::Omit,
        };
        let fate = match walk(value, &Under::root(&self.tree), default, key)? {
            Some(fate) => fate,
            None => whole(value, default, key)?,
        };
        Ok(match fate {
            Fate::Same => Cow::Borrowed(data),
            Fate::New(text) => Cow::Owned(text),
            Fate::Gone => Cow::Borrowed(b"{}"),
        })
    }
}

/// `None`: no rule names the value or anything that is in it, so it shares the fate of what it stands in.
/// `covering`: the action that covers it from above.
fn walk(value: &RawValue, under: &Under<'_>, covering: Action, key: &HashKey) -> Result<Option<Fate>, Error> {
    let named = under.action();
    let action = named.unwrap_or(covering);
    // The depth of this recursion is that of the rules, never that of the payload.
    if under.goes_deeper() {
        match json::open(value)? {
            Level::Object(members) => {
                let mut parts = Vec::with_capacity(members.len());
                for (name, value) in members {
                    let under = under.child(&json::text(name.get())?);
                    parts.push(Part { name: Some(name), value, fate: descend(value, &under, action, key)? });
                }
                if parts.iter().any(|part| part.fate.is_some()) {
                    return rebuild(parts, (b'{', b'}'), action, key).map(Some);
                }
            }
            Level::Array(elements) => {
                let mut parts = Vec::with_capacity(elements.len());
                for (number, value) in elements.into_iter().enumerate() {
                    let under = under.child(number.to_string().as_bytes());
                    parts.push(Part { name: None, value, fate: descend(value, &under, action, key)? });
                }
                if parts.iter().any(|part| part.fate.is_some()) {
                    return rebuild(parts, (b'[', b']'), action, key).map(Some);
                }
            }
            Level::Scalar => {}
        }
    }
    named.map(|action| whole(value, action, key)).transpose()
}

fn descend(value: &RawValue, under: &Under<'_>, covering: Action, key: &HashKey) -> Result<Option<Fate>, Error> {
    if under.is_empty() { Ok(None) } else { walk(value, under, covering, key) }
}

/// A member or an element on its way out.
struct Part<'d> {
    name: Option<&'d RawValue>,
    value: &'d RawValue,
    fate: Option<Fate>,
}

/// An object or array of which rules name a part: it stays for that part, unless it was to go and nothing is left.
fn rebuild(parts: Vec<Part<'_>>, brackets: (u8, u8), action: Action, key: &HashKey) -> Result<Fate, Error> {
    let mut text = vec![brackets.0];
    let mut same = true;
    for Part { name, value, fate } in parts {
        let fate = match fate {
            Some(fate) => fate,
            None => whole(value, action, key)?,
        };
        same &= matches!(fate, Fate::Same);
        let part = match &fate {
            Fate::Gone => continue,
            Fate::Same => value.get().as_bytes(),
            Fate::New(part) => part,
        };
        if text.len() > 1 {
            text.push(b',');
        }
        if let Some(name) = name {
            text.extend_from_slice(name.get().as_bytes());
            text.push(b':');
        }
        text.extend_from_slice(part);
    }
    if same {
        return Ok(Fate::Same);
    }
    if text.len() == 1 && action == Action::Omit {
        return Ok(Fate::Gone);
    }
    text.push(brackets.1);
    Ok(Fate::New(text))
}

fn whole(value: &RawValue, action: Action, key: &HashKey) -> Result<Fate, Error> {
    Ok(match action {
        Action::Keep => Fate::Same,
        Action::Omit => Fate::Gone,
        Action::Hash => Fate::New(format!("\"{}\"", key.hash_value(value)?).into_bytes()),
    })
}
