//! `gatepost event-types`: what can be published, with schemas and examples, and the types of the tenant's own.

use clap::Subcommand;
use gatepost_client::v1;

use super::connect::{Remote, confirm};
use super::failure::Failure;
use super::input;
use super::output::{Show, id, note, short, time};
use super::pretty::pretty;

/// Arguments of `gatepost event-types`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List event types by name, built in and registered.
    List {
        /// Such as `origin == "TENANT"`.
        #[arg(long, default_value = "")]
        filter: String,
        /// Most to show; 0 shows all.
        #[arg(long, default_value_t = 0)]
        limit: usize,
    },
    /// Show an event type.
    Get {
        /// Such as `user.terminated`.
        #[arg(value_name = "TYPE")]
        event_type: String,
        /// Version of its schema; the newest when it is absent.
        #[arg(long, value_name = "NUMBER")]
        schema_version: Option<i32>,
        /// Only its schema, JSON Schema.
        #[arg(long, conflicts_with = "example")]
        schema: bool,
        /// Only its example.
        #[arg(long)]
        example: bool,
    },
    /// Register a type of your own.
    Create {
        /// Such as `acme.badge_printed`; its first part is none of the catalogue's.
        #[arg(value_name = "TYPE")]
        event_type: String,
        /// Schema of its payload, JSON Schema draft 2020-12; `@FILE`, or `-` for standard input.
        #[arg(long, value_name = "JSON")]
        schema: String,
        /// What it means.
        #[arg(long, default_value = "")]
        description: String,
        /// A payload that satisfies the schema; `@FILE`, or `-` for standard input.
        #[arg(long, value_name = "JSON", default_value = "", hide_default_value = true)]
        example: String,
        /// Check everything, change nothing.
        #[arg(long, visible_alias = "dry-run")]
        validate_only: bool,
    },
    /// Change a registered type: only what is given.
    ///
    /// A schema that only gains optional members replaces the newest one; any other makes the next version.
    Update {
        /// The type.
        #[arg(value_name = "TYPE")]
        event_type: String,
        /// Schema of its payload, JSON Schema draft 2020-12; `@FILE`, or `-` for standard input.
        #[arg(long, value_name = "JSON")]
        schema: Option<String>,
        /// What it means.
        #[arg(long)]
        description: Option<String>,
        /// A payload that satisfies the schema; `@FILE`, or `-` for standard input.
        #[arg(long, value_name = "JSON")]
        example: Option<String>,
        /// Refuse when this is not the type's current etag.
        #[arg(long, default_value = "")]
        etag: String,
        /// Check everything, change nothing.
        #[arg(long, visible_alias = "dry-run")]
        validate_only: bool,
    },
    /// Remove a registered type: nobody can publish it any more. What was published stays.
    Delete {
        /// The type.
        #[arg(value_name = "TYPE")]
        event_type: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// Runs `gatepost event-types`.
///
/// # Errors
/// What the server refused.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut out = args.remote.out();
    match args.action {
        Action::List { filter, limit } => out.list(args.remote.tenant().await?.event_types(filter), limit).await,
        Action::Get { event_type, schema_version, schema, example } => {
            let found = args.remote.tenant().await?.get_event_type(event_type, schema_version).await?;
            match (schema, example) {
                (true, _) => out.document(&found.schema),
                (_, true) if found.example.is_empty() => Err(no_example(&found)),
                (_, true) => out.document(&found.example),
                _ => out.item(&found),
            }
        }
        Action::Create { event_type: event_type_id, schema, description, example, validate_only } => {
            let (schema, example) = (input::text(&schema)?, input::text(&example)?);
            let event_type = Some(v1::EventType { schema, description, example, ..v1::EventType::default() });
            let request = v1::CreateEventTypeRequest { event_type_id, event_type, validate_only, ..Default::default() };
            out.item(&args.remote.tenant().await?.create_event_type(request).await?)
        }
        Action::Update { event_type: name, schema, description, example, etag, validate_only } => {
            let given = [("schema", schema.is_some()), ("description", description.is_some()), ("example", example.is_some())];
            let paths: Vec<String> = given.iter().filter(|(_, given)| *given).map(|(field, _)| (*field).to_owned()).collect();
            if paths.is_empty() {
                return Err(Failure::Usage("say what to change; see --help".to_owned()));
            }
            let read = |given: Option<String>| given.as_deref().map_or(Ok(String::new()), input::text);
            let (schema, example) = (read(schema)?, read(example)?);
            let description = description.unwrap_or_default();
            let event_type = Some(v1::EventType { name, schema, description, example, etag, ..v1::EventType::default() });
            let update_mask = Some(prost_types::FieldMask { paths });
            let request = v1::UpdateEventTypeRequest { event_type, update_mask, validate_only };
            out.item(&args.remote.tenant().await?.update_event_type(request).await?)
        }
        Action::Delete { event_type, yes } => {
            confirm(&format!("delete the event type {event_type}"), yes)?;
            args.remote.tenant().await?.delete_event_type(&event_type).await?;
            note(&format!("{event_type} is deleted"));
            Ok(())
        }
    }
}

/// A registered type need not have one.
pub(crate) fn no_example(found: &v1::EventType) -> Failure {
    let name = id(&found.name);
    Failure::Refused {
        what: format!("{name} has no example"),
        hint: format!(
            "`gatepost event-types update {name} --example @FILE` gives it one; `gatepost publish {name} -d …` needs none"
        ),
    }
}

impl Show for v1::EventType {
    const COLUMNS: &'static [(&'static str, usize)] =
        &[("TYPE", 32), ("ORIGIN", 8), ("PUBLISHED BY", 12), ("VERSION", 7), ("DESCRIPTION", 30)];

    fn row(&self) -> Vec<String> {
        vec![
            id(&self.name),
            short(self.origin().as_str_name(), "ORIGIN_"),
            publisher(self),
            self.schema_version.to_string(),
            self.description.clone(),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        // The schema is long: it has a flag of its own.
        vec![
            ("name", self.name.clone()),
            ("description", self.description.clone()),
            ("origin", short(self.origin().as_str_name(), "ORIGIN_")),
            ("published by", publisher(self)),
            ("schema version", self.schema_version.to_string()),
            ("schema", format!("{} bytes; --schema shows it", self.schema.len())),
            ("security events", self.security_events.join("\n")),
            ("example", pretty(&self.example)),
            ("created", time(self.create_time.as_ref())),
            ("updated", time(self.update_time.as_ref())),
            ("etag", self.etag.clone()),
        ]
    }
}

fn publisher(event_type: &v1::EventType) -> String {
    if event_type.reserved { "Gatepost" } else { "you" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::{parse, refuse};

    #[test]
    fn every_action_is_read() {
        assert!(
            matches!(parse::<Args>(&["list", "--filter", "x == 1"]).action, Action::List { limit: 0, filter } if filter == "x == 1")
        );
        let Action::Get { schema_version, schema, example, .. } =
            parse::<Args>(&["get", "user.created", "--schema-version", "1", "--schema"]).action
        else {
            panic!("not get")
        };
        assert_eq!((schema_version, schema, example), (Some(1), true, false));
        let create = parse::<Args>(&["create", "acme.x", "--schema", "{}", "--example", "@x", "--dry-run"]);
        assert!(matches!(create.action, Action::Create { validate_only: true, example, .. } if example == "@x"));
        let update = parse::<Args>(&["update", "acme.x", "--description", "", "--etag", "1"]);
        assert!(matches!(update.action, Action::Update { schema: None, description: Some(text), .. } if text.is_empty()));
        assert!(matches!(parse::<Args>(&["delete", "acme.x", "--yes"]).action, Action::Delete { yes: true, .. }));
    }

    #[test]
    fn a_new_type_needs_a_schema_and_one_document_is_shown_at_a_time() {
        assert_eq!(refuse::<Args>(&["create", "acme.x"]), 2);
        assert_eq!(refuse::<Args>(&["get", "acme.x", "--schema", "--example"]), 2);
    }

    #[test]
    fn a_table_says_who_publishes_a_type() {
        let mut known = v1::EventType {
            name: "tenants/acme/eventTypes/access.granted".into(),
            origin: v1::event_type::Origin::BuiltIn.into(),
            reserved: true,
            schema_version: 1,
            ..v1::EventType::default()
        };
        assert_eq!(known.row(), ["access.granted", "BUILT_IN", "Gatepost", "1", ""]);
        known.reserved = false;
        assert_eq!(known.row()[2], "you");
    }
}
