//! The filter language of lists and watches: CEL comparisons of named fields, joined by `&&`.
//!
//! The API parses a filter once, with the fields that its RPC allows; the store turns the terms into SQL and a watch asks
//! [`Filter::matches`]. The text comes from callers: it is bounded, and its nesting counted, before the CEL parser sees it, which is
//! recursive. Nothing is evaluated as CEL: what is no comparison of an allowed field is an error that names those fields.

use std::fmt;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::Time;

mod shape;

/// Bytes of a filter.
pub const MAX_BYTES: usize = 4096;
/// Comparisons of a filter.
pub const MAX_TERMS: usize = 20;
/// Values of one `in [..]`.
pub const MAX_VALUES: usize = 100;

/// A field that an RPC allows in its filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldSpec {
    /// As callers write it.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// What a field holds, and so which comparisons it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text: `==`, `!=`, `in`.
    Text,
    /// One of these names: `==`, `!=`, `in`.
    State(&'static [&'static str]),
    /// RFC 3339 in quotes: all but `in`.
    Time,
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `in`
    In,
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A text, or the name of a state.
    Text(String),
    /// A moment.
    Time(Time),
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// Name of the field.
    pub field: &'static str,
    /// How it is compared.
    pub op: Op,
    /// One value; with [`Op::In`] 1 to [`MAX_VALUES`], in order, none twice.
    pub values: Vec<Value>,
}

/// Terms that must all hold, in a stable order. Empty: everything passes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter(Vec<Term>);

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; a filter is comparisons of {} joined by `&&`, such as `{} == \"..\"`", names(.fields), .fields.first().unwrap_or(&"field"))]
pub struct Error {
    /// What is wrong.
    pub problem: Problem,
    /// The fields that the RPC allows.
    pub fields: Vec<&'static str>,
}

/// What is wrong with a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Over a bound of this module.
    #[error("more than {limit} {what}")]
    TooMuch {
        /// The bound.
        limit: usize,
        /// What was counted.
        what: &'static str,
    },
    /// Something that no comparison is made of.
    #[error("`{found}` is not allowed")]
    NotAllowed {
        /// The character or construct.
        found: String,
    },
    /// The CEL parser refused it.
    #[error("not a CEL expression, at column {column}")]
    Syntax {
        /// Counted from 1.
        column: usize,
    },
    /// CEL, but no comparison of a field with a literal.
    #[error("not a comparison of a field with a literal")]
    NoComparison,
    /// No field of the RPC has this name.
    #[error("there is no field `{name}`")]
    UnknownField {
        /// What was written.
        name: String,
    },
    /// The field is not compared this way.
    #[error("`{field}` has no `{op}`")]
    Operator {
        /// The field.
        field: &'static str,
        /// The operator.
        op: Op,
    },
    /// The value does not suit the field.
    #[error("`{field}` is compared with {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// What suits it.
        expected: String,
    },
}

/// The value of a field of one row, for [`Filter::matches`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// A text, or the name of a state.
    Text(&'a str),
    /// A moment.
    Time(Time),
}

impl Filter {
    /// Reads a filter. Empty and blank texts are the filter that everything passes.
    ///
    /// # Errors
    /// [`Error`], which names what is wrong and the fields of the RPC. It never panics and never recurses deeply.
    pub fn parse(text: &str, fields: &[FieldSpec]) -> Result<Self, Error> {
        let terms = if text.trim().is_empty() { Ok(Vec::new()) } else { shape::check(text).and_then(|()| terms(text, fields)) };
        match terms {
            Ok(mut terms) => {
                terms.sort();
                terms.dedup();
                Ok(Self(terms))
            }
            Err(problem) => Err(Error { problem, fields: fields.iter().map(|field| field.name).collect() }),
        }
    }

    /// The comparisons, in a stable order.
    pub fn terms(&self) -> &[Term] {
        &self.0
    }

    /// The same comparisons with their texts rewritten, field by field: so names become ids, for one.
    #[must_use]
    pub fn rewrite(mut self, text: impl Fn(&'static str, String) -> String) -> Self {
        for term in &mut self.0 {
            for value in &mut term.values {
                if let Value::Text(found) = value {
                    *found = text(term.field, std::mem::take(found));
                }
            }
            term.values.sort();
            term.values.dedup();
        }
        self.0.sort();
        self.0.dedup();
        self
    }

    /// One spelling for all filters that mean the same terms: what tokens are bound to.
    pub fn canonical(&self) -> String {
        self.0.iter().map(Term::to_string).collect::<Vec<_>>().join(" && ")
    }

    /// Whether a row passes. `value` gives a field's value, `None` when the row has none: it equals nothing and is in no order.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<Found<'a>>) -> bool {
        self.0.iter().all(|term| term.matches(value(term.field)))
    }
}

impl Term {
    fn matches(&self, found: Option<Found<'_>>) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let compared = |value: &Value| match (found?, value) {
            (Found::Text(found), Value::Text(value)) => Some(found.cmp(value.as_str())),
            (Found::Time(found), Value::Time(value)) => Some(found.cmp(value)),
            _ => None,
        };
        let any =
            |wanted: &[std::cmp::Ordering]| self.values.iter().any(|value| compared(value).is_some_and(|is| wanted.contains(&is)));
        match self.op {
            Op::Equal | Op::In => any(&[Equal]),
            Op::NotEqual => !any(&[Equal]),
            Op::Less => any(&[Less]),
            Op::LessOrEqual => any(&[Less, Equal]),
            Op::Greater => any(&[Greater]),
            Op::GreaterOrEqual => any(&[Greater, Equal]),
        }
    }
}

/// CEL again, so that it can be parsed back.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.field, self.op)?;
        let texts = self.values.iter().map(|value| match value {
            Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Value::Time(time) => format!("\"{}\"", time.rfc3339()),
        });
        let joined = texts.collect::<Vec<_>>().join(", ");
        if self.op == Op::In { write!(f, "[{joined}]") } else { f.write_str(&joined) }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        })
    }
}

fn names(fields: &[&'static str]) -> String {
    fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(", ")
}

fn terms(text: &str, fields: &[FieldSpec]) -> Result<Vec<Term>, Problem> {
    let parsed = cel::parser::Parser::new().max_recursion_depth(64).error_recovery_limit(1).parse(text).map_err(|errors| {
        let column = errors.errors.first().map_or(1, |error| usize::try_from(error.pos.1).unwrap_or(1));
        Problem::Syntax { column }
    })?;
    let (mut terms, mut left) = (Vec::new(), vec![&parsed]);
    while let Some(next) = left.pop() {
        match &next.expr {
            Expr::Call(call) if call.func_name == operators::LOGICAL_AND && call.target.is_none() => left.extend(&call.args),
            expr => terms.push(term(expr, fields)?),
        }
    }
    if terms.len() > MAX_TERMS { Err(Problem::TooMuch { limit: MAX_TERMS, what: "comparisons" }) } else { Ok(terms) }
}

fn term(expr: &Expr, fields: &[FieldSpec]) -> Result<Term, Problem> {
    let Expr::Call(call) = expr else { return Err(Problem::NoComparison) };
    let ([left, right], None) = (call.args.as_slice(), &call.target) else { return Err(Problem::NoComparison) };
    let (Some(op), Expr::Ident(name)) = (op(&call.func_name), &left.expr) else { return Err(Problem::NoComparison) };
    let field = fields.iter().find(|field| field.name == name).ok_or_else(|| Problem::UnknownField { name: name.clone() })?;
    if !field.kind.has(op) {
        return Err(Problem::Operator { field: field.name, op });
    }
    let literals = match (&right.expr, op) {
        (Expr::List(list), Op::In) => list.elements.as_slice(),
        (_, Op::In) => return Err(field.expects("a list in brackets")),
        _ => std::slice::from_ref(right),
    };
    if literals.is_empty() {
        return Err(field.expects("at least one value"));
    }
    if literals.len() > MAX_VALUES {
        return Err(Problem::TooMuch { limit: MAX_VALUES, what: "values of one `in`" });
    }
    let mut values = literals.iter().map(|literal| field.value(literal)).collect::<Result<Vec<_>, _>>()?;
    values.sort();
    values.dedup();
    Ok(Term { field: field.name, op, values })
}

fn op(function: &str) -> Option<Op> {
    Some(match function {
        operators::EQUALS => Op::Equal,
        operators::NOT_EQUALS => Op::NotEqual,
        operators::LESS => Op::Less,
        operators::LESS_EQUALS => Op::LessOrEqual,
        operators::GREATER => Op::Greater,
        operators::GREATER_EQUALS => Op::GreaterOrEqual,
        operators::IN => Op::In,
        _ => return None,
    })
}

impl Kind {
    fn has(self, op: Op) -> bool {
        match self {
            Self::Text | Self::State(_) => matches!(op, Op::Equal | Op::NotEqual | Op::In),
            Self::Time => op != Op::In,
        }
    }
}

impl FieldSpec {
    fn value(&self, literal: &IdedExpr) -> Result<Value, Problem> {
        let Expr::Literal(LiteralValue::String(text)) = &literal.expr else { return Err(self.expects("a text in quotes")) };
        let text = text.inner();
        match self.kind {
            // No row holds one, and PostgreSQL takes none as an argument.
            Kind::Text if text.contains('\0') => Err(self.expects("a text without NUL")),
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::State(names) if names.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::State(names) => Err(self.expects(&format!("one of {}", names.join(", ")))),
            Kind::Time => {
                Time::parse_rfc3339(text).map(Value::Time).ok_or_else(|| self.expects("a time such as \"2026-11-25T09:00:00Z\""))
            }
        }
    }

    fn expects(&self, expected: &str) -> Problem {
        Problem::Value { field: self.name, expected: expected.to_owned() }
    }
}

#[cfg(test)]
mod tests;
