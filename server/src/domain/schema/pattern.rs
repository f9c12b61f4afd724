//! How much work a regular expression is.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind};

/// Places in an expression at which a match can stand at once, at most.
const MAX_POSITIONS: u64 = 2000;

/// What an expression costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// How many places of the expression a match can stand at: the most work for a byte of text.
    pub(super) positions: u64,
    /// About how many bytes it takes when it is compiled.
    pub(super) bytes: u64,
}

/// Weighs an expression as JSON Schema spells it.
///
/// # Errors
/// What is wrong with it.
pub(super) fn weigh(pattern: &str) -> Result<Weight, String> {
    let translated = jsonschema_regex::to_rust_regex(pattern).map_err(|()| "is no regular expression".to_owned())?;
    let parsed = ParserBuilder::new().nest_limit(50).build().parse(&translated);
    let hir = parsed.map_err(|_| "must be a regular expression without look-around and back references".to_owned())?;
    let weight = weight(&hir);
    if weight.positions > MAX_POSITIONS {
        Err("is too long a regular expression, repetitions included".to_owned())
    } else {
        Ok(weight)
    }
}

fn weight(hir: &Hir) -> Weight {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Weight { positions: 1, bytes: 64 },
        HirKind::Literal(literal) => {
            let length = literal.0.len() as u64;
            Weight { positions: length, bytes: length.saturating_mul(64) }
        }
        HirKind::Class(class) => {
            let ranges = match class {
                regex_syntax::hir::Class::Unicode(class) => class.ranges().len(),
                regex_syntax::hir::Class::Bytes(class) => class.ranges().len(),
            };
            Weight { positions: 1, bytes: (ranges as u64).saturating_add(1).saturating_mul(64) }
        }
        HirKind::Repetition(repetition) => {
            let times = u64::from(repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1));
            let once = weight(&repetition.sub);
            Weight {
                positions: once.positions.saturating_mul(times).saturating_add(1),
                bytes: once.bytes.saturating_mul(times).saturating_add(64),
            }
        }
        HirKind::Capture(capture) => weight(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(weight).fold(Weight::default(), |sum, part| {
            Weight { positions: sum.positions.saturating_add(part.positions), bytes: sum.bytes.saturating_add(part.bytes) }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_multiply() {
        for (pattern, positions) in [("^a$", 3), ("[a-z]{1,63}", 64), ("([a-z]{10}){10}", 111), ("\\p{L}+", 3), ("", 1)] {
            assert_eq!(weigh(pattern).unwrap().positions, positions, "{pattern}");
        }
    }

    #[test]
    fn what_is_not_linear_or_too_long_is_refused() {
        for pattern in ["(?=a)b", "(a)\\1", "(", "a{2,1}", "((a{100}){100}){100}", "(?<!a)b", "\\u{110000}"] {
            assert!(weigh(pattern).is_err(), "{pattern}");
        }
    }
}
