use super::super::tests::{EC, OKP, RSA, SIGNING_KEY};
use super::*;
use proptest::prelude::*;
use ring::rand::SystemRandom;
use rsa::pkcs8::DecodePrivateKey as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn sealed(jwk: &str, content_type: &str, plaintext: &[u8]) -> String {
    encrypt(&PublicKey::parse(jwk).unwrap(), content_type, plaintext, &SystemRandom::new()).unwrap()
}

fn header(jwe: &str) -> Value {
    serde_json::from_slice(&decode(jwe.split('.').next().unwrap())).unwrap()
}

/// A receiver that can decrypt one message.
enum Receiver {
    Agreement(EphemeralPrivateKey),
    Rsa(Box<rsa::PrivateKey>),
}

impl Receiver {
    fn agreement(curve: &'static agreement::Algorithm, alg: Option<&str>) -> (Self, String) {
        let private = EphemeralPrivateKey::generate(curve, &SystemRandom::new()).unwrap();
        let public = private.compute_public_key().unwrap();
        let mut jwk = match public.as_ref() {
            [4, point @ ..] if point.len() == 64 => {
                json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(&point[..32]), "y": URL_SAFE_NO_PAD.encode(&point[32..])})
            }
            point => json!({"kty": "OKP", "crv": "X25519", "x": URL_SAFE_NO_PAD.encode(point)}),
        };
        if let Some(alg) = alg {
            jwk["alg"] = alg.into();
        }
        (Self::Agreement(private), jwk.to_string())
    }

    fn rsa() -> (Self, String) {
        let private = rsa::PrivateKey::from_pkcs8_der(SIGNING_KEY.to_pkcs8().expose_secret()).unwrap();
        let public = SIGNING_KEY.public_jwk();
        (Self::Rsa(Box::new(private)), json!({"kty": "RSA", "n": public["n"], "e": public["e"]}).to_string())
    }

    fn content_key(self, jwe: &str) -> Option<[u8; 32]> {
        let (header, sent_key) = (header(jwe), decode(jwe.split('.').nth(1).unwrap()));
        Some(match self {
            Self::Rsa(private) => private.oaep_decrypt::<Sha256>(&sent_key).unwrap().try_into().unwrap(),
            Self::Agreement(private) => {
                let epk = &header["epk"];
                let mut point = decode(epk["x"].as_str().unwrap());
                let curve = private.algorithm();
                if let Some(y) = epk["y"].as_str() {
                    point = [vec![4], point, decode(y)].concat();
                }
                let direct = header["alg"] == "ECDH-ES";
                let id = if direct { "A256GCM" } else { "ECDH-ES+A256KW" };
                let agreed = agreement::agree_ephemeral(private, &UnparsedPublicKey::new(curve, point), |z| {
                    concat_kdf(z, id, b"", b"", 256)
                });
                let agreed = agreed.unwrap();
                if direct {
                    assert!(sent_key.is_empty());
                    *agreed
                } else {
                    let mut key = [0; 32];
                    KwAes256::new(<&Array<u8, _>>::from(&*agreed)).unwrap_key(&sent_key, &mut key).ok()?;
                    key
                }
            }
        })
    }

    fn decrypt(self, jwe: &str) -> Option<Vec<u8>> {
        let content_key = self.content_key(jwe)?;
        let parts: Vec<_> = jwe.split('.').collect();
        let [protected, _, nonce, content, tag] = parts[..] else { panic!("five parts") };
        let mut content = decode(content);
        let cipher = Aes256Gcm::new(<&Array<u8, _>>::from(&content_key));
        let (nonce, tag): ([u8; 12], [u8; 16]) = (decode(nonce).try_into().unwrap(), decode(tag).try_into().unwrap());
        let opened = cipher.decrypt_inout_detached(&Array(nonce), protected.as_bytes(), content.as_mut_slice().into(), &Array(tag));
        opened.ok().map(|()| content)
    }
}

fn receivers() -> Vec<(Receiver, String)> {
    vec![
        Receiver::agreement(&agreement::ECDH_P256, None),
        Receiver::agreement(&agreement::ECDH_P256, Some("ECDH-ES")),
        Receiver::agreement(&agreement::X25519, None),
        Receiver::agreement(&agreement::X25519, Some("ECDH-ES")),
        Receiver::rsa(),
    ]
}

#[test]
fn every_kind_of_receiver_reads_what_was_sent() {
    for plaintext in [&b""[..], b"{}", &[0xff, 0, 0x80], &vec![7; 100_000]] {
        for (receiver, jwk) in receivers() {
            assert_eq!(receiver.decrypt(&sealed(&jwk, "application/json", plaintext)).as_deref(), Some(plaintext), "{jwk}");
        }
    }
}

#[test]
fn nothing_about_a_message_can_be_changed() {
    for part in 0..5 {
        for (receiver, jwk) in receivers() {
            let jwe = sealed(&jwk, "application/json", b"{\"a\":1}");
            let mut parts: Vec<_> = jwe.split('.').map(decode).collect();
            // The RSA ciphertext is checked by what it decrypts to.
            if part == 1 && (parts[1].is_empty() || matches!(receiver, Receiver::Rsa(_))) {
                continue;
            }
            match part {
                // Another spelling of the same header.
                0 => parts[0].insert(1, b' '),
                _ => parts[part][0] ^= 1,
            }
            let changed = parts.iter().map(|part| URL_SAFE_NO_PAD.encode(part)).collect::<Vec<_>>().join(".");
            assert_eq!(receiver.decrypt(&changed), None, "part {part} of {jwk}");
        }
    }
}

#[test]
fn the_header_says_what_a_receiver_needs_and_no_more() {
    let found = |jwk: &str| header(&sealed(jwk, "application/json", b"{}"));
    let ec = found(EC);
    assert_eq!(
        (&ec["alg"], &ec["enc"], &ec["kid"], &ec["cty"]),
        (&json!("ECDH-ES+A256KW"), &json!("A256GCM"), &json!("1"), &json!("json"))
    );
    assert_eq!((&ec["epk"]["kty"], &ec["epk"]["crv"]), (&json!("EC"), &json!("P-256")));
    assert_eq!((ec.as_object().unwrap().len(), ec["epk"].as_object().unwrap().len()), (5, 4));
    let okp = found(OKP);
    assert_eq!((&okp["epk"]["kty"], &okp["epk"]["crv"]), (&json!("OKP"), &json!("X25519")));
    assert_eq!((okp.as_object().unwrap().len(), okp["epk"].as_object().unwrap().len()), (5, 3));
    assert_eq!(found(RSA), json!({"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": "2011-04-29", "cty": "json"}));
    let odd = RSA.replace("2011-04-29", "é \\\"x\\\"");
    assert_eq!(found(&odd)["kid"], "é \"x\"");
}

/// Source: RFC 7516, section 4.1.12; RFC 7519, section 5.2.
#[test]
fn a_content_type_loses_a_prefix_that_says_nothing() {
    for (content_type, expected) in [
        ("application/json", "json"),
        ("application/cloudevents+json", "cloudevents+json"),
        ("application/secevent+jwt", "JWT"),
        ("JWT", "JWT"),
        ("text/plain", "text/plain"),
        ("application/x;p=\"a/b\"", "application/x;p=\"a/b\""),
    ] {
        assert_eq!(header(&sealed(RSA, content_type, b""))["cty"], expected);
    }
    assert_eq!(header(&sealed(RSA, "", b"")).get("cty"), None);
}

#[test]
fn nothing_repeats_from_one_message_to_the_next() {
    for jwk in [EC, OKP, RSA] {
        let (one, other) = (sealed(jwk, "", b"body"), sealed(jwk, "", b"body"));
        for (part, (one, other)) in one.split('.').zip(other.split('.')).enumerate() {
            assert!(one != other || part == 0 && jwk == RSA, "part {part} of {jwk}");
        }
    }
}

#[test]
fn every_message_has_a_content_key_of_its_own() {
    let mut seen = std::collections::HashSet::new();
    for (receiver, jwk) in receivers().into_iter().chain(receivers()) {
        let content_key = receiver.content_key(&sealed(&jwk, "", b"body")).unwrap();
        assert!(content_key != [0; 32] && seen.insert(content_key), "{jwk}");
    }
}

#[test]
fn a_shared_secret_of_zeros_is_refused_even_if_such_a_key_were_taken() {
    let key = PublicKey::parse(OKP).unwrap();
    for first in [0, 1] {
        let mut point = [0; 32];
        point[0] = first;
        let mut key = key.clone();
        key.material = Material::X25519(point);
        assert_eq!(encrypt(&key, "", b"", &SystemRandom::new()), Err(Error::Key));
    }
}

/// Source: RFC 7518, appendix C.
#[test]
fn the_key_derivation_is_that_of_the_standard() {
    let z = [
        158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163, 218, 128, 106, 72, 246, 218,
        167, 121, 140, 254, 144, 196,
    ];
    let derived = concat_kdf(&z, "A128GCM", b"Alice", b"Bob", 128);
    assert_eq!(URL_SAFE_NO_PAD.encode(&derived[..16]), "VqqN6vgjbSBcIijNcacQGg");
}

/// Source: RFC 3394, section 4.6.
#[test]
fn the_key_wrap_is_that_of_the_standard() {
    let wrapping = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let key = hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
    let wrapped = wrap(wrapping.as_slice().try_into().unwrap(), key.as_slice().try_into().unwrap());
    assert_eq!(wrapped, hex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"));
}

/// Source: RFC 7516, appendix A.1, from its content key, nonce and encrypted key on.
#[test]
fn the_message_is_that_of_the_standard() {
    let content_key = Key::new([
        177, 161, 244, 128, 84, 143, 225, 115, 63, 180, 3, 255, 107, 154, 212, 246, 138, 7, 110, 91, 112, 46, 34, 105, 47, 130,
        203, 46, 122, 234, 64, 252,
    ]);
    let nonce = [227, 197, 117, 252, 2, 219, 233, 68, 180, 225, 77, 219];
    let expected = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.\
        OKOawDo13gRp2ojaHV7LFpZcgV7T6DVZKTyKOMTYUmKoTCVJRgckCL9kiMT03JGeipsEdY3mx_etLbbWSrFr05kLzcSr4qKAq7YN7e9jwQRb23nfa6c9d-StnImGyFDb\
        Sv04uVuxIp5Zms1gNxKKK2Da14B8S4rzVRltdYwam_lDp5XnZAYpQdb76FdIKLaVmqgfwX7XWRxv2322i-vDxRfqNzo_tETKzpVLzfiwQyeyPGLBIO56YJ7eObdv0je8\
        1860ppamavo35UgoRdbYaBcoh9QcfylQr66oc6vFWXRcZ_ZT2LawVCWTIy3brGPi6UklfCpIMfIjf7iGdXKHzg.\
        48V1_ALb6US04U3b.\
        5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4vpzs9tX_EFShS8iB7j6jiSdiwkIr3ajwQzaBtQD_A.\
        XFBoMYUZodetZdvTiFvSkQ";
    let plaintext = b"The true sign of intelligence is not knowledge but imagination.";
    let sent_key = decode(expected.split('.').nth(1).unwrap());
    let found = seal_with(br#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#, &sent_key, &content_key, plaintext, nonce).unwrap();
    assert_eq!(found, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_plaintext_comes_back(plaintext in prop::collection::vec(any::<u8>(), 0..2000)) {
        for (receiver, jwk) in receivers() {
            prop_assert_eq!(receiver.decrypt(&sealed(&jwk, "", &plaintext)), Some(plaintext.clone()));
        }
    }
}
