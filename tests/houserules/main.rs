//! The walls of the house that neither the compiler nor clippy holds: which room may import which, where SQL, sockets and statuses
//! live, and that the client knows nothing of the server.
//!
//! It reads the sources of `server/src` and `client/src`. Every rule is also shown a planted breach, so that a rule that stopped
//! seeing is noticed. The rooms and their layers are those of `server/ARCHITECTURE.md`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails loudly")]

mod imports;
mod source;
mod walls;

use source::Source;

#[test]
fn imports_go_downward_and_never_sideways() {
    check(&Source::all_of("server/src"), imports::breaches);
}

#[test]
fn each_wall_has_one_room() {
    check(&Source::all_of("server/src"), walls::breaches);
}

#[test]
fn the_client_never_names_the_server() {
    check(&Source::all_of("client"), walls::breaches_of_client);
}

#[test]
fn a_planted_import_is_seen() {
    for (path, line) in [
        ("domain/event.rs", "use crate::store::Store;"),
        ("domain/event.rs", "use crate::clock::Clock;"),
        ("store/claims.rs", "use crate::{clock::Clock, outbound::Egress};"),
        ("store/claims.rs", "use crate::{\n    clock::Clock,\n    delivery::{Dispatcher, queue::Queue},\n};"),
        ("outbound/mod.rs", "fn dial(store: &crate::store::Store) {}"),
        ("delivery/mod.rs", "use super::feed::Feed;"),
        ("delivery/queue.rs", "use super::super::api;"),
        ("feed.rs", "pub(crate) use crate::api::convert;"),
        ("api/events.rs", "use crate::http::router;"),
        ("http/mod.rs", "use crate::server::Server;"),
        ("server.rs", "use crate::cli::Args;"),
        ("lib.rs", "pub mod utils;"),
        ("utils.rs", ""),
    ] {
        assert!(!imports::breaches(&Source::new(path, line)).is_empty(), "{path}: {line}");
    }
}

#[test]
fn an_allowed_import_is_no_breach() {
    for (path, line) in [
        ("domain/event.rs", "use super::id::EventId;\nuse crate::domain::time::Time;"),
        ("store/mod.rs", "use crate::{clock::Clock, domain::{Event, id}};"),
        ("delivery/mod.rs", "use crate::{outbound::Egress, store::Store};\nmod queue;"),
        (
            "delivery/queue.rs",
            "use super::breaker::Breaker;\n// use crate::api::events;\n/// See [`crate::api::status`].\nfn f() {}",
        ),
        ("api/mod.rs", "const HELP: &str = \"use crate::http::router\";"),
        ("cli/serve.rs", "use crate::{config::Config, server::Server, store};"),
    ] {
        assert_eq!(imports::breaches(&Source::new(path, line)), Vec::<String>::new(), "{path}: {line}");
    }
}

#[test]
fn a_planted_hole_in_a_wall_is_seen() {
    for (path, line) in [
        ("api/events.rs", "let error = tonic::Status::internal(\"x\");"),
        ("api/events.rs", "return Err(Status::not_found(name));"),
        ("delivery/mod.rs", "let sql = \"SELECT seq FROM events WHERE tenant = $1\";"),
        ("upkeep.rs", "let sql = r#\"delete from attempts where ended_ms < $1\"#;"),
        ("feed.rs", "use sea_orm::EntityTrait;"),
        ("api/events.rs", "sqlx::query(text)"),
        ("hooks/mod.rs", "let client = reqwest::Client::default();"),
        ("delivery/mod.rs", "let stream = TcpStream::connect(address).await?;"),
        ("cli/listen.rs", "let addresses = tokio::net::lookup_host(host).await?;"),
        ("store/publish.rs", "let id = uuid::Uuid::now_v7();"),
        ("domain/retry.rs", "pub async fn wait() {}"),
        ("domain/retry.rs", "use tokio::time::Instant;"),
        ("domain/retry.rs", "std::fs::read(path)"),
    ] {
        assert!(!walls::breaches(&Source::new(path, line)).is_empty(), "{path}: {line}");
    }
    for line in ["use gatepost_server::domain;", "gatepost-server.workspace = true"] {
        assert!(!walls::breaches_of_client(&Source::new("testing.rs", line)).is_empty(), "{line}");
    }
}

#[test]
fn what_only_looks_like_a_hole_is_none() {
    for (path, line) in [
        ("api/status.rs", "Status::with_error_details(code, message, details)"),
        ("delivery/mod.rs", "// SELECT is done in the store, FROM there rows come\nlet state = Status::new_state();"),
        ("cli/mod.rs", "/// Select the deliveries to update from a file and set their state.\nstruct Args;"),
        ("store/sql.rs", "const TAKE: &str = \"UPDATE backlog SET lease = $1\";"),
        ("outbound/mod.rs", "use reqwest::Client;"),
        ("domain/retry.rs", "const HELP: &str = \"async by tokio\";"),
        ("domain/catalogue/tests.rs", "std::fs::read(path)"),
    ] {
        assert_eq!(walls::breaches(&Source::new(path, line)), Vec::<String>::new(), "{path}: {line}");
    }
}

fn check(sources: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    assert!(!sources.is_empty());
    let breaches: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(breaches.is_empty(), "{} breaches of the house:\n{}", breaches.len(), breaches.join("\n"));
}
