//! From a filter's text to its program: parsed by the `cel` crate, then every name, function and macro is looked up here, so that
//! what could only fail is refused when the filter is written, with its place.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};

use super::pattern::Pattern;
use super::program::{Comparison, Function, Id, Literal, Loop, LoopKind, Node, Program, Read, Root, Step, Sum};
use super::value::Kind;
use super::{CompileError, shape};

/// Expressions within expressions.
const MAX_DEPTH: usize = 64;
/// Regular expressions of one filter.
const MAX_PATTERNS: usize = 8;
/// Paths that an explanation lists.
const MAX_READS: usize = 64;
/// What the crate's macros call their result.
const RESULT: &str = "@result";

pub(super) fn compile(text: &str) -> Result<Program, CompileError> {
    shape::check(text)?;
    let parser = cel::parser::Parser::new().max_recursion_depth(64).error_recovery_limit(1);
    let (parsed, source) = parser.parse_with_source_info(text).map_err(|errors| syntax(text, &errors))?;
    let program = Program { text: text.to_owned(), nodes: Vec::new(), root: 0, reads: Vec::new() };
    let mut compiler = Compiler { source: &source, program, locals: Vec::new(), patterns: 0, depth: 0 };
    let (root, kind) = compiler.expression(&parsed)?;
    if let Some(kind) = kind.filter(|kind| *kind != Kind::Bool) {
        return Err(compiler.error(&parsed, format!("a filter says true or false, and this is {}", kind.a())));
    }
    compiler.program.root = root;
    Ok(compiler.program)
}

fn syntax(text: &str, errors: &cel::ParseErrors) -> CompileError {
    let first = errors.errors.first();
    let place = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
    let (line, column) = first.map_or((1, 1), |error| (place(error.pos.0), place(error.pos.1)));
    // The parser's own words name its grammar; only those about names and literals help.
    let message = first.map(|error| error.msg.as_str()).filter(|message| {
        ["reserved", "invalid", "argument", "unsupported"].iter().any(|word| message.starts_with(word)) && message.len() < 200
    });
    let lines = text.lines().count().max(1);
    CompileError { message: message.unwrap_or("not a CEL expression").to_owned(), line: line.min(lines), column }
}

struct Compiler<'s> {
    source: &'s SourceInfo,
    program: Program,
    /// Variables of the macros around, innermost last.
    locals: Vec<String>,
    patterns: usize,
    depth: usize,
}

/// A node, and what it always is, if that is known.
type Typed = (Id, Option<Kind>);

impl Compiler<'_> {
    fn expression(&mut self, at: &IdedExpr) -> Result<Typed, CompileError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(at, format!("a filter is nested at most {MAX_DEPTH} deep")));
        }
        if let Some(read) = self.read(at)
            && self.program.reads.len() < MAX_READS
            && !self.program.reads.contains(&read)
        {
            self.program.reads.push(read);
        }
        self.depth += 1;
        let typed = self.node(at);
        self.depth -= 1;
        typed
    }

    /// The inner part of a path, which is no read of its own.
    fn operand(&mut self, at: &IdedExpr) -> Result<Typed, CompileError> {
        if self.read(at).is_none() {
            return self.expression(at);
        }
        self.depth += 1;
        let typed = if self.depth < MAX_DEPTH { self.node(at) } else { self.expression(at) };
        self.depth -= 1;
        typed
    }

    fn node(&mut self, at: &IdedExpr) -> Result<Typed, CompileError> {
        match &at.expr {
            Expr::Literal(literal) => self.literal(at, literal),
            Expr::Ident(name) => self.variable(at, name),
            Expr::Select(select) => {
                let (of, kind) = self.operand(&select.operand)?;
                if let Some(kind) = kind.filter(|kind| *kind != Kind::Map) {
                    return Err(self.error(at, format!("{} has no field `{}`", kind.a(), select.field)));
                }
                let tag = matches!(self.program.nodes.get(of), Some(Node::Root(Root::Tags)));
                if select.test {
                    Ok((self.push(Node::Has(of, select.field.as_str().into())), Some(Kind::Bool)))
                } else {
                    Ok((self.push(Node::Field(of, select.field.as_str().into())), tag.then_some(Kind::String)))
                }
            }
            Expr::List(list) => {
                let items = list.elements.iter().map(|item| self.expression(item).map(|(id, _)| id)).collect::<Result<_, _>>()?;
                Ok((self.push(Node::List(items)), Some(Kind::List)))
            }
            Expr::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return Err(self.error(at, UNSUPPORTED)) };
                    entries.push((self.expression(&entry.key)?.0, self.expression(&entry.value)?.0));
                }
                Ok((self.push(Node::Map(entries)), Some(Kind::Map)))
            }
            Expr::Call(call) => self.call(at, call),
            Expr::Comprehension(comprehension) => self.comprehension(at, comprehension),
            Expr::Struct(_) | Expr::Unspecified => Err(self.error(at, UNSUPPORTED)),
        }
    }

    fn literal(&mut self, at: &IdedExpr, literal: &LiteralValue) -> Result<Typed, CompileError> {
        let (literal, kind) = match literal {
            LiteralValue::Null => (Literal::Null, Kind::Null),
            LiteralValue::Boolean(bool) => (Literal::Bool(*bool.inner()), Kind::Bool),
            LiteralValue::Int(int) => (Literal::Int(*int.inner()), Kind::Int),
            LiteralValue::UInt(uint) => (Literal::Uint(*uint.inner()), Kind::Uint),
            LiteralValue::Double(double) => (Literal::Double(*double.inner()), Kind::Double),
            LiteralValue::String(text) => (Literal::Text(text.inner().into()), Kind::String),
            LiteralValue::Bytes(_) => return Err(self.error(at, "events hold no bytes: write a text")),
        };
        Ok((self.push(Node::Literal(literal)), Some(kind)))
    }

    fn variable(&mut self, at: &IdedExpr, name: &str) -> Result<Typed, CompileError> {
        // A leading dot skips the variables of macros.
        let global = name.strip_prefix('.');
        if let Some(slot) = self.locals.iter().rposition(|local| local == name) {
            return Ok((self.push(Node::Local(slot, name.into())), None));
        }
        let root = Root::find(global.unwrap_or(name))
            .ok_or_else(|| self.error(at, format!("there is no variable `{name}`; a filter has type, data, tags and tenant")))?;
        let kind = match root {
            Root::Type | Root::Tenant => Kind::String,
            Root::Tags | Root::Data => Kind::Map,
        };
        Ok((self.push(Node::Root(root)), Some(kind)))
    }

    fn call(&mut self, at: &IdedExpr, call: &CallExpr) -> Result<Typed, CompileError> {
        match (call.target.as_deref(), call.args.as_slice(), call.func_name.as_str()) {
            (None, [of], operators::LOGICAL_NOT) => {
                let of = self.typed(of, "!", &[Kind::Bool])?;
                Ok((self.push(Node::Not(of)), Some(Kind::Bool)))
            }
            (None, [of], operators::NEGATE) => {
                let (of, kind) = self.expression(of)?;
                Ok((self.push(Node::Negate(of)), kind))
            }
            (None, [left, right], name @ (operators::LOGICAL_AND | operators::LOGICAL_OR)) => {
                let and = name == operators::LOGICAL_AND;
                let sign = if and { "&&" } else { "||" };
                let (left, right) = (self.typed(left, sign, &[Kind::Bool])?, self.typed(right, sign, &[Kind::Bool])?);
                Ok((self.push(if and { Node::And(left, right) } else { Node::Or(left, right) }), Some(Kind::Bool)))
            }
            (None, [condition, then, other], operators::CONDITIONAL) => {
                let condition = self.typed(condition, "?:", &[Kind::Bool])?;
                let ((then, one), (other, two)) = (self.expression(then)?, self.expression(other)?);
                Ok((self.push(Node::If(condition, then, other)), one.filter(|kind| two == Some(*kind))))
            }
            (None, [of, key], operators::INDEX) => {
                let (of, kind) = self.operand(of)?;
                if let Some(kind) = kind.filter(|kind| !matches!(kind, Kind::Map | Kind::List)) {
                    return Err(self.error(at, format!("{} has no index", kind.a())));
                }
                let (key, _) = self.expression(key)?;
                let tag = matches!(self.program.nodes.get(of), Some(Node::Root(Root::Tags)));
                Ok((self.push(Node::Index(of, key)), tag.then_some(Kind::String)))
            }
            (None, [needle, list], operators::IN) => {
                let (needle, _) = self.expression(needle)?;
                let list = self.typed(list, "in", &[Kind::List, Kind::Map])?;
                Ok((self.push(Node::In(needle, list)), Some(Kind::Bool)))
            }
            (None, [left, right], name) if comparison(name).is_some() || sum(name).is_some() => self.binary(at, name, left, right),
            (Some(of), [pattern], "matches") => self.matches(at, of, pattern),
            (None, [of, pattern], "matches") => self.matches(at, of, pattern),
            (target, arguments, name) => self.function(at, target, arguments, name),
        }
    }

    fn binary(&mut self, at: &IdedExpr, name: &str, left: &IdedExpr, right: &IdedExpr) -> Result<Typed, CompileError> {
        let ((left, one), (right, two)) = (self.expression(left)?, self.expression(right)?);
        if let Some(comparison) = comparison(name) {
            if let (Some(one), Some(two)) = (one, two)
                && one != two
                && !(one.is_number() && two.is_number())
                && !matches!(
                    (comparison, one, two),
                    (Comparison::Equal | Comparison::NotEqual, Kind::Null, _)
                        | (Comparison::Equal | Comparison::NotEqual, _, Kind::Null)
                )
            {
                let message = format!("`{}` compares {} with {}", comparison.sign(), one.a(), two.a());
                return Err(self.error(at, message));
            }
            return Ok((self.push(Node::Compare(comparison, left, right)), Some(Kind::Bool)));
        }
        let Some(sum) = sum(name) else { return Err(self.error(at, UNSUPPORTED)) };
        let timely = [one, two].iter().any(|kind| matches!(kind, Some(Kind::Timestamp | Kind::Duration)));
        if let (Some(one), Some(two), false) = (one, two, timely)
            && one != two
        {
            let message = format!(
                "there is no {} {} {}: numbers of two kinds need int(), uint() or double()",
                one.name(),
                sum.sign(),
                two.name()
            );
            return Err(self.error(at, message));
        }
        Ok((self.push(Node::Arithmetic(sum, left, right)), one.filter(|kind| two == Some(*kind) && !timely)))
    }

    fn matches(&mut self, at: &IdedExpr, of: &IdedExpr, pattern: &IdedExpr) -> Result<Typed, CompileError> {
        let of = self.typed(of, "matches", &[Kind::String])?;
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return Err(self.error(pattern, "the regular expression of matches() must be a text in quotes"));
        };
        if self.patterns >= MAX_PATTERNS {
            return Err(self.error(at, format!("a filter has at most {MAX_PATTERNS} regular expressions")));
        }
        self.patterns += 1;
        let pattern = Pattern::compile(text.inner()).map_err(|message| self.error(pattern, message))?;
        Ok((self.push(Node::Matches(of, Box::new(pattern))), Some(Kind::Bool)))
    }

    fn function(
        &mut self,
        at: &IdedExpr,
        target: Option<&IdedExpr>,
        arguments: &[IdedExpr],
        name: &str,
    ) -> Result<Typed, CompileError> {
        let Some((function, on_value, alone, count)) = Function::find(name.trim_start_matches('.')) else {
            let message = match name {
                "has" | "all" | "exists" | "exists_one" | "map" | "filter" => format!("`{name}` is not written like this"),
                "matches" => "matches() is written text.matches(\"..\")".to_owned(),
                _ => format!("there is no function `{name}`"),
            };
            return Err(self.error(at, message));
        };
        if (target.is_some() && !on_value) || (target.is_none() && !alone) {
            let right = if on_value { format!("value.{name}(..)") } else { format!("{name}(value)") };
            return Err(self.error(at, format!("write `{right}`")));
        }
        let all: Vec<&IdedExpr> = target.into_iter().chain(arguments).collect();
        if all.len() != count {
            return Err(self.error(at, format!("`{name}` has {count} argument(s), with the value before the dot")));
        }
        let mut ids = Vec::with_capacity(count);
        for argument in all {
            ids.push(if function.of_texts() { self.typed(argument, name, &[Kind::String])? } else { self.expression(argument)?.0 });
        }
        Ok((self.push(Node::Call(function, ids)), function.gives()))
    }

    /// The macros, as the parser expands them.
    fn comprehension(&mut self, at: &IdedExpr, macro_: &ComprehensionExpr) -> Result<Typed, CompileError> {
        let over = self.typed(&macro_.iter_range, "a macro", &[Kind::List, Kind::Map])?;
        if macro_.accu_var != RESULT || macro_.iter_var2.is_some() {
            return Err(self.error(at, UNSUPPORTED));
        }
        let slot = self.locals.len();
        self.locals.push(macro_.iter_var.clone());
        let kind = self.macro_kind(at, macro_);
        self.locals.truncate(slot);
        let kind = kind?;
        let gives = if matches!(kind, LoopKind::Map { .. }) { Kind::List } else { Kind::Bool };
        Ok((self.push(Node::Loop(Box::new(Loop { over, slot, kind }))), Some(gives)))
    }

    fn macro_kind(&mut self, at: &IdedExpr, macro_: &ComprehensionExpr) -> Result<LoopKind, CompileError> {
        let unknown = || self.error(at, UNSUPPORTED);
        let Expr::Call(step) = &macro_.loop_step.expr else { return Err(unknown()) };
        match (step.func_name.as_str(), step.args.as_slice(), &macro_.accu_init.expr) {
            (operators::LOGICAL_AND, [_, says], _) => Ok(LoopKind::All(self.typed(says, "all", &[Kind::Bool])?)),
            (operators::LOGICAL_OR, [_, says], _) => Ok(LoopKind::Exists(self.typed(says, "exists", &[Kind::Bool])?)),
            (operators::CONDITIONAL, [says, _, _], Expr::Literal(_)) => {
                Ok(LoopKind::ExistsOne(self.typed(says, "exists_one", &[Kind::Bool])?))
            }
            (operators::CONDITIONAL, [keep, given, _], _) => {
                let keep = self.typed(keep, "filter", &[Kind::Bool])?;
                let Some(give) = appended(given) else { return Err(self.error(at, UNSUPPORTED)) };
                Ok(LoopKind::Map { keep: Some(keep), give: self.expression(give)?.0 })
            }
            _ => match appended(&macro_.loop_step) {
                Some(give) => Ok(LoopKind::Map { keep: None, give: self.expression(give)?.0 }),
                None => Err(self.error(at, UNSUPPORTED)),
            },
        }
    }

    /// An expression that may be one of these kinds.
    fn typed(&mut self, at: &IdedExpr, of: &str, kinds: &[Kind]) -> Result<Id, CompileError> {
        let (id, kind) = self.expression(at)?;
        match kind.filter(|kind| !kinds.contains(kind)) {
            None => Ok(id),
            Some(kind) => {
                let names = kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" or ");
                Err(self.error(at, format!("`{of}` takes a {names}, and this is {}", kind.a())))
            }
        }
    }

    /// The path of an expression that is one.
    fn read(&self, at: &IdedExpr) -> Option<Read> {
        let (of, step, shown) = match &at.expr {
            Expr::Ident(name) => {
                let root = Root::find(name.strip_prefix('.').unwrap_or(name)).filter(|_| !self.locals.contains(name))?;
                return Some(Read { path: root.name().to_owned(), root, steps: Vec::new() });
            }
            Expr::Select(select) => (&*select.operand, Step::Key(select.field.as_str().into()), format!(".{}", select.field)),
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                [of, key] => match &key.expr {
                    Expr::Literal(LiteralValue::String(text)) => {
                        (of, Step::Key(text.inner().into()), format!("[{}]", serde_json::Value::from(text.inner())))
                    }
                    Expr::Literal(LiteralValue::Int(int)) => {
                        (of, Step::Index(usize::try_from(*int.inner()).ok()?), format!("[{}]", int.inner()))
                    }
                    _ => return None,
                },
                _ => return None,
            },
            _ => return None,
        };
        let mut read = self.read(of)?;
        read.steps.push(step);
        read.path.push_str(&shown);
        Some(read)
    }

    fn push(&mut self, node: Node) -> Id {
        self.program.nodes.push(node);
        self.program.nodes.len() - 1
    }

    fn error(&self, at: &IdedExpr, message: impl Into<String>) -> CompileError {
        let bytes = self.source.offset_for(at.id).and_then(|(start, _)| usize::try_from(start).ok()).unwrap_or(0);
        shape::error(&self.program.text, bytes, message)
    }
}

const UNSUPPORTED: &str = "this is not available in filters";

/// `x` of `@result + [x]`.
fn appended(step: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::Call(call) = &step.expr else { return None };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::ADD, [_, IdedExpr { expr: Expr::List(list), .. }]) => list.elements.first(),
        _ => None,
    }
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn sum(name: &str) -> Option<Sum> {
    Some(match name {
        operators::ADD => Sum::Add,
        operators::SUBSTRACT => Sum::Subtract,
        operators::MULTIPLY => Sum::Multiply,
        operators::DIVIDE => Sum::Divide,
        operators::MODULO => Sum::Remainder,
        _ => return None,
    })
}
