use super::*;
use crate::domain::field_policy::{Action, DefaultAction, Rule};

const DATA: &str = r#"{"user":{"id":"usr_1","email":"jane@acme.test","n":1.10},"effective_at":"2026-11-25T09:00:00.000Z"}"#;

fn event(event_type: &str) -> Event {
    Event {
        seq: 42,
        tenant: "acme".into(),
        id: "evt_01".into(),
        event_type: event_type.into(),
        subject: "user/usr_1".to_owned(),
        occurred_time: Time::from_millis(1_795_597_200_000),
        create_time: Time::from_millis(1_795_597_201_000),
        txn: "evt_01".to_owned(),
        schema_version: 1,
        data: Bytes::from_static(DATA.as_bytes()),
        standard: std::sync::OnceLock::new(),
    }
}

fn policy(rules: &[(&str, Action)]) -> FieldPolicy {
    let rules = rules.iter().map(|(pointer, action)| Rule { pointer: (*pointer).to_owned(), action: *action });
    FieldPolicy::parse(DefaultAction::Keep, rules.collect()).unwrap()
}

fn render(shape: &Shape, event: &Event) -> Result<String, RenderError> {
    let random = ring::rand::SystemRandom::new();
    let occasion = Occasion { part: 0, delivery_id: "dlv_1", endpoint_id: "siem", signer: None, random: &random };
    let rendered = shape.render(event, &occasion)?;
    assert_eq!(rendered.digest, signature::content_digest(&rendered.body), "of what is sent");
    Ok(String::from_utf8(rendered.body.to_vec()).unwrap())
}

#[test]
fn a_plain_endpoint_gets_the_body_that_all_of_them_share() {
    let event = event("user.terminated");
    let shape = Shape::plain("acme");
    assert!(shape.is_plain());
    assert_eq!(render(&shape, &event).unwrap().as_bytes(), event.standard_body());
}

#[test]
fn what_is_withheld_is_gone_before_any_format_and_before_the_template() {
    let event = event("user.terminated");
    for format in [Format::Standard, Format::CloudEventsStructured, Format::CloudEventsBinary, Format::LumosSiem] {
        let shape = Shape { format, field_policy: policy(&[("/user/email", Action::Omit)]), ..Shape::plain("acme") };
        let body = render(&shape, &event).unwrap();
        assert!(!body.contains("jane") && body.contains("1.10"), "{format:?}: {body}");
    }
    let template = Arc::new(Transform::compile(r#"{"all": {{ payload }} }"#).unwrap());
    let shape = Shape { transform: Some(template), field_policy: policy(&[("/user/email", Action::Hash)]), ..Shape::plain("acme") };
    let body = render(&shape, &event).unwrap();
    assert!(!body.contains("jane") && body.contains("hmac-sha256:"), "{body}");
}

#[test]
fn a_subject_that_was_taken_from_withheld_data_goes_with_it() {
    let event = event("user.terminated");
    let body = |rules: &[(&str, Action)]| {
        let shape = Shape { field_policy: policy(rules), format: Format::CloudEventsStructured, ..Shape::plain("acme") };
        serde_json::from_str::<Value>(&render(&shape, &event).unwrap()).unwrap()
    };
    let omitted = body(&[("/user/id", Action::Omit)]);
    assert_eq!((omitted["subject"].as_str(), omitted["partitionkey"].as_str()), (Some("tenant/acme"), Some("acme")));
    let hashed = body(&[("/user/id", Action::Hash)]);
    assert_eq!(hashed["subject"], format!("user/{}", hashed["data"]["user"]["id"].as_str().unwrap()));
    assert!(!hashed.to_string().contains("usr_1"));
    assert_eq!(body(&[("/user/email", Action::Omit)])["subject"], "user/usr_1");
    let named = Event { subject: "person/7".to_owned(), ..super::tests::event("user.terminated") };
    let shape = Shape { field_policy: policy(&[("/user/id", Action::Omit)]), ..Shape::plain("acme") };
    assert!(render(&shape, &named).unwrap().contains("person/7"), "what a publisher named is not the payload's");
}

#[test]
fn the_newest_key_encrypts_what_the_template_made() {
    let key = |x: &str, at| EncryptionKey {
        key: Arc::new(PublicKey::parse(&format!(r#"{{"kty":"OKP","crv":"X25519","kid":"{at}","x":"{x}"}}"#)).unwrap()),
        create_time: Time::from_millis(at),
    };
    // Public keys of RFC 7748, section 6.1.
    let (alice, bob) = ("hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo", "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08");
    let shape = Shape { encryption: vec![key(alice, 2), key(bob, 1)], ..Shape::plain("acme") };
    let event = event("user.created");
    let random = ring::rand::SystemRandom::new();
    let occasion = Occasion { part: 0, delivery_id: "dlv_1", endpoint_id: "siem", signer: None, random: &random };
    let (first, second) = (shape.render(&event, &occasion).unwrap(), shape.render(&event, &occasion).unwrap());
    assert_eq!((first.content_type, first.clear.as_ref()), ("application/jose", Some(event.standard_body())));
    assert_ne!(first.body, second.body, "encrypted anew");
    let head = String::from_utf8(first.body.to_vec()).unwrap();
    let head = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, head.split('.').next().unwrap()).unwrap();
    assert!(String::from_utf8(head).unwrap().contains(r#""kid":"2""#));
}

#[test]
fn a_token_needs_a_signer_and_a_security_event() {
    let shape = Shape {
        format: Format::Set,
        set: SetSettings { audience: vec!["https://rp.acme.test".to_owned()], ..SetSettings::default() },
        ..Shape::plain("acme")
    };
    assert!(matches!(render(&shape, &event("user.terminated")), Err(RenderError::NoKey)));
    assert_eq!(shape.parts("user.terminated").len(), 2, "RISC and CAEP, and no SCIM unless it is chosen");
    assert!(shape.parts("user.manager_changed").is_empty() && shape.parts("ticket.opened").is_empty());
    assert_eq!(shape.parts("webhook.verification").len(), 1);
    let nowhere = Shape { site: Arc::default(), ..shape };
    assert_eq!(nowhere.parts("user.terminated").len(), 2, "whichever node accepts the event");
    assert!(!nowhere.can_issue() && Shape::plain("acme").can_issue());
    let most = crate::domain::catalogue::all().map(|known| known.set.len()).max();
    assert_eq!(most, Some(MOST_SET_PARTS));
}

#[test]
fn settings_that_do_not_go_together_are_named_all_at_once() {
    let fields = |shape: &Shape| shape.conflicts().into_iter().map(|bad| bad.field).collect::<Vec<_>>();
    assert!(fields(&Shape::plain("acme")).is_empty());
    let transform = Some(Arc::new(Transform::compile("{}").unwrap()));
    let set = SetSettings { own_types: true, ..SetSettings::default() };
    let all = Shape { format: Format::Set, transform, set, site: Arc::default(), ..Shape::plain("acme") };
    assert_eq!(fields(&all), ["endpoint.set_audience", "endpoint.transform", "endpoint.format", "endpoint.set_own_types"]);
}
