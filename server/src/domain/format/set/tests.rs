//! Tokens: the examples of the event catalogue, section 7, and one row for each rule.

use serde_json::{Value, json};

use super::*;
use crate::domain::format::tests::{NINE, STANDARD, envelope, example_data, read};

const ISSUER: &str = "https://gatepost.acme.test/tenants/acme";
const DELIVERY: Delivery<'_> = Delivery { id: "dlv_31", endpoint_id: "ep_7", accepted: Time::from_millis(NINE.millis() + 1_999) };

fn options(families: &[SetFamily]) -> Options {
    Options {
        issuer: ISSUER.to_owned(),
        audience: vec!["https://rp.acme.test".to_owned()],
        families: families.to_vec(),
        subject: UserSubject::IssSub,
        own_types: false,
        schema_base_url: Some("https://schemas.acme.test".to_owned()),
    }
}

const EVERY: [SetFamily; 3] = [SetFamily::Caep, SetFamily::Risc, SetFamily::Scim];

/// Claims of the token whose URI ends so.
fn token(event_type: &str, ending: &str, data: &str, options: &Options) -> Value {
    let parts = parts(event_type, options);
    let part = parts.iter().find(|part| part.uri.ends_with(ending)).unwrap_or_else(|| panic!("{event_type} has no {ending}"));
    read(&claims(&envelope(event_type, data), part, &DELIVERY, options))
}

fn json(example: &str) -> Value {
    serde_json::from_str(example).expect("JSON")
}

#[test]
fn the_example_of_family_caep_is_rendered() {
    let data = example_data(STANDARD);
    let part = &parts("user.terminated", &options(&[SetFamily::Caep]))[0];
    let body = claims(&envelope("user.terminated", &data), part, &DELIVERY, &options(&[SetFamily::Caep]));
    assert_eq!(read(&body), json(include_str!("../examples/set_caep.json")));
    let names = ["{\"iss\":", ",\"aud\":", ",\"jti\":", ",\"iat\":", ",\"toe\":", ",\"txn\":", ",\"sub_id\":", ",\"events\":"];
    let places = names.map(|name| body.windows(name.len()).position(|bytes| bytes == name.as_bytes()));
    assert!(places.is_sorted() && places.iter().all(Option::is_some), "{places:?}");
}

#[test]
fn the_example_of_family_scim_is_rendered() {
    let mut example = json(include_str!("../examples/set_scim.json"));
    // An array of one means its one text, and that is how it is sent. Source: RFC 7519, section 4.1.3.
    example["aud"] = example["aud"][0].clone();
    let noon = NINE.plus(std::time::Duration::from_secs(3 * 3600));
    let envelope = Envelope { timestamp: noon, txn: "evt_78", ..envelope("user.updated", include_str!("../examples/binary.json")) };
    let options = Options { audience: vec!["https://dir.acme.test".to_owned()], ..options(&[SetFamily::Scim]) };
    let delivery = Delivery { id: "dlv_32", accepted: noon.plus(std::time::Duration::from_secs(1)), ..DELIVERY };
    let parts = parts("user.updated", &options);
    assert_eq!(parts.len(), 1);
    assert_eq!(read(&claims(&envelope, &parts[0], &delivery, &options)), example);
}

#[test]
fn several_audiences_are_an_array() {
    let audience = vec!["https://a.acme.test".to_owned(), "https://b.acme.test".to_owned()];
    let options = Options { audience, ..options(&EVERY) };
    let claims = token("user.deleted", "account-purged", "{}", &options);
    assert_eq!(claims["aud"], json!(["https://a.acme.test", "https://b.acme.test"]));
}

#[test]
fn families_pick_the_parts_and_numbers_stay() {
    let own = Options { own_types: true, ..options(&EVERY) };
    let no_base = Options { schema_base_url: None, ..own.clone() };
    let short = |event_type: &str, options: &Options| {
        let name = |uri: &str| uri.rsplit('/').next().map(|name| name.replace("urn:ietf:params:scim:event:prov:", "")).unwrap();
        parts(event_type, options).iter().map(|part| format!("{} {}", part.number, name(&part.uri))).collect::<Vec<_>>().join(", ")
    };
    for (event_type, families, expected) in [
        ("user.terminated", &EVERY[..], "1 account-disabled, 2 deactivate, 3 session-revoked"),
        ("user.terminated", &[SetFamily::Risc, SetFamily::Caep], "1 account-disabled, 3 session-revoked"),
        ("user.terminated", &[SetFamily::Caep], "3 session-revoked"),
        ("user.terminated", &[SetFamily::Scim], "2 deactivate"),
        ("user.terminated", &[], ""),
        ("user.created", &[SetFamily::Caep, SetFamily::Risc], ""),
        ("access.granted", &EVERY, ""),
        ("acme.anything", &EVERY, ""),
        ("webhook.verification", &[], "1 verification"),
    ] {
        assert_eq!(short(event_type, &options(families)), expected, "{event_type} {families:?}");
    }
    assert_eq!(short("access.granted", &own), "0 access.granted");
    assert_eq!(short("acme.anything", &own), "0 acme.anything");
    assert_eq!(short("user.created", &Options { families: vec![SetFamily::Caep], ..own.clone() }), "0 user.created");
    assert_eq!(short("user.created", &own), "1 create:notice");
    assert_eq!(short("access.granted", &no_base), "");
    assert_eq!(parts("acme.anything", &own)[0].uri, "https://schemas.acme.test/event-type/acme.anything");
}

#[test]
fn a_delivery_finds_its_part_again() {
    let all = options(&EVERY);
    for known in catalogue::all() {
        for made in parts(known.name, &all) {
            assert_eq!(part(known.name, made.number, &options(&[])), Some(made), "{}", known.name);
        }
    }
    assert_eq!(part("user.terminated", 4, &all), None);
    assert_eq!(part("user.terminated", -1, &all), None);
    // Made while the endpoint had another format, or had own types.
    assert_eq!(part("user.terminated", Part::OWN, &all).map(|part| part.number), Some(1));
    assert_eq!(part("access.granted", Part::OWN, &all), None);
    let own = Options { own_types: true, ..all };
    assert_eq!(part("access.granted", Part::OWN, &own).map(|part| part.number), Some(Part::OWN));
}

#[test]
fn an_own_event_holds_data_as_published() {
    let options = Options { own_types: true, ..options(&[]) };
    let data = r#"{ "n": 1.10, "user": {"id": "usr_1"} }"#;
    let part = &parts("acme.anything", &options)[0];
    let body = claims(&envelope("acme.anything", data), part, &DELIVERY, &options);
    let ending = format!(r#""events":{{"https://schemas.acme.test/event-type/acme.anything":{data}}}}}"#);
    assert!(body.ends_with(ending.as_bytes()), "{}", String::from_utf8_lossy(&body));
    assert_eq!(read(&body)["sub_id"], json!({"format": "iss_sub", "iss": ISSUER, "sub": "usr_1"}));
}

#[test]
fn times_are_whole_seconds_and_never_later_than_they_were() {
    for (millis, whole) in [(0, 0), (999, 0), (1_000, 1), (-1, -1), (1_795_597_200_999, 1_795_597_200)] {
        assert_eq!(seconds(Time::from_millis(millis)), whole);
    }
}

#[test]
fn each_subject_follows_its_rule() {
    let user = json!({"format": "iss_sub", "iss": ISSUER, "sub": "usr_1"});
    let jane = json!({"format": "email", "email": "jane@acme.test"});
    let opaque = |id: &str| json!({"format": "opaque", "id": id});
    let fallback = opaque("user/usr_1");
    let (iss_sub, email) = (UserSubject::IssSub, UserSubject::Email);
    // Type, end of the URI, `set_subject`, data, `sub_id`.
    let table = [
        ("user.deleted", "account-purged", iss_sub, r#"{"user":{"id":"usr_1","email":"jane@acme.test"}}"#, user.clone()),
        ("user.deleted", "account-purged", email, r#"{"user":{"id":"usr_1","email":"jane@acme.test"}}"#, jane.clone()),
        ("user.deleted", "account-purged", email, r#"{"user":{"id":"usr_1"}}"#, user.clone()),
        ("user.deleted", "account-purged", email, r#"{"user":{"id":"usr_1","email":7}}"#, user.clone()),
        (
            "user.deleted",
            "account-purged",
            iss_sub,
            r#"{"user":{"id":"a\"b\\é"}}"#,
            json!({"format": "iss_sub", "iss": ISSUER, "sub": "a\"b\\é"}),
        ),
        ("user.deleted", "account-purged", iss_sub, r#"{"user":{"id":7}}"#, fallback.clone()),
        ("user.deleted", "account-purged", iss_sub, r#"{"user":"usr_1"}"#, fallback.clone()),
        ("user.deleted", "account-purged", iss_sub, "{}", fallback.clone()),
        ("credential.changed", "credential-change", email, r#"{"user":{"id":"usr_1","email":"jane@acme.test"}}"#, jane.clone()),
        ("assurance.level_changed", "assurance-level-change", iss_sub, r#"{"user":{"id":"usr_1"}}"#, user.clone()),
        // Sessions, devices and removed access are complex.
        (
            "session.revoked",
            "session-revoked",
            iss_sub,
            r#"{"user":{"id":"usr_1"},"session":{"id":"ses_1"}}"#,
            json!({"format": "complex", "user": user, "session": opaque("ses_1")}),
        ),
        (
            "session.revoked",
            "session-revoked",
            email,
            r#"{"user":{"id":"usr_1","email":"jane@acme.test"},"application":{"app_id":"zendesk"}}"#,
            json!({"format": "complex", "user": jane, "application": opaque("zendesk")}),
        ),
        ("session.revoked", "session-revoked", iss_sub, r#"{"user":{"id":"usr_1"}}"#, json!({"format": "complex", "user": user})),
        ("session.revoked", "session-revoked", iss_sub, "{}", fallback.clone()),
        (
            "session.established",
            "session-established",
            iss_sub,
            r#"{"user":{"id":"usr_1"},"session":{"id":"ses_1"}}"#,
            json!({"format": "complex", "user": user, "session": opaque("ses_1")}),
        ),
        (
            "session.presented",
            "session-presented",
            iss_sub,
            r#"{"user":null,"session":{"id":"ses_1"}}"#,
            json!({"format": "complex", "session": opaque("ses_1")}),
        ),
        (
            "compliance.device_changed",
            "device-compliance-change",
            iss_sub,
            r#"{"device":{"id":"dev_1"}}"#,
            json!({"format": "complex", "device": opaque("dev_1")}),
        ),
        (
            "compliance.device_changed",
            "device-compliance-change",
            iss_sub,
            r#"{"device":{"id":"dev_1"},"user":{"id":"usr_1"}}"#,
            json!({"format": "complex", "device": opaque("dev_1"), "user": user}),
        ),
        ("compliance.device_changed", "device-compliance-change", iss_sub, r#"{"user":{"id":"usr_1"}}"#, fallback.clone()),
        (
            "access.revoked",
            "session-revoked",
            iss_sub,
            r#"{"user":{"id":"usr_1"},"application":{"app_id":"impersonator","instance_id":"prod"}}"#,
            json!({"format": "complex", "user": user, "application": opaque("impersonator/prod")}),
        ),
        // Never everything of the user, when what was removed is withheld.
        ("access.revoked", "session-revoked", iss_sub, r#"{"user":{"id":"usr_1"}}"#, fallback.clone()),
        // Accounts are users of their application.
        (
            "account.suspended",
            "account-disabled",
            email,
            r#"{"account":{"id":"acc_1","email":"jane@acme.test","application":{"app_id":"zendesk","instance_id":"prod"}},
             "owner":{"id":"usr_1"}}"#,
            json!({"format": "complex", "application": opaque("zendesk/prod"), "user": opaque("acc_1")}),
        ),
        (
            "account.deprovisioned",
            "account-disabled",
            iss_sub,
            r#"{"account":{"id":"acc_1"}}"#,
            json!({"format": "complex", "user": opaque("acc_1")}),
        ),
        ("account.suspended", "account-disabled", iss_sub, r#"{"account":{"application":{"app_id":"zendesk"}}}"#, fallback.clone()),
        // Risk of a user is the user's, of anything else complex.
        ("risk.level_changed", "risk-level-change", iss_sub, r#"{"principal":"user","principal_id":"usr_1"}"#, user.clone()),
        (
            "risk.level_changed",
            "risk-level-change",
            email,
            r#"{"principal":"user","principal_id":"usr_1","user":{"id":"usr_1","email":"jane@acme.test"}}"#,
            jane.clone(),
        ),
        (
            "risk.level_changed",
            "risk-level-change",
            email,
            r#"{"principal":"user","principal_id":"usr_1","user":{"id":"usr_2","email":"joe@acme.test"}}"#,
            user.clone(),
        ),
        (
            "risk.level_changed",
            "risk-level-change",
            iss_sub,
            r#"{"principal":"device","principal_id":"dev_1"}"#,
            json!({"format": "complex", "device": opaque("dev_1")}),
        ),
        (
            "risk.level_changed",
            "risk-level-change",
            iss_sub,
            r#"{"principal":"org_unit","principal_id":"sales"}"#,
            json!({"format": "complex", "org_unit": opaque("sales")}),
        ),
        ("risk.level_changed", "risk-level-change", iss_sub, r#"{"principal":"planet","principal_id":"mars"}"#, fallback.clone()),
        // A changed identifier is named by its old value.
        (
            "user.identifier_changed",
            "identifier-changed",
            iss_sub,
            r#"{"user":{"id":"usr_1"},"identifier_type":"email","old_value":"jane@acme.test"}"#,
            jane.clone(),
        ),
        (
            "user.identifier_changed",
            "identifier-changed",
            email,
            r#"{"user":{"id":"usr_1","email":"jane.doe@acme.test"},"identifier_type":"phone_number","old_value":"+12065550100"}"#,
            json!({"format": "phone_number", "phone_number": "+12065550100"}),
        ),
        (
            "user.identifier_changed",
            "identifier-changed",
            iss_sub,
            r#"{"user":{"id":"usr_1"},"identifier_type":"email"}"#,
            user.clone(),
        ),
        // SCIM names resources.
        ("user.created", "create:notice", email, r#"{"user":{"id":"usr_1"}}"#, json!({"format": "scim", "uri": "/Users/usr_1"})),
        (
            "user.updated",
            "patch:notice",
            iss_sub,
            r#"{"user":{"id":"usr_1","external_id":"E7"}}"#,
            json!({"format": "scim", "uri": "/Users/usr_1", "externalId": "E7"}),
        ),
        (
            "user.deleted",
            "delete",
            iss_sub,
            r#"{"user":{"id":"a/b ü?#@x"}}"#,
            json!({"format": "scim", "uri": "/Users/a%2Fb%20%C3%BC%3F%23@x"}),
        ),
        (
            "group.member_added",
            "patch:notice",
            iss_sub,
            r#"{"group":{"id":"grp_1"},"user":{"id":"usr_1","external_id":"E7"}}"#,
            json!({"format": "scim", "uri": "/Groups/grp_1"}),
        ),
        ("group.member_removed", "patch:notice", iss_sub, r#"{"user":{"id":"usr_1"}}"#, fallback.clone()),
        ("webhook.verification", "verification", iss_sub, r#"{"endpoint_id":"another","state":"x"}"#, opaque("ep_7")),
    ];
    for (event_type, ending, subject, data, expected) in table {
        let options = Options { subject, ..options(&EVERY) };
        let claims = token(event_type, ending, data, &options);
        assert_eq!(claims["sub_id"], expected, "{event_type} {ending} {data}");
        assert!(claims.get("sub").is_none() && claims.get("exp").is_none());
    }
}

#[test]
fn own_events_without_a_user_are_about_the_subject() {
    let options = Options { own_types: true, ..options(&[]) };
    let sub_id = |event_type: &str, data: &str| token(event_type, event_type, data, &options)["sub_id"].clone();
    assert_eq!(sub_id("permission.created", "{}"), json!({"format": "opaque", "id": "user/usr_1"}));
    assert_eq!(sub_id("access.granted", r#"{"user":{"id":"u"}}"#), json!({"format": "iss_sub", "iss": ISSUER, "sub": "u"}));
    let account = r#"{"account":{"id":"acc_1","application":{"app_id":"zendesk"}}}"#;
    assert_eq!(sub_id("account.created", account)["format"], "complex");
}

mod objects;
