//! What a filter may be made of, checked in one pass before the recursive CEL parser sees the text.
//!
//! Only the characters of comparisons pass, and only so many operators and brackets. So the parser's depth and work are bounded whatever
//! a caller sends. It lets through some texts that are no filter; the parser and the walk over its tree refuse those.

use super::{MAX_BYTES, MAX_TERMS, Problem};

/// Brackets within brackets. `in [..]` in parentheses needs two.
const MAX_DEPTH: usize = 4;

/// # Errors
/// [`Problem::TooMuch`] or [`Problem::NotAllowed`].
pub(super) fn check(text: &str) -> Result<(), Problem> {
    if text.len() > MAX_BYTES {
        return Err(Problem::TooMuch { limit: MAX_BYTES, what: "bytes" });
    }
    let (mut depth, mut comparisons, mut ands) = (0usize, 0usize, 0usize);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => string(rest, first)?,
            '(' | '[' => {
                depth += 1;
                1
            }
            ')' | ']' => {
                depth = depth.saturating_sub(1);
                1
            }
            '=' | '!' | '<' | '>' => {
                comparisons += 1;
                operator(rest)?
            }
            '&' if rest.starts_with("&&") => {
                ands += 1;
                2
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let word = word(rest)?;
                comparisons += usize::from(word == "in");
                word.len()
            }
            ',' | ' ' | '\t' | '\r' | '\n' => 1,
            other => return Err(Problem::NotAllowed { found: other.to_string() }),
        };
        if depth > MAX_DEPTH {
            return Err(Problem::TooMuch { limit: MAX_DEPTH, what: "nested brackets" });
        }
        if comparisons > MAX_TERMS || ands >= MAX_TERMS {
            return Err(Problem::TooMuch { limit: MAX_TERMS, what: "comparisons" });
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// Bytes of the string literal at the start, quotes included.
fn string(rest: &str, quote: char) -> Result<usize, Problem> {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '\n' | '\r' => break,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => {
                // `"""` opens CEL's long strings: no filter needs them.
                let long = at == 1 && rest[2..].starts_with(quote);
                return if long { Err(Problem::NotAllowed { found: rest[..3].to_owned() }) } else { Ok(at + 1) };
            }
            _ => {}
        }
    }
    Err(Problem::NotAllowed { found: format!("{quote} without its end") })
}

fn operator(rest: &str) -> Result<usize, Problem> {
    if ["==", "!=", "<=", ">="].iter().any(|operator| rest.starts_with(operator)) {
        Ok(2)
    } else if rest.starts_with(['<', '>']) {
        Ok(1)
    } else {
        Err(Problem::NotAllowed { found: rest[..1].to_owned() })
    }
}

/// The identifier at the start. One right before a quote would be the prefix of a bytes or raw literal.
fn word(rest: &str) -> Result<&str, Problem> {
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    if after.starts_with(['"', '\'']) { Err(Problem::NotAllowed { found: format!("{word}{}", &after[..1]) }) } else { Ok(word) }
}
