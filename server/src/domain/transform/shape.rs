//! What a template's text may look like, checked on its tokens before the recursive parser sees them.
//!
//! The parser, the engine's compiler and `check` recurse as deep as a tag has tokens and blocks are nested: so those are counted.

use minijinja::machinery::{Token, tokenize};

use super::{CompileError, MAX_BYTES, unread};

/// Tokens of one `{{ }}` or `{% %}`.
const MAX_TOKENS: usize = 300;
/// Brackets within brackets of one tag.
const MAX_BRACKETS: usize = 12;
/// Blocks within blocks; an `elif` is one within its `if`.
const MAX_BLOCKS: usize = 32;

/// # Errors
/// A bound that the text is over, with its line.
pub(super) fn check(text: &str) -> Result<(), CompileError> {
    if text.len() > MAX_BYTES {
        return Err(CompileError { message: format!("a template has at most {MAX_BYTES} bytes"), line: 1, column: None });
    }
    let (mut tokens, mut brackets, mut first) = (0usize, 0usize, false);
    // One entry for each open block: how many levels it is worth.
    let mut blocks: Vec<usize> = Vec::new();
    for token in tokenize(text, false, minijinja::syntax::SyntaxConfig::default()) {
        let (token, span) = token.map_err(|error| unread(&error))?;
        tokens += 1;
        match token {
            Token::VariableStart | Token::BlockStart | Token::VariableEnd | Token::BlockEnd | Token::TemplateData(_) => {
                (tokens, brackets) = (0, 0);
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => brackets += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => brackets = brackets.saturating_sub(1),
            Token::Ident("elif") if first => {
                if let Some(open) = blocks.last_mut() {
                    *open += 1;
                }
            }
            Token::Ident(word) if first && word.starts_with("end") => drop(blocks.pop()),
            // `set` and others without an end count too much, so only those with one are counted.
            Token::Ident("for" | "if" | "with" | "filter" | "autoescape" | "macro" | "call" | "block") if first => blocks.push(1),
            _ => {}
        }
        first = matches!(token, Token::BlockStart);
        let over = if tokens > MAX_TOKENS {
            format!("a tag has at most {MAX_TOKENS} words and signs")
        } else if brackets > MAX_BRACKETS {
            format!("a tag has brackets at most {MAX_BRACKETS} deep")
        } else if blocks.iter().sum::<usize>() > MAX_BLOCKS {
            format!("blocks are nested at most {MAX_BLOCKS} deep, an `elif` within its `if`")
        } else {
            continue;
        };
        return Err(CompileError { message: over, line: usize::from(span.start_line), column: None });
    }
    Ok(())
}
