//! The generated histories are the same on every machine and tell stories that can be true.

use std::collections::{HashMap, HashSet};

use gatepost_tests::histories::{COUNT, SEED, histories};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Of the file that documentation and other tests speak of. It changes only with a decision to change the file.
const SHA256: &str = "99aaee5d97da3a583b5072fbcc278cf25a194080c7f72fb49b9c9b78c59912a3";

#[test]
fn the_histories_are_the_same_bytes_every_time() {
    let mut digest = Sha256::new();
    for line in histories(SEED, COUNT) {
        digest.update(line.as_bytes());
        digest.update(b"\n");
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, SHA256);
    assert_ne!(histories(SEED + 1, 100), histories(SEED, 100));
}

#[test]
fn every_line_is_an_event_with_its_own_id_in_the_order_of_time() {
    let mut ids = HashSet::new();
    let mut before = String::new();
    for event in events() {
        assert!(ids.insert(event["event_id"].as_str().expect("an id").to_owned()), "{event}");
        let time = event["occurred_time"].as_str().expect("a time").to_owned();
        assert!(before <= time, "{event}");
        before = time;
        assert!(event["subject"].as_str().is_some_and(|subject| subject.contains('/')), "{event}");
        assert!(event["data"].is_object() && event["tags"].is_object(), "{event}");
    }
    assert_eq!(ids.len(), COUNT);
}

#[test]
fn people_join_move_and_leave_in_an_order_that_can_be_true() {
    let mut people = HashMap::<String, String>::new();
    let mut types = HashMap::<String, usize>::new();
    for event in events() {
        let kind = event["type"].as_str().expect("a type");
        *types.entry(kind.to_owned()).or_default() += 1;
        let Some(user) = event["data"]["user"]["id"].as_str() else { continue };
        let last = people.get(user).map(String::as_str);
        match kind {
            "user.created" => assert_eq!(last, None, "{event}"),
            "user.activated" => assert_eq!(last, Some("user.created"), "{event}"),
            "user.reactivated" => assert_eq!(last, Some("user.suspended"), "{event}"),
            "user.rehired" | "user.deleted" => assert_eq!(last, Some("user.terminated"), "{event}"),
            "group.member_added" | "group.member_removed" => continue,
            _ => assert!(
                !matches!(last, None | Some("user.terminated" | "user.deleted" | "user.suspended")),
                "{last:?} then {event}"
            ),
        }
        people.insert(user.to_owned(), kind.to_owned());
    }
    for kind in
        ["user.department_changed", "user.manager_changed", "user.role_changed", "user.termination_scheduled", "user.terminated"]
    {
        assert!(types[kind] > 100, "{kind}: {types:?}");
    }
    assert!(types.len() >= 17, "{types:?}");
}

fn events() -> impl Iterator<Item = Value> {
    histories(SEED, COUNT).into_iter().map(|line| serde_json::from_str(&line).expect("a line is JSON"))
}
