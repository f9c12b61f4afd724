//! One wall each: what only one room does.

use crate::source::Source;

/// The room or file that may, the names it alone may use, and why.
const NAMES: [(&[&str], &[&str], &str); 4] = [
    (&["store"], &["sea_orm::", "sea_orm_migration::", "sqlx::", "gatepost_migrations::"], "SQL lives in `store`"),
    // `listen --forward` is a client's tool: it posts to a place that its own user names on the command line.
    (&["outbound", "cli/receiver.rs"], &OUTWARD, "sockets outward live in `outbound`"),
    (&[], &["Uuid::now_v7"], "the time of an id comes from `clock`"),
    (&["api/status.rs"], &STATUS, "a `tonic::Status` is made in `api/status.rs`"),
];

/// The ways to reach another machine, or to learn its address.
const OUTWARD: [&str; 6] =
    ["reqwest::", "hyper_util::client::", "TcpStream::connect", "UdpSocket::", "lookup_host", "ToSocketAddrs"];

/// The ways to make a status.
const STATUS: [&str; 23] = [
    "Status::new(",
    "Status::with_details(",
    "Status::with_metadata(",
    "Status::with_details_and_metadata(",
    "Status::with_error_details(",
    "Status::with_error_details_vec(",
    "Status::from_error(",
    "Status::ok(",
    "Status::cancelled(",
    "Status::unknown(",
    "Status::invalid_argument(",
    "Status::deadline_exceeded(",
    "Status::not_found(",
    "Status::already_exists(",
    "Status::permission_denied(",
    "Status::resource_exhausted(",
    "Status::failed_precondition(",
    "Status::aborted(",
    "Status::out_of_range(",
    "Status::unimplemented(",
    "Status::internal(",
    "Status::unavailable(",
    "Status::unauthenticated(",
];

/// What the domain, which is pure, never names: it neither waits nor reads nor asks for the time.
const IMPURE: [&str; 10] = [
    "async ",
    "await",
    "tokio::",
    "tonic::",
    "std::fs::",
    "std::env::",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "Instant::now",
    "SystemTime::now",
];

/// Statements by their words, which must stand in this order in one string.
const SQL: [&[&str]; 9] = [
    &["select ", " from "],
    &["insert into "],
    &["update ", " set "],
    &["delete from "],
    &["create table "],
    &["create index "],
    &["alter table "],
    &["drop table "],
    &["pragma "],
];

/// Every name and statement of a file of the server that belongs to another room.
pub(crate) fn breaches(source: &Source) -> Vec<String> {
    let mut breaches = Vec::new();
    for (owners, names, why) in NAMES {
        if owners.contains(&source.room()) || owners.contains(&source.path.as_str()) {
            continue;
        }
        for name in names {
            breaches.extend(source.places_of(name).map(|place| source.at(place, &format!("`{name}`: {why}"))));
        }
    }
    // Its tests read the pages and snapshots that it must agree with.
    if source.room() == "domain" && !source.is_test() {
        for name in IMPURE {
            breaches.extend(source.places_of(name).map(|place| source.at(place, &format!("`{name}`: the domain is pure"))));
        }
    }
    if source.room() != "store" {
        let statements = source.strings.iter().filter(|(_, text)| is_statement(text));
        breaches.extend(statements.map(|(line, text)| format!("{}:{line}: {text}: SQL lives in `store`", source.path)));
    }
    breaches
}

/// Every mention of the server in the client.
pub(crate) fn breaches_of_client(source: &Source) -> Vec<String> {
    let names = ["gatepost_server", "gatepost-server", "gatepost_migrations", "gatepost-migrations"];
    let places = names.iter().flat_map(|name| source.places_of(name));
    places.map(|place| source.at(place, "the client never imports the server")).collect()
}

/// A statement begins its string: prose that holds these words in a sentence does not.
fn is_statement(literal: &str) -> bool {
    let text = literal.trim_start_matches(['b', 'r', '#', '"']).trim_start().to_lowercase();
    SQL.iter().any(|words| {
        text.starts_with(words[0]) && {
            let mut rest = text.as_str();
            words.iter().all(|word| rest.find(word).map(|at| rest = &rest[at..]).is_some())
        }
    })
}
