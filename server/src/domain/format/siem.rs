//! `LUMOS_SIEM`: the shape of Lumos's activity log, for SIEMs that read it already.
//!
//! A reader of that log finds every member it knows, whatever the event: what an event does not say is null or an empty text. The
//! event's name is in `siem/name.rs`, the ten metadata keys and where each comes from in `siem/metadata.rs`.

mod metadata;
mod name;

use std::fmt::Write as _;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha512};

use self::metadata::Metadata;
use super::data::{self, Object};
use super::{Envelope, standard, write_json};
use crate::domain::catalogue;

/// The body.
pub fn render(envelope: &Envelope<'_>) -> Bytes {
    let data = Object::read(envelope.data);
    write_json(&Body {
        event: Event {
            actor: Actor::read(&data),
            event_began_at: envelope.timestamp.rfc3339(),
            event_hash: event_hash(envelope),
            event_metadata: Metadata::read(envelope.event_type, &data),
            event_type: name::event_name(envelope.event_type, &data),
            event_type_user_friendly: friendly_name(envelope.event_type),
            outcome: outcome(envelope.event_type),
            targets: targets(&data),
        },
    })
}

#[derive(Serialize)]
struct Body {
    event: Event,
}

#[derive(Serialize)]
struct Event {
    actor: Actor,
    event_began_at: String,
    event_hash: String,
    event_metadata: Metadata,
    event_type: String,
    event_type_user_friendly: String,
    outcome: &'static str,
    targets: Vec<Target>,
}

/// Who did it.
#[derive(Serialize)]
struct Actor {
    actor_type: &'static str,
    actor_data: Person,
}

/// Texts are empty when unknown.
#[derive(Serialize)]
struct Person {
    email: String,
    given_name: String,
    family_name: String,
}

impl Actor {
    fn read(data: &Object<'_>) -> Self {
        let actor = data.object("actor").unwrap_or_default();
        let actor_type = match actor.one_of("type", &["user", "admin", "integration", "receiver"]) {
            Some("user") => "USER",
            Some("admin") => "ADMIN",
            Some("integration") => "INTEGRATION",
            Some("receiver") => "RECEIVER",
            _ => "SYSTEM",
        };
        let text = |name| actor.text(name).unwrap_or_default();
        Self {
            actor_type,
            actor_data: Person { email: text("email"), given_name: text("given_name"), family_name: text("family_name") },
        }
    }
}

/// Over the body that this endpoint would get in `STANDARD`, so that members which its field policy withholds cannot be guessed
/// from it.
fn event_hash(envelope: &Envelope<'_>) -> String {
    let digest = Sha512::digest(standard(envelope));
    digest.iter().fold(String::with_capacity(128), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The catalogue's meaning as a title; of a type that a tenant registered, its name in words.
fn friendly_name(event_type: &str) -> String {
    match catalogue::find(event_type) {
        Some(known) => known.friendly(),
        None => {
            let words = event_type.replace(['.', '_'], " ");
            let mut letters = words.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
        }
    }
}

fn outcome(event_type: &str) -> &'static str {
    let failed = ["_failed", "_overdue", "_dead_lettered"].iter().any(|ending| event_type.ends_with(ending));
    if failed { "FAILED" } else { "SUCCEEDED" }
}

/// A shared object that the event is about.
#[derive(Serialize)]
struct Target {
    target_type: &'static str,
    /// As published, without insignificant space.
    target_data: Box<RawValue>,
}

/// The shared objects among the members of `data`. What the members of these hold, and what is named in `permissions`, are no
/// targets.
fn targets(data: &Object<'_>) -> Vec<Target> {
    let kinds = [
        ("USER", "user"),
        ("APPLICATION", "application"),
        ("PERMISSION", "permission"),
        ("ACCESS_REQUEST", "access_request"),
        ("GRANT", "grant"),
    ];
    let target = |(target_type, member): (&'static str, &str)| {
        data.object(member)?;
        Some(Target { target_type, target_data: data::compact(data.raw(member)?)? })
    };
    kinds.into_iter().filter_map(target).collect()
}

#[cfg(test)]
mod tests;
