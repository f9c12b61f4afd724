//! Walks a template's syntax tree: what is not known to be cheap and safe is refused when the template is written, with its place.
//!
//! Two rules need a word. *Names hold no made lists*: a list or map that the template makes of variables may be printed, tested,
//! looped over or given to a filter, but not be bound to a name or put into a text, so that nothing can be doubled again and again;
//! `+` and `*` are for numbers, and slices are absent, for the same reason. *`{{ }}` stands outside of quotes*: it prints a whole
//! JSON value, and within a text of the template a value could end that text.

use std::collections::BTreeMap;

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt, UnaryOpKind};
use minijinja::machinery::{Span, parse};

use super::filters::{self, Gives};
use super::{CompileError, NAME, predicates, unread};

/// Highest constant index: finding a letter of a text takes that many steps, which the engine does not charge.
const MAX_INDEX: i64 = 255;

pub(super) fn check(text: &str) -> Result<(), CompileError> {
    let tree = parse(text, NAME, minijinja::syntax::SyntaxConfig::default()).map_err(|error| unread(&error))?;
    let mut checker = Checker { text, tables: BTreeMap::new() };
    let whole = std::slice::from_ref(&tree);
    checker.collect(whole);
    match checker.statements(whole, Quote::default())? {
        Quote { inside: false, .. } => Ok(()),
        _ => Err(CompileError {
            message: "a text of the body has no end".to_owned(),
            line: text.lines().count().max(1),
            column: None,
        }),
    }
}

/// Whether the body written so far ends within a JSON text.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Quote {
    inside: bool,
    escaped: bool,
}

/// What an expression may have made of variables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Made {
    Nothing,
    List,
    /// A list or map within one.
    Nested,
}

#[derive(Clone, Copy)]
struct Shape {
    made: Made,
    /// It is a number or fails.
    number: bool,
}

const PLAIN: Shape = Shape { made: Made::Nothing, number: false };
const NUMBER: Shape = Shape { made: Made::Nothing, number: true };

struct Checker<'t> {
    text: &'t str,
    /// Every name that is bound, and whether it only ever holds constant maps, so that any key may be looked up in it.
    tables: BTreeMap<&'t str, bool>,
}

impl<'t> Checker<'t> {
    fn collect(&mut self, statements: &[Stmt<'t>]) {
        for statement in statements {
            match statement {
                Stmt::Template(template) => self.collect(&template.children),
                Stmt::ForLoop(each) => {
                    self.bind(&each.target, false);
                    self.collect(&each.body);
                    self.collect(&each.else_body);
                }
                Stmt::IfCond(choice) => {
                    self.collect(&choice.true_body);
                    self.collect(&choice.false_body);
                }
                Stmt::WithBlock(with) => {
                    for (target, _) in &with.assignments {
                        self.bind(target, false);
                    }
                    self.collect(&with.body);
                }
                Stmt::Set(set) => self.bind(&set.target, matches!(set.expr, Expr::Map(_)) && is_constant(&set.expr)),
                _ => {}
            }
        }
    }

    fn bind(&mut self, target: &Expr<'t>, table: bool) {
        match target {
            Expr::Var(name) => *self.tables.entry(name.id).or_insert(true) &= table,
            Expr::List(names) => names.items.iter().for_each(|name| self.bind(name, false)),
            Expr::Tuple(names) => names.items.iter().for_each(|name| self.bind(name, false)),
            _ => {}
        }
    }

    fn statements(&self, statements: &[Stmt<'t>], mut quote: Quote) -> Result<Quote, CompileError> {
        for statement in statements {
            quote = self.statement(statement, quote)?;
        }
        Ok(quote)
    }

    fn statement(&self, statement: &Stmt<'t>, quote: Quote) -> Result<Quote, CompileError> {
        match statement {
            Stmt::Template(template) => self.statements(&template.children, quote),
            Stmt::EmitRaw(raw) => Ok(raw.raw.bytes().fold(quote, |quote, byte| match byte {
                _ if quote.escaped => Quote { escaped: false, ..quote },
                b'\\' if quote.inside => Quote { escaped: true, ..quote },
                b'"' => Quote { inside: !quote.inside, ..quote },
                _ => quote,
            })),
            Stmt::EmitExpr(emit) => {
                if quote.inside {
                    return Err(self.error(
                        emit.span(),
                        "`{{ }}` prints texts with their quotes: take the quotes around it away, and join texts like {{ \"Hello \" ~ name }}",
                    ));
                }
                self.expression(&emit.expr)?;
                Ok(quote)
            }
            Stmt::ForLoop(each) => {
                if each.recursive {
                    return Err(self.error(each.span(), "loops are not recursive here"));
                }
                self.target(&each.target)?;
                if self.expression(&each.iter)?.made == Made::Nested {
                    return Err(self.error(each.iter.span(), "a loop may not go over a list of made lists"));
                }
                each.filter_expr.as_ref().map(|filter| self.expression(filter)).transpose()?;
                self.branches(each.span(), quote, &[&each.body, &each.else_body])
            }
            Stmt::IfCond(choice) => {
                self.expression(&choice.expr)?;
                self.branches(choice.span(), quote, &[&choice.true_body, &choice.false_body])
            }
            Stmt::WithBlock(with) => {
                for (target, value) in &with.assignments {
                    self.target(target)?;
                    self.bindable(value)?;
                }
                self.branches(with.span(), quote, &[&with.body])
            }
            Stmt::Set(set) => {
                self.target(&set.target)?;
                self.bindable(&set.expr)?;
                Ok(quote)
            }
            Stmt::SetBlock(block) => Err(self.error(block.span(), "write `{% set name = value %}`: a block cannot be captured")),
            Stmt::FilterBlock(block) => Err(self.error(block.span(), "filters apply to values, not to blocks")),
            Stmt::AutoEscape(block) => Err(self.error(block.span(), "escaping is always that of JSON")),
            Stmt::Do(call) => Err(self.error(call.span(), "there are no functions")),
        }
    }

    /// Blocks of which one or none is printed: each must leave the body as it found it.
    fn branches(&self, at: Span, quote: Quote, bodies: &[&Vec<Stmt<'t>>]) -> Result<Quote, CompileError> {
        for body in bodies {
            if self.statements(body, quote)? != quote {
                return Err(self.error(at, "a text of the body must begin and end within one block"));
            }
        }
        Ok(quote)
    }

    fn target(&self, target: &Expr<'t>) -> Result<(), CompileError> {
        let names = match target {
            Expr::Var(_) => return Ok(()),
            Expr::List(names) => &names.items,
            Expr::Tuple(names) => &names.items,
            _ => return Err(self.error(target.span(), "only names can be set")),
        };
        names.iter().try_for_each(|name| if matches!(name, Expr::Var(_)) { Ok(()) } else { self.target(name) })
    }

    /// A value that may be bound to a name.
    fn bindable(&self, value: &Expr<'t>) -> Result<(), CompileError> {
        match self.expression(value)?.made {
            Made::Nothing => Ok(()),
            _ => Err(self.error(value.span(), "a name cannot hold a list or map made of variables: write it where it is printed")),
        }
    }

    fn expression(&self, expression: &Expr<'t>) -> Result<Shape, CompileError> {
        if is_constant(expression) {
            let number = matches!(expression, Expr::Const(constant) if constant.value.is_number());
            return Ok(Shape { number, ..PLAIN });
        }
        match expression {
            Expr::Var(_) => Ok(PLAIN),
            Expr::Const(constant) => Ok(Shape { number: constant.value.is_number(), ..PLAIN }),
            Expr::Slice(slice) => Err(self.error(slice.span(), "there are no slices: see `first`, `last`, `truncate` and `split`")),
            Expr::UnaryOp(unary) => {
                self.expression(&unary.expr)?;
                Ok(if matches!(unary.op, UnaryOpKind::Neg) { NUMBER } else { PLAIN })
            }
            Expr::BinOp(binary) => self.binary(binary.span(), binary.op, &binary.left, &binary.right),
            Expr::Compare(compare) => {
                self.expression(&compare.expr)?;
                compare.ops.iter().try_for_each(|with| self.expression(&with.expr).map(drop))?;
                Ok(PLAIN)
            }
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr)?;
                let then = self.expression(&choice.true_expr)?;
                let other = choice.false_expr.as_ref().map(|other| self.expression(other)).transpose()?;
                Ok(other.map_or(then, |other| either(then, other)))
            }
            Expr::Filter(filter) => self.filter(filter.span(), filter.name, filter.expr.as_ref(), &filter.args),
            Expr::Test(test) => {
                if !predicates::is_one(test.name) {
                    return Err(self.error(test.span(), format!("there is no test `{}`", test.name)));
                }
                self.expression(&test.expr)?;
                self.arguments(test.span(), &test.args)?;
                Ok(PLAIN)
            }
            Expr::GetAttr(get) => self.expression(&get.expr).map(|shape| Shape { number: false, ..shape }),
            Expr::GetItem(get) => {
                let table = match &get.expr {
                    Expr::Var(name) => self.tables.get(name.id) == Some(&true),
                    other => matches!(other, Expr::Map(_)) && is_constant(other),
                };
                let constant = match &get.subscript_expr {
                    Expr::Const(key) => {
                        key.value.as_str().is_some() || key.value.as_i64().is_some_and(|at| (0..=MAX_INDEX).contains(&at))
                    }
                    _ => false,
                };
                if !table && !constant {
                    return Err(self.error(get.span(), "an index is a constant here: write `value | attr(key)`, or `value | last`"));
                }
                self.expression(&get.subscript_expr)?;
                self.expression(&get.expr).map(|shape| Shape { number: false, ..shape })
            }
            Expr::Call(call) => Err(self.error(call.span(), "there are no functions and methods: see the filters")),
            Expr::List(list) => self.made(&list.items),
            Expr::Tuple(tuple) => self.made(&tuple.items),
            Expr::Map(map) => Ok(either(self.made(&map.keys)?, self.made(&map.values)?)),
        }
    }

    fn made(&self, items: &[Expr<'t>]) -> Result<Shape, CompileError> {
        let mut made = Made::List;
        for item in items {
            if self.expression(item)?.made != Made::Nothing {
                made = Made::Nested;
            }
        }
        Ok(Shape { made, number: false })
    }

    fn binary(&self, at: Span, op: BinOpKind, left: &Expr<'t>, right: &Expr<'t>) -> Result<Shape, CompileError> {
        let (one, two) = (self.expression(left)?, self.expression(right)?);
        match op {
            BinOpKind::Eq | BinOpKind::Ne | BinOpKind::Lt | BinOpKind::Lte | BinOpKind::Gt | BinOpKind::Gte | BinOpKind::In => {
                Ok(PLAIN)
            }
            BinOpKind::ScAnd | BinOpKind::ScOr => Ok(either(one, two)),
            BinOpKind::Concat if one.made == Made::Nothing && two.made == Made::Nothing => Ok(PLAIN),
            BinOpKind::Concat => Err(self.error(at, "a list cannot be joined to a text: see `join` and `tojson`")),
            BinOpKind::Add if one.number || two.number => Ok(NUMBER),
            BinOpKind::Add => {
                Err(self
                    .error(at, "`+` adds numbers: texts are joined with `~`, and numbers of the payload need `| int` or `| float`"))
            }
            BinOpKind::Mul if one.number && two.number => Ok(NUMBER),
            BinOpKind::Mul => Err(self.error(at, "`*` multiplies numbers: numbers of the payload need `| int` or `| float`")),
            BinOpKind::Sub | BinOpKind::Div | BinOpKind::FloorDiv | BinOpKind::Rem => Ok(NUMBER),
            BinOpKind::Pow => Err(self.error(at, "there is no `**`")),
        }
    }

    fn filter(&self, at: Span, name: &str, value: Option<&Expr<'t>>, arguments: &[CallArg<'t>]) -> Result<Shape, CompileError> {
        let Some(gives) = filters::gives(name) else { return Err(self.error(at, format!("there is no filter `{name}`"))) };
        let Some(value) = value else { return Err(self.error(at, "filters apply to values, not to blocks")) };
        let shape = either(self.expression(value)?, self.arguments(at, arguments)?);
        let named = |index: usize| match arguments.get(index) {
            Some(CallArg::Pos(Expr::Const(test))) => test.value.as_str().map(str::to_owned),
            _ => None,
        };
        match name {
            "map" => {
                let known = |argument: &CallArg<'t>| match argument {
                    CallArg::Kwarg("attribute", _) => true,
                    // A large one would be there once for each item.
                    CallArg::Kwarg("default", value) => matches!(value, Expr::Const(_)),
                    _ => false,
                };
                if arguments.is_empty() || !arguments.iter().all(known) {
                    return Err(self.error(at, "`map` is written map(attribute=\"name\"), with a constant `default` if need be"));
                }
            }
            "select" | "reject" | "selectattr" | "rejectattr" => {
                let index = usize::from(name.ends_with("attr"));
                match (arguments.get(index), named(index)) {
                    (None, _) => {}
                    (Some(_), Some(test)) if predicates::is_one(&test) => {}
                    (Some(_), Some(test)) => return Err(self.error(at, format!("there is no test `{test}`"))),
                    (Some(_), None) => return Err(self.error(at, format!("`{name}` names its test in quotes"))),
                }
            }
            _ => {}
        }
        Ok(match gives {
            Gives::Number => NUMBER,
            Gives::Scalar => PLAIN,
            Gives::Value => Shape { made: shape.made, number: false },
        })
    }

    fn arguments(&self, at: Span, arguments: &[CallArg<'t>]) -> Result<Shape, CompileError> {
        arguments.iter().try_fold(PLAIN, |all, argument| match argument {
            CallArg::Pos(value) | CallArg::Kwarg(_, value) => Ok(either(all, self.expression(value)?)),
            CallArg::PosSplat(_) | CallArg::KwargSplat(_) => Err(self.error(at, "arguments are written one by one")),
        })
    }

    fn error(&self, at: Span, message: impl Into<String>) -> CompileError {
        let before = usize::try_from(at.start_offset).ok().and_then(|end| self.text.get(..end)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        CompileError { message: message.into(), line, column: Some(column) }
    }
}

fn either(one: Shape, two: Shape) -> Shape {
    Shape { made: one.made.max(two.made), number: one.number && two.number }
}

fn is_constant(expression: &Expr<'_>) -> bool {
    match expression {
        Expr::Const(_) => true,
        Expr::List(list) => list.items.iter().all(is_constant),
        Expr::Tuple(tuple) => tuple.items.iter().all(is_constant),
        Expr::Map(map) => map.keys.iter().chain(&map.values).all(is_constant),
        Expr::UnaryOp(unary) => {
            matches!(unary.op, UnaryOpKind::Neg) && matches!(&unary.expr, Expr::Const(value) if value.value.is_number())
        }
        _ => false,
    }
}
