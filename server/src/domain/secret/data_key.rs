//! A tenant's data key: seals and opens the columns that hold secrets and payloads.
//!
//! Every publish and every attempt passes here, so the AES key schedule is made once, with the key. What is sealed is bound to its
//! tenant, table, row and column: moved to another place it does not open. Destroying the wrapped key makes all of it unreadable.

use std::fmt;
use std::sync::Arc;

use aes_gcm::Aes256Gcm;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{Error, FORMAT, Nonce, cipher, derive, hmac, open_from, seal_onto};

/// A tenant's open data key. Clones share it.
#[derive(Clone)]
pub struct DataKey(Arc<Keys>);

struct Keys {
    number: u32,
    seal: Aes256Gcm,
    subject: Hmac<Sha256>,
    fields: Hmac<Sha256>,
}

/// The one place that a ciphertext belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Id of the tenant.
    pub tenant: &'a str,
    /// Name of the table.
    pub table: &'a str,
    /// The row's key.
    pub row: Row<'a>,
    /// Name of the column.
    pub column: &'a str,
}

/// A row's key within its table and tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row<'a> {
    /// A numeric key, such as an event's sequence.
    Number(i64),
    /// A textual one. Several parts are joined by the caller so that no two keys give one text.
    Text(&'a str),
}

impl DataKey {
    pub(super) fn new(number: u32, bytes: &[u8; 32]) -> Self {
        let (seal, subject) = (cipher(&derive(bytes, "seal")), hmac(&derive(bytes, "subject")));
        let fields = hmac(&derive(bytes, "fields"));
        Self(Arc::new(Keys { number, seal, subject, fields }))
    }

    /// Which of the tenant's keys it is, from 1. Every ciphertext carries it.
    pub fn number(&self) -> u32 {
        self.0.number
    }

    /// Encrypts for one place: format, key number, nonce, ciphertext and tag, 33 bytes more than the plaintext.
    ///
    /// `nonce`: 12 random bytes, new for each call.
    ///
    /// # Errors
    /// [`Error::TooLong`] past 64 GiB.
    pub fn seal(&self, place: &Place<'_>, nonce: Nonce, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let mut sealed = Vec::with_capacity(33 + plaintext.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.0.number.to_be_bytes());
        seal_onto(&self.0.seal, &place.context(), nonce, plaintext, &mut sealed)?;
        Ok(sealed)
    }

    /// Decrypts what [`DataKey::seal`] made for the same place.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Malformed`], [`Error::OtherDataKey`].
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        let [FORMAT, rest @ ..] = sealed else { return Err(Error::Malformed) };
        let (number, rest) = rest.split_first_chunk::<4>().ok_or(Error::Malformed)?;
        let (needed, held) = (u32::from_be_bytes(*number), self.0.number);
        if needed != held {
            return Err(Error::OtherDataKey { needed, held });
        }
        open_from(&self.0.seal, &place.context(), rest)
    }

    /// Keyed hash of a subject, by which one person's events are found without storing who it is in clear.
    ///
    /// It depends on the tenant's data key alone: it stays the same when master keys change, and means nothing once the key is destroyed.
    pub fn hash_subject(&self, subject: &str) -> [u8; 32] {
        let mut mac = self.0.subject.clone();
        mac.update(subject.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The key under which members of payloads are hashed for one endpoint.
    pub fn field_key(&self, endpoint_key: i64) -> [u8; 32] {
        let mut mac = self.0.fields.clone();
        mac.update(&endpoint_key.to_be_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("number", &self.0.number).finish_non_exhaustive()
    }
}

impl Place<'_> {
    /// The additional data: every part with its length, so that no two places have the same.
    fn context(&self) -> Vec<u8> {
        let mut context = Vec::with_capacity(64 + self.tenant.len());
        let mut part = |bytes: &[u8]| {
            context.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            context.extend_from_slice(bytes);
        };
        part(self.tenant.as_bytes());
        part(self.table.as_bytes());
        part(self.column.as_bytes());
        match self.row {
            Row::Number(number) => context.extend_from_slice(&[&[0], number.to_be_bytes().as_slice()].concat()),
            Row::Text(text) => context.extend_from_slice(&[&[1], text.as_bytes()].concat()),
        }
        context
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: Place<'static> = Place { tenant: "acme", table: "events", row: Row::Number(7), column: "data" };

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
        let key = DataKey::new(1, &[1; 32]);
        let sealed = key.seal(&PLACE, [3; 12], b"{}").unwrap();
        assert_eq!(sealed.len(), 2 + 33);
        assert_eq!(key.open(&PLACE, &sealed).unwrap(), b"{}");
        for other in [
            Place { tenant: "other", ..PLACE },
            Place { table: "attempts", ..PLACE },
            Place { row: Row::Number(8), ..PLACE },
            Place { row: Row::Text("7"), ..PLACE },
            Place { column: "tags", ..PLACE },
            Place { tenant: "acm", table: "eevents", ..PLACE },
        ] {
            assert_eq!(key.open(&other, &sealed), Err(Error::Refused), "{other:?}");
        }
    }

    #[test]
    fn another_key_is_refused_and_another_number_named() {
        let sealed = DataKey::new(1, &[1; 32]).seal(&PLACE, [3; 12], b"{}").unwrap();
        assert_eq!(DataKey::new(1, &[2; 32]).open(&PLACE, &sealed), Err(Error::Refused));
        assert_eq!(DataKey::new(2, &[1; 32]).open(&PLACE, &sealed), Err(Error::OtherDataKey { needed: 1, held: 2 }));
    }

    #[test]
    fn a_subject_hash_is_the_tenants_own() {
        let key = DataKey::new(1, &[1; 32]);
        assert_eq!(key.hash_subject("user/1"), DataKey::new(1, &[1; 32]).hash_subject("user/1"));
        assert_ne!(key.hash_subject("user/1"), key.hash_subject("user/2"));
        assert_ne!(key.hash_subject("user/1"), DataKey::new(1, &[2; 32]).hash_subject("user/1"));
        assert!(!format!("{key:?}").contains("[1, 1"));
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_refused(plaintext in proptest::collection::vec(any::<u8>(), 0..80), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let key = DataKey::new(1, &[1; 32]);
            let mut sealed = key.seal(&PLACE, [3; 12], &plaintext).unwrap();
            prop_assert_eq!(key.open(&PLACE, &sealed).unwrap(), plaintext);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(key.open(&PLACE, &sealed).is_err());
            sealed.truncate(at);
            prop_assert!(key.open(&PLACE, &sealed).is_err());
        }
    }
}
