//! The rules as a tree of pointer segments, and which of its nodes a value stands under.

use std::collections::BTreeMap;

use super::{Action, MAX_POINTER_BYTES, MAX_SEGMENTS, ProblemKind, Rule};

/// What rules say about one level, reached by the segments above.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Node {
    /// The action of the rule that ends here, and the rule's place in the list.
    rule: Option<(usize, Action)>,
    /// By unescaped name.
    exact: BTreeMap<Box<[u8]>, Node>,
    any: Option<Box<Node>>,
}

impl Node {
    /// Adds a rule. A refused one leaves nodes that say nothing.
    pub(super) fn add(&mut self, index: usize, rule: &Rule) -> Result<(), ProblemKind> {
        let mut node = self;
        for segment in segments(&rule.pointer)? {
            node = if segment == "*" {
                node.any.get_or_insert_default()
            } else {
                node.exact.entry(segment.into_bytes().into()).or_default()
            };
        }
        match node.rule {
            Some((other, _)) => Err(ProblemKind::Duplicate(other)),
            None => {
                node.rule = Some((index, rule.action));
                Ok(())
            }
        }
    }
}

/// The nodes that one value stands under, all equally deep, the one that wins first.
pub(super) struct Under<'p>(Vec<&'p Node>);

impl<'p> Under<'p> {
    pub(super) fn root(tree: &'p Node) -> Self {
        Self(vec![tree])
    }

    /// The action of the rule that wins among those that name this very value.
    pub(super) fn action(&self) -> Option<Action> {
        self.0.iter().find_map(|node| node.rule).map(|(_, action)| action)
    }

    /// Whether no rule names this value or could name something in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a rule could name something in this value.
    pub(super) fn goes_deeper(&self) -> bool {
        self.0.iter().any(|node| node.any.is_some() || !node.exact.is_empty())
    }

    /// The nodes for a member or an element. `name`: unescaped, or the element's number in digits.
    ///
    /// Invariant: the list stays in order of precedence. Children of an earlier node go before those of a later one, as their
    /// pointers differ further up, and the exact child of a node goes before `*`. It is never longer than there are rules.
    pub(super) fn child(&self, name: &[u8]) -> Self {
        Self(self.0.iter().flat_map(|node| node.exact.get(name).into_iter().chain(node.any.as_deref())).collect())
    }
}

/// The unescaped segments of a pointer.
///
/// Source: RFC 6901, sections 3 and 4.
fn segments(pointer: &str) -> Result<Vec<String>, ProblemKind> {
    if pointer.is_empty() {
        return Err(ProblemKind::Root);
    }
    if pointer.len() > MAX_POINTER_BYTES {
        return Err(ProblemKind::TooLong(pointer.len()));
    }
    let path = pointer.strip_prefix('/').ok_or(ProblemKind::NoPointer)?;
    let depth = path.split('/').count();
    if depth > MAX_SEGMENTS {
        return Err(ProblemKind::TooDeep(depth));
    }
    path.split('/').map(unescape).collect()
}

fn unescape(segment: &str) -> Result<String, ProblemKind> {
    let mut parts = segment.split('~');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err(ProblemKind::Escape),
        };
        name.push(sign);
        name.push_str(rest);
    }
    Ok(name)
}
