//! `gatepost trigger`: publishes the example of an event type, with what is set in it.

use gatepost_client::{NewEvent, v1};
use serde_json::Value;

use super::connect::Remote;
use super::endpoint_settings::pair;
use super::event_types::no_example;
use super::failure::Failure;
use super::output::id;
use super::publish::Options;

/// Arguments of `gatepost trigger`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Type of the event, such as `user.terminated`; its example is published.
    #[arg(value_name = "TYPE")]
    event_type: String,

    /// Set a value in the example, such as `data.user.id=usr_9` or `data.changes.0.field=email`; may be repeated. A value is JSON, else a
    /// text.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,

    #[command(flatten)]
    options: Options,

    #[command(flatten)]
    remote: Remote,
}

/// Runs `gatepost trigger`.
///
/// # Errors
/// Only Gatepost publishes the type, it has no example, or what the server refused.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let tenant = args.remote.tenant().await?;
    let found = tenant.get_event_type(&args.event_type, args.options.schema_version).await?;
    let event_type = id(&found.name);
    if found.reserved {
        return Err(reserved(&event_type));
    }
    if found.example.is_empty() {
        return Err(no_example(&found));
    }
    let data = changed(found, &args.set)?;
    args.options.publish(&args.remote, &tenant, NewEvent::new(event_type, data)).await
}

/// The example, byte for byte while nothing is set in it.
fn changed(found: v1::EventType, set: &[(String, String)]) -> Result<String, Failure> {
    if set.is_empty() {
        return Ok(found.example);
    }
    let mut data: Value =
        serde_json::from_str(&found.example).map_err(|error| Failure::other("the example cannot be read", error))?;
    for (path, value) in set {
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value.as_str()));
        put(&mut data, path, value).map_err(|why| Failure::Usage(format!("--set {path}: {why}")))?;
    }
    Ok(data.to_string())
}

/// Sets one value, and makes the objects that lead to it.
fn put(data: &mut Value, path: &str, value: Value) -> Result<(), &'static str> {
    let below = path.strip_prefix("data.").ok_or("a path begins with `data.`")?;
    let mut place = data;
    for step in below.split('.') {
        if step.is_empty() {
            return Err("a part of the path is empty");
        }
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        place = match place {
            Value::Object(members) => members.entry(step).or_insert(Value::Null),
            Value::Array(items) => {
                let index: usize = step.parse().map_err(|_| "an array is not followed by a number")?;
                if index == items.len() {
                    items.push(Value::Null);
                }
                items.get_mut(index).ok_or("the array is shorter")?
            }
            _ => return Err("it leads through a value that holds no others"),
        };
    }
    *place = value;
    Ok(())
}

/// How an event comes about that only Gatepost publishes.
fn reserved(event_type: &str) -> Failure {
    let hint = match event_type {
        "webhook.verification" => "`gatepost endpoints test ENDPOINT` sends one to an endpoint",
        _ => match event_type.split('.').next().unwrap_or_default() {
            "access" => "it follows the life of a grant, such as a confirmed provisioning or the end of its time",
            "access_request" => "it follows what hooks and rules say about an access request",
            "hook" => "it follows the answer of a hook, or a change of its settings",
            "binding" => "it follows a change of a binding",
            "webhook" => "it follows what becomes of an endpoint or of a delivery",
            _ => "it follows what Gatepost itself does",
        },
    };
    Failure::Refused {
        what: format!("only Gatepost publishes {event_type}"),
        hint: format!("{hint}; `gatepost event-types get {event_type} --example` shows what it looks like"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{parse, refuse};

    const EXAMPLE: &str = r#"{"user":{"id":"usr_1"},  "changes":[{"field":"email"}]}"#;

    fn set(changes: &[(&str, &str)]) -> Result<String, Failure> {
        let set: Vec<(String, String)> = changes.iter().map(|(path, value)| ((*path).into(), (*value).into())).collect();
        changed(v1::EventType { example: EXAMPLE.into(), ..v1::EventType::default() }, &set)
    }

    #[test]
    fn every_flag_is_read() {
        let args = parse::<Args>(&["user.created", "--set", "data.user.id=usr_9", "--set", "data.a=b=c", "--schema-version", "1"]);
        assert_eq!(args.set, [("data.user.id".to_owned(), "usr_9".to_owned()), ("data.a".to_owned(), "b=c".to_owned())]);
        assert_eq!(args.options.schema_version, Some(1));
        assert_eq!(refuse::<Args>(&["user.created", "--set", "data.user.id"]), 2);
        assert_eq!(refuse::<Args>(&[]), 2);
    }

    #[test]
    fn an_example_is_published_byte_for_byte_until_something_is_set() {
        assert_eq!(set(&[]).unwrap(), EXAMPLE);
        let changes = [
            ("data.user.id", "usr_9"),
            ("data.user.attributes.level", "7"),
            ("data.user.external_id", "\"7\""),
            ("data.changes.0.old", "null"),
            ("data.changes.1.field", "phone_number"),
        ];
        let data: Value = serde_json::from_str(&set(&changes).unwrap()).unwrap();
        let expected = serde_json::json!({
            "user": {"id": "usr_9", "attributes": {"level": 7}, "external_id": "7"},
            "changes": [{"field": "email", "old": null}, {"field": "phone_number"}],
        });
        assert_eq!(data, expected);
    }

    #[test]
    fn a_path_that_leads_nowhere_is_a_usage_error() {
        for path in ["user.id", "data", "data.", "data.user..id", "data.user.id.x", "data.changes.x", "data.changes.2.field"] {
            assert_eq!(set(&[(path, "1")]).unwrap_err().exit_code(), 2, "{path}");
        }
    }

    #[test]
    fn a_reserved_type_is_explained() {
        for (event_type, words) in [("access.granted", "grant"), ("webhook.verification", "endpoints test"), ("x.y", "itself")] {
            let Failure::Refused { what, hint } = reserved(event_type) else { panic!("not refused") };
            assert!(what.contains(event_type) && hint.contains(words), "{what}: {hint}");
        }
    }
}
