//! [`NewEvent`]: an event to publish.
//!
//! Every event gets its id here, before it is first sent. That is what makes a repeat of a publish a duplicate and never a second
//! event, so an event must never be sent without one.

use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

use crate::v1::PublishEventRequest;

/// An event to publish. Limits and rules of the fields are those of [`PublishEventRequest`].
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    request: PublishEventRequest,
}

impl NewEvent {
    /// An event of this type, such as `user.terminated`. `data`: a JSON object as UTF-8, delivered byte for byte.
    pub fn new(event_type: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::from(PublishEventRequest { r#type: event_type.into(), data: data.into(), ..PublishEventRequest::default() })
    }

    /// Your own id for the event; it becomes the `webhook-id`. Without one it has a new `evt_...`.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.request.event_id = id.into();
        self
    }

    /// Who or what it is about, `{kind}/{id}`.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.request.subject = subject.into();
        self
    }

    /// A label.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.request.tags.insert(key.into(), value.into());
        self
    }

    /// When it happened. Without it: when it is accepted.
    #[must_use]
    pub fn occurred(mut self, time: SystemTime) -> Self {
        self.request.occurred_time = Some(time.into());
        self
    }

    /// The version of its type's schema that the data is written for. Without it: the newest.
    #[must_use]
    pub fn schema_version(mut self, version: i32) -> Self {
        self.request.schema_version = version;
        self
    }

    /// The id it is published under.
    pub fn event_id(&self) -> &str {
        &self.request.event_id
    }

    pub(crate) fn into_request(mut self, parent: &str) -> PublishEventRequest {
        parent.clone_into(&mut self.request.parent);
        if self.request.event_id.is_empty() {
            self.request.event_id = event_id(Uuid::now_v7());
        }
        self.request
    }
}

impl From<PublishEventRequest> for NewEvent {
    /// Makes an id when `event_id` is empty. `parent` is replaced when it is published.
    fn from(mut request: PublishEventRequest) -> Self {
        if request.event_id.is_empty() {
            request.event_id = event_id(Uuid::now_v7());
        }
        Self { request }
    }
}

/// `evt_` and a UUIDv7 in lower-case Crockford base32, as the server makes them.
fn event_id(uuid: Uuid) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    // 128 bits are 25 letters of 5 bits and one of 3, which is padded with two zero bits.
    let bits = uuid.as_u128();
    let letters = (0..26u32).map(|index| {
        let five = if index < 25 { bits >> (123 - 5 * index) } else { bits << 2 };
        char::from(ALPHABET[(five & 31) as usize])
    });
    "evt_".chars().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_id_before_it_is_sent() {
        let event = NewEvent::new("user.created", "{}");
        let id = event.event_id().to_owned();
        assert_eq!(event.clone().into_request("tenants/acme").event_id, id);
        assert_eq!(event.into_request("tenants/acme").event_id, id);
        assert_eq!(NewEvent::new("user.created", "{}").id("").into_request("tenants/acme").event_id.len(), 30);
    }

    #[test]
    fn made_ids_are_the_servers_kind_and_sort_by_time() {
        let ids: Vec<String> = (0..100).map(|_| event_id(Uuid::now_v7())).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        for id in ids {
            assert_eq!(id.len(), 30);
            assert!(id.starts_with("evt_0"), "{id}");
        }
    }

    #[test]
    fn an_id_spells_every_bit_of_its_uuid() {
        assert_eq!(event_id(Uuid::from_u128(1)), format!("evt_{}4", "0".repeat(25)));
        assert_eq!(event_id(Uuid::from_u128(1 << 123)), format!("evt_1{}", "0".repeat(25)));
        assert_eq!(event_id(Uuid::from_u128(u128::MAX)), format!("evt_{}w", "z".repeat(25)));
    }

    #[test]
    fn what_was_set_is_sent() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(5);
        let request = NewEvent::new("user.terminated", r#"{"a":1}"#)
            .id("hr-1")
            .subject("user/1")
            .tag("source", "hr")
            .occurred(time)
            .schema_version(2)
            .into_request("tenants/acme");
        assert_eq!(
            (request.event_id.as_str(), request.subject.as_str(), request.parent.as_str()),
            ("hr-1", "user/1", "tenants/acme")
        );
        assert_eq!(&request.data[..], br#"{"a":1}"#);
        assert_eq!(request.tags["source"], "hr");
        assert_eq!((request.occurred_time.unwrap().seconds, request.schema_version), (5, 2));
    }
}
