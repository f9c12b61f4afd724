//! What a watch's resume token says, and its text: which commits of which lanes its watcher needs no more.
//!
//! The feed writes one into every message and reads those that callers send back. The text is opaque, and bound to tenant and filter by a
//! keyed hash, so nothing in it has to be believed. Invariant: a token never covers a change that its watcher was not sent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message as _;

use super::Time;
use super::secret::{KeyRing, Purpose};

/// First byte of the text's content.
const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
/// Longer texts are none of ours: this is room for thousands of epochs.
const MAX_BYTES: usize = 1 << 20;

/// Where a watch stands.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchToken {
    /// Names the database's contents. Numbers mean nothing in another.
    #[prost(string, tag = "1")]
    pub incarnation: String,
    /// Ms. What the token does not cover was committed after this, or little before.
    #[prost(sint64, tag = "2")]
    pub time: i64,
    /// Epochs below it are over, and the token covers all of them.
    #[prost(sint64, tag = "3")]
    pub floor: i64,
    /// Ms. A watch that has not caught up since then: older rows of lanes that are not named are not wanted.
    #[prost(sint64, optional, tag = "4")]
    pub since: Option<i64>,
    /// How far each lane is covered. One of an epoch from `floor` on that is missing is not covered at all.
    #[prost(message, repeated, tag = "5")]
    pub lanes: Vec<LaneMark>,
}

/// How far one lane is covered.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LaneMark {
    /// The lane's epoch.
    #[prost(int64, tag = "1")]
    pub epoch: i64,
    /// The lane's number.
    #[prost(int32, tag = "2")]
    pub number: i32,
    /// The last commit that is covered.
    #[prost(int64, tag = "3")]
    pub seq: i64,
}

/// The text is no token, a damaged one, or that of another tenant, filter or server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a resume token of this tenant and filter")]
pub struct Invalid;

impl WatchToken {
    /// When the oldest commit that the token does not cover was begun, or a little later.
    pub fn covered_until(&self) -> Time {
        Time::from_millis(self.time)
    }

    /// The text for a caller. `filter`: its canonical spelling.
    pub fn seal(&self, keys: &KeyRing, tenant: &str, filter: &str) -> String {
        let body = self.encode_to_vec();
        let tag = keys.tag(Purpose::WatchToken, &[tenant.as_bytes(), filter.as_bytes(), &body]);
        let mut bytes = Vec::with_capacity(1 + TAG_BYTES + body.len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&tag);
        bytes.extend_from_slice(&body);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`WatchToken::seal`] wrote for the same tenant and filter.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn open(text: &str, keys: &KeyRing, tenant: &str, filter: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_BYTES {
            return Err(Invalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid)?;
        let Some((&FORMAT, sealed)) = bytes.split_first() else { return Err(Invalid) };
        let (tag, body) = sealed.split_at_checked(TAG_BYTES).ok_or(Invalid)?;
        if !keys.verifies(Purpose::WatchToken, &[tenant.as_bytes(), filter.as_bytes(), body], tag) {
            return Err(Invalid);
        }
        Self::decode(body).map_err(|_| Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    fn keys(byte: u8) -> KeyRing {
        KeyRing::parse(KeyRing::entry("k", &[byte; 32]).expose_secret()).unwrap()
    }

    fn token() -> WatchToken {
        let lanes = vec![LaneMark { epoch: 3, number: 0, seq: 7 }, LaneMark { epoch: 4, number: 5, seq: i64::MAX }];
        WatchToken { incarnation: "a".repeat(32), time: 1_795_597_200_000, floor: 3, since: Some(0), lanes }
    }

    #[test]
    fn a_token_is_read_back_for_its_tenant_and_filter_only() {
        let text = token().seal(&keys(1), "acme", "state == \"DEAD\"");
        assert_eq!(WatchToken::open(&text, &keys(1), "acme", "state == \"DEAD\""), Ok(token()));
        for (ring, tenant, filter) in [
            (keys(1), "acme", ""),
            (keys(1), "other", "state == \"DEAD\""),
            (keys(1), "acmes", "tate == \"DEAD\""),
            (keys(2), "acme", "state == \"DEAD\""),
        ] {
            assert_eq!(WatchToken::open(&text, &ring, tenant, filter), Err(Invalid), "{tenant} {filter}");
        }
    }

    #[test]
    fn a_token_of_many_lanes_can_be_read_back() {
        let lanes = (0..600).map(|epoch| LaneMark { epoch: 1_000_000 + epoch, number: 5, seq: 1 << 40 }).collect();
        let token = WatchToken { lanes, ..token() };
        assert_eq!(WatchToken::open(&token.seal(&keys(1), "t", ""), &keys(1), "t", ""), Ok(token));
    }

    proptest! {
        #[test]
        fn a_damaged_token_is_refused(at in 0usize..100, flip in 1u8..=255) {
            let mut bytes = URL_SAFE_NO_PAD.decode(token().seal(&keys(1), "acme", "")).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert_eq!(WatchToken::open(&URL_SAFE_NO_PAD.encode(&bytes), &keys(1), "acme", ""), Err(Invalid));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}") {
            prop_assert_eq!(WatchToken::open(&text, &keys(1), "acme", ""), Err(Invalid));
        }
    }
}
