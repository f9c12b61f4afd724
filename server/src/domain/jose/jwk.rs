//! The public key to which a receiver wants its bodies encrypted: read from the JWK that it was handed in as, checked once for all.
//!
//! The API parses what a caller sends and stores [`PublicKey::to_text`]; delivery parses that again. A key that passes can be
//! encrypted to: what [`super::jwe`] would refuse later is refused here, where somebody reads the answer. A private key must never
//! be taken, not even to ignore its private half: its owner has to learn that it has left the house.
//!
//! Source: RFC 7517; RFC 7518, section 6; RFC 7638; RFC 8037, section 2.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::BoxedUint;
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use curve::Coordinate;
use members::Members;

mod curve;
mod members;

/// Length of a JWK's text. The widest RSA key needs a sixth of it.
pub const MAX_BYTES: usize = 8 * 1024;
/// Length of a `kid`, which is a part of every message's header. Some receivers' libraries take no header above 1 KiB.
pub const MAX_KID_BYTES: usize = 256;

const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;
/// Larger ones only cost time. Everybody uses 65537.
const MAX_RSA_EXPONENT: u64 = (1 << 33) - 1;

/// A receiver's checked public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub(super) material: Material,
    algorithm: Algorithm,
    kid: String,
}

/// The key itself.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    /// A point of the curve.
    P256 {
        x: Coordinate,
        y: Coordinate,
    },
    /// Not one of low order.
    X25519([u8; 32]),
    Rsa(Box<rsa::PublicKey>),
}

/// How the content key gets to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The content key is what both sides agree on.
    EcdhEs,
    /// The content key is wrapped under what both sides agree on.
    EcdhEsA256Kw,
    /// The content key is encrypted with RSA, OAEP with SHA-256.
    RsaOaep256,
}

/// Why a text is no key to encrypt to, for whoever sent it. It repeats nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Longer than any key.
    #[error("must be at most {MAX_BYTES} bytes, not {0}")]
    TooLong(usize),
    /// Not one JSON object.
    #[error("must be one JSON Web Key: a JSON object")]
    NotAnObject,
    /// A set of keys.
    #[error("is a set of keys: send one of its keys")]
    KeySet,
    /// A member that occurs twice.
    #[error("holds `{0}` more than once")]
    Repeated(&'static str),
    /// The private half, or a symmetric key.
    #[error("holds a private key; send the public half")]
    Private,
    /// A member that its type of key needs.
    #[error("lacks `{0}`")]
    Missing(&'static str),
    /// A member of another type.
    #[error("`{name}` must be {expected}")]
    Type {
        /// The member.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Not what JOSE calls base64url.
    #[error("`{0}` must be base64url without padding")]
    Base64(&'static str),
    /// Coordinates have one length, leading zeros included.
    #[error("`{name}` must be the base64url of 32 bytes, not of {bytes}")]
    Length {
        /// The member.
        name: &'static str,
        /// How many bytes it spells.
        bytes: usize,
    },
    /// Another type of key.
    #[error("`kty` must be EC, OKP or RSA")]
    KeyType,
    /// Another curve.
    #[error("`crv` must be {0}")]
    Curve(&'static str),
    /// No point of P-256.
    #[error("`x` and `y` are not a point of the curve P-256")]
    NotOnCurve,
    /// A point of X25519 with which nothing secret can be agreed on.
    #[error("`x` is a point of low order")]
    LowOrder,
    /// Too short to be safe, or longer than anybody needs.
    #[error("the RSA modulus must have 2048 to 8192 bits, not {0}")]
    RsaSize(u32),
    /// An even modulus.
    #[error("`n` is not an RSA modulus")]
    RsaModulus,
    /// Even, one, or so large that it only costs time.
    #[error("the RSA exponent must be odd, at least 3 and below 2^33; use 65537")]
    RsaExponent,
    /// A key for signatures.
    #[error("`use` must be `enc` or absent")]
    Use,
    /// A key for something else.
    #[error("`key_ops` must name {0}, or be absent")]
    Operations(&'static str),
    /// An algorithm that is not offered.
    #[error("`alg` must be {0}, or absent")]
    Algorithm(&'static str),
    /// OAEP with SHA-1.
    #[error("`alg` RSA-OAEP uses SHA-1: use RSA-OAEP-256")]
    Sha1,
    /// Unfit for a header.
    #[error("`kid` must be 1 to {MAX_KID_BYTES} bytes without control characters")]
    KeyId,
}

impl PublicKey {
    /// Reads a public JWK: `EC` with `P-256`, `OKP` with `X25519`, or `RSA` of 2048 to 8192 bits. Members that it does not know are
    /// ignored, as RFC 7517 wants it.
    ///
    /// # Errors
    /// [`JwkError`]: the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, JwkError> {
        let members = Members::read(text)?;
        let (material, family) = match members.text("kty")? {
            "EC" => (p256(&members)?, &ECDH),
            "OKP" => (x25519(&members)?, &ECDH),
            "RSA" => (rsa(&members)?, &RSA),
            _ => return Err(JwkError::KeyType),
        };
        let algorithm = check_use(&members, family)?;
        let own_kid = members.optional_text("kid")?;
        if own_kid.is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID_BYTES || kid.chars().any(char::is_control)) {
            return Err(JwkError::KeyId);
        }
        let kid = own_kid.map_or_else(|| thumbprint(&material), str::to_owned);
        Ok(Self { material, algorithm, kid })
    }

    /// Names the key to its receiver: its own `kid`, else its thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Names the key by what it is: base64url of the SHA-256 of its required members.
    ///
    /// Source: RFC 7638, section 3.
    pub fn thumbprint(&self) -> String {
        thumbprint(&self.material)
    }

    /// How a content key is sent to it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key as JSON in one spelling, with what it left to choice decided: reading it back gives the same key.
    pub fn to_text(&self) -> String {
        let mut jwk = required(&self.material);
        jwk["alg"] = self.algorithm.name().into();
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "enc".into();
        jwk.to_string()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Algorithm {
    /// Its name as `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdhEs => "ECDH-ES",
            Self::EcdhEsA256Kw => "ECDH-ES+A256KW",
            Self::RsaOaep256 => "RSA-OAEP-256",
        }
    }
}

/// What keys of one kind may be used for.
struct Family {
    /// The first one is used by a key that names none.
    algorithms: &'static [Algorithm],
    algorithm_names: &'static str,
    operations: &'static [&'static str],
    operation_names: &'static str,
    /// Browsers export public ECDH keys with an empty list, as only private ones do something there.
    no_operation: bool,
}

const ECDH: Family = Family {
    algorithms: &[Algorithm::EcdhEsA256Kw, Algorithm::EcdhEs],
    algorithm_names: "ECDH-ES+A256KW or ECDH-ES",
    operations: &["deriveKey", "deriveBits"],
    operation_names: "deriveKey or deriveBits",
    no_operation: true,
};
const RSA: Family = Family {
    algorithms: &[Algorithm::RsaOaep256],
    algorithm_names: "RSA-OAEP-256",
    operations: &["wrapKey", "encrypt"],
    operation_names: "wrapKey or encrypt",
    no_operation: false,
};

fn check_use(members: &Members, family: &Family) -> Result<Algorithm, JwkError> {
    if members.optional_text("use")?.is_some_and(|purpose| purpose != "enc") {
        return Err(JwkError::Use);
    }
    if let Some(operations) = members.optional_texts("key_ops")? {
        let allows = operations.iter().any(|operation| family.operations.contains(operation));
        if !(allows || operations.is_empty() && family.no_operation) {
            return Err(JwkError::Operations(family.operation_names));
        }
    }
    match members.optional_text("alg")? {
        Some("RSA-OAEP") => Err(JwkError::Sha1),
        Some(name) => {
            let found = family.algorithms.iter().find(|algorithm| algorithm.name() == name);
            found.copied().ok_or(JwkError::Algorithm(family.algorithm_names))
        }
        None => family.algorithms.first().copied().ok_or(JwkError::Algorithm(family.algorithm_names)),
    }
}

fn p256(members: &Members) -> Result<Material, JwkError> {
    if members.text("crv")? != "P-256" {
        return Err(JwkError::Curve("P-256"));
    }
    let (x, y) = (members.coordinate("x")?, members.coordinate("y")?);
    if curve::is_on_p256(&x, &y) { Ok(Material::P256 { x, y }) } else { Err(JwkError::NotOnCurve) }
}

fn x25519(members: &Members) -> Result<Material, JwkError> {
    if members.text("crv")? != "X25519" {
        return Err(JwkError::Curve("X25519"));
    }
    let x = members.coordinate("x")?;
    if curve::is_low_order_x25519(&x) { Err(JwkError::LowOrder) } else { Ok(Material::X25519(x)) }
}

fn rsa(members: &Members) -> Result<Material, JwkError> {
    let (n, e) = (members.bytes("n")?, members.bytes("e")?);
    // Some libraries spell a sign byte in front. It is no part of the number, nor of the thumbprint.
    let (n, e) = (trimmed(&n), trimmed(&e));
    let exponent = if e.len() > 8 { u64::MAX } else { e.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)) };
    if !(3..=MAX_RSA_EXPONENT).contains(&exponent) || exponent % 2 == 0 {
        return Err(JwkError::RsaExponent);
    }
    let modulus = BoxedUint::from_be_slice_vartime(n);
    let bits = modulus.bit_width_vartime();
    if !RSA_BITS.contains(&bits) {
        return Err(JwkError::RsaSize(bits));
    }
    let key = rsa::PublicKey::new(modulus, BoxedUint::from(exponent)).map_err(|_| JwkError::RsaModulus)?;
    Ok(Material::Rsa(Box::new(key)))
}

fn trimmed(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

fn thumbprint(material: &Material) -> String {
    thumbprint_of(&required(material))
}

/// `required`: an object of required members only. `serde_json` writes them sorted and without space, as it must be.
pub(super) fn thumbprint_of(required: &Value) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(required.to_string()))
}

fn required(material: &Material) -> Value {
    let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match material {
        Material::P256 { x, y } => json!({"crv": "P-256", "kty": "EC", "x": base64(x), "y": base64(y)}),
        Material::X25519(x) => json!({"crv": "X25519", "kty": "OKP", "x": base64(x)}),
        Material::Rsa(key) => json!({"e": base64(&key.e_bytes()), "kty": "RSA", "n": base64(&key.n_bytes())}),
    }
}

#[cfg(test)]
mod tests;
