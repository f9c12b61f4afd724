//! Regular expressions of `matches`: compiled with the filter into a table, so that a match costs a fixed step a byte.
//!
//! A pattern whose table would be large is refused when the filter is written. Nothing is ever matched by backtracking or by sets
//! of states, whose cost a tenant could choose.

use regex_automata::Input;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

/// Bytes of a table.
const MAX_TABLE: usize = 512 * 1024;
/// Bytes of what the table is made from.
const MAX_NFA: usize = 128 * 1024;
/// Brackets within brackets of a pattern.
const MAX_NEST: u32 = 32;

pub(super) struct Pattern(dense::DFA<Vec<u32>>);

impl Pattern {
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.0.memory_usage()
    }

    /// # Errors
    /// What is wrong with it.
    pub(super) fn compile(pattern: &str) -> Result<Self, String> {
        let syntax = syntax::Config::new().nest_limit(MAX_NEST);
        syntax::parse_with(pattern, &syntax).map_err(|_| "not a regular expression".to_owned())?;
        let dfa = dense::Builder::new()
            .syntax(syntax)
            .thompson(thompson::Config::new().nfa_size_limit(Some(MAX_NFA)))
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Unanchored)
                    .dfa_size_limit(Some(MAX_TABLE))
                    .determinize_size_limit(Some(MAX_TABLE)),
            )
            .build(pattern);
        dfa.map(Self).map_err(|_| {
            if pattern.contains("\\b") || pattern.contains("\\B") {
                "a word boundary is written `(?-u:\\b)` here".to_owned()
            } else {
                "the regular expression is too complex: write `[a-z]` or `[0-9]` for `\\w` and `\\d`, and repeat less".to_owned()
            }
        })
    }

    /// Whether some part of the text matches.
    pub(super) fn is_match(&self, text: &str) -> bool {
        // It cannot fail: the automaton has no byte on which it gives up.
        self.0.try_search_fwd(&Input::new(text).earliest(true)).is_ok_and(|found| found.is_some())
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pattern")
    }
}
