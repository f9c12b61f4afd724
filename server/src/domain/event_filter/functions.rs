//! Arithmetic, text tests and conversions of a filter.

use std::rc::Rc;

use super::eval::{Fault, Fuel, MADE};
use super::moment;
use super::program::{Function, Id, Sum};
use super::value::{PACE, Value};

/// Bytes that are searched for one step.
pub(super) const SCAN_PACE: usize = 8;

pub(super) fn negate<'a>(id: Id, of: &Value<'a>) -> Result<Value<'a>, Fault> {
    match of {
        Value::Int(int) => int.checked_neg().map(Value::Int).ok_or(Fault::Arithmetic(id, OVERFLOW)),
        Value::Double(double) => Ok(Value::Double(-double)),
        Value::Duration(nanos) => Ok(Value::Duration(-nanos)),
        other => Err(Fault::NoSuchOverload(id, other.kind(), None)),
    }
}

const OVERFLOW: &str = "a number out of range";
const ZERO: &str = "a division by zero";
const TIME: &str = "a time out of range";

/// Of whole numbers, signed or not.
macro_rules! whole {
    ($id:expr, $sum:expr, $left:expr, $right:expr) => {{
        let result = match $sum {
            Sum::Divide | Sum::Remainder if $right == 0 => return Err(Fault::Arithmetic($id, ZERO)),
            Sum::Add => $left.checked_add($right),
            Sum::Subtract => $left.checked_sub($right),
            Sum::Multiply => $left.checked_mul($right),
            Sum::Divide => $left.checked_div($right),
            Sum::Remainder => $left.checked_rem($right),
        };
        result.ok_or(Fault::Arithmetic($id, OVERFLOW))
    }};
}

pub(super) fn arithmetic<'a>(id: Id, sum: Sum, left: &Value<'a>, right: &Value<'a>, fuel: &mut Fuel) -> Result<Value<'a>, Fault> {
    let none = Fault::NoSuchOverload(id, left.kind(), Some(right.kind()));
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => whole!(id, sum, *left, *right).map(Value::Int),
        (Value::Uint(left), Value::Uint(right)) => whole!(id, sum, *left, *right).map(Value::Uint),
        (Value::Double(left), Value::Double(right)) => match sum {
            Sum::Add => Ok(Value::Double(left + right)),
            Sum::Subtract => Ok(Value::Double(left - right)),
            Sum::Multiply => Ok(Value::Double(left * right)),
            Sum::Divide => Ok(Value::Double(left / right)),
            Sum::Remainder => Err(none),
        },
        (Value::Timestamp(_) | Value::Duration(_), _) | (_, Value::Timestamp(_) | Value::Duration(_)) => {
            let time = Fault::Arithmetic(id, TIME);
            match (sum, left, right) {
                (Sum::Add, Value::Timestamp(at), Value::Duration(by)) | (Sum::Add, Value::Duration(by), Value::Timestamp(at)) => {
                    moment::timestamp(at + by).map(Value::Timestamp).ok_or(time)
                }
                (Sum::Subtract, Value::Timestamp(at), Value::Duration(by)) => {
                    moment::timestamp(at - by).map(Value::Timestamp).ok_or(time)
                }
                (Sum::Subtract, Value::Timestamp(left), Value::Timestamp(right))
                | (Sum::Subtract, Value::Duration(left), Value::Duration(right)) => {
                    moment::duration(left - right).map(Value::Duration).ok_or(time)
                }
                (Sum::Add, Value::Duration(left), Value::Duration(right)) => {
                    moment::duration(left + right).map(Value::Duration).ok_or(time)
                }
                _ => Err(none),
            }
        }
        _ if sum == Sum::Add => join(left, right, fuel)?.ok_or(none),
        _ => Err(none),
    }
}

/// `+` of texts and lists: what is made is paid for before it is.
fn join<'a>(left: &Value<'a>, right: &Value<'a>, fuel: &mut Fuel) -> Result<Option<Value<'a>>, Fault> {
    if let (Some(left), Some(right)) = (left.text(), right.text()) {
        fuel.take(MADE)?;
        fuel.bytes(left.len() + right.len(), PACE)?;
        return Ok(Some(Value::Made([left, right].concat().into())));
    }
    let (Some(mine), Some(yours)) = (left.len(), right.len()) else { return Ok(None) };
    if left.kind() != super::value::Kind::List || left.kind() != right.kind() {
        return Ok(None);
    }
    fuel.take(MADE + 2 * (mine + yours))?;
    let items = (0..mine).filter_map(|index| left.item(index)).chain((0..yours).filter_map(|index| right.item(index)));
    Ok(Some(Value::List(items.collect())))
}

/// Functions of two texts.
pub(super) fn text_test<'a>(
    id: Id,
    function: Function,
    of: &Value<'a>,
    with: &Value<'a>,
    fuel: &mut Fuel,
) -> Result<Value<'a>, Fault> {
    let (Some(text), Some(part)) = (of.text(), with.text()) else {
        return Err(Fault::NoSuchOverload(id, of.kind(), Some(with.kind())));
    };
    let searched = if function == Function::Contains { text.len() + part.len() } else { part.len().min(text.len()) / SCAN_PACE };
    fuel.bytes(searched, SCAN_PACE)?;
    match function {
        Function::Contains => Ok(Value::Bool(text.contains(part))),
        Function::StartsWith => Ok(Value::Bool(text.starts_with(part))),
        Function::EndsWith => Ok(Value::Bool(text.ends_with(part))),
        _ => Err(Fault::NoSuchOverload(id, of.kind(), Some(with.kind()))),
    }
}

/// Functions of one value.
pub(super) fn convert<'a>(id: Id, function: Function, of: Value<'a>, fuel: &mut Fuel) -> Result<Value<'a>, Fault> {
    let kind = of.kind();
    let (none, unread) = (Fault::NoSuchOverload(id, kind, None), Fault::Conversion(id, kind));
    let out_of_range = Fault::Arithmetic(id, OVERFLOW);
    if let Some(text) = of.text() {
        let pace = if function == Function::String { usize::MAX } else { PACE };
        fuel.bytes(text.len(), pace)?;
    }
    match function {
        Function::String | Function::LowerAscii | Function::UpperAscii | Function::Timestamp | Function::Duration => {
            fuel.take(2 * MADE)?;
        }
        _ => {}
    }
    match function {
        Function::Dyn => Ok(of),
        Function::Size => {
            let size = of.text().map(|text| text.chars().count()).or_else(|| of.len()).ok_or(none)?;
            i64::try_from(size).map(Value::Int).map_err(|_| out_of_range)
        }
        Function::LowerAscii => of.text().map(|text| Value::Made(text.to_ascii_lowercase().into())).ok_or(none),
        Function::UpperAscii => of.text().map(|text| Value::Made(text.to_ascii_uppercase().into())).ok_or(none),
        Function::Bool => match (&of, of.text()) {
            (Value::Bool(_), _) => Ok(of),
            (_, Some("true" | "True" | "TRUE" | "t" | "T" | "1")) => Ok(Value::Bool(true)),
            (_, Some("false" | "False" | "FALSE" | "f" | "F" | "0")) => Ok(Value::Bool(false)),
            (_, Some(_)) => Err(unread),
            _ => Err(none),
        },
        Function::Int => match (&of, of.text()) {
            (Value::Int(_), _) => Ok(of),
            (Value::Uint(uint), _) => i64::try_from(*uint).map(Value::Int).map_err(|_| out_of_range),
            (Value::Double(double), _) => to_int(*double).map(Value::Int).ok_or(out_of_range),
            (Value::Timestamp(nanos), _) => {
                i64::try_from(nanos.div_euclid(moment::SECOND)).map(Value::Int).map_err(|_| out_of_range)
            }
            (_, Some(text)) => text.parse().map(Value::Int).map_err(|_| unread),
            _ => Err(none),
        },
        Function::Uint => match (&of, of.text()) {
            (Value::Uint(_), _) => Ok(of),
            (Value::Int(int), _) => u64::try_from(*int).map(Value::Uint).map_err(|_| out_of_range),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
            (Value::Double(double), _) if (0.0..18_446_744_073_709_551_616.0).contains(double) => Ok(Value::Uint(*double as u64)),
            (Value::Double(_), _) => Err(out_of_range),
            (_, Some(text)) => text.parse().map(Value::Uint).map_err(|_| unread),
            _ => Err(none),
        },
        #[allow(clippy::cast_precision_loss, reason = "what the conversion is")]
        Function::Double => match (&of, of.text()) {
            (Value::Double(_), _) => Ok(of),
            (Value::Int(int), _) => Ok(Value::Double(*int as f64)),
            (Value::Uint(uint), _) => Ok(Value::Double(*uint as f64)),
            (_, Some(text)) => text.parse().map(Value::Double).map_err(|_| unread),
            _ => Err(none),
        },
        Function::String => {
            let made: Rc<str> = match &of {
                Value::Text(_) | Value::Made(_) => return Ok(of),
                Value::Bool(bool) => bool.to_string().into(),
                Value::Int(int) => int.to_string().into(),
                Value::Uint(uint) => uint.to_string().into(),
                Value::Double(double) => double.to_string().into(),
                Value::Timestamp(nanos) => moment::write_timestamp(*nanos).into(),
                Value::Duration(nanos) => moment::write_duration(*nanos).into(),
                _ => return Err(none),
            };
            Ok(Value::Made(made))
        }
        Function::Timestamp => match (&of, of.text()) {
            (Value::Timestamp(_), _) => Ok(of),
            (Value::Int(seconds), _) => {
                moment::timestamp(i128::from(*seconds) * moment::SECOND).map(Value::Timestamp).ok_or(Fault::Arithmetic(id, TIME))
            }
            (_, Some(text)) => moment::parse_timestamp(text).map(Value::Timestamp).ok_or(unread),
            _ => Err(none),
        },
        Function::Duration => match (&of, of.text()) {
            (Value::Duration(_), _) => Ok(of),
            (_, Some(text)) => moment::parse_duration(text).map(Value::Duration).ok_or(unread),
            _ => Err(none),
        },
        Function::Contains | Function::StartsWith | Function::EndsWith => Err(none),
    }
}

/// Towards zero, within the range that a double has exactly on both sides of.
fn to_int(double: f64) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation, reason = "in range")]
    (double > -9_223_372_036_854_775_808.0 && double < 9_223_372_036_854_775_808.0).then_some(double as i64)
}
