//! The fields of an endpoint that say how its payloads are made: checked all at once, encoded for readers.
//!
//! What only shows beside stored fields (a transform with format `SET`) is checked where they meet, in the store.

use gatepost_client::v1;
use gatepost_client::v1::endpoint::Format as WireFormat;
use gatepost_client::v1::field_policy::Action as WireAction;

use crate::api::Violations;
use crate::api::convert::timestamp;
use crate::api::mask::Mask;
use crate::domain::catalogue::SetFamily;
use crate::domain::field_policy::{Action, DefaultAction, FieldPolicy, Rule};
use crate::domain::format::Format;
use crate::domain::format::set::UserSubject;
use crate::domain::jose::jwk::PublicKey;
use crate::domain::shape::{LONGEST_AUDIENCE, MOST_AUDIENCES, MOST_ENCRYPTION_KEYS, Shape};
use crate::domain::transform::Transform;
use crate::store::endpoints::ShapeChange;

/// Whether a field holds more than its default.
pub(super) fn is_set(sent: &v1::Endpoint, field: &str) -> bool {
    match field {
        "format" => sent.format != 0,
        "field_policy" => sent.field_policy.is_some(),
        "transform" => !sent.transform.is_empty(),
        "encryption" => sent.encryption.is_some(),
        "set_audience" => !sent.set_audience.is_empty(),
        "set_families" => !sent.set_families.is_empty(),
        "set_subject" => sent.set_subject != 0,
        "set_own_types" => sent.set_own_types,
        _ => false,
    }
}

/// Checks the fields of the mask and notes every bad one.
pub(super) fn check(bad: &mut Violations, sent: &v1::Endpoint, mask: &Mask) -> ShapeChange {
    let mut checked = ShapeChange::default();
    if mask.has("format") {
        checked.format = check_format(bad, sent.format);
    }
    if mask.has("field_policy") {
        checked.field_policy = check_policy(bad, sent.field_policy.as_ref());
    }
    if mask.has("transform") {
        checked.transform = check_transform(bad, &sent.transform);
    }
    if mask.has("encryption") {
        checked.encryption = check_encryption(bad, sent.encryption.as_ref());
    }
    if mask.has("set_audience") {
        checked.set_audience = check_audience(bad, &sent.set_audience);
    }
    if mask.has("set_families") {
        checked.set_families = check_families(bad, &sent.set_families);
    }
    if mask.has("set_subject") {
        checked.set_subject = check_subject(bad, sent.set_subject);
    }
    if mask.has("set_own_types") {
        checked.set_own_types = Some(sent.set_own_types);
    }
    checked
}

fn check_format(bad: &mut Violations, code: i32) -> Option<Format> {
    let format = if code == 0 { Some(Format::Standard) } else { i16::try_from(code).ok().and_then(Format::from_code) };
    bad.check("endpoint.format", format.is_some(), "is not a format");
    format
}

fn check_policy(bad: &mut Violations, sent: Option<&v1::FieldPolicy>) -> Option<FieldPolicy> {
    let Some(sent) = sent else { return Some(FieldPolicy::default()) };
    let default = match sent.default_action() {
        WireAction::Unspecified | WireAction::Keep => DefaultAction::Keep,
        WireAction::Omit => DefaultAction::Omit,
        WireAction::Hash => {
            bad.add("endpoint.field_policy.default_action", "must be ACTION_KEEP or ACTION_OMIT");
            DefaultAction::Keep
        }
    };
    let mut rules = Vec::with_capacity(sent.rules.len());
    for (index, rule) in sent.rules.iter().enumerate() {
        let action = match rule.action() {
            WireAction::Keep => Action::Keep,
            WireAction::Omit => Action::Omit,
            WireAction::Hash => Action::Hash,
            WireAction::Unspecified => {
                bad.add(format!("endpoint.field_policy.rules[{index}].action"), "is missing");
                Action::Keep
            }
        };
        rules.push(Rule { pointer: rule.pointer.clone(), action });
    }
    match FieldPolicy::parse(default, rules) {
        Ok(policy) => Some(policy),
        Err(problems) => {
            problems.iter().for_each(|problem| bad.add(format!("endpoint.field_policy.{}", problem.field()), problem.kind));
            None
        }
    }
}

/// A template that compiles.
fn check_transform(bad: &mut Violations, text: &str) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    // Not every database stores it.
    if !bad.check("endpoint.transform", !text.contains('\0'), "must hold no NUL") {
        return None;
    }
    bad.take("endpoint.transform", Transform::compile(text)).map(|_| text.to_owned())
}

fn check_encryption(bad: &mut Violations, sent: Option<&v1::Encryption>) -> Option<Vec<PublicKey>> {
    let keys = sent.map(|sent| sent.keys.as_slice()).unwrap_or_default();
    let few = keys.len() <= MOST_ENCRYPTION_KEYS;
    if !bad.check("endpoint.encryption.keys", few, format_args!("must be at most {MOST_ENCRYPTION_KEYS}")) {
        return None;
    }
    let mut read = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        read.extend(bad.take(&format!("endpoint.encryption.keys[{index}].jwk"), PublicKey::parse(&key.jwk)));
    }
    (read.len() == keys.len()).then_some(read)
}

fn check_audience(bad: &mut Violations, sent: &[String]) -> Option<Vec<String>> {
    if !bad.check("endpoint.set_audience", sent.len() <= MOST_AUDIENCES, format_args!("must be at most {MOST_AUDIENCES}")) {
        return None;
    }
    let mut good = true;
    for (index, audience) in sent.iter().enumerate() {
        let length = audience.chars().count();
        let holds = (1..=LONGEST_AUDIENCE).contains(&length) && !audience.chars().any(char::is_control);
        good &= bad.check(
            &format!("endpoint.set_audience[{index}]"),
            holds,
            format_args!("must be 1 to {LONGEST_AUDIENCE} characters, none of them a control character"),
        );
    }
    good.then(|| sent.to_vec())
}

fn check_families(bad: &mut Violations, sent: &[i32]) -> Option<Vec<SetFamily>> {
    let mut families = Vec::new();
    let mut good = true;
    // More than there are repeat one.
    for (index, code) in sent.iter().enumerate().take(10) {
        let family = i16::try_from(*code).ok().and_then(SetFamily::from_code);
        let new = family.filter(|family| !families.contains(family));
        good &= bad.check(&format!("endpoint.set_families[{index}]"), new.is_some(), "is no family, or was named before");
        families.extend(new);
    }
    good.then_some(families)
}

fn check_subject(bad: &mut Violations, code: i32) -> Option<UserSubject> {
    let subject = if code == 0 { Some(UserSubject::default()) } else { i16::try_from(code).ok().and_then(UserSubject::from_code) };
    bad.check("endpoint.set_subject", subject.is_some(), "is not a way to name users");
    subject
}

/// The fields of a shape; all others are empty.
pub(super) fn encode(shape: &Shape) -> v1::Endpoint {
    let set = &shape.set;
    v1::Endpoint {
        format: WireFormat::try_from(i32::from(shape.format.code())).unwrap_or_default().into(),
        field_policy: encode_policy(&shape.field_policy),
        transform: shape.transform.as_ref().map(|transform| transform.text()).unwrap_or_default(),
        encryption: encode_encryption(shape),
        set_audience: set.audience.clone(),
        set_families: set.families.iter().map(|family| family.code().into()).collect(),
        set_subject: match (shape.format, set.subject) {
            (Format::Set, subject) | (_, subject @ UserSubject::Email) => subject.code().into(),
            _ => 0,
        },
        set_own_types: set.own_types,
        ..v1::Endpoint::default()
    }
}

fn encode_policy(policy: &FieldPolicy) -> Option<v1::FieldPolicy> {
    if *policy == FieldPolicy::default() {
        return None;
    }
    let default_action = match policy.default_action() {
        DefaultAction::Keep => WireAction::Keep,
        DefaultAction::Omit => WireAction::Omit,
    };
    let rule = |rule: &Rule| {
        let action = match rule.action {
            Action::Keep => WireAction::Keep,
            Action::Omit => WireAction::Omit,
            Action::Hash => WireAction::Hash,
        };
        v1::field_policy::Rule { pointer: rule.pointer.clone(), action: action.into() }
    };
    Some(v1::FieldPolicy { default_action: default_action.into(), rules: policy.rules().iter().map(rule).collect() })
}

fn encode_encryption(shape: &Shape) -> Option<v1::Encryption> {
    let key = |stored: &crate::domain::shape::EncryptionKey| v1::encryption::Key {
        jwk: stored.key.to_text(),
        key_id: stored.key.kid().to_owned(),
        create_time: Some(timestamp(stored.create_time)),
    };
    (!shape.encryption.is_empty()).then(|| v1::Encryption { keys: shape.encryption.iter().map(key).collect() })
}

#[cfg(test)]
mod tests {
    use gatepost_client::v1::endpoint::{SetFamily as WireFamily, SetSubject};

    use super::*;

    #[test]
    fn formats_are_those_of_the_contract() {
        for format in Format::ALL {
            let name = WireFormat::try_from(i32::from(format.code())).unwrap().as_str_name();
            assert_eq!(name.replace("FORMAT_", "").replace('_', ""), format!("{format:?}").to_uppercase());
        }
    }

    #[test]
    fn families_and_ways_to_name_users_are_those_of_the_contract() {
        for family in SetFamily::CHOICES {
            let name = WireFamily::try_from(i32::from(family.code())).unwrap().as_str_name();
            assert_eq!(name.replace("SET_FAMILY_", ""), format!("{family:?}").to_uppercase());
        }
        assert!(WireFamily::try_from(i32::from(SetFamily::Ssf.code())).is_err(), "nobody can choose it");
        for subject in UserSubject::ALL {
            let name = SetSubject::try_from(i32::from(subject.code())).unwrap().as_str_name();
            assert_eq!(name.replace("SET_SUBJECT_", "").replace('_', ""), format!("{subject:?}").to_uppercase());
        }
    }

    #[test]
    fn a_template_holds_no_nul_which_not_every_database_stores() {
        for (text, good) in [("tenants/acme\0", false), ("{}\0", false), ("{}", true), (r#"{"a":"\u0000"}"#, true)] {
            let mut bad = Violations::new();
            assert_eq!(check_transform(&mut bad, text).is_some(), good, "{text:?}");
        }
    }

    #[test]
    fn every_bad_field_of_a_shape_is_named_at_once() {
        let sent = v1::Endpoint {
            format: 9,
            field_policy: Some(v1::FieldPolicy {
                default_action: WireAction::Hash.into(),
                rules: vec![
                    v1::field_policy::Rule { pointer: "user".to_owned(), action: WireAction::Omit.into() },
                    v1::field_policy::Rule { pointer: "/user".to_owned(), action: 0 },
                ],
            }),
            transform: "{{ broken".to_owned(),
            encryption: Some(v1::Encryption { keys: vec![v1::encryption::Key { jwk: "{}".to_owned(), ..Default::default() }] }),
            set_audience: vec![String::new()],
            set_families: vec![0, 1, 1],
            set_subject: 7,
            ..Default::default()
        };
        let mut bad = Violations::new();
        let fields = ["format", "field_policy", "transform", "encryption", "set_audience", "set_families", "set_subject"];
        check(&mut bad, &sent, &Mask::all(&fields));
        let Err(crate::api::Error::InvalidFields(found)) = bad.into_result() else { panic!("fields are bad") };
        let found: Vec<_> = found.iter().map(|bad| bad.field.strip_prefix("endpoint.").unwrap()).collect();
        assert_eq!(
            found,
            [
                "format",
                "field_policy.default_action",
                "field_policy.rules[1].action",
                "field_policy.rules[0].pointer",
                "transform",
                "encryption.keys[0].jwk",
                "set_audience[0]",
                "set_families[0]",
                "set_families[2]",
                "set_subject"
            ]
        );
    }
}
