use super::*;
use crate::cli::testing::{parse, refuse};

fn applied(arguments: &[&str]) -> (Endpoint, Vec<String>) {
    let (mut endpoint, mut fields) = (Endpoint::default(), Vec::new());
    parse::<Payload>(arguments).apply(&mut endpoint, &mut fields).unwrap();
    (endpoint, fields)
}

fn failed(arguments: &[&str]) -> Failure {
    parse::<Payload>(arguments).apply(&mut Endpoint::default(), &mut Vec::new()).unwrap_err()
}

fn rules(policy: &FieldPolicy) -> Vec<(&str, Action)> {
    policy.rules.iter().map(|rule| (rule.pointer.as_str(), rule.action())).collect()
}

#[test]
fn every_flag_is_read() {
    let arguments = [
        "--event-type=user.*",
        "--filter=has(data.user)",
        "--hooks-only",
        "--format=cloudevents-binary",
        "--transform={{ type }}",
        "--omit=/user/email",
        "--encryption-key={\"kty\":\"OKP\"}",
        "--encryption-key={\"kty\":\"EC\"}",
        "--set-audience=https://a.test",
        "--set-audience=https://b.test",
        "--set-family=scim",
        "--set-family=risc",
        "--set-subject=email",
        "--set-own-types",
    ];
    let (endpoint, fields) = applied(&arguments);
    assert_eq!(
        fields,
        [
            "event_types",
            "filter",
            "hooks_only",
            "format",
            "transform",
            "field_policy",
            "encryption",
            "set_audience",
            "set_families",
            "set_subject",
            "set_own_types"
        ]
    );
    assert_eq!((endpoint.filter.as_str(), endpoint.transform.as_str()), ("has(data.user)", "{{ type }}"));
    assert!(endpoint.hooks_only && endpoint.set_own_types);
    assert_eq!((endpoint.format(), endpoint.set_subject()), (endpoint::Format::CloudeventsBinary, endpoint::SetSubject::Email));
    let keys: Vec<String> = endpoint.encryption.iter().flat_map(|known| known.keys.iter().map(|key| key.jwk.clone())).collect();
    assert_eq!(keys, [r#"{"kty":"OKP"}"#, r#"{"kty":"EC"}"#]);
    assert_eq!(endpoint.set_audience, ["https://a.test", "https://b.test"]);
    assert_eq!(endpoint.set_families().collect::<Vec<_>>(), [endpoint::SetFamily::Scim, endpoint::SetFamily::Risc]);
}

#[test]
fn every_setting_can_be_taken_back() {
    let arguments = [
        "--event-type=",
        "--no-filter",
        "--hooks-only=false",
        "--format=standard",
        "--no-transform",
        "--no-field-policy",
        "--no-encryption",
        "--set-audience=",
        "--set-own-types=false",
    ];
    let (endpoint, fields) = applied(&arguments);
    assert_eq!(fields.len(), arguments.len());
    assert_eq!(Endpoint { format: 0, ..endpoint }, Endpoint::default());
    assert_eq!(applied(&[]), (Endpoint::default(), vec![]));
}

#[test]
fn short_forms_make_a_policy_and_json_is_one() {
    let (endpoint, _) = applied(&["--omit=/user", "--keep=/user/id", "--hash=/user/email", "--omit=/x", "--omit-others"]);
    let policy = endpoint.field_policy.unwrap();
    assert_eq!(policy.default_action(), Action::Omit);
    let expected = [("/user", Action::Omit), ("/x", Action::Omit), ("/user/email", Action::Hash), ("/user/id", Action::Keep)];
    assert_eq!(rules(&policy), expected);
    let json = r#"{"defaultAction": "ACTION_OMIT", "rules": [{"pointer": "/user/id", "action": "ACTION_HASH"}]}"#;
    let policy = applied(&["--field-policy", json]).0.field_policy.unwrap();
    assert_eq!((policy.default_action(), rules(&policy)), (Action::Omit, vec![("/user/id", Action::Hash)]));
    for wrong in ["{", r#"{"rule": []}"#, r#"{"rules": [{"action": "OMIT"}]}"#] {
        assert_eq!(failed(&["--field-policy", wrong]).exit_code(), 1, "{wrong}");
    }
}

#[test]
fn what_excludes_each_other_is_a_usage_error() {
    for arguments in [
        &["--filter=true", "--no-filter"][..],
        &["--transform=x", "--no-transform"],
        &["--field-policy={}", "--omit=/a"],
        &["--no-field-policy", "--omit-others"],
        &["--encryption-key={}", "--no-encryption"],
        &["--format=xml"],
        &["--set-family=other"],
    ] {
        assert_eq!(refuse::<Payload>(arguments), 2, "{arguments:?}");
    }
}

#[test]
fn a_private_key_never_leaves() {
    for private in [r#"{"kty":"EC","d":"x"}"#, r#"{"kty":"RSA","n":"x","dp":"y"}"#, r#"{"kty":"oct","k":"x"}"#] {
        assert_eq!(failed(&["--encryption-key", private]).exit_code(), 2, "{private}");
    }
}
