//! How much work a schema can make of a value, before any value is seen.
//!
//! A schema may apply several of its parts to one value, and these again, so that few bytes ask for exponential work. For each depth in
//! a payload this is the most work that one value there can cause: a sum over what applies to the same value, and a maximum over what a
//! member or an item may be. Those figures times what a payload holds, depth by depth, bound the work for that payload.

use std::ops::{Add, AddAssign, Mul};

use serde_json::Value;

use super::SchemaProblem;
use super::graph::Node;

/// Nesting of a payload.
const MAX_DEPTH: usize = 64;
/// Work for one payload. A unit is some 5 to 20 ns.
const MAX_WORK: u64 = 10_000_000;
/// Work for telling every violation, each of which takes memory.
const MAX_EXPLAINING: u64 = 100_000;
/// Values and each 32 bytes of text that telling may copy, some 32 to 300 bytes each: the validator keeps a copy of the value with every
/// violation of an alternative.
const MAX_COPIED: u64 = 200_000;
/// What every schema must be able to judge: a payload of so many values and bytes of text, all at the same depth.
const GRANTED: Level = Level { values: 1_000, bytes: 16 << 10 };
/// Schemas within one another, applied to a value and those in it: the validator recurses.
const MAX_RECURSION: u32 = 300;

/// Work that a schema makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// For each value.
    pub(super) values: u64,
    /// For each byte of a text or a name.
    pub(super) bytes: u64,
    /// For each value in the value, at any depth.
    pub(super) below: u64,
}

impl Work {
    pub(super) const fn values(values: u64) -> Self {
        Self { values, bytes: 0, below: 0 }
    }

    fn max(self, other: Self) -> Self {
        Self { values: self.values.max(other.values), bytes: self.bytes.max(other.bytes), below: self.below.max(other.below) }
    }
}

impl Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            values: self.values.saturating_add(other.values),
            bytes: self.bytes.saturating_add(other.bytes),
            below: self.below.saturating_add(other.below),
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Mul<u64> for Work {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        Self {
            values: self.values.saturating_mul(times),
            bytes: self.bytes.saturating_mul(times),
            below: self.below.saturating_mul(times),
        }
    }
}

/// Work of a schema at one depth, by what is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rates {
    /// Whether the value is valid.
    decide: Work,
    /// Every violation of it.
    explain: Work,
    /// Every violation that the first one takes: those of alternatives.
    first: Work,
    /// What of it was evaluated.
    mark: Work,
    /// Violations about the value.
    told: u64,
    /// Those of alternatives among them, each with a copy of the value.
    copied: u64,
    /// Schemas within one another.
    recursion: u32,
}

impl Rates {
    fn max(self, other: Self) -> Self {
        Self {
            decide: self.decide.max(other.decide),
            explain: self.explain.max(other.explain),
            first: self.first.max(other.first),
            mark: Work::default(),
            told: self.told.max(other.told),
            copied: self.copied.max(other.copied),
            recursion: self.recursion.max(other.recursion),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            decide: self.decide + other.decide,
            explain: self.explain + other.explain,
            first: self.first + other.first,
            mark: Work::default(),
            told: self.told.saturating_add(other.told),
            copied: self.copied.saturating_add(other.copied),
            recursion: self.recursion.max(other.recursion),
        }
    }
}

/// What a schema costs at each depth of a payload. The last entry stands for all that are deeper.
#[derive(Debug)]
pub(super) struct Cost(Vec<Rates>);

impl Cost {
    /// The cost of the first of the nodes.
    ///
    /// # Errors
    /// It has no bound, or a bound above what any schema may cost.
    pub(super) fn of(nodes: &[Node]) -> Result<Self, SchemaProblem> {
        let order = order(nodes)?;
        let mut levels: Vec<Rates> = Vec::new();
        let mut above: Vec<Rates> = Vec::new();
        let mut dearest = None;
        for depth in 0..=MAX_DEPTH {
            let mut now = vec![Rates::default(); nodes.len()];
            for &at in &order {
                let rates = nodes.get(at).map(|node| rates(node, depth, &above, &now)).unwrap_or_default();
                if dearest.is_none() && !(rates.recursion <= MAX_RECURSION && is_granted(rates.decide)) {
                    dearest = Some(at);
                }
                if let Some(place) = now.get_mut(at) {
                    *place = rates;
                }
            }
            let root = now.first().copied().unwrap_or_default();
            if root.recursion > MAX_RECURSION {
                return Err(problem(nodes, dearest, "nests schemas too deep, references followed"));
            }
            if !is_granted(root.decide) {
                return Err(problem(nodes, dearest, "would take too long to check: its parts apply one another too often"));
            }
            levels.push(root);
            if now == above {
                break;
            }
            above = now;
        }
        Ok(Self(levels))
    }

    /// The cost of a payload.
    pub(super) fn of_data(&self, shape: &Shape) -> Needed {
        let mut below = Level::default();
        let mut needed = Needed { decide: 0, explain: 0, first: 0, copied: 0 };
        for (depth, level) in shape.0.iter().enumerate().rev() {
            below.values = below.values.saturating_add(level.values);
            below.bytes = below.bytes.saturating_add(level.bytes);
            let Some(rates) = self.0.get(depth).or(self.0.last()) else { continue };
            needed.decide = needed.decide.saturating_add(work(rates.decide, *level, below));
            needed.explain = needed.explain.saturating_add(rates.explain.values.saturating_mul(level.values));
            needed.first = needed.first.saturating_add(rates.first.values.saturating_mul(level.values));
            // What is copied of a value is all that is in it.
            let size = below.values.saturating_add(below.bytes / 32);
            needed.copied = needed.copied.saturating_add(rates.copied.saturating_mul(size));
        }
        needed
    }
}

fn work(rate: Work, level: Level, below: Level) -> u64 {
    let subtree = below.values.saturating_add(below.bytes / 8);
    let parts = [(rate.values, level.values), (rate.bytes, level.bytes), (rate.below, subtree)];
    parts.iter().fold(0, |sum, (rate, size)| sum.saturating_add(rate.saturating_mul(*size)))
}

fn is_granted(rate: Work) -> bool {
    work(rate, GRANTED, GRANTED) <= MAX_WORK
}

fn problem(nodes: &[Node], at: Option<usize>, message: &str) -> SchemaProblem {
    SchemaProblem::new(at.and_then(|at| nodes.get(at)).map(|node| node.pointer.as_str()).unwrap_or_default(), message)
}

/// The rates of a node `depth` below the value that it is applied to. `above`: those of all nodes one less deep; `now`: of those that
/// it applies to the same value.
fn rates(node: &Node, depth: usize, above: &[Rates], now: &[Rates]) -> Rates {
    let get = |rates: &[Rates], at: usize| rates.get(at).copied().unwrap_or_default();
    let mut sum = if depth == 0 {
        Rates { decide: node.own, explain: node.own, told: node.told, ..Rates::default() }
    } else {
        inside(node, depth, above)
    };
    let mut recursion = sum.recursion;
    let mut mark = if depth == 1 { Work { bytes: node.name_bytes, ..Work::default() } } else { Work::default() };
    for part in node.once.iter().map(|at| get(now, *at)) {
        sum = sum.and(part);
        mark += part.decide + part.mark;
    }
    for part in node.tried.iter().map(|at| get(now, *at)) {
        sum = sum.and(Rates { explain: part.decide * 2 + part.explain, first: part.explain, copied: part.told, ..part });
        mark += part.decide + part.mark;
    }
    for part in node.unevaluated.iter().map(|at| get(above, *at)) {
        sum = sum.and(part);
        mark += part.decide;
    }
    if !node.unevaluated.is_empty() {
        let twice = mark * 2;
        sum = sum.and(Rates { decide: twice, explain: twice, ..Rates::default() });
    }
    recursion = recursion.max(sum.recursion).saturating_add(1);
    Rates { mark, recursion, ..sum }
}

/// What a node applies to members and items.
fn inside(node: &Node, depth: usize, above: &[Rates]) -> Rates {
    let get = |at: &usize| above.get(*at).copied().unwrap_or_default();
    let most = |schemas: &[usize], other: Option<usize>| schemas.iter().chain(&other).map(get).fold(Rates::default(), Rates::max);
    let mut member = node.matched.iter().map(get).fold(most(&node.named, node.others), Rates::and);
    // A name counts as a value beside the member's: it has nothing in it.
    if depth == 1 {
        let names = Work { values: 1, bytes: node.name_bytes, ..Work::default() };
        member =
            node.names.iter().map(get).fold(member, Rates::and).and(Rates { decide: names, explain: names, ..Rates::default() });
    }
    let item = most(&node.leading, node.items);
    let contained =
        node.contained.iter().map(|at| Rates { explain: get(at).decide, first: Work::default(), told: 0, copied: 0, ..get(at) });
    member.max(contained.fold(item, Rates::and))
}

/// The nodes, each after those that it applies to the same value.
///
/// # Errors
/// There is none, as one applies itself to the value that it is applied to.
fn order(nodes: &[Node]) -> Result<Vec<usize>, SchemaProblem> {
    let parts = |node: &'_ Node| node.once.iter().chain(&node.tried).copied().collect::<Vec<_>>();
    let mut waits: Vec<usize> = nodes.iter().map(|node| node.once.len() + node.tried.len()).collect();
    let mut appliers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        for part in parts(node) {
            if let Some(appliers) = appliers.get_mut(part) {
                appliers.push(at);
            }
        }
    }
    let mut order: Vec<usize> = (0..nodes.len()).filter(|at| waits.get(*at) == Some(&0)).collect();
    let mut next = 0;
    while let Some(done) = order.get(next).copied() {
        next += 1;
        for at in appliers.get(done).into_iter().flatten() {
            if let Some(left) = waits.get_mut(*at) {
                *left -= 1;
                if *left == 0 {
                    order.push(*at);
                }
            }
        }
    }
    if order.len() == nodes.len() {
        return Ok(order);
    }
    // Whoever waits applies another one that waits; after as many steps as there are nodes one stands in the circle itself.
    let waiting = |at: &usize| waits.get(*at).is_some_and(|left| *left > 0);
    let mut at = (0..nodes.len()).find(|at| waiting(at)).unwrap_or(0);
    for _ in 0..nodes.len() {
        at = nodes.get(at).and_then(|node| parts(node).into_iter().find(waiting)).unwrap_or(at);
    }
    Err(problem(nodes, Some(at), "applies itself to the same value again"))
}

/// What one depth of a payload holds.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// Values, and names of members.
    values: u64,
    /// Bytes of texts and names.
    bytes: u64,
}

/// What a payload holds, depth by depth.
#[derive(Debug)]
pub(super) struct Shape([Level; MAX_DEPTH + 1]);

impl Shape {
    /// `None`: the payload is nested too deep.
    pub(super) fn of(data: &Value) -> Option<Self> {
        let mut shape = Self([Level::default(); MAX_DEPTH + 1]);
        shape.add(data, 0).then_some(shape)
    }

    /// Recursion is bounded by the depths that there are.
    fn add(&mut self, value: &Value, depth: usize) -> bool {
        let Some(level) = self.0.get_mut(depth) else { return false };
        level.values += 1;
        match value {
            Value::String(text) => level.bytes += text.len() as u64,
            Value::Array(items) => return items.iter().all(|item| self.add(item, depth + 1)),
            Value::Object(members) => {
                if let Some(level) = self.0.get_mut(depth + 1) {
                    level.values += members.len() as u64;
                    level.bytes += members.keys().map(|name| name.len() as u64).sum::<u64>();
                }
                return members.values().all(|member| self.add(member, depth + 1));
            }
            _ => {}
        }
        true
    }
}

/// Bounds of the work for a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needed {
    decide: u64,
    explain: u64,
    first: u64,
    copied: u64,
}

impl Needed {
    /// Whether it may be checked at all.
    pub(super) fn can_decide(self) -> bool {
        self.decide <= MAX_WORK
    }

    /// Whether all violations may be told.
    pub(super) fn can_explain(self) -> bool {
        self.explain <= MAX_EXPLAINING && self.copied <= MAX_COPIED
    }

    /// Whether the first violation may be told.
    pub(super) fn can_explain_first(self) -> bool {
        self.first <= MAX_EXPLAINING && self.copied <= MAX_COPIED
    }
}
