//! The RSA key with which a tenant's security event tokens are signed, and the public half that receivers fetch.
//!
//! The API makes a key for a tenant, the store keeps its PKCS #8 sealed, delivery signs, HTTP serves the [`key_set`]. Signatures are those
//! of PKCS #1 v1.5, so the same claims give the same bytes on every attempt and node. The private half must never be printed, and
//! is used by `ring` alone: `rsa` only draws the primes.
//!
//! Source: RFC 7515; RFC 7518, section 3.3; CAEP interoperability profile 1.0.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use rsa::pkcs8::EncodePrivateKey as _;
use secrecy::SecretSlice;
use serde::Serialize;
use serde_json::{Value, json};

use super::Random;
use super::jwk::thumbprint_of;

/// Bits of a new key's modulus.
const BITS: usize = 2048;

/// Why there is no key or no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The system gave no random numbers: repeat.
    #[error("no random numbers")]
    Random,
    /// Not the PKCS #8 of an RSA key of 2048 to 4096 bits.
    #[error("not an RSA signing key")]
    Key,
    /// The key cannot sign: it is damaged.
    #[error("the signing key is refused")]
    Sign,
}

/// A tenant's signing key.
pub struct SigningKey {
    pair: RsaKeyPair,
    pkcs8: SecretSlice<u8>,
    kid: String,
}

impl SigningKey {
    /// Draws a key of 2048 bits.
    ///
    /// Takes a tenth of a second and sometimes a whole one, on one core: call it where blocking is allowed.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, Error> {
        let drawn = rsa::PrivateKey::new(&mut Random(rng), BITS).map_err(|_| Error::Random)?;
        let pkcs8 = drawn.to_pkcs8_der().map_err(|_| Error::Key)?;
        Self::from_pkcs8(pkcs8.as_bytes())
    }

    /// Reads what [`SigningKey::to_pkcs8`] gave.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| Error::Key)?;
        let kid = thumbprint_of(&required(&pair));
        Ok(Self { pair, pkcs8: SecretSlice::from(der.to_vec()), kid })
    }

    /// The private key in PKCS #8, DER: for sealing.
    pub fn to_pkcs8(&self) -> &SecretSlice<u8> {
        &self.pkcs8
    }

    /// The key's name: its thumbprint. Source: RFC 7638.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What receivers verify with.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = required(&self.pair);
        jwk["alg"] = "RS256".into();
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The compact JWS of `claims`, always the same bytes. `typ`: what kind of token it is, such as `secevent+jwt`.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn sign(&self, claims: &[u8], typ: &str) -> Result<String, Error> {
        let header = serde_json::to_vec(&Header { alg: "RS256", kid: &self.kid, typ }).map_err(|_| Error::Sign)?;
        let mut token = String::with_capacity((header.len() + claims.len() + self.pair.public().modulus_len()).div_ceil(3) * 4 + 8);
        URL_SAFE_NO_PAD.encode_string(header, &mut token);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let mut signature = vec![0; self.pair.public().modulus_len()];
        // The signature wants a generator and draws nothing from it: this padding has no random part.
        let unused = SystemRandom::new();
        self.pair.sign(&RSA_PKCS1_SHA256, &unused, token.as_bytes(), &mut signature).map_err(|_| Error::Sign)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Public keys as a set: the body of `jwks.json`. `jwks`: the text of [`SigningKey::public_jwk`] of each.
///
/// Source: RFC 7517, section 5.
pub fn key_set(jwks: &[&str]) -> String {
    format!("{{\"keys\":[{}]}}", jwks.join(","))
}

/// In this order, without space.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'a str,
}

fn required(pair: &RsaKeyPair) -> Value {
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    json!({"e": URL_SAFE_NO_PAD.encode(public.e), "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(public.n)})
}

#[cfg(test)]
mod tests;
