//! What it costs to shape payloads: the same events to one endpoint each that filters, renders, withholds, encrypts or signs.
//!
//! The CPU beyond that of a plain endpoint is the price of one delivery.

use std::time::Duration;

use gatepost_client::v1::{
    self,
    endpoint::Format,
    field_policy::{Action, Rule},
};
use gatepost_tests::Database;

use crate::{
    load::{Bench, Rate},
    receiver::Receiver,
};

/// What users write: type, nested members and a label.
const FILTER: &str =
    r#"type.startsWith("user.") && has(data.user.email) && data.user.email.endsWith("@acme.test") && !("test" in tags)"#;
/// A message for a chat, from three members.
const TEMPLATE: &str =
    r#"{"text": {{ data.user.given_name ~ " " ~ data.user.family_name ~ ": " ~ type }}, "at": {{ timestamp }} }"#;
/// The public key of RFC 7748, section 6.1.
const KEY: &str = r#"{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}"#;

/// A kind of endpoint, its name in what is printed first.
type Kind = (&'static str, fn(&mut v1::Endpoint));

const KINDS: [Kind; 9] = [
    ("plain", |_| {}),
    ("a filter", |endpoint| endpoint.filter = FILTER.into()),
    ("a template", |endpoint| endpoint.transform = TEMPLATE.into()),
    ("two members withheld", |endpoint| endpoint.field_policy = Some(policy())),
    ("CloudEvents, structured", |endpoint| endpoint.set_format(Format::CloudeventsStructured)),
    ("CloudEvents, binary", |endpoint| endpoint.set_format(Format::CloudeventsBinary)),
    ("LUMOS_SIEM", |endpoint| endpoint.set_format(Format::LumosSiem)),
    ("encrypted, X25519", |endpoint| {
        endpoint.encryption = Some(v1::Encryption { keys: vec![v1::encryption::Key { jwk: KEY.into(), ..Default::default() }] });
    }),
    ("SET, RS256", |endpoint| {
        endpoint.set_format(Format::Set);
        endpoint.set_audience = vec!["https://receiver.test".into()];
        endpoint.set_own_types = true;
    }),
];

/// One measurement for each kind, the plain one first.
pub(crate) async fn shaping(database: &Database, time: Duration, log: &str) -> Vec<(&'static str, Rate)> {
    let bench = Bench::start(database, Receiver::start(0).await, time, log).await;
    let mut figures = Vec::new();
    for (number, (name, change)) in KINDS.into_iter().enumerate() {
        let tenant = format!("shape-{number}");
        bench.make_tenant(&tenant).await;
        bench.endpoint_with(&tenant, "receiver", "user.*", &bench.receiver.url(), 64, change).await;
        bench.batches(&tenant, 1, Duration::from_millis(500)).await;
        figures.push((name, bench.batches(&tenant, 1, time).await));
    }
    figures
}

fn policy() -> v1::FieldPolicy {
    let rule = |pointer: &str, action: Action| Rule { pointer: pointer.into(), action: action.into() };
    let rules = vec![rule("/user/email", Action::Hash), rule("/user/family_name", Action::Omit)];
    v1::FieldPolicy { rules, ..Default::default() }
}
