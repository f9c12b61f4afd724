//! JSON text with members in the order they are given, so that histories are the same bytes everywhere.

/// A JSON value as text.
pub(super) type Json = String;

/// A JSON string.
pub(super) fn text(value: &str) -> Json {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// A JSON object.
pub(super) fn object(members: &[(&str, Json)]) -> Json {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("{}:{value}", text(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// A JSON array.
pub(super) fn list(items: &[Json]) -> Json {
    format!("[{}]", items.join(","))
}

/// Milliseconds since 1970 as an RFC 3339 string.
pub(super) fn time(at_ms: i64) -> Json {
    let (date, ms) = (date(at_ms), at_ms.rem_euclid(86_400_000));
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("\"{date}T{hour:02}:{minute:02}:{second:02}.{:03}Z\"", ms % 1000)
}

/// The day of a time, as a string.
pub(super) fn day(at_ms: i64) -> Json {
    format!("\"{}\"", date(at_ms))
}

/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn date(at_ms: i64) -> String {
    let days = at_ms.div_euclid(86_400_000) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    format!("{:04}-{month:02}-{day:02}", year_of_era + era * 400 + i64::from(month <= 2))
}
