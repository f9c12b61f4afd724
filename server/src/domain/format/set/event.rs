//! What a token says about its event: the event object, the one value of `events`.
//!
//! Each standard's objects carry only what the standard defines. A required member that `data` lacks, because a field policy
//! withheld it, stays out: nothing is made up.
//!
//! Source: CAEP 1.0, sections 2 and 3; RISC 1.0, section 2; Shared Signals Framework 1.0, "Verification Event".

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Part, scim, seconds};
use crate::domain::catalogue::SetFamily;
use crate::domain::format::Envelope;
use crate::domain::format::data::Object;

/// URI of the Shared Signals Framework's ping.
pub(super) const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
/// URI of the RISC event whose subject is the old identifier.
pub(super) const IDENTIFIER_CHANGED: &str = "https://schemas.openid.net/secevent/risc/event-type/identifier-changed";
/// Whose risk a risk event is about; each is also the name of a member of complex subjects.
pub(super) const PRINCIPALS: [&str; 6] = ["user", "device", "session", "tenant", "org_unit", "group"];

/// An event object, its members in the order of their names.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum EventObject<'a> {
    Standard(Members),
    /// An own event's object is `data`, byte for byte.
    Published(&'a RawValue),
}

type Members = BTreeMap<&'static str, Value>;

/// The event object of a token.
pub(super) fn object<'a>(envelope: &Envelope<'a>, data: &Object<'_>, part: &Part) -> EventObject<'a> {
    if part.number == Part::OWN {
        return match serde_json::from_slice::<&RawValue>(envelope.data) {
            Ok(data) if data.get().starts_with('{') => EventObject::Published(data),
            // Never stored: `data` was checked when it was published.
            _ => EventObject::Standard(Members::new()),
        };
    }
    let uri = &*part.uri;
    EventObject::Standard(if let Some(name) = uri.strip_prefix(SetFamily::Caep.prefix()) {
        caep(name, envelope, data)
    } else if let Some(name) = uri.strip_prefix(SetFamily::Risc.prefix()) {
        risc(name, envelope, data)
    } else if let Some(name) = uri.strip_prefix(SetFamily::Scim.prefix()) {
        scim::members(name, envelope.event_type, data)
    } else {
        // What the caller of the ping chose, so that it knows its answer.
        texts(data, ["state"])
    })
}

fn caep(name: &str, envelope: &Envelope<'_>, data: &Object<'_>) -> Members {
    let mut members = match name {
        "credential-change" => {
            let mut members = texts(data, ["credential_type", "friendly_name", "x509_issuer", "x509_serial", "fido2_aaguid"]);
            put(&mut members, "change_type", data.one_of("change_type", &["create", "revoke", "update", "delete"]));
            members
        }
        "device-compliance-change" => {
            let status = |name| match data.one_of(name, &["compliant", "not_compliant"])? {
                "not_compliant" => Some("not-compliant"),
                same => Some(same),
            };
            let mut members = Members::new();
            put(&mut members, "previous_status", status("previous_status"));
            put(&mut members, "current_status", status("current_status"));
            members
        }
        "risk-level-change" => {
            let upper = |name, values| data.one_of(name, values).map(str::to_ascii_uppercase);
            let mut members = texts(data, ["risk_reason"]);
            put(&mut members, "principal", upper("principal", &PRINCIPALS));
            put(&mut members, "current_level", upper("current_level", &["low", "medium", "high"]));
            put(&mut members, "previous_level", upper("previous_level", &["low", "medium", "high"]));
            members
        }
        "assurance-level-change" => {
            let mut members = texts(data, ["namespace", "current_level", "previous_level"]);
            put(&mut members, "change_direction", data.one_of("change_direction", &["increase", "decrease"]));
            members
        }
        "session-established" => {
            let mut members = texts(data, ["acr", "fp_ua", "ext_id"]);
            put(&mut members, "amr", data.strings("amr"));
            members
        }
        "session-presented" => texts(data, ["fp_ua", "ext_id"]),
        _ => Members::new(),
    };
    members.insert("event_timestamp", seconds(envelope.timestamp).into());
    put(&mut members, "initiating_entity", data.one_of("initiating_entity", &["admin", "user", "policy", "system"]));
    // Interoperability profile 1.0: these two always have one.
    let fallback = matches!(name, "session-revoked" | "credential-change")
        .then(|| BTreeMap::from([("en".to_owned(), envelope.event_type.to_owned())]));
    put(&mut members, "reason_admin", data.texts("reason_admin").or(fallback).map(language_map));
    put(&mut members, "reason_user", data.texts("reason_user").map(language_map));
    members
}

fn risc(name: &str, envelope: &Envelope<'_>, data: &Object<'_>) -> Members {
    let mut members = Members::new();
    match name {
        "credential-compromise" => {
            members = texts(data, ["credential_type"]);
            members.insert("event_timestamp", seconds(envelope.timestamp).into());
        }
        "identifier-changed" => put(&mut members, "new-value", data.text("new_value")),
        "account-disabled" => put(&mut members, "reason", data.one_of("reason", &["hijacking", "bulk-account"])),
        _ => {}
    }
    members
}

/// Members that go over as they are, each a string.
fn texts<const N: usize>(data: &Object<'_>, names: [&'static str; N]) -> Members {
    names.into_iter().filter_map(|name| Some((name, data.text(name)?.into()))).collect()
}

fn put(members: &mut Members, name: &'static str, value: Option<impl Into<Value>>) {
    members.extend(value.map(|value| (name, value.into())));
}

fn language_map(texts: BTreeMap<String, String>) -> Value {
    Value::Object(texts.into_iter().map(|(language, text)| (language, text.into())).collect())
}
