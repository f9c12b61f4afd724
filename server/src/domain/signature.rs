//! Signing what Gatepost sends: Standard Webhooks `v1` (HMAC-SHA256) and the `content-digest` of RFC 9530.
//!
//! Called once per attempt by delivery and once per change of a secret by the API. A secret is keyed into its HMAC once, when it is
//! read, and each message starts from a clone of that state. Nothing here draws random numbers, and no secret reaches `Debug`.
//!
//! Source: Standard Webhooks 1.0.0; RFC 9530, section 2.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

const PREFIX: &str = "whsec_";
const SHORTEST: usize = 24;
const LONGEST: usize = 64;

/// A symmetric signing secret: 24 to 64 bytes, spelled `whsec_` and their base64.
#[derive(Clone)]
pub struct SigningSecret {
    bytes: SecretSlice<u8>,
    /// The HMAC after its key block: every message starts here, which saves half the hashing of a short body.
    keyed: Hmac<Sha256>,
}

/// Why a text is not a signing secret. It never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Another prefix, or none.
    #[error("must start with `whsec_`")]
    Prefix,
    /// What follows the prefix is not standard base64 with its padding.
    #[error("must be `whsec_` and standard base64")]
    Base64,
    /// Too short to be safe, or longer than receivers' libraries take.
    #[error("must be the base64 of 24 to 64 bytes, not of {bytes}")]
    Length {
        /// How many bytes it spells.
        bytes: usize,
    },
}

impl SigningSecret {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// [`SecretError`]: what is wrong with it, for the caller who chose it.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?);
        if !(SHORTEST..=LONGEST).contains(&bytes.len()) {
            return Err(SecretError::Length { bytes: bytes.len() });
        }
        Ok(Self::from_bytes(&bytes))
    }

    /// A secret of 32 bytes that the caller drew from a cryptographic generator.
    pub fn generate(mut random: [u8; 32]) -> Self {
        let secret = Self::from_bytes(&random);
        random.zeroize();
        secret
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        // HMAC pads a key of up to one block (64 bytes) with zeros, so writing it into a zero block is the same key and cannot fail.
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let keyed = Hmac::new(&block);
        block.as_mut_slice().zeroize();
        Self { bytes: SecretSlice::from(bytes.to_vec()), keyed }
    }

    /// The spelling that receivers configure: `whsec_` and standard base64.
    pub fn to_text(&self) -> SecretString {
        let mut text = String::with_capacity(PREFIX.len() + 4 * LONGEST.div_ceil(3));
        text.push_str(PREFIX);
        STANDARD.encode_string(self.bytes.expose_secret(), &mut text);
        SecretString::from(text)
    }

    /// The first 16 hex digits of the SHA-256 of the secret's bytes: names the secret without telling it.
    pub fn fingerprint(&self) -> String {
        use fmt::Write as _;
        Sha256::digest(self.bytes.expose_secret()).iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// The signature of one message, `v1,{base64}`.
    ///
    /// `id`: the `webhook-id`, without a `.`. `timestamp_secs`: the `webhook-timestamp`. `body`: the bytes on the wire.
    pub fn sign(&self, id: &str, timestamp_secs: i64, body: &[u8]) -> String {
        let mut signature = String::with_capacity(SIGNATURE_LENGTH);
        self.sign_into(id, &timestamp_secs.to_string(), body, &mut signature);
        signature
    }

    fn sign_into(&self, id: &str, timestamp: &str, body: &[u8], into: &mut String) {
        let mut mac = self.keyed.clone();
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(body);
        into.push_str("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), into);
    }
}

/// `v1,` and 44 letters of base64.
const SIGNATURE_LENGTH: usize = 47;

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret([REDACTED])")
    }
}

/// Equal when they sign equally. For tests and for telling a new secret from an old one, not for checking signatures.
impl PartialEq for SigningSecret {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq as _;
        self.bytes.expose_secret().ct_eq(other.bytes.expose_secret()).into()
    }
}

/// The value of `webhook-signature`: one signature per secret in the order given, newest first, space separated.
pub fn signature_header<'a>(
    secrets: impl IntoIterator<Item = &'a SigningSecret>,
    id: &str,
    timestamp_secs: i64,
    body: &[u8],
) -> String {
    let timestamp = timestamp_secs.to_string();
    let mut header = String::with_capacity(SIGNATURE_LENGTH);
    for secret in secrets {
        if !header.is_empty() {
            header.push(' ');
        }
        secret.sign_into(id, &timestamp, body, &mut header);
    }
    header
}

/// The value of `content-digest`: `sha-256=:{base64}:`. Source: RFC 9530, section 2.
pub fn content_digest(body: &[u8]) -> String {
    let mut header = String::with_capacity(54);
    header.push_str("sha-256=:");
    STANDARD.encode_string(Sha256::digest(body), &mut header);
    header.push(':');
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Secret, id, time and body of the examples that the reference libraries share.
    /// Source: <https://github.com/standard-webhooks/standard-webhooks/tree/main/libraries>.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    #[test]
    fn the_reference_message_gets_the_reference_signature() {
        let secret = SigningSecret::parse(SECRET).unwrap();
        assert_eq!(secret.sign(ID, 1_614_265_330, BODY), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_reads_back_what_it_writes_and_never_shows_itself() {
        let secret = SigningSecret::parse(SECRET).unwrap();
        assert_eq!(secret.to_text().expose_secret(), SECRET);
        assert_eq!(format!("{secret:?}"), "SigningSecret([REDACTED])");
        let made = SigningSecret::generate([7; 32]);
        assert_eq!(SigningSecret::parse(made.to_text().expose_secret()), Ok(made.clone()));
        assert_ne!(made, secret);
    }

    #[test]
    fn a_fingerprint_is_the_start_of_the_secrets_sha_256() {
        // The SHA-256 of 32 zero bytes.
        assert_eq!(SigningSecret::generate([0; 32]).fingerprint(), "66687aadf862bd77");
    }

    #[test]
    fn a_text_that_is_no_secret_says_why() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![1; bytes]));
        for (text, verdict) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), Some(SecretError::Prefix)),
            ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), Some(SecretError::Prefix)),
            ("whsec_****".to_owned(), Some(SecretError::Base64)),
            (" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), Some(SecretError::Prefix)),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ".to_owned(), Some(SecretError::Base64)),
            ("whsec_".to_owned(), Some(SecretError::Length { bytes: 0 })),
            (of(23), Some(SecretError::Length { bytes: 23 })),
            (of(24), None),
            (of(64), None),
            (of(65), Some(SecretError::Length { bytes: 65 })),
        ] {
            assert_eq!(SigningSecret::parse(&text).err(), verdict, "{text}");
        }
    }

    #[test]
    fn several_secrets_sign_in_their_order() {
        let (new, old) = (SigningSecret::generate([1; 32]), SigningSecret::generate([2; 32]));
        let header = signature_header([&new, &old], ID, 5, BODY);
        assert_eq!(header, format!("{} {}", new.sign(ID, 5, BODY), old.sign(ID, 5, BODY)));
    }

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // Source: RFC 9530, appendix B.1: this content ends with a line feed.
        assert_eq!(content_digest(b"{\"hello\": \"world\"}\n"), "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
    }

    proptest! {
        #[test]
        fn the_reference_library_signs_the_same(key in proptest::collection::vec(any::<u8>(), 24..=64), id in "[A-Za-z0-9_:-]{1,64}",
            timestamp in 0i64..4_000_000_000, body in ".{0,400}") {
            let text = format!("whsec_{}", STANDARD.encode(&key));
            let oracle = standardwebhooks::Webhook::new(&text).unwrap();
            let ours = SigningSecret::parse(&text).unwrap().sign(&id, timestamp, body.as_bytes());
            prop_assert_eq!(ours, oracle.sign(&id, timestamp, body.as_bytes()).unwrap());
        }
    }
}
