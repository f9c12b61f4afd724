//! JSON object signing and encryption, as far as webhooks need it: bodies encrypted to a receiver's key, and signed tokens.
//!
//! [`jwk`] reads the key that a receiver hands in, [`jwe`] encrypts to it, [`jws`] holds a tenant's signing key and signs. There is
//! no decryption and no verification here: whoever cannot be asked to decrypt is no oracle. Nothing may put a private key, a shared
//! secret or a plaintext into `Debug` or an error.
//!
//! Source: RFC 7515 to RFC 7518, RFC 7638, RFC 8037.

use ring::rand::SecureRandom;
use rsa::rand_core::{TryCryptoRng, TryRng};

pub mod jwe;
pub mod jwk;
pub mod jws;

/// The caller's generator, for the crate `rsa`.
struct Random<'a>(&'a dyn SecureRandom);

/// The generator gave nothing.
#[derive(Debug, thiserror::Error)]
#[error("the random number generator failed")]
struct NoRandom;

impl TryRng for Random<'_> {
    type Error = NoRandom;

    fn try_next_u32(&mut self) -> Result<u32, NoRandom> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, NoRandom> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoRandom> {
        self.0.fill(bytes).map_err(|_| NoRandom)
    }
}

impl TryCryptoRng for Random<'_> {}

#[cfg(test)]
mod tests;
