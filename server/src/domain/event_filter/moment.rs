//! Timestamps and durations of CEL, in nanoseconds: how they are read, written and bounded.

/// 0001-01-01T00:00:00Z.
const FIRST: i128 = -62_135_596_800 * SECOND;
/// 9999-12-31T23:59:59.999999999Z.
const LAST: i128 = 253_402_300_800 * SECOND - 1;
/// About ten thousand years.
const LONGEST: i128 = 315_576_000_000 * SECOND;
pub(super) const SECOND: i128 = 1_000_000_000;
/// Longest text that may be one.
const MAX_BYTES: usize = 64;

/// Within the years 1 to 9999.
pub(super) fn timestamp(nanos: i128) -> Option<i128> {
    (FIRST..=LAST).contains(&nanos).then_some(nanos)
}

/// Within what a duration may be.
pub(super) fn duration(nanos: i128) -> Option<i128> {
    (-LONGEST..=LONGEST).contains(&nanos).then_some(nanos)
}

/// RFC 3339, with `T` and `Z` in upper case.
pub(super) fn parse_timestamp(text: &str) -> Option<i128> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let digits = |range: std::ops::Range<usize>, within: std::ops::RangeInclusive<i128>| {
        let digits = text.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i128>().ok().filter(|number| within.contains(number))
    };
    let signs = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if !signs.iter().all(|(at, sign)| text.get(*at..at + 1) == Some(sign)) {
        return None;
    }
    let (year, month) = (digits(0..4, 1..=9999)?, digits(5..7, 1..=12)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    let day = digits(8..10, 1..=longest)?;
    let (hour, minute, second) = (digits(11..13, 0..=23)?, digits(14..16, 0..=59)?, digits(17..19, 0..=59)?);
    let zone = 19 + text.get(19..)?.find(['Z', '+', '-'])?;
    let nanos = match text.get(19..zone)? {
        "" => 0,
        part if part.len() > 1 && part.len() <= 10 && part.starts_with('.') => {
            digits(20..zone, 0..=999_999_999)? * 10i128.pow(u32::try_from(10 - part.len()).ok()?)
        }
        _ => return None,
    };
    let offset = match (text.get(zone..)?, text.len() - zone) {
        ("Z", _) => 0,
        (written, 6) if written.get(3..4) == Some(":") => {
            let size = digits(zone + 1..zone + 3, 0..=23)? * 3600 + digits(zone + 4..zone + 6, 0..=59)? * 60;
            if written.starts_with('-') { -size } else { size }
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    timestamp(seconds * SECOND + nanos)
}

/// Days since 1970 of a day in the Gregorian calendar. Source: <https://howardhinnant.github.io/date_algorithms.html>.
fn days(year: i128, month: i128, day: i128) -> i128 {
    // Years that begin in March have their leap day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of days since 1970.
fn date(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let months = (5 * of_year + 2) / 153;
    let month = (months + 2) % 12 + 1;
    (era * 400 + years + i128::from(month <= 2), month, of_year - (153 * months + 2) / 5 + 1)
}

/// As Go writes durations: `1h30m`, `-1.5s`, `250ms`.
pub(super) fn parse_duration(text: &str) -> Option<i128> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0i128;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (digits, after) = rest.split_at(number);
        let end = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let unit = match unit {
            "h" => 3600 * SECOND,
            "m" => 60 * SECOND,
            "s" => SECOND,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && part.is_empty() || part.contains('.') {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
        total = total.checked_add(i128::from(whole).checked_mul(unit)?)?;
        let mut scale = unit;
        for digit in part.bytes() {
            scale /= 10;
            total = total.checked_add(i128::from(digit - b'0') * scale)?;
        }
        rest = next;
    }
    duration(if negative { -total } else { total })
}

/// RFC 3339 in UTC, with as many decimals as it takes.
pub(super) fn write_timestamp(nanos: i128) -> String {
    let (seconds, nanos) = (nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND));
    let ((year, month, day), time) = (date(seconds.div_euclid(86_400)), seconds.rem_euclid(86_400));
    let part = if nanos == 0 { String::new() } else { format!(".{}", format!("{nanos:09}").trim_end_matches('0')) };
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{part}Z", time / 3600, time / 60 % 60, time % 60)
}

/// Seconds: `3600s`, `-1.5s`.
pub(super) fn write_duration(nanos: i128) -> String {
    let (sign, size) = if nanos < 0 { ("-", -nanos) } else { ("", nanos) };
    let (whole, part) = (size / SECOND, size % SECOND);
    if part == 0 {
        format!("{sign}{whole}s")
    } else {
        let decimals = format!("{part:09}");
        format!("{sign}{whole}.{}s", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_are_read_and_written_as_jiff_does(nanos in FIRST..253_402_200_000 * SECOND, hours in -23i32..24) {
            let theirs = jiff::Timestamp::from_nanosecond(nanos).unwrap();
            prop_assert_eq!(write_timestamp(nanos), theirs.to_string());
            prop_assert_eq!(parse_timestamp(&theirs.to_string()), Some(nanos));
            let zoned = theirs.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(i8::try_from(hours).unwrap())));
            let written = zoned.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string();
            if zoned.year() >= 1 && zoned.year() <= 9999 {
                prop_assert_eq!(parse_timestamp(&written), Some(nanos), "{}", written);
            }
        }

        #[test]
        fn any_text_is_no_time_without_a_panic(text in "[0-9TZ:.+é-]{0,30}", place in 0usize..30, letter in any::<char>()) {
            let mut near = "2026-11-25T09:00:00.123456789+01:00".to_owned();
            near.replace_range(place..=place, &letter.to_string());
            let _ = (parse_timestamp(&text), parse_duration(&text), parse_timestamp(&near), parse_duration(&near));
        }
    }
}
