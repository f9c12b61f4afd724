//! Evaluates a compiled filter. Every node, item and stretch of bytes takes fuel before it is looked at, so its time and memory are
//! bounded by the fuel it is given: an allocation is paid for at less than 64 bytes a step.
//!
//! `&&` and `||` absorb errors on either side, as CEL has it; running out of fuel is never absorbed.

use std::rc::Rc;

use super::program::{Comparison, Function, Id, Literal, Loop, LoopKind, Node, Program, Read, Root, Step, Sum};
use super::value::{Kind, PACE, Value, equal, order};
use super::{EvalError, Input, functions};

/// Steps of making a list, a map or a text, its items and bytes aside.
pub(super) const MADE: usize = 4;

/// Why an evaluation stopped; cheap, as most are absorbed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    OutOfFuel,
    NoSuchKey(Id),
    NoSuchOverload(Id, Kind, Option<Kind>),
    Arithmetic(Id, &'static str),
    Conversion(Id, Kind),
}

/// Work that is left.
#[derive(Debug)]
pub(super) struct Fuel(u32);

impl Fuel {
    pub(super) fn take(&mut self, steps: usize) -> Result<(), Fault> {
        match u32::try_from(steps).ok().and_then(|steps| self.0.checked_sub(steps)) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                self.0 = 0;
                Err(Fault::OutOfFuel)
            }
        }
    }

    /// `pace`: bytes for a step.
    pub(super) fn bytes(&mut self, bytes: usize, pace: usize) -> Result<(), Fault> {
        self.take(bytes / pace)
    }

    /// Looking up a name among sorted ones.
    pub(super) fn search(&mut self, name: usize, entries: usize) -> Result<(), Fault> {
        let compared = usize::try_from(entries.checked_ilog2().unwrap_or(0)).unwrap_or(0) + 1;
        self.take(compared / 2 + compared * (name / PACE))
    }
}

/// What the filter says, and the fuel it took.
pub(super) fn run(program: &Program, input: &Input<'_>, fuel: u32) -> (Result<bool, EvalError>, u32) {
    let mut machine = Machine { program, input: *input, locals: Vec::new(), fuel: Fuel(fuel) };
    let outcome = match machine.eval(program.root) {
        Ok(Value::Bool(answer)) => Ok(answer),
        Ok(other) => Err(EvalError::NotBoolean { kind: other.kind().a() }),
        Err(fault) => Err(describe(program, fault)),
    };
    (outcome, fuel - machine.fuel.0)
}

/// The value at a path, if it is there.
pub(super) fn find<'a>(read: &Read, input: &Input<'a>) -> Option<Value<'a>> {
    let mut fuel = Fuel(u32::MAX);
    let mut value = root(read.root, input);
    for step in &read.steps {
        value = match step {
            Step::Key(key) => value.entry(&Value::Text(key), &mut fuel).ok().flatten()?,
            Step::Index(index) => value.item(*index)?,
        };
    }
    Some(value)
}

fn root<'a>(root: Root, input: &Input<'a>) -> Value<'a> {
    match root {
        Root::Type => Value::Text(input.event_type),
        Root::Tenant => Value::Text(input.tenant),
        Root::Tags => Value::Tags(input.tags),
        Root::Data => Value::from_json(input.data),
    }
}

struct Machine<'a> {
    program: &'a Program,
    input: Input<'a>,
    locals: Vec<Value<'a>>,
    fuel: Fuel,
}

impl<'a> Machine<'a> {
    fn eval(&mut self, id: Id) -> Result<Value<'a>, Fault> {
        self.fuel.take(1)?;
        let program: &'a Program = self.program;
        // A node names only nodes of its own program, so there is one.
        let Some(node) = program.nodes.get(id) else { return Err(Fault::NoSuchKey(id)) };
        match node {
            Node::Literal(literal) => Ok(value_of(literal)),
            Node::Root(variable) => Ok(root(*variable, &self.input)),
            Node::Local(slot, _) => self.locals.get(*slot).cloned().ok_or(Fault::NoSuchKey(id)),
            Node::Field(of, name) => {
                let of = self.eval(*of)?;
                self.field(id, &of, name)?.ok_or(Fault::NoSuchKey(id))
            }
            Node::Has(of, name) => {
                let of = self.eval(*of)?;
                Ok(Value::Bool(self.field(id, &of, name)?.is_some()))
            }
            Node::Index(of, key) => {
                let (of, key) = (self.eval(*of)?, self.eval(*key)?);
                self.index(id, &of, &key)
            }
            Node::Not(of) => Ok(Value::Bool(!self.bool(id, *of)?)),
            Node::Negate(of) => functions::negate(id, &self.eval(*of)?),
            Node::And(left, right) => self.logic(id, *left, *right, false),
            Node::Or(left, right) => self.logic(id, *left, *right, true),
            Node::If(condition, then, other) => {
                let chosen = if self.bool(id, *condition)? { *then } else { *other };
                self.eval(chosen)
            }
            Node::Compare(comparison, left, right) => {
                let (left, right) = (self.eval(*left)?, self.eval(*right)?);
                self.compare(id, *comparison, &left, &right).map(Value::Bool)
            }
            Node::Arithmetic(sum, left, right) => {
                let (left, right) = (self.eval(*left)?, self.eval(*right)?);
                self.fuel.take(1)?;
                functions::arithmetic(id, *sum, &left, &right, &mut self.fuel)
            }
            Node::In(needle, list) => self.within(id, *needle, *list).map(Value::Bool),
            Node::List(items) => {
                self.fuel.take(MADE + items.len())?;
                let items = items.iter().map(|item| self.eval(*item)).collect::<Result<Rc<[_]>, _>>()?;
                Ok(Value::List(items))
            }
            Node::Map(entries) => self.map(id, entries),
            Node::Call(function, arguments) => self.call(id, *function, arguments),
            Node::Matches(of, pattern) => {
                let of = self.eval(*of)?;
                let text = of.text().ok_or(Fault::NoSuchOverload(id, of.kind(), None))?;
                self.fuel.bytes(text.len(), functions::SCAN_PACE)?;
                Ok(Value::Bool(pattern.is_match(text)))
            }
            Node::Loop(each) => self.repeat(id, each),
        }
    }

    fn field(&mut self, id: Id, of: &Value<'a>, name: &'a str) -> Result<Option<Value<'a>>, Fault> {
        match of.kind() {
            Kind::Map => of.entry(&Value::Text(name), &mut self.fuel),
            other => Err(Fault::NoSuchOverload(id, other, None)),
        }
    }

    fn index(&mut self, id: Id, of: &Value<'a>, key: &Value<'a>) -> Result<Value<'a>, Fault> {
        let overload = Fault::NoSuchOverload(id, of.kind(), Some(key.kind()));
        match of.kind() {
            Kind::Map if is_key(key.kind()) => of.entry(key, &mut self.fuel)?.ok_or(Fault::NoSuchKey(id)),
            Kind::List => {
                let index = match key {
                    Value::Int(index) => usize::try_from(*index).ok(),
                    Value::Uint(index) => usize::try_from(*index).ok(),
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "integral and in range")]
                    Value::Double(index) if index.fract() == 0.0 && (0.0..1e9).contains(index) => Some(*index as usize),
                    _ => return Err(overload),
                };
                index.and_then(|index| of.item(index)).ok_or(Fault::NoSuchKey(id))
            }
            _ => Err(overload),
        }
    }

    fn bool(&mut self, id: Id, of: Id) -> Result<bool, Fault> {
        match self.eval(of)? {
            Value::Bool(bool) => Ok(bool),
            other => Err(Fault::NoSuchOverload(id, other.kind(), None)),
        }
    }

    /// `decides`: the answer of one side that settles it, whatever the other says.
    fn logic(&mut self, id: Id, left: Id, right: Id, decides: bool) -> Result<Value<'a>, Fault> {
        let left = match self.bool(id, left) {
            Ok(answer) if answer == decides => return Ok(Value::Bool(decides)),
            Err(Fault::OutOfFuel) => return Err(Fault::OutOfFuel),
            other => other,
        };
        match (left, self.bool(id, right)) {
            (_, Ok(answer)) if answer == decides => Ok(Value::Bool(decides)),
            (_, Err(Fault::OutOfFuel)) => Err(Fault::OutOfFuel),
            (Err(fault), _) | (Ok(_), Err(fault)) => Err(fault),
            (Ok(_), Ok(_)) => Ok(Value::Bool(!decides)),
        }
    }

    fn compare(&mut self, id: Id, comparison: Comparison, left: &Value<'a>, right: &Value<'a>) -> Result<bool, Fault> {
        use std::cmp::Ordering::{Equal, Greater, Less};
        match comparison {
            Comparison::Equal => return equal(left, right, &mut self.fuel),
            Comparison::NotEqual => return Ok(!equal(left, right, &mut self.fuel)?),
            _ => {}
        }
        let Some(order) = order(left, right, &mut self.fuel)? else {
            return Err(Fault::NoSuchOverload(id, left.kind(), Some(right.kind())));
        };
        Ok(match comparison {
            Comparison::Less => order == Some(Less),
            Comparison::LessOrEqual => matches!(order, Some(Less | Equal)),
            Comparison::Greater => order == Some(Greater),
            _ => matches!(order, Some(Greater | Equal)),
        })
    }

    fn within(&mut self, id: Id, needle: Id, list: Id) -> Result<bool, Fault> {
        let needle = self.eval(needle)?;
        // `x in ["a", "b"]` is what most filters say: it makes no list.
        if let Some(Node::List(items)) = self.program.nodes.get(list)
            && let Some(literals) = items.iter().map(|item| self.literal(*item)).collect::<Option<Vec<_>>>()
        {
            for literal in literals {
                if equal(&needle, &value_of(literal), &mut self.fuel)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let list = self.eval(list)?;
        match list.kind() {
            Kind::Map if is_key(needle.kind()) => Ok(list.entry(&needle, &mut self.fuel)?.is_some()),
            Kind::List => {
                for index in 0..list.len().unwrap_or(0) {
                    let found = list.item(index).map(|item| equal(&needle, &item, &mut self.fuel)).transpose()?;
                    if found == Some(true) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            other => Err(Fault::NoSuchOverload(id, needle.kind(), Some(other))),
        }
    }

    fn literal(&self, id: Id) -> Option<&'a Literal> {
        match self.program.nodes.get(id) {
            Some(Node::Literal(literal)) => Some(literal),
            _ => None,
        }
    }

    fn map(&mut self, id: Id, entries: &[(Id, Id)]) -> Result<Value<'a>, Fault> {
        self.fuel.take(MADE + 2 * entries.len())?;
        let mut made: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let (key, value) = (self.eval(*key)?, self.eval(*value)?);
            if !matches!(key.kind(), Kind::Bool | Kind::Int | Kind::Uint | Kind::String) {
                return Err(Fault::NoSuchOverload(id, key.kind(), None));
            }
            for (other, _) in &made {
                if equal(other, &key, &mut self.fuel)? {
                    return Err(Fault::Arithmetic(id, "a key twice"));
                }
            }
            made.push((key, value));
        }
        Ok(Value::Map(made.into()))
    }

    fn call(&mut self, id: Id, function: Function, arguments: &[Id]) -> Result<Value<'a>, Fault> {
        let Some(first) = arguments.first() else { return Err(Fault::NoSuchOverload(id, Kind::Null, None)) };
        let first = self.eval(*first)?;
        match arguments.get(1) {
            Some(second) => {
                let second = self.eval(*second)?;
                functions::text_test(id, function, &first, &second, &mut self.fuel)
            }
            None => functions::convert(id, function, first, &mut self.fuel),
        }
    }

    fn repeat(&mut self, id: Id, each: &Loop) -> Result<Value<'a>, Fault> {
        let over = self.eval(each.over)?;
        let kind = over.kind();
        let items = over.items().ok_or(Fault::NoSuchOverload(id, kind, None))?;
        let (mut count, mut first, mut made) = (0usize, None, Vec::new());
        for item in items {
            self.fuel.take(1)?;
            // Also forgets the variables of macros within this one.
            self.locals.truncate(each.slot);
            self.locals.push(item);
            match each.kind {
                LoopKind::All(says) | LoopKind::Exists(says) => {
                    let decides = matches!(each.kind, LoopKind::Exists(_));
                    match self.bool(id, says) {
                        Ok(answer) if answer == decides => return Ok(Value::Bool(decides)),
                        Ok(_) => {}
                        Err(Fault::OutOfFuel) => return Err(Fault::OutOfFuel),
                        Err(fault) => first = first.or(Some(fault)),
                    }
                }
                LoopKind::ExistsOne(says) => count += usize::from(self.bool(id, says)?),
                LoopKind::Map { keep, give } => {
                    if keep.map_or(Ok(true), |keep| self.bool(id, keep))? {
                        made.push(self.eval(give)?);
                    }
                }
            }
        }
        match (each.kind, first) {
            (_, Some(fault)) => Err(fault),
            (LoopKind::All(_), None) => Ok(Value::Bool(true)),
            (LoopKind::Exists(_), None) => Ok(Value::Bool(false)),
            (LoopKind::ExistsOne(_), None) => Ok(Value::Bool(count == 1)),
            (LoopKind::Map { .. }, None) => Ok(Value::List(made.into())),
        }
    }
}

/// What may be a key, doubles only to look one up.
fn is_key(kind: Kind) -> bool {
    matches!(kind, Kind::Bool | Kind::String) || kind.is_number()
}

fn value_of(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(bool) => Value::Bool(*bool),
        Literal::Int(int) => Value::Int(*int),
        Literal::Uint(uint) => Value::Uint(*uint),
        Literal::Double(double) => Value::Double(*double),
        Literal::Text(text) => Value::Text(text),
    }
}

/// For people: paths as the filter has them, operators and kinds.
fn describe(program: &Program, fault: Fault) -> EvalError {
    let name = |id: Id| match program.nodes.get(id) {
        Some(Node::Field(..) | Node::Index(..) | Node::Has(..)) => "field",
        Some(Node::Not(_)) => "!",
        Some(Node::Negate(_) | Node::Arithmetic(Sum::Subtract, ..)) => "-",
        Some(Node::And(..)) => "&&",
        Some(Node::Or(..)) => "||",
        Some(Node::If(..)) => "?:",
        Some(Node::Compare(comparison, ..)) => comparison.sign(),
        Some(Node::Arithmetic(sum, ..)) => sum.sign(),
        Some(Node::In(..)) => "in",
        Some(Node::Map(_)) => "{}",
        Some(Node::Call(function, _)) => function.name(),
        Some(Node::Matches(..)) => "matches",
        Some(Node::Loop(each)) => match each.kind {
            LoopKind::All(_) => "all",
            LoopKind::Exists(_) => "exists",
            LoopKind::ExistsOne(_) => "exists_one",
            LoopKind::Map { .. } => "map",
        },
        _ => "?",
    };
    match fault {
        Fault::OutOfFuel => EvalError::OutOfFuel,
        Fault::NoSuchKey(id) => EvalError::NoSuchKey { path: path(program, id) },
        Fault::Arithmetic(id, problem) => EvalError::Arithmetic { problem, call: name(id).to_owned() },
        Fault::Conversion(id, kind) => EvalError::Conversion { function: name(id).to_owned(), kind: kind.name() },
        Fault::NoSuchOverload(id, left, right) => {
            let call = match (program.nodes.get(id), right) {
                (Some(Node::Field(of, _) | Node::Has(of, _)), _) => {
                    format!("`{}`, as `{}` is {}", path(program, id), path(program, *of), left.a())
                }
                (Some(Node::Index(..)), Some(right)) => format!("`{}` ({}[{}])", path(program, id), left.name(), right.name()),
                (_, Some(right)) => format!("{} {} {}", left.name(), name(id), right.name()),
                (_, None) => format!("{}({})", name(id), left.name()),
            };
            EvalError::NoSuchOverload { call }
        }
    }
}

/// What the filter says at a node, as far as it is a path.
pub(super) fn path(program: &Program, id: Id) -> String {
    match program.nodes.get(id) {
        Some(Node::Root(root)) => root.name().to_owned(),
        Some(Node::Local(_, name)) => name.to_string(),
        Some(Node::Field(of, name) | Node::Has(of, name)) => format!("{}.{name}", path(program, *of)),
        Some(Node::Index(of, key)) => {
            let key = match program.nodes.get(*key) {
                Some(Node::Literal(Literal::Text(text))) => format!("{text:?}"),
                Some(Node::Literal(Literal::Int(int))) => int.to_string(),
                _ => "..".to_owned(),
            };
            format!("{}[{key}]", path(program, *of))
        }
        _ => "..".to_owned(),
    }
}
