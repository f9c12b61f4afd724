use super::super::tests::SIGNING_KEY;
use super::*;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use secrecy::ExposeSecret as _;

const CLAIMS: &[u8] = br#"{"iss":"https://gatepost.acme.test/tenants/acme","jti":"dlv_31"}"#;

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn verifies(jwk: &Value, token: &str) -> bool {
    let (content, signature) = token.rsplit_once('.').unwrap();
    let number = |name: &str| decode(jwk[name].as_str().unwrap());
    let key = RsaPublicKeyComponents { n: number("n"), e: number("e") };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, content.as_bytes(), &decode(signature)).is_ok()
}

#[test]
fn a_token_is_claims_under_a_header_of_three_members() {
    let key = &*SIGNING_KEY;
    let token = key.sign(CLAIMS, "secevent+jwt").unwrap();
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let header = format!(r#"{{"alg":"RS256","kid":"{}","typ":"secevent+jwt"}}"#, key.kid());
    assert_eq!(String::from_utf8(decode(parts[0])).unwrap(), header);
    assert_eq!(decode(parts[1]), CLAIMS);
    assert_eq!(decode(parts[2]).len(), 256);
    assert!(verifies(&key.public_jwk(), &token));
    assert!(!verifies(&key.public_jwk(), &key.sign(b"{}", "secevent+jwt").unwrap().replacen(parts[0], "e30", 1)));
}

#[test]
fn the_same_claims_give_the_same_bytes_also_after_a_restart() {
    let key = &*SIGNING_KEY;
    let again = SigningKey::from_pkcs8(key.to_pkcs8().expose_secret()).unwrap();
    assert_eq!(again.kid(), key.kid());
    let first = key.sign(CLAIMS, "secevent+jwt").unwrap();
    for _ in 0..3 {
        assert_eq!(key.sign(CLAIMS, "secevent+jwt").unwrap(), first);
        assert_eq!(again.sign(CLAIMS, "secevent+jwt").unwrap(), first);
    }
    assert_ne!(key.sign(b"{}", "secevent+jwt").unwrap(), first);
}

#[test]
fn the_public_half_is_2048_bits_and_nothing_private() {
    let key = &*SIGNING_KEY;
    let jwk = key.public_jwk();
    let mut names: Vec<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!((&jwk["alg"], &jwk["use"], &jwk["e"]), (&json!("RS256"), &json!("sig"), &json!("AQAB")));
    let n = decode(jwk["n"].as_str().unwrap());
    assert_eq!((n.len(), n[0] & 0x80), (256, 0x80));
    let text = jwk.to_string();
    let set: Value = serde_json::from_str(&key_set(&[&text, &text])).unwrap();
    assert_eq!(set, json!({"keys": [jwk, jwk]}));
    assert_eq!(key_set(&[]), r#"{"keys":[]}"#);
}

/// Source: RFC 7638, section 3.1.
#[test]
fn the_name_is_the_thumbprint() {
    let jwk = SIGNING_KEY.public_jwk();
    let text = format!(r#"{{"e":{},"kty":"RSA","n":{}}}"#, jwk["e"], jwk["n"]);
    assert_eq!(SIGNING_KEY.kid(), URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes())));
}

#[test]
fn what_is_no_key_is_refused() {
    let der = SIGNING_KEY.to_pkcs8().expose_secret();
    for bytes in [&b""[..], b"x", &der[..der.len() - 1], &der[1..]] {
        assert_eq!(SigningKey::from_pkcs8(bytes).unwrap_err(), Error::Key);
    }
    // A changed byte in a prime.
    let mut damaged = der.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let signs =
        SigningKey::from_pkcs8(&damaged).and_then(|key| key.sign(CLAIMS, "x").map(|token| verifies(&key.public_jwk(), &token)));
    assert_ne!(signs, Ok(true));
}

#[test]
fn debug_shows_the_name_alone() {
    assert_eq!(format!("{:?}", *SIGNING_KEY), format!("SigningKey {{ kid: {:?}, .. }}", SIGNING_KEY.kid()));
    assert_eq!(format!("{:?}", SIGNING_KEY.to_pkcs8()), "SecretBox<[u8]>([REDACTED])");
}
