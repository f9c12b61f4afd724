//! What a publisher may publish: the types of the catalogue and those that its tenant registered, each with its schemas.
//!
//! Asked for every event that is published. [`RegisteredTypes`] is what the store knows of one tenant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Violation;
use super::catalogue::{self, Publisher};
use super::event::check_data;
use super::event_type::is_event_type;
use super::schema::Schema;

/// Types of one tenant.
#[derive(Debug, Clone, Default)]
pub struct RegisteredTypes(HashMap<String, RegisteredType>);

/// A type of a tenant's own.
#[derive(Debug, Clone)]
pub struct RegisteredType {
    newest: i32,
    versions: BTreeMap<i32, Arc<Schema>>,
}

/// What an event's payload must satisfy.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its schema.
    pub schema: &'a Schema,
    /// The version of that schema.
    pub version: i32,
}

/// Why a type cannot be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TypeProblem {
    /// It is neither of the catalogue nor registered.
    #[error("is not in the catalogue; register it with CreateEventType")]
    Unknown,
    /// Gatepost alone publishes it.
    #[error("is published by Gatepost alone")]
    Reserved,
    /// There is no such version.
    #[error("is not a version of this type's schema; the newest is {newest}")]
    Version {
        /// The newest.
        newest: i32,
    },
}

impl TypeProblem {
    /// The field of an event that is to blame.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Unknown | Self::Reserved => "type",
            Self::Version { .. } => "schema_version",
        }
    }
}

impl RegisteredType {
    /// A type without schemas yet. `newest`: its newest version.
    pub fn new(newest: i32) -> Self {
        Self { newest, versions: BTreeMap::new() }
    }

    /// Adds the schema of a version.
    pub fn add(&mut self, version: i32, schema: Arc<Schema>) {
        self.versions.insert(version, schema);
    }
}

impl RegisteredTypes {
    /// The types of a tenant by name.
    pub fn new(types: HashMap<String, RegisteredType>) -> Self {
        Self(types)
    }

    /// Bytes of memory that the schemas take, about.
    pub fn bytes(&self) -> usize {
        self.0.values().flat_map(|registered| registered.versions.values()).map(|schema| schema.bytes()).sum()
    }

    /// What events of this type must satisfy. `version`: `None` means the newest.
    ///
    /// # Errors
    /// [`TypeProblem`]: they cannot be published.
    pub fn find(&self, event_type: &str, version: Option<i32>) -> Result<Known<'_>, TypeProblem> {
        if let Some(built_in) = catalogue::find(event_type) {
            if built_in.publisher == Publisher::Gatepost {
                return Err(TypeProblem::Reserved);
            }
            let newest = built_in.latest_version();
            let version = version.unwrap_or(newest);
            let schema = built_in.schema(version).ok_or(TypeProblem::Version { newest })?;
            return Ok(Known { schema, version });
        }
        let registered = self.0.get(event_type).ok_or(TypeProblem::Unknown)?;
        let version = version.unwrap_or(registered.newest);
        let schema = registered.versions.get(&version).ok_or(TypeProblem::Version { newest: registered.newest })?;
        Ok(Known { schema, version })
    }
}

/// What is wrong with the name of a type that a tenant wants to register.
pub fn name_problem(name: &str) -> Option<&'static str> {
    if !is_event_type(name) {
        Some("must be two to six dot-separated segments of [a-z0-9_], at most 128 characters")
    } else if catalogue::is_built_in_family(name) {
        Some("must not begin with a first segment of the catalogue, such as `user`")
    } else {
        None
    }
}

/// What is wrong with an example beside its schema. An empty one is none.
pub fn check_example(schema: &str, example: &str) -> Vec<Violation> {
    if example.is_empty() {
        return Vec::new();
    }
    let schema = match Schema::compile(schema) {
        Ok(schema) => schema,
        Err(problems) => return problems.iter().map(|problem| Violation::new("event_type.schema", problem)).collect(),
    };
    let bad = |pointer: &str, message: &dyn std::fmt::Display| Violation::new(format!("event_type.example{pointer}"), message);
    match check_data(example.as_bytes(), EXAMPLE_BYTES) {
        Ok(data) => schema.violations(&data, MOST_VIOLATIONS).iter().map(|found| bad(&found.pointer, &found.message)).collect(),
        Err(problem) => vec![bad("", &problem)],
    }
}

/// Bytes of an example.
const EXAMPLE_BYTES: usize = 64 << 10;
/// Violations of a schema that one answer tells.
pub const MOST_VIOLATIONS: usize = 20;
