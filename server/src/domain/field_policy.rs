//! What an endpoint may see of a payload: members of `data` that are omitted, hashed or kept, named by JSON pointer.
//!
//! The API parses a policy, the store keeps it as JSON text, and delivery applies it before a body is rendered in any format. What
//! no rule touches is carried byte for byte: numbers, escapes and inner space stay as they were published. What is omitted must
//! never come through by another spelling of its name, a second member of that name, or an error's text.
//!
//! How rules are read:
//! - A pointer is that of RFC 6901 into `data`. A segment `*` means every member or element at its level, so a member whose name is
//!   `*` cannot be named alone. An array's elements are named by number, as published.
//! - A rule covers what it names and everything in it. Of the rules that cover a value the deepest wins; of two that are equally
//!   deep the one that is exact at the first segment where they differ wins over `*`. What no rule covers gets the default.
//! - A value is omitted or hashed whole, unless a deeper rule names something in it that is there. Then the object or array stays,
//!   and what the deeper rules do not cover in it is omitted or hashed member by member. Omitting leaves no empty shell: an object
//!   or array that stays only for the sake of what is kept in it goes when nothing is. Later elements of an array move up.
//!
//! Source: RFC 6901.

use std::fmt;

use serde::{Deserialize, Serialize};

mod apply;
mod hash;
mod json;
mod rules;

pub use hash::HashKey;

use rules::Node;

/// Rules of one policy.
pub const MAX_RULES: usize = 100;
/// Length of one pointer.
pub const MAX_POINTER_BYTES: usize = 512;
/// Segments of one pointer. They bound how often a payload is read.
pub const MAX_SEGMENTS: usize = 16;

/// What happens to a value that a rule covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// It is carried as published.
    Keep,
    /// It is left out.
    Omit,
    /// A string stands in its place, equal for equal values: [`HashKey::hash`].
    Hash,
}

/// What happens to a value that no rule covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DefaultAction {
    /// It is carried: rules say what is withheld.
    #[default]
    Keep,
    /// It is left out: rules say what is carried.
    Omit,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// JSON pointer into `data`, `*` for every member or element of a level.
    pub pointer: String,
    /// What happens to what it names.
    pub action: Action,
}

/// A checked policy. Its JSON is `{"default":"KEEP","rules":[{"pointer":"/user/email","action":"HASH"}]}`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct FieldPolicy {
    default: DefaultAction,
    rules: Vec<Rule>,
    tree: Node,
}

/// One thing wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {kind}", self.field())]
pub struct Problem {
    /// Which rule, from 0; `None`: the list as a whole.
    pub index: Option<usize>,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What can be wrong with a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// More rules than are read.
    #[error("must be at most {MAX_RULES}, not {0}")]
    TooMany(usize),
    /// The empty pointer.
    #[error("must name a member: the default is for `data` as a whole")]
    Root,
    /// No pointer.
    #[error("must be a JSON pointer, which starts with `/`")]
    NoPointer,
    /// A `~` that escapes nothing.
    #[error("must spell `~` as `~0` and, in a name, `/` as `~1`")]
    Escape,
    /// Longer than is read.
    #[error("must be at most {MAX_POINTER_BYTES} bytes, not {0}")]
    TooLong(usize),
    /// Deeper than is read.
    #[error("must have at most {MAX_SEGMENTS} segments, not {0}")]
    TooDeep(usize),
    /// Another rule says what happens there.
    #[error("must differ from that of rule {0}")]
    Duplicate(usize),
}

/// Why a payload was not shaped. It holds nothing of the payload. What fails here was not accepted as an event either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No JSON object.
    #[error("the payload is not a JSON object")]
    NotAnObject,
    /// A value to be hashed is nested deeper than is read.
    #[error("the payload is nested too deep")]
    TooDeep,
}

impl FieldPolicy {
    /// Checks a policy's rules, all of them.
    ///
    /// # Errors
    /// Every bad rule: nobody mends a list one refusal at a time.
    pub fn parse(default: DefaultAction, rules: Vec<Rule>) -> Result<Self, Vec<Problem>> {
        if rules.len() > MAX_RULES {
            return Err(vec![Problem { index: None, kind: ProblemKind::TooMany(rules.len()) }]);
        }
        let mut tree = Node::default();
        let mut problems = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            if let Err(kind) = tree.add(index, rule) {
                problems.push(Problem { index: Some(index), kind });
            }
        }
        if problems.is_empty() { Ok(Self { default, rules, tree }) } else { Err(problems) }
    }

    /// What happens where no rule says so.
    pub fn default_action(&self) -> DefaultAction {
        self.default
    }

    /// The rules in the order given.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether every payload comes out as it goes in.
    pub fn keeps_everything(&self) -> bool {
        self.default == DefaultAction::Keep && self.rules.iter().all(|rule| rule.action == Action::Keep)
    }
}

impl Default for FieldPolicy {
    /// Everything is carried.
    fn default() -> Self {
        Self { default: DefaultAction::Keep, rules: Vec::new(), tree: Node::default() }
    }
}

impl fmt::Debug for FieldPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldPolicy").field("default", &self.default).field("rules", &self.rules).finish()
    }
}

impl Problem {
    /// Path of the bad field inside the policy, such as `rules[3].pointer`.
    pub fn field(&self) -> String {
        self.index.map_or_else(|| "rules".to_owned(), |index| format!("rules[{index}].pointer"))
    }
}

/// A policy as its column holds it. An unknown member is refused: one that is not understood may be one that withholds.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    default: DefaultAction,
    rules: Vec<Rule>,
}

impl From<FieldPolicy> for Stored {
    fn from(policy: FieldPolicy) -> Self {
        Self { default: policy.default, rules: policy.rules }
    }
}

/// Why a stored policy is none: its first problem.
impl TryFrom<Stored> for FieldPolicy {
    type Error = Problem;

    fn try_from(stored: Stored) -> Result<Self, Problem> {
        Self::parse(stored.default, stored.rules).map_err(|mut problems| problems.swap_remove(0))
    }
}

#[cfg(test)]
mod tests;
