//! A compiled filter: a flat tree whose nodes name each other by number.

use super::pattern::Pattern;
use super::value::Kind;

/// Place of a node.
pub(super) type Id = usize;

#[derive(Debug)]
pub(super) struct Program {
    /// As it was written.
    pub(super) text: String,
    pub(super) nodes: Vec<Node>,
    /// What the filter says.
    pub(super) root: Id,
    /// The paths it names, in order, none twice.
    pub(super) reads: Vec<Read>,
}

/// A path from a variable, such as `data.user.id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) path: String,
    pub(super) root: Root,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(Box<str>),
    Index(usize),
}

/// A variable of every filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Type,
    Data,
    Tags,
    Tenant,
}

#[derive(Debug)]
pub(super) enum Node {
    Literal(Literal),
    Root(Root),
    /// A variable of a macro, by its nesting, and its name.
    Local(usize, Box<str>),
    Field(Id, Box<str>),
    /// `has()`.
    Has(Id, Box<str>),
    Index(Id, Id),
    Not(Id),
    Negate(Id),
    And(Id, Id),
    Or(Id, Id),
    If(Id, Id, Id),
    Compare(Comparison, Id, Id),
    Arithmetic(Sum, Id, Id),
    In(Id, Id),
    List(Vec<Id>),
    Map(Vec<(Id, Id)>),
    Call(Function, Vec<Id>),
    Matches(Id, Box<Pattern>),
    Loop(Box<Loop>),
}

#[derive(Debug)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Box<str>),
}

/// A macro over a list or the keys of a map.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) over: Id,
    pub(super) slot: usize,
    pub(super) kind: LoopKind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum LoopKind {
    All(Id),
    Exists(Id),
    ExistsOne(Id),
    /// `filter` is `map` of what it keeps.
    Map {
        keep: Option<Id>,
        give: Id,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    LowerAscii,
    UpperAscii,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Timestamp,
    Duration,
    Dyn,
}

impl Function {
    /// Functions by name, with whether they may be called on a value (`a.size()`) and as a function (`size(a)`), and how many
    /// arguments they take, the value included.
    pub(super) fn find(name: &str) -> Option<(Self, bool, bool, usize)> {
        Some(match name {
            "size" => (Self::Size, true, true, 1),
            "contains" => (Self::Contains, true, false, 2),
            "startsWith" => (Self::StartsWith, true, false, 2),
            "endsWith" => (Self::EndsWith, true, false, 2),
            "lowerAscii" => (Self::LowerAscii, true, false, 1),
            "upperAscii" => (Self::UpperAscii, true, false, 1),
            "bool" => (Self::Bool, false, true, 1),
            "int" => (Self::Int, false, true, 1),
            "uint" => (Self::Uint, false, true, 1),
            "double" => (Self::Double, false, true, 1),
            "string" => (Self::String, false, true, 1),
            "timestamp" => (Self::Timestamp, false, true, 1),
            "duration" => (Self::Duration, false, true, 1),
            "dyn" => (Self::Dyn, false, true, 1),
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::LowerAscii => "lowerAscii",
            Self::UpperAscii => "upperAscii",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::Dyn => "dyn",
        }
    }

    /// What it gives, if that is always one kind.
    pub(super) fn gives(self) -> Option<Kind> {
        Some(match self {
            Self::Size | Self::Int => Kind::Int,
            Self::Contains | Self::StartsWith | Self::EndsWith | Self::Bool => Kind::Bool,
            Self::LowerAscii | Self::UpperAscii | Self::String => Kind::String,
            Self::Uint => Kind::Uint,
            Self::Double => Kind::Double,
            Self::Timestamp => Kind::Timestamp,
            Self::Duration => Kind::Duration,
            Self::Dyn => return None,
        })
    }

    /// Whether all of its arguments are texts.
    pub(super) fn of_texts(self) -> bool {
        matches!(self, Self::Contains | Self::StartsWith | Self::EndsWith | Self::LowerAscii | Self::UpperAscii)
    }
}

impl Root {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "type" => Self::Type,
            "data" => Self::Data,
            "tags" => Self::Tags,
            "tenant" => Self::Tenant,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Data => "data",
            Self::Tags => "tags",
            Self::Tenant => "tenant",
        }
    }
}

impl Comparison {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Sum {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}
