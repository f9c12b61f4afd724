//! The event catalogue: every type that is built in, what it means, who publishes it, what its payload holds and which security events
//! it becomes.
//!
//! Its source is `server/catalogue/*.json`, one file a family; the schemas, the examples and the page `server/catalogue/README.md` come
//! from there alone. Asked whenever an event is published or rendered, so everything is parsed once and lent. A schema is compiled when its
//! type is first published.

mod document;
mod page;
mod source;

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde::Deserialize;

pub use page::page;

use super::schema::Schema;
use source::{Family, Member};

/// The version of every schema so far. A new optional member keeps it; any other change of a schema raises that of its type.
const VERSION: i32 = 1;

/// A type of the catalogue.
#[derive(Debug)]
pub struct EventType {
    /// Such as `user.terminated`.
    pub name: &'static str,
    /// What it means, in a few words, lower case.
    pub meaning: &'static str,
    /// Who publishes it.
    pub publisher: Publisher,
    /// The security events that it becomes, in the order of the catalogue.
    pub set: Vec<SetUri>,
    /// What `data` may hold, in the order of the catalogue: what the family holds, what the type holds, what every event may hold.
    members: Vec<Member>,
    /// The example as its source spells it.
    spelled: String,
    example: String,
    schema: OnceLock<Option<Schema>>,
}

/// Who publishes a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Publisher {
    /// Callers, with `PublishEvent`.
    Caller,
    /// Gatepost alone.
    Gatepost,
}

/// A security event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUri {
    /// Whose it is.
    pub family: SetFamily,
    /// What it is called in `events`.
    pub uri: String,
}

/// Who defines a security event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum SetFamily {
    /// OpenID Continuous Access Evaluation Profile 1.0.
    Caep = 1,
    /// OpenID RISC Profile 1.0.
    Risc = 2,
    /// RFC 9967.
    Scim = 3,
    /// OpenID Shared Signals Framework 1.0. Always sent, so never chosen: not in the contract.
    Ssf = 4,
}

impl SetFamily {
    /// What an endpoint may choose from, in the order of their numbers.
    pub const CHOICES: [Self; 3] = [Self::Caep, Self::Risc, Self::Scim];

    /// Its number in rows and in the contract.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Reads a number of one of [`SetFamily::CHOICES`].
    pub fn from_code(code: i16) -> Option<Self> {
        Self::CHOICES.into_iter().find(|family| family.code() == code)
    }

    /// What its URIs begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Caep => "https://schemas.openid.net/secevent/caep/event-type/",
            Self::Risc => "https://schemas.openid.net/secevent/risc/event-type/",
            Self::Scim => "urn:ietf:params:scim:event:prov:",
            Self::Ssf => "https://schemas.openid.net/secevent/ssf/event-type/",
        }
    }
}

impl EventType {
    /// The newest version of its schema.
    pub fn latest_version(&self) -> i32 {
        VERSION
    }

    /// What its payload must satisfy. `None`: there is no such version.
    pub fn schema(&self, version: i32) -> Option<&Schema> {
        let compile = || Schema::compile(&self.schema_document(VERSION, None)?).ok();
        if version == VERSION { self.schema.get_or_init(compile).as_ref() } else { None }
    }

    /// The schema of that version as a document that stands alone: JSON Schema, draft 2020-12.
    ///
    /// `base_url`: `schema_base_url`, without a slash at the end; without it the document has no `$id`. `None`: there is no such version.
    pub fn schema_document(&self, version: i32, base_url: Option<&str>) -> Option<String> {
        (version == VERSION).then(|| document::render(self, version, base_url))
    }

    /// A payload that satisfies the newest schema, as JSON without insignificant space.
    pub fn example(&self) -> &str {
        &self.example
    }

    /// The meaning as a sentence begins.
    pub fn friendly(&self) -> String {
        let mut letters = self.meaning.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
    }

    /// The first segment of its name.
    fn first_segment(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(first, _)| first)
    }
}

/// The type of that name. `None`: it is not built in.
pub fn find(name: &str) -> Option<&'static EventType> {
    CATALOGUE.by_name.get(name).and_then(|place| CATALOGUE.types.get(*place))
}

/// Every type, in the order of the catalogue.
pub fn all() -> impl Iterator<Item = &'static EventType> {
    CATALOGUE.types.iter()
}

/// Whether types of the catalogue begin with this segment, so that no registered type may.
pub fn is_first_segment(segment: &str) -> bool {
    CATALOGUE.types.iter().any(|known| known.first_segment() == segment)
}

/// Whether a type of this name would belong to a family of the catalogue.
pub fn is_built_in_family(name: &str) -> bool {
    is_first_segment(name.split('.').next().unwrap_or_default())
}

#[derive(Debug, Default)]
struct Catalogue {
    types: Vec<EventType>,
    families: Vec<Family>,
    shared: source::Shared,
    by_name: HashMap<&'static str, usize>,
}

// The sources are part of the binary and a test reads them, so there is no error that a user could ever see: an empty catalogue, which
// knows no type, stands for it.
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::read().unwrap_or_default());

impl Catalogue {
    fn read() -> Result<Self, serde_json::Error> {
        let shared = source::shared()?;
        let (mut types, mut families) = (Vec::new(), Vec::new());
        for text in source::FAMILIES {
            let (family, of_family) = source::family(text, &shared)?;
            families.push(family);
            types.extend(of_family);
        }
        let by_name = types.iter().enumerate().map(|(place, known): (_, &EventType)| (known.name, place)).collect();
        Ok(Self { types, families, shared, by_name })
    }
}

#[cfg(test)]
mod tests;
