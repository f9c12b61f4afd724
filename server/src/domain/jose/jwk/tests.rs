use super::super::tests::{EC, OKP, RSA};
use super::*;
use proptest::prelude::*;
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;

/// A key with some members set to other values, or taken out by `null`.
fn with(base: &str, changes: Value) -> String {
    let mut jwk: Value = serde_json::from_str(base).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
            value => jwk[name] = value.clone(),
        }
    }
    jwk.to_string()
}

fn refused(base: &str, changes: Value) -> JwkError {
    PublicKey::parse(&with(base, changes)).unwrap_err()
}

fn ring_agrees(curve: &'static ring::agreement::Algorithm, point: &[u8]) -> bool {
    let mine = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).unwrap();
    agree_ephemeral(mine, &UnparsedPublicKey::new(curve, point), |_| ()).is_ok()
}

#[test]
fn keys_of_the_three_kinds_are_read_and_spelled_in_one_way() {
    for (text, algorithm, kid) in
        [(EC, Algorithm::EcdhEsA256Kw, "1"), (OKP, Algorithm::EcdhEsA256Kw, "Bob"), (RSA, Algorithm::RsaOaep256, "2011-04-29")]
    {
        let key = PublicKey::parse(text).unwrap();
        assert_eq!((key.algorithm(), key.kid()), (algorithm, kid));
        let normal = key.to_text();
        assert_eq!(PublicKey::parse(&normal), Ok(key.clone()));
        assert_eq!(PublicKey::parse(&normal).unwrap().to_text(), normal);
    }
    let text = PublicKey::parse(OKP).unwrap().to_text();
    let read: Value = serde_json::from_str(&text).unwrap();
    let expected = json!({"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08",
        "kid": "Bob", "use": "enc", "alg": "ECDH-ES+A256KW"});
    assert_eq!(read, expected);
}

/// Source: RFC 7638, section 3.1. The others were computed with Python's `jwcrypto`.
#[test]
fn a_key_without_a_name_is_called_by_its_thumbprint() {
    for (text, thumbprint) in [
        (RSA, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (EC, "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"),
        (OKP, "giQqigT_IKcuzHl0FVJ3k5ts3_TWNAxvsC08UZsfcM8"),
    ] {
        let key = PublicKey::parse(&with(text, json!({"kid": null}))).unwrap();
        assert_eq!((key.kid(), key.thumbprint()), (thumbprint, thumbprint.to_owned()));
        assert_eq!(PublicKey::parse(text).unwrap().thumbprint(), thumbprint, "a name changes no thumbprint");
    }
}

#[test]
fn a_private_key_is_refused_whatever_else_is_wrong_with_it() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        for base in [EC, OKP, RSA] {
            assert_eq!(refused(base, json!({ name: "AQAB" })), JwkError::Private);
            assert_eq!(refused(base, json!({ name: 7, "kty": 3, "x": null })), JwkError::Private);
        }
    }
    assert_eq!(JwkError::Private.to_string(), "holds a private key; send the public half");
    assert_eq!(PublicKey::parse(r#"{"kty":"oct","k":"AAAA"}"#), Err(JwkError::Private));
}

#[test]
fn what_is_wrong_is_said() {
    let off = |name: &str| json!({ name: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyI" });
    let number = |name, expected| JwkError::Type { name, expected };
    for (base, changes, error) in [
        (EC, json!({"kty": null}), JwkError::Missing("kty")),
        (EC, json!({"kty": "ec"}), JwkError::KeyType),
        (EC, json!({"kty": 1}), number("kty", "a string")),
        (EC, json!({"kty": null, "keys": []}), JwkError::KeySet),
        (EC, json!({"crv": "P-384"}), JwkError::Curve("P-256")),
        (EC, json!({"crv": "secp256k1"}), JwkError::Curve("P-256")),
        (OKP, json!({"crv": "Ed25519"}), JwkError::Curve("X25519")),
        (EC, json!({"y": null}), JwkError::Missing("y")),
        (EC, off("y"), JwkError::NotOnCurve),
        (EC, off("x"), JwkError::NotOnCurve),
        (
            EC,
            json!({"x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "y": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
            JwkError::NotOnCurve,
        ),
        (EC, json!({"x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4="}), JwkError::Base64("x")),
        (EC, json!({"x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D5"}), JwkError::Base64("x")),
        (EC, json!({"x": "+/"}), JwkError::Base64("x")),
        (EC, json!({"x": "MKBC"}), JwkError::Length { name: "x", bytes: 3 }),
        (OKP, json!({"x": "AAAA3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}), JwkError::Length { name: "x", bytes: 35 }),
        (OKP, json!({"x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}), JwkError::LowOrder),
        (RSA, json!({"e": "AQ"}), JwkError::RsaExponent),
        (RSA, json!({"e": "AQAA"}), JwkError::RsaExponent),
        (RSA, json!({"e": ""}), JwkError::RsaExponent),
        (RSA, json!({"e": "AgAAAAE"}), JwkError::RsaExponent),
        (RSA, json!({"e": "AQAAAAAAAAAB"}), JwkError::RsaExponent),
        (RSA, json!({"n": "AQAB"}), JwkError::RsaSize(17)),
        (RSA, json!({"n": ""}), JwkError::RsaSize(0)),
        (EC, json!({"use": "sig"}), JwkError::Use),
        (EC, json!({"key_ops": ["verify"]}), JwkError::Operations("deriveKey or deriveBits")),
        (EC, json!({"key_ops": "deriveKey"}), number("key_ops", "a list of strings")),
        (EC, json!({"key_ops": ["deriveKey", 1]}), number("key_ops", "a list of strings")),
        (RSA, json!({"key_ops": []}), JwkError::Operations("wrapKey or encrypt")),
        (RSA, json!({"key_ops": ["deriveKey"]}), JwkError::Operations("wrapKey or encrypt")),
        (EC, json!({"alg": "ES256"}), JwkError::Algorithm("ECDH-ES+A256KW or ECDH-ES")),
        (EC, json!({"alg": "ECDH-ES+A128KW"}), JwkError::Algorithm("ECDH-ES+A256KW or ECDH-ES")),
        (EC, json!({"alg": "RSA-OAEP-256"}), JwkError::Algorithm("ECDH-ES+A256KW or ECDH-ES")),
        (RSA, json!({"alg": "RS256"}), JwkError::Algorithm("RSA-OAEP-256")),
        (RSA, json!({"alg": "RSA1_5"}), JwkError::Algorithm("RSA-OAEP-256")),
        (RSA, json!({"alg": "RSA-OAEP"}), JwkError::Sha1),
        (EC, json!({"kid": ""}), JwkError::KeyId),
        (EC, json!({"kid": "a\nb"}), JwkError::KeyId),
        (EC, json!({"kid": "é".repeat(129)}), JwkError::KeyId),
        (EC, json!({"kid": 1}), number("kid", "a string")),
        (EC, json!({"x5c": "x".repeat(9000)}), JwkError::TooLong(0)),
    ] {
        match (refused(base, changes.clone()), error) {
            (JwkError::TooLong(_), JwkError::TooLong(_)) => {}
            (found, error) => assert_eq!(found, error, "{changes}"),
        }
    }
    for text in ["", "[]", "null", "{", "\"x\"", "{}x", r#"{"kty":"EC""#] {
        assert_eq!(PublicKey::parse(text), Err(JwkError::NotAnObject), "{text}");
    }
    let twice = EC.replacen('{', r#"{"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","#, 1);
    assert_eq!(PublicKey::parse(&twice), Err(JwkError::Repeated("x")));
}

#[test]
fn what_is_allowed_is_taken() {
    for (base, changes) in [
        (EC, json!({"alg": "ECDH-ES"})),
        (EC, json!({"alg": "ECDH-ES+A256KW", "use": null, "key_ops": ["deriveBits", "verify"]})),
        // As a browser's `exportKey` spells it.
        (EC, json!({"key_ops": [], "ext": true})),
        (RSA, json!({"alg": "RSA-OAEP-256", "key_ops": ["encrypt"]})),
        (RSA, json!({"e": "Aw", "x5t": "x", "custom": {"x": [1]}})),
        (RSA, json!({"e": "Af____8"})),
        (EC, json!({"kid": "é".repeat(128)})),
    ] {
        PublicKey::parse(&with(base, changes.clone())).unwrap_or_else(|error| panic!("{changes}: {error}"));
    }
    assert_eq!(PublicKey::parse(&with(EC, json!({"alg": "ECDH-ES"}))).unwrap().algorithm(), Algorithm::EcdhEs);
}

#[test]
fn a_sign_byte_is_no_part_of_a_number() {
    let plain: Value = serde_json::from_str(RSA).unwrap();
    let padded = [&[0, 0][..], &URL_SAFE_NO_PAD.decode(plain["n"].as_str().unwrap()).unwrap()].concat();
    let padded = with(RSA, json!({"n": URL_SAFE_NO_PAD.encode(padded), "e": "AAEAAQ"}));
    let key = PublicKey::parse(&padded).unwrap();
    assert_eq!(Ok(&key), PublicKey::parse(RSA).as_ref());
    // Nor does it make every encryption slower.
    assert!(matches!(key.material, Material::Rsa(rsa) if rsa.n().bits_precision() == 2048));
}

#[test]
fn rsa_keys_have_2048_to_8192_bits() {
    let of_bits = |bits: usize, last: u8| {
        let mut n = vec![0xab; bits.div_ceil(8)];
        n[0] = 1 << ((bits - 1) % 8);
        *n.last_mut().unwrap() = last;
        PublicKey::parse(&with(RSA, json!({"n": URL_SAFE_NO_PAD.encode(n)})))
    };
    for bits in [2048, 2049, 3072, 4096, 8192] {
        assert!(of_bits(bits, 0xab).is_ok(), "{bits}");
    }
    for bits in [512, 1024, 2047, 8193, 16384] {
        assert_eq!(of_bits(bits, 0xab), Err(JwkError::RsaSize(bits as u32)), "{bits}");
    }
    assert_eq!(of_bits(2048, 0xaa), Err(JwkError::RsaModulus));
}

#[test]
fn points_of_low_order_are_those_that_ring_refuses() {
    let names = ["00", "01", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"];
    let more = ["5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"];
    let mut points: Vec<[u8; 32]> = names
        .iter()
        .chain(&more)
        .map(|digits| {
            let mut point = [0; 32];
            for (index, byte) in point.iter_mut().enumerate().take(digits.len() / 2) {
                *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap();
            }
            point
        })
        .collect();
    for first in [0xec, 0xed, 0xee] {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (first, 0x7f);
        points.push(point);
    }
    for point in points {
        for top in [0, 0x80] {
            let mut point = point;
            point[31] |= top;
            assert!(!ring_agrees(&X25519, &point), "{point:?}");
            assert!(curve::is_low_order_x25519(&point), "{point:?}");
        }
    }
    let mut good = [0; 32];
    good[0] = 9;
    assert!(ring_agrees(&X25519, &good) && !curve::is_low_order_x25519(&good));
}

#[test]
fn debug_shows_the_name_alone() {
    assert_eq!(format!("{:?}", PublicKey::parse(EC).unwrap()), "PublicKey { kid: \"1\", algorithm: EcdhEsA256Kw, .. }");
}

proptest! {
    #[test]
    fn a_point_is_judged_as_ring_judges_it(at in 0usize..64, flip in any::<u8>()) {
        let mine = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
        let mut point = mine.compute_public_key().unwrap().as_ref().to_vec();
        point[1 + at] ^= flip;
        let (x, y) = (point[1..33].try_into().unwrap(), point[33..].try_into().unwrap());
        prop_assert_eq!(curve::is_on_p256(&x, &y), ring_agrees(&ECDH_P256, &point));
        prop_assert_eq!(curve::is_on_p256(&x, &y), flip == 0);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in r#"\PC{0,80}"#, base in prop::sample::select(vec![EC, OKP, RSA]), cut in 0usize..400) {
        prop_assert!(PublicKey::parse(&text).is_err());
        let cut = cut.min(base.len());
        let _ = PublicKey::parse(&format!("{}{text}{}", &base[..cut], &base[cut..]));
        let _ = PublicKey::parse(&format!("{{\"kty\":\"RSA\",\"n\":{text:?},\"e\":{text:?}}}"));
    }

    #[test]
    fn any_modulus_is_judged_without_a_panic(n in prop::collection::vec(any::<u8>(), 0..300), e in prop::collection::vec(any::<u8>(), 0..10)) {
        let jwk = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(n), "e": URL_SAFE_NO_PAD.encode(e)});
        let _ = PublicKey::parse(&jwk.to_string());
    }
}
