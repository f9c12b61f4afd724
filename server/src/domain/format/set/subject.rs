//! Who or what a token is about: its `sub_id`.
//!
//! The event's URI and type say which rule holds. `data` may lack what the rule needs, because a field policy withheld it or a
//! registered type never had it: then the event's own subject stands in as an opaque id, as a token without `sub_id` is refused.
//!
//! Source: RFC 9493; RFC 9967, section 2.1; Shared Signals Framework 1.0, "Complex Subjects".

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Delivery, Options, Part, UserSubject, event, scim};
use crate::domain::catalogue::SetFamily;
use crate::domain::format::Envelope;
use crate::domain::format::data::Object;

/// A subject identifier.
#[derive(Debug, Serialize)]
#[serde(tag = "format", rename_all = "snake_case")]
pub(super) enum Identifier {
    IssSub {
        iss: String,
        sub: String,
    },
    Email {
        email: String,
    },
    PhoneNumber {
        phone_number: String,
    },
    Opaque {
        id: String,
    },
    Scim {
        uri: String,
        #[serde(rename = "externalId", skip_serializing_if = "Option::is_none")]
        external_id: Option<String>,
    },
    /// What all of its members together identify.
    Complex(BTreeMap<&'static str, Identifier>),
}

/// The `sub_id` of a token.
pub(super) fn identify(
    envelope: &Envelope<'_>,
    data: &Object<'_>,
    part: &Part,
    delivery: &Delivery<'_>,
    options: &Options,
) -> Identifier {
    let user = || data.object("user").and_then(|user| named_user(user.text("id"), user.text("email"), options));
    let first_segment = envelope.event_type.split('.').next().unwrap_or_default();
    let found = match (&*part.uri, first_segment, envelope.event_type) {
        (event::VERIFICATION, ..) => Some(Identifier::Opaque { id: delivery.endpoint_id.to_owned() }),
        (event::IDENTIFIER_CHANGED, ..) => old_identifier(data).or_else(user),
        (uri, ..) if uri.starts_with(SetFamily::Scim.prefix()) => scim::resource(first_segment, data),
        (_, "session", _) => complex([
            ("user", user()),
            ("session", referred(data, "session")),
            ("application", application(data.object("application"))),
        ]),
        // Without what was lost, the user alone would mean every device, or every session in every application.
        (_, _, "compliance.device_changed") => {
            referred(data, "device").and_then(|device| complex([("user", user()), ("device", Some(device))]))
        }
        (_, _, "access.revoked") => application(data.object("application"))
            .and_then(|application| complex([("user", user()), ("application", Some(application))])),
        (_, "account", _) => data.object("account").and_then(account),
        (_, _, "risk.level_changed") => principal(data, options),
        _ => user(),
    };
    found.unwrap_or_else(|| Identifier::Opaque { id: envelope.subject.to_owned() })
}

fn named_user(id: Option<String>, email: Option<String>, options: &Options) -> Option<Identifier> {
    match email {
        Some(email) if options.subject == UserSubject::Email => Some(Identifier::Email { email }),
        _ => Some(Identifier::IssSub { iss: options.issuer.clone(), sub: id? }),
    }
}

/// What the user was known by. Source: RISC 1.0, "Identifier Changed".
fn old_identifier(data: &Object<'_>) -> Option<Identifier> {
    let old = data.text("old_value")?;
    match data.one_of("identifier_type", &["email", "phone_number"])? {
        "email" => Some(Identifier::Email { email: old }),
        _ => Some(Identifier::PhoneNumber { phone_number: old }),
    }
}

/// A shared object that is known by its `id` alone.
fn referred(data: &Object<'_>, name: &str) -> Option<Identifier> {
    data.object(name)?.text("id").map(|id| Identifier::Opaque { id })
}

fn application(application: Option<Object<'_>>) -> Option<Identifier> {
    let application = application?;
    let app_id = application.text("app_id")?;
    let id = match application.text("instance_id") {
        Some(instance_id) => format!("{app_id}/{instance_id}"),
        None => app_id,
    };
    Some(Identifier::Opaque { id })
}

/// The account is the application's user. Invariant: without the account's id there is no identifier, as the application alone
/// would name everybody in it.
fn account(account: Object<'_>) -> Option<Identifier> {
    let user = Identifier::Opaque { id: account.text("id")? };
    complex([("user", Some(user)), ("application", application(account.object("application")))])
}

fn principal(data: &Object<'_>, options: &Options) -> Option<Identifier> {
    let id = data.text("principal_id")?;
    match data.one_of("principal", &event::PRINCIPALS)? {
        "user" => {
            let same = data.object("user").filter(|user| user.text("id").as_ref() == Some(&id));
            named_user(Some(id), same.and_then(|user| user.text("email")), options)
        }
        other => complex([(other, Some(Identifier::Opaque { id }))]),
    }
}

/// `None` without a member, as a complex subject has at least one.
fn complex<const N: usize>(members: [(&'static str, Option<Identifier>); N]) -> Option<Identifier> {
    let known: BTreeMap<_, _> = members.into_iter().filter_map(|(name, member)| Some((name, member?))).collect();
    (!known.is_empty()).then_some(Identifier::Complex(known))
}
