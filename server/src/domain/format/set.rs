//! Security event tokens: which of them an event becomes, and their claims. Signing them is not done here.
//!
//! The fan-out asks [`part_numbers`] and makes one delivery for each; the dispatcher asks [`part`] for the one of its delivery, has
//! [`claims`] signed, and asks [`answer::read`] what the receiver said. A token names one event of a standard (CAEP, RISC, SCIM),
//! or one of Gatepost's own. What it must never hold: `sub`, `exp`, or a second event.
//!
//! Source: RFC 8417; Shared Signals Framework 1.0; CAEP 1.0; RISC 1.0; RFC 9967.

pub mod answer;
mod event;
mod scim;
mod subject;

use std::borrow::Cow;

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use self::event::EventObject;
use self::subject::Identifier;
use super::data::Object;
use super::{Envelope, write_json};
use crate::domain::Time;
use crate::domain::catalogue::{self, SetFamily, SetUri};

/// Content type of a token.
pub const CONTENT_TYPE: &str = "application/secevent+jwt";
/// `accept` of its request: the receiver's errors are JSON. Source: RFC 8935, section 2.1.
pub const ACCEPT: &str = "application/json";
/// `typ` of a token's header.
pub const TOKEN_TYPE: &str = "secevent+jwt";

/// What an endpoint's settings say about its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `{public_base_url}/tenants/{tenant}`.
    pub issuer: String,
    /// Who the tokens are for; one is sent as a string, several as an array.
    pub audience: Vec<String>,
    /// Families of standard events that are sent; [`SetFamily::Ssf`] always is.
    pub families: Vec<SetFamily>,
    /// How users are named.
    pub subject: UserSubject,
    /// Whether types without a standard event are sent as Gatepost's own. Needs `schema_base_url`.
    pub own_types: bool,
    /// What URIs of own events begin with, without a slash at the end.
    pub schema_base_url: Option<String>,
}

/// How a token names a user. Source: RFC 9493.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(i16)]
pub enum UserSubject {
    /// By issuer and user id.
    #[default]
    IssSub = 1,
    /// By e-mail address, or by issuer and id where the event holds none.
    Email = 2,
}

impl UserSubject {
    /// Every way, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::IssSub, Self::Email];

    /// Its number in rows and in the contract.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Reads a number that [`UserSubject::code`] wrote.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.code() == code)
    }
}

/// One token that an event becomes at an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Place of the URI in its type's list in the catalogue, from 1, so that it stays when the endpoint picks other families;
    /// [`Part::OWN`] for an event of Gatepost's own.
    pub number: i16,
    /// The event's URI: the one key of `events`.
    pub uri: Cow<'static, str>,
}

impl Part {
    /// The number of an event of Gatepost's own.
    pub const OWN: i16 = 0;
}

/// Numbers of the tokens that an event of this type becomes, ascending. None: the type does not match the endpoint.
///
/// Asked by the node that accepts the event, so nothing of a node's configuration may go in.
pub fn part_numbers(event_type: &str, families: &[SetFamily], own_types: bool) -> Vec<i16> {
    let picked = |family| family == SetFamily::Ssf || families.contains(&family);
    let numbers: Vec<i16> = standard_uris(event_type).filter(|(_, known)| picked(known.family)).map(|(number, _)| number).collect();
    if numbers.is_empty() && own_types { vec![Part::OWN] } else { numbers }
}

/// The tokens that an event of this type becomes on a node that can name them all.
pub fn parts(event_type: &str, options: &Options) -> Vec<Part> {
    let numbers = part_numbers(event_type, &options.families, options.own_types);
    numbers.into_iter().filter_map(|number| named(event_type, number, options)).collect()
}

/// The token of a delivery with this part number.
///
/// A standard event keeps its number when its family is no longer picked: what was promised to a receiver is sent. [`Part::OWN`] is
/// also the number of deliveries that were made while the endpoint had another format: they become the first token that the type
/// has now. `None`: there is nothing that could be sent, as the settings changed since the delivery was made.
pub fn part(event_type: &str, number: i16, options: &Options) -> Option<Part> {
    if number == Part::OWN {
        return parts(event_type, options).into_iter().next();
    }
    named(event_type, number, options)
}

/// The standard events of a type with their numbers.
fn standard_uris(event_type: &str) -> impl Iterator<Item = (i16, &'static SetUri)> {
    (1..).zip(catalogue::find(event_type).map_or(&[][..], |known| &known.set))
}

/// The part of that number with its URI.
fn named(event_type: &str, number: i16, options: &Options) -> Option<Part> {
    let uri = if number == Part::OWN {
        Cow::Owned(format!("{}/event-type/{event_type}", options.schema_base_url.as_ref()?))
    } else {
        let (_, known) = standard_uris(event_type).find(|(known, _)| *known == number)?;
        Cow::Borrowed(&*known.uri)
    };
    Some(Part { number, uri })
}

/// The delivery that a token is for.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Its id, the token's `jti`.
    pub id: &'a str,
    /// Id of its endpoint.
    pub endpoint_id: &'a str,
    /// When the event was accepted, the token's `iat`.
    pub accepted: Time,
}

/// The claims of a token, as JSON without insignificant space: what its signer signs.
pub fn claims(envelope: &Envelope<'_>, part: &Part, delivery: &Delivery<'_>, options: &Options) -> Bytes {
    let data = Object::read(envelope.data);
    write_json(&Claims {
        iss: &options.issuer,
        aud: &Audience(&options.audience),
        jti: delivery.id,
        iat: seconds(delivery.accepted),
        toe: seconds(envelope.timestamp),
        txn: envelope.txn,
        sub_id: subject::identify(envelope, &data, part, delivery, options),
        events: Events { uri: &part.uri, object: event::object(envelope, &data, part) },
    })
}

#[derive(serde::Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a Audience<'a>,
    jti: &'a str,
    iat: i64,
    toe: i64,
    txn: &'a str,
    sub_id: Identifier,
    events: Events<'a>,
}

struct Audience<'a>(&'a [String]);

impl Serialize for Audience<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

struct Events<'a> {
    uri: &'a str,
    object: EventObject<'a>,
}

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut events = serializer.serialize_map(Some(1))?;
        events.serialize_entry(self.uri, &self.object)?;
        events.end()
    }
}

/// Whole seconds since 1970. Source: RFC 7519, NumericDate.
fn seconds(time: Time) -> i64 {
    time.millis().div_euclid(1000)
}

#[cfg(test)]
mod tests;
