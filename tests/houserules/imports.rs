//! Imports go downward: a room uses rooms of lower layers, never of its own or a higher one.

use crate::source::{Source, is_word};

/// Every room with its layer. A room that is not here has no place in the house yet.
const LAYERS: [&[&str]; 6] = [
    &["domain", "clock", "tasks", "config", "keyfile", "telemetry"],
    &["store", "outbound"],
    &["delivery", "hooks", "grants", "feed", "upkeep", "ingest"],
    &["api", "http"],
    &["server"],
    &["cli", "main", "lib"],
];

/// What each foundation may use of the others: time, tasks and settings speak in terms of the domain, which uses nothing.
const FOUNDATIONS: [(&str, &[&str]); 6] = [
    ("domain", &[]),
    ("clock", &["domain"]),
    ("tasks", &["domain", "clock"]),
    ("config", &["domain"]),
    ("keyfile", &["domain", "config"]),
    ("telemetry", &["domain", "clock", "config"]),
];

/// Every import of a file that goes up or sideways, and every room without a layer.
pub(crate) fn breaches(source: &Source) -> Vec<String> {
    let room = source.room();
    if layer(room).is_none() {
        return vec![format!("{}: the room `{room}` has no layer", source.path)];
    }
    let mut breaches = Vec::new();
    for (place, used) in uses(source) {
        match layer(&used) {
            None => breaches.push(source.at(place, &format!("`{used}` is no room with a layer"))),
            Some(_) if may_use(room, &used) => {}
            Some(_) => breaches.push(source.at(place, &format!("`{room}` may not use `{used}`"))),
        }
    }
    breaches
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

fn may_use(room: &str, used: &str) -> bool {
    if room == used || room == "main" || room == "lib" {
        return true;
    }
    match FOUNDATIONS.iter().find(|(foundation, _)| *foundation == room) {
        Some((_, below)) => below.contains(&used),
        None => layer(used) < layer(room),
    }
}

/// The rooms that a file names, with the places: through `crate::`, through `super::` up to the root, and the root's own modules.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for place in source.places_of("crate::") {
        found.extend(heads(&source.code[place + "crate::".len()..]).into_iter().map(|room| (place, room)));
    }
    for place in source.places_of("super::") {
        let mut rest = &source.code[place..];
        let mut climbed = 0;
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, climbed) = (after, climbed + 1);
        }
        // Below the root a path through `super` names neighbours of its own room; and a test module climbs one step more.
        if climbed >= source.depth() {
            found.extend(heads(rest).into_iter().filter(|name| layer(name).is_some()).map(|room| (place, room)));
        }
    }
    if source.path == "lib.rs" {
        for place in source.places_of("mod ") {
            found.push((place, word(&source.code[place + "mod ".len()..])));
        }
    }
    found
}

/// The first names of a path: one, or those of a braced list.
fn heads(path: &str) -> Vec<String> {
    let Some(list) = path.trim_start().strip_prefix('{') else { return vec![word(path)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0_usize, true);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            _ if start && is_word(character) => {
                names.push(word(&list[at..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|character| is_word(*character)).collect()
}
