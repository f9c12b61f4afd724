//! The sources of the catalogue, and the rules by which they stay short: a member's name says its type, families say once what all of
//! their types hold, and what every event may hold is said once for all.
//!
//! `name?` is a member that the schema does not require. Its value is a description, if the name says the type, or else a JSON Schema.

use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{EventType, Publisher, SetFamily, SetUri};

const SHARED: &str = include_str!("../../../catalogue/shared.json");

/// One file a family, in the order of the catalogue.
pub(super) const FAMILIES: [&str; 14] = [
    include_str!("../../../catalogue/user.json"),
    include_str!("../../../catalogue/account.json"),
    include_str!("../../../catalogue/access_request.json"),
    include_str!("../../../catalogue/access.json"),
    include_str!("../../../catalogue/permission.json"),
    include_str!("../../../catalogue/group.json"),
    include_str!("../../../catalogue/access_review.json"),
    include_str!("../../../catalogue/compliance.json"),
    include_str!("../../../catalogue/credential.json"),
    include_str!("../../../catalogue/session.json"),
    include_str!("../../../catalogue/risk.json"),
    include_str!("../../../catalogue/assurance.json"),
    include_str!("../../../catalogue/hook.json"),
    include_str!("../../../catalogue/webhook.json"),
];

/// A member of `data` or of a shared object.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) required: bool,
    /// What it must be, with its description.
    pub(super) schema: Value,
}

/// What families and types refer to.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The shared types by name, in the order of their source.
    pub(super) types: Vec<(&'static str, SharedType)>,
    everywhere: Ordered<'static, Value>,
    names: Names,
}

impl Shared {
    /// How many members every event may hold: the last ones of each type.
    pub(super) fn everywhere_len(&self) -> usize {
        self.everywhere.0.len()
    }
}

/// A shared type.
#[derive(Debug)]
pub(super) struct SharedType {
    pub(super) about: &'static str,
    /// Its schema.
    pub(super) schema: Value,
    /// Its members; none: it is not an object with named members.
    pub(super) members: Vec<Member>,
}

/// What the page says about a family.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    /// How many types it has.
    pub(super) len: usize,
}

/// Which type a name means.
#[derive(Debug, Default)]
struct Names {
    whole: Ordered<'static, Value>,
    suffixes: Ordered<'static, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedSource {
    #[serde(borrow)]
    types: Ordered<'static, SharedTypeSource>,
    #[serde(borrow)]
    names: Ordered<'static, Value>,
    #[serde(borrow)]
    suffixes: Ordered<'static, Value>,
    #[serde(borrow)]
    everywhere: Ordered<'static, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedTypeSource {
    about: &'static str,
    #[serde(borrow, default)]
    members: Ordered<'static, Value>,
    schema: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FamilySource {
    title: &'static str,
    about: &'static str,
    /// Members that every type of the family holds.
    #[serde(borrow, default)]
    members: Ordered<'static, Value>,
    types: Vec<TypeSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeSource {
    name: &'static str,
    meaning: &'static str,
    by: Publisher,
    /// Such as `risc account-enabled`.
    #[serde(default)]
    set: Vec<&'static str>,
    /// Without the members of its family.
    #[serde(default)]
    stands_alone: bool,
    #[serde(borrow, default)]
    members: Ordered<'static, Value>,
    example: &'static RawValue,
}

/// Reads what is shared.
pub(super) fn shared() -> Result<Shared, serde_json::Error> {
    let source: SharedSource = serde_json::from_str(SHARED)?;
    let names = Names { whole: source.names, suffixes: source.suffixes };
    let types = source.types.0.into_iter().map(|(name, shared)| Ok((name, shared_type(shared, &names)?)));
    Ok(Shared { types: types.collect::<Result<_, serde_json::Error>>()?, everywhere: source.everywhere, names })
}

fn shared_type(source: SharedTypeSource, names: &Names) -> Result<SharedType, serde_json::Error> {
    let members = members(&source.members, names)?;
    let mut schema = source.schema.unwrap_or_else(|| {
        let properties: serde_json::Map<_, _> =
            members.iter().map(|member| (member.name.to_owned(), member.schema.clone())).collect();
        let required: Vec<_> = members.iter().filter(|member| member.required).map(|member| member.name).collect();
        let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": true });
        if !required.is_empty() {
            object["required"] = required.into();
        }
        object
    });
    schema["description"] = source.about.into();
    Ok(SharedType { about: source.about, schema, members })
}

/// Reads a family and its types.
pub(super) fn family(text: &'static str, shared: &Shared) -> Result<(Family, Vec<EventType>), serde_json::Error> {
    let source: FamilySource = serde_json::from_str(text)?;
    let family = Family { title: source.title, about: source.about, len: source.types.len() };
    let types = source.types.into_iter().map(|one| event_type(one, &source.members, shared)).collect::<Result<_, _>>()?;
    Ok((family, types))
}

fn event_type(source: TypeSource, of_family: &Ordered<'static, Value>, shared: &Shared) -> Result<EventType, serde_json::Error> {
    let mut all = if source.stands_alone { Vec::new() } else { members(of_family, &shared.names)? };
    all.extend(members(&source.members, &shared.names)?);
    all.extend(members(&shared.everywhere, &shared.names)?);
    Ok(EventType {
        name: source.name,
        meaning: source.meaning,
        publisher: source.by,
        set: source.set.into_iter().map(set_uri).collect::<Result<_, _>>()?,
        members: all,
        spelled: dedent(source.example.get()),
        example: compact(source.example.get()),
        schema: OnceLock::new(),
    })
}

fn set_uri(text: &str) -> Result<SetUri, serde_json::Error> {
    let (family, name) = text.split_once(' ').ok_or_else(|| unknown(text))?;
    let family = match family {
        "caep" => SetFamily::Caep,
        "risc" => SetFamily::Risc,
        "scim" => SetFamily::Scim,
        "ssf" => SetFamily::Ssf,
        _ => return Err(unknown(text)),
    };
    Ok(SetUri { family, uri: format!("{}{name}", family.prefix()) })
}

fn unknown(text: &str) -> serde_json::Error {
    serde_json::Error::custom(format!("`{text}` is no security event"))
}

fn members(source: &Ordered<'static, Value>, names: &Names) -> Result<Vec<Member>, serde_json::Error> {
    source.0.iter().map(|(name, value)| member(name, value, names)).collect()
}

fn member(name: &'static str, value: &Value, names: &Names) -> Result<Member, serde_json::Error> {
    let (name, required) = name.strip_suffix('?').map_or((name, true), |name| (name, false));
    let schema = match value {
        Value::String(description) => {
            let mut schema = names.schema(name);
            schema["description"] = description.as_str().into();
            schema
        }
        Value::Object(schema) if schema.contains_key("description") => value.clone(),
        _ => return Err(serde_json::Error::custom(format!("`{name}` has no description"))),
    };
    Ok(Member { name, required, schema })
}

impl Names {
    fn schema(&self, name: &str) -> Value {
        let whole = self.whole.0.iter().find(|(known, _)| *known == name);
        let suffix = || self.suffixes.0.iter().find(|(suffix, _)| name.ends_with(suffix));
        whole.or_else(suffix).map_or_else(|| json!({ "type": "string" }), |(_, schema)| schema.clone())
    }
}

/// JSON without its insignificant space.
fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    json.chars()
        .filter(|letter| {
            let kept = in_string || !letter.is_ascii_whitespace();
            if *letter == '"' && !escaped {
                in_string = !in_string;
            }
            escaped = in_string && *letter == '\\' && !escaped;
            kept
        })
        .collect()
}

/// Text with the indentation of its last line taken off all lines but the first.
fn dedent(text: &str) -> String {
    let indentation = text.lines().last().map_or(0, |line| line.len() - line.trim_start().len());
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |mut so_far, line| {
        so_far.push('\n');
        so_far.push_str(line.get(indentation..).unwrap_or_default());
        so_far
    })
}

/// A JSON object that keeps the order of its members.
#[derive(Debug)]
pub(super) struct Ordered<'a, T>(pub(super) Vec<(&'a str, T)>);

impl<T> Default for Ordered<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Ordered<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OrderedVisitor(PhantomData))
    }
}

struct OrderedVisitor<'a, T>(PhantomData<Ordered<'a, T>>);

impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for OrderedVisitor<'a, T> {
    type Value = Ordered<'a, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(&'a str, T)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<&'a str, T>()? {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format!("`{name}` stands twice")));
            }
            members.push((name, value));
        }
        Ok(Ordered(members))
    }
}
