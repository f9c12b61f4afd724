//! Master keys, data keys and tags.

use super::*;
use proptest::prelude::*;

const NONCE: Nonce = [9; 12];

fn entry(id: &str, byte: u8) -> String {
    use secrecy::ExposeSecret;
    KeyRing::entry(id, &[byte; 32]).expose_secret().to_owned()
}

fn ring(entries: &[(&str, u8)]) -> KeyRing {
    KeyRing::parse(&entries.iter().map(|(id, byte)| entry(id, *byte)).collect::<Vec<_>>().join(",")).unwrap()
}

#[test]
fn a_ring_is_read_with_commas_and_lines() {
    let text = format!("{} ,\n{}\n", entry("new", 2), entry("old", 1));
    assert_eq!(KeyRing::parse(&text).unwrap().ids().collect::<Vec<_>>(), ["new", "old"]);
}

#[test]
fn what_is_wrong_with_a_ring_is_said_without_its_keys() {
    let wrong = |text: &str| KeyRing::parse(text).unwrap_err().to_string();
    assert!(wrong(" \n").contains("no key"));
    assert!(wrong("c2VjcmV0").contains("entry 1: is not"));
    assert!(wrong(&format!("{},b:c2VjcmV0", entry("a", 1))).contains("entry 2: the key is not 32 bytes"));
    assert!(wrong("a:???").contains("not base64"));
    assert!(wrong(&format!("{0},{0}", entry("a", 1))).contains("`a`"));
    for text in ["c2VjcmV0", "b:c2VjcmV0"] {
        assert!(!wrong(text).contains("c2VjcmV0"));
    }
}

#[test]
fn a_data_key_opens_for_its_tenant_alone() {
    let ring = ring(&[("a", 1)]);
    let (_, wrapped) = ring.make_data_key("acme", 1, &[7; 32], NONCE).unwrap();
    assert!(ring.open_data_key("acme", &wrapped).is_ok());
    assert_eq!(ring.open_data_key("other", &wrapped).unwrap_err(), Error::Refused);
}

#[test]
fn a_missing_master_key_is_named() {
    let (_, wrapped) = ring(&[("gone", 1)]).make_data_key("acme", 1, &[7; 32], NONCE).unwrap();
    let missing = Error::UnknownMasterKey { id: "gone".to_owned() };
    assert_eq!(ring(&[("a", 2)]).open_data_key("acme", &wrapped).unwrap_err(), missing);
}

#[test]
fn rotation_rewraps_once_and_data_stays_readable() {
    let old = ring(&[("old", 1)]);
    let both = ring(&[("new", 2), ("old", 1)]);
    let place = Place { tenant: "acme", table: "events", row: Row::Number(4), column: "data" };
    let (data_key, wrapped) = old.make_data_key("acme", 3, &[7; 32], NONCE).unwrap();
    let sealed = data_key.seal(&place, NONCE, b"payload").unwrap();
    let rewrapped = both.rewrap("acme", &wrapped, NONCE).unwrap().unwrap();
    assert_eq!(both.rewrap("acme", &rewrapped, NONCE), Ok(None));
    let reopened = ring(&[("new", 2)]).open_data_key("acme", &rewrapped).unwrap();
    assert_eq!(reopened.open(&place, &sealed).unwrap(), b"payload");
    assert_eq!(reopened.hash_subject("user/1"), data_key.hash_subject("user/1"));
}

#[test]
fn a_hash_of_an_api_key_outlives_a_rotation_while_its_master_key_stays() {
    let old = ring(&[("old", 1)]);
    let stored = old.hash_api_key("key_1", "secret");
    assert!(stored.starts_with("old:") && !stored.contains("secret"));
    let both = ring(&[("new", 2), ("old", 1)]);
    assert_eq!(both.check_api_key("key_1", "secret", &stored), Ok(true));
    assert_eq!(both.check_api_key("key_1", "Secret", &stored), Ok(false));
    assert_eq!(both.check_api_key("key_2", "secret", &stored), Ok(false), "a hash is bound to its key's id");
    assert!(old.is_current(&stored) && !both.is_current(&stored));
    let gone = ring(&[("new", 2)]).check_api_key("key_1", "secret", &stored);
    assert_eq!(gone, Err(Error::UnknownMasterKey { id: "old".to_owned() }));
}

#[test]
fn a_tag_is_bound_to_its_purpose_and_to_where_its_parts_end() {
    let ring = ring(&[("a", 1)]);
    let tag = ring.tag(Purpose::PageToken, &[b"ab", b"c"]);
    assert!(ring.verifies(Purpose::PageToken, &[b"ab", b"c"], &tag));
    assert!(!ring.verifies(Purpose::WatchToken, &[b"ab", b"c"], &tag));
    assert!(!ring.verifies(Purpose::PageToken, &[b"a", b"bc"], &tag));
    assert!(!ring.verifies(Purpose::PageToken, &[b"ab", b"c"], &tag[..15]));
    for (index, (purpose, _)) in Purpose::ALL.into_iter().enumerate() {
        assert_eq!(purpose as usize, index);
    }
}

#[test]
fn nothing_secret_is_printed() {
    let printed = format!("{:?} {:?}", ring(&[("a", 65)]), KeyRing::entry("a", &[65; 32]));
    assert!(!printed.contains("QUFB") && !printed.contains("AAAA") && !printed.contains("65"), "{printed}");
}

proptest! {
    #[test]
    fn any_bytes_and_text_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120), text in ".*") {
        let ring = ring(&[("a", 1)]);
        prop_assert!(ring.open_data_key("acme", &bytes).is_err());
        let _ = (KeyRing::parse(&text), ring.check_api_key("key_1", "secret", &text), ring.is_current(&text));
    }
}
