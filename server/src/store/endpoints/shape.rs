//! The columns of an endpoint that say how its payloads are made: read into a [`Shape`], changed field by field.
//!
//! They hold what users wrote, as text. An empty one means the default, which is what the release before writes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::json;
use crate::domain::Time;
use crate::domain::catalogue::SetFamily;
use crate::domain::field_policy::{FieldPolicy, HashKey};
use crate::domain::format::Format;
use crate::domain::format::set::UserSubject;
use crate::domain::jose::jwk::PublicKey;
use crate::domain::secret::DataKey;
use crate::domain::shape::{EncryptionKey, SetSettings, Shape};
use crate::store::entity::endpoints::Model;
use crate::store::{Error, Store};

/// New values of what makes an endpoint's payloads, checked; `None` leaves one as it is.
#[derive(Debug, Clone, Default)]
pub struct ShapeChange {
    /// How events are rendered.
    pub format: Option<Format>,
    /// Which members of `data` are withheld.
    pub field_policy: Option<FieldPolicy>,
    /// A template that compiles; empty: none.
    pub transform: Option<String>,
    /// The receiver's public keys, oldest first.
    pub encryption: Option<Vec<PublicKey>>,
    /// Who security event tokens are for.
    pub set_audience: Option<Vec<String>>,
    /// Families of standard events.
    pub set_families: Option<Vec<SetFamily>>,
    /// How users are named.
    pub set_subject: Option<UserSubject>,
    /// Also types without a standard event.
    pub set_own_types: Option<bool>,
}

/// A key in its column.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    jwk: String,
    create_time: i64,
}

/// What only format `SET` needs, in its column. An unknown member is refused, as not understanding it could send too much.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredSet {
    audience: Vec<String>,
    families: Vec<i16>,
    subject: i16,
    own_types: bool,
}

impl ShapeChange {
    /// Writes the new values into a row.
    ///
    /// # Errors
    /// [`Error::BadRow`]: what is there cannot be read.
    pub(super) fn apply(self, row: &mut Model, now: Time) -> Result<(), Error> {
        let bad = |problem: String| Error::BadRow { table: "endpoints", row: row.key.to_string(), problem };
        let mut set = set_settings(&row.set_options).map_err(bad)?;
        let stored = keys(&row.encryption).map_err(bad)?;
        if let Some(format) = self.format {
            row.format = format.code();
        }
        if let Some(policy) = self.field_policy {
            row.field_policy = if policy == FieldPolicy::default() { String::new() } else { text(&policy) };
        }
        if let Some(transform) = self.transform {
            row.transform = transform;
        }
        if let Some(keys) = self.encryption {
            row.encryption = keys_text(&keys, &stored, now);
        }
        set.audience = self.set_audience.unwrap_or(set.audience);
        set.families = self.set_families.unwrap_or(set.families);
        set.subject = self.set_subject.unwrap_or(set.subject);
        set.own_types = self.set_own_types.unwrap_or(set.own_types);
        row.set_options = set_text(&set);
        Ok(())
    }
}

impl Store {
    /// # Errors
    /// What is wrong with a column.
    pub(super) fn load_shape(&self, key: &DataKey, tenant: &Arc<str>, model: &Model) -> Result<Shape, String> {
        let transform = match model.transform.as_str() {
            "" => None,
            text => Some(self.inner.compiled.transform(text).map_err(|error| format!("transform: {error}"))?),
        };
        Ok(Shape {
            format: Format::from_code(model.format).ok_or_else(|| format!("format {}", model.format))?,
            set: set_settings(&model.set_options)?,
            field_policy: if model.field_policy.is_empty() { FieldPolicy::default() } else { json(&model.field_policy)? },
            hash_key: HashKey::new(key.field_key(model.key)),
            transform,
            encryption: keys(&model.encryption)?,
            site: Arc::clone(&self.inner.site),
            tenant: Arc::clone(tenant),
        })
    }
}

fn set_settings(text: &str) -> Result<SetSettings, String> {
    if text.is_empty() {
        return Ok(SetSettings::default());
    }
    let stored: StoredSet = json(text)?;
    let families = stored.families.iter().map(|code| SetFamily::from_code(*code)).collect::<Option<_>>();
    let subject = UserSubject::from_code(stored.subject);
    let (families, subject) = families.zip(subject).ok_or_else(|| format!("set_options {text}"))?;
    Ok(SetSettings { audience: stored.audience, families, subject, own_types: stored.own_types })
}

fn set_text(set: &SetSettings) -> String {
    if *set == SetSettings::default() {
        return String::new();
    }
    text(&StoredSet {
        audience: set.audience.clone(),
        families: set.families.iter().map(|family| family.code()).collect(),
        subject: set.subject.code(),
        own_types: set.own_types,
    })
}

fn keys(text: &str) -> Result<Vec<EncryptionKey>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let read = |stored: StoredKey| {
        let key = PublicKey::parse(&stored.jwk).map_err(|error| format!("encryption: {error}"))?;
        Ok(EncryptionKey { key: Arc::new(key), create_time: Time::from_millis(stored.create_time) })
    };
    json::<Vec<StoredKey>>(text)?.into_iter().map(read).collect()
}

/// A key that was there keeps its time. Of several new ones the last is the newest.
fn keys_text(keys: &[PublicKey], stored: &[EncryptionKey], now: Time) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let mut fresh = now.millis();
    let with_time = |key: &PublicKey| {
        let known = stored.iter().find(|known| known.key.to_text() == key.to_text());
        let create_time = known.map_or_else(
            || {
                fresh += 1;
                fresh - 1
            },
            |known| known.create_time.millis(),
        );
        StoredKey { jwk: key.to_text(), create_time }
    };
    text(&keys.iter().map(with_time).collect::<Vec<_>>())
}

/// Texts, numbers and lists always serialise.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
