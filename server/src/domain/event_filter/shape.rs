//! What a filter's text may look like, checked in one pass before the recursive CEL parser sees it.
//!
//! It counts words and brackets, so that the depth and the work of the parser are bounded whatever a tenant writes. What passes may
//! still be no CEL: that the parser says.

use super::{CompileError, MAX_BYTES};

/// Names, literals and operators of a filter.
const MAX_TOKENS: usize = 600;
/// Brackets within brackets: a level takes 16 KiB of stack in the parser, in a debug build ten times as much.
const MAX_DEPTH: usize = 8;
/// Ternaries, which nest to the right without brackets.
const MAX_CHOICES: usize = 16;

/// # Errors
/// A bound that the text is over, with its place.
pub(super) fn check(text: &str) -> Result<(), CompileError> {
    if text.len() > MAX_BYTES {
        return Err(CompileError { message: format!("a filter has at most {MAX_BYTES} bytes"), line: 1, column: 1 });
    }
    let (mut at, mut tokens, mut depth, mut choices) = (0, 0usize, 0usize, 0usize);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = token(rest).map_err(|message| error(text, at, message))?;
        let word = rest.get(..length).unwrap_or_default();
        tokens += usize::from(!word.trim().is_empty());
        match word {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "?" => choices += 1,
            _ => {}
        }
        if tokens > MAX_TOKENS {
            return Err(error(text, at, format!("a filter has at most {MAX_TOKENS} names, literals and operators")));
        }
        if depth > MAX_DEPTH {
            return Err(error(text, at, format!("a filter has brackets at most {MAX_DEPTH} deep")));
        }
        if choices > MAX_CHOICES {
            return Err(error(text, at, format!("a filter has at most {MAX_CHOICES} ternaries")));
        }
        at += length;
    }
    Ok(())
}

/// An error at a byte of the text.
pub(super) fn error(text: &str, at: usize, message: impl Into<String>) -> CompileError {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    CompileError { message: message.into(), line, column }
}

/// Bytes of the token, space or comment at the start; never zero.
fn token(rest: &str) -> Result<usize, String> {
    let word = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(rest.len());
    let (prefix, after) = rest.split_at(word);
    if after.starts_with(['"', '\'']) && (word == 0 || prefix.len() <= 2 && prefix.chars().all(|letter| "rRbB".contains(letter))) {
        let raw = prefix.contains(['r', 'R']);
        return string(after, raw).map(|length| word + length).ok_or_else(|| "a text without its end".to_owned());
    }
    if word > 0 {
        return Ok(word);
    }
    if rest.starts_with("//") {
        return Ok(rest.find('\n').unwrap_or(rest.len()));
    }
    let two = ["&&", "||", "==", "!=", "<=", ">="].iter().any(|operator| rest.starts_with(operator));
    match rest.chars().next() {
        _ if two => Ok(2),
        Some(letter) if letter.is_ascii_whitespace() || "()[]{}.,?:!<>+-*/%".contains(letter) => Ok(1),
        Some(letter) => Err(format!("`{}` is not allowed here", letter.escape_default())),
        None => Ok(1),
    }
}

/// Bytes of the text literal at the start, quotes included.
fn string(rest: &str, raw: bool) -> Option<usize> {
    let quote = rest.get(..1)?;
    let close = rest.get(..3).filter(|three| *three == quote.repeat(3)).unwrap_or(quote);
    let mut at = close.len();
    loop {
        let left = rest.get(at..)?;
        if left.starts_with(close) {
            return Some(at + close.len());
        }
        let letter = left.chars().next()?;
        if close.len() == 1 && matches!(letter, '\n' | '\r') {
            return None;
        }
        at += letter.len_utf8();
        if letter == '\\' && !raw {
            at += rest.get(at..)?.chars().next()?.len_utf8();
        }
    }
}
