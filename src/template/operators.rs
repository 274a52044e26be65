//! Operators as Python reads them: a text and a number have no order, `%` formats, and what is not in a list is absent.

use super::ghost::{Absence, Ghost};
use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, filters};
use std::cmp::Ordering;

/// The filter that `%` becomes; no text can say its name.
pub const MODULO: &str = "%";
/// The filter that `a[b]` becomes.
pub const ITEM: &str = "[]";

/// Whether a test holds for two values in this order.
type Holds = fn(Ordering) -> bool;
/// A filter of the engine's that compares items.
type Sorter = fn(&State, Value, Kwargs) -> Result<Value, Error>;

/// Adds the tests that compare, the filters that sort, and what `%` and `[]` become.
pub fn add(env: &mut Environment<'static>) {
    let orders: [(&[&str], Holds); 4] = [
        (&[">", "gt", "greaterthan"], Ordering::is_gt),
        (&[">=", "ge"], Ordering::is_ge),
        (&["<", "lt", "lessthan"], Ordering::is_lt),
        (&["<=", "le"], Ordering::is_le),
    ];
    for (names, holds) in orders {
        for name in names {
            env.add_test(*name, move |a: &Value, b: &Value| Ok::<_, Error>(comparable(a, b, names[0])? && holds(a.cmp(b))));
        }
    }
    let sorters: [(&str, Sorter); 3] = [("sort", filters::sort), ("min", filters::min), ("max", filters::max)];
    for (name, sorter) in sorters {
        env.add_filter(name, move |state: &mut State, list: Value, options: Kwargs| {
            if Ghost::of(&list).is_some() {
                return Ok(list);
            }
            let items: Vec<Value> = list.try_iter()?.collect();
            let keys = options.get::<Option<&str>>("attribute")?.unwrap_or_default();
            for key in keys.split(',') {
                for pair in items.windows(2) {
                    comparable(&at(&pair[0], key), &at(&pair[1], key), "<")?;
                }
            }
            sorter(state, Value::from(items), options)
        });
    }
    env.add_filter(MODULO, |a: &Value, b: &Value| modulo(a, b));
    env.add_filter(ITEM, |container: &Value, key: &Value| {
        let item = container.get_item(key)?;
        // As an attribute that is missing: an error for whoever reads it, but not for `default`.
        Ok::<_, Error>(if item.is_undefined() { Ghost::value(Absence::Undefined(key.to_string())) } else { item })
    });
}

/// What stands at `path` (`a.b`) in a value; undefined where there is nothing.
fn at(value: &Value, path: &str) -> Value {
    path.trim().split('.').filter(|p| !p.is_empty()).fold(value.clone(), |v, part| v.get_attr(part).unwrap_or_default())
}

/// Whether two values have an order, or an error as Python's. Something absent has none, and fails the evaluation itself.
fn comparable(a: &Value, b: &Value, sign: &str) -> Result<bool, Error> {
    if Ghost::of(a).or(Ghost::of(b)).is_some() {
        return Ok(false);
    }
    if a.is_undefined() || b.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "something undefined is compared"));
    }
    use ValueKind::{Bool, Iterable, Number, Seq, String};
    match (a.kind(), b.kind()) {
        (Number | Bool, Number | Bool) | (String, String) => Ok(true),
        (Seq | Iterable, Seq | Iterable) => match a.try_iter()?.zip(b.try_iter()?).find(|(x, y)| x != y) {
            Some((x, y)) => comparable(&x, &y, sign),
            None => Ok(true),
        },
        _ => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("`{sign}` can't compare {} with {}: make a number of a text with `| int`", said(a), said(b)),
        )),
    }
}

fn said(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("the text '{text}'"),
        None if value.kind() == ValueKind::Number => format!("the number {value}"),
        None => format!("a {}", value.kind()),
    }
}

/// `%`: formats a text, or what is left of a division, with the sign of the divisor.
fn modulo(a: &Value, b: &Value) -> Result<Value, Error> {
    let cannot = |why: &str| Error::new(ErrorKind::InvalidOperation, why.to_owned());
    if let Some(text) = a.as_str() {
        let values = if b.is_tuple() { b.try_iter()?.collect() } else { vec![b.clone()] };
        return format(FormatStyle::Printf, text, &values).map(Value::from);
    }
    if let (Some(x), Some(y)) = (a.as_i64(), b.as_i64()) {
        let rest = x.checked_rem(y).ok_or_else(|| cannot("division by zero"))?;
        return Ok(Value::from(if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }));
    }
    match (f64::try_from(a.clone()), f64::try_from(b.clone())) {
        (Ok(_), Ok(0.0)) => Err(cannot("division by zero")),
        (Ok(x), Ok(y)) => Ok(Value::from(x - y * (x / y).floor())),
        _ => Err(cannot("`%` needs two numbers, or a text to format")),
    }
}
