//! Bodies that only their receiver can read: compact JWE with `A256GCM` to the receiver's public key.
//!
//! Delivery calls [`encrypt`] once per attempt, with what was rendered: every message has its own ephemeral key, content key and
//! nonce, so the same body is never twice the same bytes. No shared secret and no content key outlives the call.
//!
//! Source: RFC 7516; RFC 7518, sections 4.3, 4.6 and 5.3; RFC 8037, section 3.2.

use aes_gcm::aead::array::Array;
use aes_gcm::aead::consts::U32;
use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _};
use aes_kw::KwAes256;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::rand::SecureRandom;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Random;
use super::jwk::{Algorithm, Material, PublicKey};

const ENCRYPTION: &str = "A256GCM";

/// Why a body was not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The system gave no random numbers: repeat.
    #[error("no random numbers")]
    Random,
    /// Nothing can be agreed on with the receiver's key, which [`PublicKey::parse`] should have found.
    #[error("the receiver's key is refused")]
    Key,
    /// More than 64 GiB.
    #[error("the plaintext is too long")]
    TooLong,
}

type Key = Zeroizing<[u8; 32]>;

/// Encrypts `plaintext` to a receiver.
///
/// `content_type`: media type of `plaintext`, which becomes `cty`; empty: none. Returns the compact serialization, five parts of
/// base64url: a third longer than the plaintext, and some hundreds of bytes.
///
/// # Errors
/// [`Error`].
pub fn encrypt(key: &PublicKey, content_type: &str, plaintext: &[u8], rng: &dyn SecureRandom) -> Result<String, Error> {
    let mut content_key = Key::default();
    rng.fill(&mut *content_key).map_err(|_| Error::Random)?;
    let mut sent_key = Vec::new();
    let mut epk = None;
    match &key.material {
        Material::Rsa(rsa) => {
            sent_key = rsa.oaep_encrypt_with_rng::<Sha256, _>(&mut Random(rng), &*content_key).map_err(|_| Error::Random)?;
        }
        // The leading 4 says that both coordinates follow. Source: SEC 1, section 2.3.3.
        Material::P256 { x, y } => {
            let (public, agreed) = agree(&agreement::ECDH_P256, &[&[4][..], x, y].concat(), key.algorithm(), rng)?;
            let (x, y) = public.as_ref().get(1..).unwrap_or_default().split_at_checked(32).ok_or(Error::Key)?;
            epk = Some(Epk { kty: "EC", crv: "P-256", x: URL_SAFE_NO_PAD.encode(x), y: Some(URL_SAFE_NO_PAD.encode(y)) });
            settle(key.algorithm(), agreed, &mut content_key, &mut sent_key);
        }
        Material::X25519(x) => {
            let (public, agreed) = agree(&agreement::X25519, x, key.algorithm(), rng)?;
            epk = Some(Epk { kty: "OKP", crv: "X25519", x: URL_SAFE_NO_PAD.encode(public), y: None });
            settle(key.algorithm(), agreed, &mut content_key, &mut sent_key);
        }
    }
    let header = Header { alg: key.algorithm().name(), enc: ENCRYPTION, kid: key.kid(), cty: cty(content_type), epk };
    let header = serde_json::to_vec(&header).map_err(|_| Error::TooLong)?;
    seal(&header, &sent_key, &content_key, plaintext, rng)
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    enc: &'static str,
    kid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cty: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    epk: Option<Epk>,
}

/// The sender's half of an agreement.
#[derive(Serialize)]
struct Epk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

/// A media type as JOSE spells it: without `application/` where nothing is lost by that. A signed token is `JWT`.
///
/// Source: RFC 7516, section 4.1.12; RFC 7519, section 5.2.
fn cty(content_type: &str) -> &str {
    match content_type.strip_prefix("application/") {
        Some("secevent+jwt" | "jwt") => "JWT",
        Some(rest) if !rest.contains('/') => rest,
        _ => content_type,
    }
}

/// One agreement: the ephemeral public key, and the key that both sides derive.
fn agree(
    curve: &'static agreement::Algorithm,
    receiver: &[u8],
    algorithm: Algorithm,
    rng: &dyn SecureRandom,
) -> Result<(agreement::PublicKey, Key), Error> {
    let mine = EphemeralPrivateKey::generate(curve, rng).map_err(|_| Error::Random)?;
    let public = mine.compute_public_key().map_err(|_| Error::Key)?;
    // What the derived key is for is part of it: the content's algorithm where it is the content key, else that of the wrapping.
    let id = if algorithm == Algorithm::EcdhEs { ENCRYPTION } else { algorithm.name() };
    // `ring` refuses points off the curve and, as RFC 8037 section 2 wants it, a shared secret of zeros.
    let agreed = agreement::agree_ephemeral(mine, &UnparsedPublicKey::new(curve, receiver), |z| concat_kdf(z, id, b"", b"", 256));
    Ok((public, agreed.map_err(|_| Error::Key)?))
}

/// Makes the content key of what was agreed on, or wraps it for sending.
fn settle(algorithm: Algorithm, agreed: Key, content_key: &mut Key, sent_key: &mut Vec<u8>) {
    if algorithm == Algorithm::EcdhEs {
        *content_key = agreed;
    } else {
        *sent_key = wrap(&agreed, content_key);
    }
}

/// AES key wrap, 40 bytes. Source: RFC 3394, section 2.2.1.
fn wrap(wrapping: &[u8; 32], key: &[u8; 32]) -> Vec<u8> {
    KwAes256::new(<&Array<u8, _>>::from(wrapping)).wrap_fixed_key(<&Array<u8, U32>>::from(key)).to_vec()
}

/// Concat KDF with SHA-256 for keys of up to 256 bits: one round, of which a shorter key is the beginning.
///
/// Source: RFC 7518, section 4.6.2; SP 800-56A, section 5.8.2.1.
fn concat_kdf(z: &[u8], algorithm_id: &str, apu: &[u8], apv: &[u8], key_bits: u32) -> Key {
    let mut hash = Sha256::new();
    hash.update(1u32.to_be_bytes());
    hash.update(z);
    for part in [algorithm_id.as_bytes(), apu, apv] {
        // None is longer than a header.
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    hash.update(key_bits.to_be_bytes());
    Key::new(hash.finalize().into())
}

/// The five parts. The header's base64url is authenticated with the content.
fn seal(header: &[u8], sent_key: &[u8], content_key: &Key, plaintext: &[u8], rng: &dyn SecureRandom) -> Result<String, Error> {
    let mut nonce = [0; 12];
    rng.fill(&mut nonce).map_err(|_| Error::Random)?;
    seal_with(header, sent_key, content_key, plaintext, nonce)
}

fn seal_with(header: &[u8], sent_key: &[u8], content_key: &Key, plaintext: &[u8], nonce: [u8; 12]) -> Result<String, Error> {
    let mut text = String::with_capacity((header.len() + sent_key.len() + plaintext.len()).div_ceil(3) * 4 + 64);
    URL_SAFE_NO_PAD.encode_string(header, &mut text);
    let mut content = plaintext.to_vec();
    let cipher = Aes256Gcm::new(<&Array<u8, _>>::from(&**content_key));
    let tag = cipher.encrypt_inout_detached(&Array(nonce), text.as_bytes(), content.as_mut_slice().into());
    let tag = tag.map_err(|_| Error::TooLong)?;
    for part in [sent_key, &nonce, &content, &tag] {
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(part, &mut text);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
