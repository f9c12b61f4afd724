//! Ids: opaque names with a prefix, in lower-case Crockford base32, and the rules for ids that callers choose.
//!
//! A generated id is a prefix and a UUIDv7. A delivery's id is its key itself (event sequence, endpoint key, part), so that finding
//! one needs no index. Nothing here draws random numbers: the UUID is handed in.

use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What a generated id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tenant, `ten_`.
    Tenant,
    /// An endpoint, `ep_`.
    Endpoint,
    /// An event, `evt_`.
    Event,
    /// A delivery that is not stored, `dlv_`: a test of an endpoint.
    Delivery,
    /// An API key, `key_`.
    ApiKey,
    /// One RPC, `req_`; in logs and in INTERNAL errors.
    Request,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Tenant => "ten_",
            Self::Endpoint => "ep_",
            Self::Event => "evt_",
            Self::Delivery => "dlv_",
            Self::ApiKey => "key_",
            Self::Request => "req_",
        }
    }
}

/// A new id of this kind from a UUIDv7.
pub fn make(kind: Kind, uuid: uuid::Uuid) -> String {
    let mut id = String::with_capacity(32);
    id.push_str(kind.prefix());
    encode(uuid.as_bytes(), &mut id);
    id
}

/// The key of a delivery: one row of the hot table, and what its `dlv_` id spells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryKey {
    /// The event's sequence number.
    pub event_seq: i64,
    /// The endpoint's key.
    pub endpoint_key: i64,
    /// Which of several deliveries that one event makes for one endpoint; 0 but for formats that split events.
    pub part: i16,
}

impl DeliveryKey {
    /// Reads `dlv_…`; `None` when it was not written by [`DeliveryKey`]'s `Display`.
    pub fn parse(id: &str) -> Option<Self> {
        let bytes = decode::<18>(id.strip_prefix("dlv_")?)?;
        let (seq, rest) = bytes.split_first_chunk::<8>()?;
        let (endpoint, rest) = rest.split_first_chunk::<8>()?;
        let (part, _) = rest.split_first_chunk::<2>()?;
        let key = Self {
            event_seq: i64::from_be_bytes(*seq),
            endpoint_key: i64::from_be_bytes(*endpoint),
            part: i16::from_be_bytes(*part),
        };
        (key.event_seq > 0 && key.endpoint_key > 0 && key.part >= 0).then_some(key)
    }
}

impl fmt::Display for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0u8; 18];
        bytes[..8].copy_from_slice(&self.event_seq.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.endpoint_key.to_be_bytes());
        bytes[16..].copy_from_slice(&self.part.to_be_bytes());
        let mut id = String::with_capacity(33);
        id.push_str("dlv_");
        encode(&bytes, &mut id);
        f.write_str(&id)
    }
}

/// Whether a caller may choose this id for a tenant, endpoint or hook: `[a-z0-9][a-z0-9_-]{0,62}`.
pub fn is_resource_id(id: &str) -> bool {
    let mut bytes = id.bytes();
    id.len() <= 63
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first.is_ascii_digit())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}

/// Whether a caller may choose this id for an event: 1 to 128 of `[A-Za-z0-9_:-]`. No `.`, as the id is part of the signed content.
pub fn is_event_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-'))
}

/// Appends bytes in lower-case Crockford base32, five bits a letter, the last one padded with zeros.
pub(super) fn encode(bytes: &[u8], into: &mut String) {
    let mut buffer = 0u32;
    let mut bits = 0;
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            into.push(char::from(ALPHABET[((buffer >> bits) & 31) as usize]));
        }
    }
    if bits > 0 {
        into.push(char::from(ALPHABET[((buffer << (5 - bits)) & 31) as usize]));
    }
}

/// Exactly `N` bytes, or `None`: other lengths, other letters and padding bits that are not zero are refused, so that every key has
/// one spelling.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 8).div_ceil(5) {
        return None;
    }
    let mut out = [0u8; N];
    let mut at = 0;
    let mut buffer = 0u32;
    let mut bits = 0;
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|candidate| *candidate == letter)?;
        buffer = (buffer << 5) | u32::try_from(value).ok()?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            *out.get_mut(at)? = ((buffer >> bits) & 0xff) as u8;
            at += 1;
        }
    }
    (buffer & ((1 << bits) - 1) == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delivery_id_spells_its_key(event_seq in 1i64.., endpoint_key in 1i64.., part in 0i16..) {
            let key = DeliveryKey { event_seq, endpoint_key, part };
            prop_assert_eq!(DeliveryKey::parse(&key.to_string()), Some(key));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = DeliveryKey::parse(&text);
            let _ = DeliveryKey::parse(&format!("dlv_{text}"));
            let _ = (is_event_id(&text), is_resource_id(&text));
        }
    }

    #[test]
    fn a_delivery_key_has_one_spelling() {
        let id = DeliveryKey { event_seq: 42, endpoint_key: 7, part: 0 }.to_string();
        assert_eq!(id.len(), 33);
        let mut other = id.clone();
        other.pop();
        other.push('1'); // A padding bit set.
        assert_eq!(DeliveryKey::parse(&other), None);
        assert_eq!(DeliveryKey::parse(&id.to_uppercase()), None);
    }

    #[test]
    fn ids_made_in_order_sort_in_order() {
        let first = make(Kind::Event, uuid::Uuid::from_u128(1 << 80));
        let second = make(Kind::Event, uuid::Uuid::from_u128(2 << 80));
        assert!(first < second && first.starts_with("evt_") && is_event_id(&first));
    }

    #[test]
    fn chosen_ids_follow_their_rules() {
        assert!(is_resource_id("acme") && is_resource_id("0-a_b") && is_resource_id(&"a".repeat(63)));
        assert!(!is_resource_id("") && !is_resource_id("-a") && !is_resource_id("A") && !is_resource_id(&"a".repeat(64)));
        assert!(is_event_id("HR:4711-a_b") && !is_event_id("a.b") && !is_event_id(&"a".repeat(129)));
    }
}
