//! Secrets at rest: the key ring, the data keys that it wraps, and keyed hashes.
//!
//! A tenant's [`DataKey`] seals what its rows must not show; the [`KeyRing`] wraps data keys, so that changing a master key rewraps a few
//! rows and touches no payload. All is AES-256-GCM and HMAC-SHA256, with a key of its own for every purpose. Nothing here draws random
//! numbers: a nonce is an argument, 96 random bits, new for every call. No key and no plaintext is ever printed or part of an error.

use std::fmt;
use std::sync::Arc;

use aes_gcm::aead::array::Array;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use secrecy::SecretString;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

mod data_key;

pub use data_key::{DataKey, Place, Row};

/// Random bytes of one encryption: never the same twice under one key.
pub type Nonce = [u8; 12];

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Why something sealed could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not written by this module, or cut short.
    #[error("the ciphertext is malformed")]
    Malformed,
    /// Its master key was taken out of the ring too early: put it back behind the first.
    #[error("sealed under master key `{id}`, which the key ring does not hold")]
    UnknownMasterKey {
        /// The id in the ciphertext.
        id: String,
    },
    /// Another data key of the tenant sealed it.
    #[error("sealed under data key {needed}, tried with {held}")]
    OtherDataKey {
        /// Number in the ciphertext.
        needed: u32,
        /// Number of the key tried.
        held: u32,
    },
    /// Changed bytes, a row or column it does not belong to, or another tenant's key.
    #[error("the ciphertext was changed or belongs to another place")]
    Refused,
    /// More than 64 GiB.
    #[error("the plaintext is too long")]
    TooLong,
}

/// Why the text of a key ring is no key ring. It never holds a part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// There is no key in it.
    #[error("holds no key; one is written `id:base64 of 32 random bytes`")]
    Empty,
    /// An entry is not `id:base64`.
    #[error("entry {number}: {problem}")]
    Entry {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two entries have this id.
    #[error("two keys have the id `{id}`")]
    DuplicateId {
        /// The id.
        id: String,
    },
}

/// What a keyed hash is for. Each has its own key, so that a tag of one never passes as another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The secret of an API key.
    ApiKey,
    /// A page token.
    PageToken,
    /// A resume token of a watch.
    WatchToken,
}

impl Purpose {
    const ALL: [(Self, &'static str); 3] =
        [(Self::ApiKey, "api-key"), (Self::PageToken, "page-token"), (Self::WatchToken, "watch-token")];
}

/// The master keys. The first encrypts, all decrypt. Clones share them.
#[derive(Clone)]
pub struct KeyRing(Arc<[MasterKey]>);

struct MasterKey {
    id: String,
    wrap: Aes256Gcm,
    macs: [Hmac<Sha256>; Purpose::ALL.len()],
}

impl KeyRing {
    /// Reads `id:base64` entries, separated by commas or line ends: 32 bytes each, ids of 1 to 32 of `[A-Za-z0-9._-]`.
    ///
    /// # Errors
    /// [`RingError`]: the text is no key ring.
    pub fn parse(text: &str) -> Result<Self, RingError> {
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        let mut keys: Vec<MasterKey> = Vec::new();
        for (index, entry) in entries.enumerate() {
            let wrong = |problem| RingError::Entry { number: index + 1, problem };
            let (id, encoded) = entry.split_once(':').ok_or_else(|| wrong("is not `id:base64`"))?;
            if id.is_empty() || id.len() > 32 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
                return Err(wrong("the id is not 1 to 32 letters, digits, dots, dashes or underscores"));
            }
            let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| wrong("the key is not base64"))?);
            let bytes: &[u8; 32] = decoded.as_slice().try_into().map_err(|_| wrong("the key is not 32 bytes long"))?;
            if keys.iter().any(|key| key.id == id) {
                return Err(RingError::DuplicateId { id: id.to_owned() });
            }
            keys.push(MasterKey::new(id, bytes));
        }
        if keys.is_empty() { Err(RingError::Empty) } else { Ok(Self(keys.into())) }
    }

    /// An entry that [`KeyRing::parse`] reads, from 32 random bytes.
    pub fn entry(id: &str, bytes: &[u8; 32]) -> SecretString {
        format!("{id}:{}", STANDARD.encode(bytes)).into()
    }

    /// Ids of the keys, the encrypting one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    /// Makes a tenant's data key from 32 random bytes, and its wrapped form for the tenant's row. `number` counts a tenant's keys from 1.
    ///
    /// # Errors
    /// None in practice: 32 bytes always fit.
    pub fn make_data_key(&self, tenant: &str, number: u32, bytes: &[u8; 32], nonce: Nonce) -> Result<(DataKey, Vec<u8>), Error> {
        Ok((DataKey::new(number, bytes), self.wrap(tenant, number, bytes, nonce)?))
    }

    /// Opens a tenant's wrapped data key.
    ///
    /// # Errors
    /// [`Error::UnknownMasterKey`], [`Error::Malformed`], [`Error::Refused`]: also when it is another tenant's.
    pub fn open_data_key(&self, tenant: &str, wrapped: &[u8]) -> Result<DataKey, Error> {
        let (_, number, bytes) = self.unwrap_key(tenant, wrapped)?;
        Ok(DataKey::new(number, &bytes))
    }

    /// The data key wrapped under the first master key; `None` when it is already. For the rotation of master keys.
    ///
    /// # Errors
    /// As [`KeyRing::open_data_key`].
    pub fn rewrap(&self, tenant: &str, wrapped: &[u8], nonce: Nonce) -> Result<Option<Vec<u8>>, Error> {
        let (index, number, bytes) = self.unwrap_key(tenant, wrapped)?;
        if index == 0 { Ok(None) } else { self.wrap(tenant, number, &bytes, nonce).map(Some) }
    }

    /// The keyed hash of an API key's secret as its row holds it: `{master key id}:{base64url}`, bound to the key's id.
    ///
    /// The hash names its master key. So it outlives a rotation for as long as that key stays in the ring; a secret that is presented
    /// can be hashed anew under the first ([`KeyRing::is_current`]), one that is never presented again ends with its master key.
    pub fn hash_api_key(&self, key_id: &str, secret: &str) -> String {
        // A ring is never empty.
        self.0.first().map_or_else(String::new, |key| {
            let hash = key.mac(Purpose::ApiKey, &[key_id.as_bytes(), secret.as_bytes()]);
            format!("{}:{}", key.id, URL_SAFE_NO_PAD.encode(hash))
        })
    }

    /// Whether the secret is the one that was hashed, in constant time.
    ///
    /// # Errors
    /// [`Error::UnknownMasterKey`], [`Error::Malformed`].
    pub fn check_api_key(&self, key_id: &str, secret: &str, stored: &str) -> Result<bool, Error> {
        let (id, encoded) = stored.split_once(':').ok_or(Error::Malformed)?;
        let key = self.key(id)?.1;
        let hash = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Error::Malformed)?;
        Ok(key.mac(Purpose::ApiKey, &[key_id.as_bytes(), secret.as_bytes()]).ct_eq(&hash).into())
    }

    /// Whether the stored hash of an API key is under the first master key.
    pub fn is_current(&self, stored: &str) -> bool {
        self.0.first().is_some_and(|key| stored.split_once(':').is_some_and(|(id, _)| id == key.id))
    }

    /// A keyed hash of the parts, for tokens that callers hand back: 128 bits. Where one part ends is part of what is hashed.
    pub fn tag(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
        self.0.first().map_or([0; TAG_BYTES], |key| key.tag(purpose, parts))
    }

    /// Whether any key of the ring made this tag of these parts: tokens outlive a rotation.
    pub fn verifies(&self, purpose: Purpose, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.0.iter().any(|key| key.tag(purpose, parts).ct_eq(tag).into())
    }

    fn key(&self, id: &str) -> Result<(usize, &MasterKey), Error> {
        let found = self.0.iter().enumerate().find(|(_, key)| key.id == id);
        found.ok_or_else(|| Error::UnknownMasterKey { id: id.to_owned() })
    }

    /// Format, length of the id, id, number, nonce, sealed key, tag.
    fn wrap(&self, tenant: &str, number: u32, bytes: &[u8; 32], nonce: Nonce) -> Result<Vec<u8>, Error> {
        let key = self.0.first().ok_or(Error::Malformed)?;
        let mut wrapped = vec![FORMAT, u8::try_from(key.id.len()).map_err(|_| Error::Malformed)?];
        wrapped.extend_from_slice(key.id.as_bytes());
        wrapped.extend_from_slice(&number.to_be_bytes());
        seal_onto(&key.wrap, &wrap_context(tenant, number), nonce, bytes, &mut wrapped)?;
        Ok(wrapped)
    }

    fn unwrap_key(&self, tenant: &str, wrapped: &[u8]) -> Result<(usize, u32, Zeroizing<[u8; 32]>), Error> {
        let [FORMAT, id_bytes, rest @ ..] = wrapped else { return Err(Error::Malformed) };
        let (id, rest) = rest.split_at_checked(usize::from(*id_bytes)).ok_or(Error::Malformed)?;
        let (number, sealed) = rest.split_first_chunk::<4>().ok_or(Error::Malformed)?;
        let (index, key) = self.key(std::str::from_utf8(id).map_err(|_| Error::Malformed)?)?;
        let number = u32::from_be_bytes(*number);
        let opened = Zeroizing::new(open_from(&key.wrap, &wrap_context(tenant, number), sealed)?);
        let bytes: &[u8; 32] = opened.as_slice().try_into().map_err(|_| Error::Malformed)?;
        Ok((index, number, Zeroizing::new(*bytes)))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

impl MasterKey {
    fn new(id: &str, bytes: &[u8; 32]) -> Self {
        let macs = Purpose::ALL.map(|(_, label)| hmac(&derive(bytes, label)));
        Self { id: id.to_owned(), wrap: cipher(&derive(bytes, "wrap")), macs }
    }

    fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        // Invariant: the macs stand in the order of the enum.
        let mut mac = self.macs[purpose as usize].clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn tag(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&self.mac(purpose, parts)[..TAG_BYTES]);
        tag
    }
}

/// The key for one purpose. One step of HMAC-SHA256 with a fixed label, as the source key is uniformly random already.
///
/// Source: NIST SP 800-108r1, section 4.1, with one block.
fn derive(key: &[u8; 32], label: &str) -> Zeroizing<[u8; 32]> {
    let mut mac = hmac(key);
    mac.update(b"gatepost/v1/");
    mac.update(label.as_bytes());
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC pads a key with zeros to the hash's block; a key of exactly that length cannot be refused.
    let mut block = Zeroizing::new([0u8; 64]);
    block[..32].copy_from_slice(key);
    Hmac::new(<&Array<u8, _>>::from(&*block))
}

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(<&Array<u8, _>>::from(key))
}

fn wrap_context(tenant: &str, number: u32) -> Vec<u8> {
    [b"gatepost/v1/data-key/", number.to_be_bytes().as_slice(), tenant.as_bytes()].concat()
}

/// Appends nonce, ciphertext and tag.
fn seal_onto(cipher: &Aes256Gcm, context: &[u8], nonce: Nonce, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    out.reserve(NONCE_BYTES + plaintext.len() + TAG_BYTES);
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plaintext);
    let sealed = cipher.encrypt_inout_detached(&Array(nonce), context, (&mut out[start..]).into());
    out.extend_from_slice(&sealed.map_err(|_| Error::TooLong)?);
    Ok(())
}

/// Opens nonce, ciphertext and tag.
fn open_from(cipher: &Aes256Gcm, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Error::Malformed)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Error::Malformed)?;
    let mut plaintext = ciphertext.to_vec();
    let opened = cipher.decrypt_inout_detached(&Array(*nonce), context, plaintext.as_mut_slice().into(), &Array(*tag));
    opened.map(|()| plaintext).map_err(|_| Error::Refused)
}

#[cfg(test)]
mod tests;
