//! How an event becomes a request: five formats, one folder.
//!
//! Called by the dispatcher before it signs, and by previews. A body is a function of the event and its endpoint's settings alone:
//! every attempt, on every node and after every crash, sends the same bytes. What comes in is an [`Envelope`] whose `data` was
//! checked when it was published and may have lost members to the endpoint's field policy since: so nothing here relies on a member
//! being there, a member of the wrong type counts as absent, and what is rendered is JSON whatever `data` holds. `data` itself is
//! never parsed and written again.

pub mod cloudevents;
mod data;
mod percent;
pub mod set;
pub mod siem;
mod standard;
mod subject;

use bytes::Bytes;

use super::Time;

pub use standard::standard;
pub use subject::{derive_subject, is_subject, partition_key};

/// How an endpoint wants its events. The numbers are those of the contract and of the database rows: they never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(i16)]
pub enum Format {
    /// The envelope as JSON, see [`standard`].
    #[default]
    Standard = 1,
    /// CloudEvents 1.0 in structured mode, see [`cloudevents::structured`].
    CloudEventsStructured = 2,
    /// CloudEvents 1.0 in binary mode: [`cloudevents::binary_headers`], and `data` as the body.
    CloudEventsBinary = 3,
    /// A security event token, whose claims are [`set::claims`].
    Set = 4,
    /// The activity log of Lumos, see [`siem::render`].
    LumosSiem = 5,
}

impl Format {
    /// Every format, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Standard, Self::CloudEventsStructured, Self::CloudEventsBinary, Self::Set, Self::LumosSiem];

    /// Its number in rows and in the contract.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Reads a number that [`Format::code`] wrote.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.code() == code)
    }

    /// The `content-type` of its requests.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Standard | Self::CloudEventsBinary | Self::LumosSiem => "application/json",
            Self::CloudEventsStructured => cloudevents::CONTENT_TYPE,
            Self::Set => set::CONTENT_TYPE,
        }
    }
}

/// An event as it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Unique in the tenant; no `.` in it.
    pub id: &'a str,
    /// Event type name.
    pub event_type: &'a str,
    /// When it happened, as the publisher says; else when it was accepted.
    pub timestamp: Time,
    /// Id of the tenant.
    pub tenant: &'a str,
    /// What it is about, see [`derive_subject`].
    pub subject: &'a str,
    /// What events that stay in order have in common, see [`partition_key`].
    pub partition_key: &'a str,
    /// Its number in the order of acceptance.
    pub sequence: i64,
    /// One value for all events with one cause.
    pub txn: &'a str,
    /// Version of the schema of `data`, from 1.
    pub schema_version: i32,
    /// A JSON object, embedded byte for byte.
    pub data: &'a [u8],
}

impl Envelope<'_> {
    /// Zero-padded text, so that receivers may compare sequences as strings and lose no digits to floating point.
    fn sequence_text(&self) -> String {
        format!("{:020}", self.sequence)
    }

    /// Bytes of its texts and of `data`: what a body that holds all of them is longer than.
    fn len(&self) -> usize {
        let texts = [self.id, self.event_type, self.tenant, self.subject, self.partition_key, self.txn];
        texts.iter().map(|text| text.len()).sum::<usize>() + self.data.len()
    }
}

/// Appends a member to an object that is being written. `opening`: everything before its value.
fn write_member(body: &mut Vec<u8>, opening: &str, value: &str) {
    body.extend_from_slice(opening.as_bytes());
    // A string has JSON, and memory takes all of it: this cannot fail.
    let _ = serde_json::to_writer(body, value);
}

/// The JSON of `value`, without insignificant space. Only a map whose keys are no strings has none, and no format has such a map.
fn write_json(value: &impl serde::Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

#[cfg(test)]
mod tests;
