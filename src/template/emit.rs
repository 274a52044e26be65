//! Putting values out: what they look like in a text, and texts that are one value and keep its type.

use super::convert::{plain, to_json};
use super::engine::OMIT;
use super::filters::python;
use super::ghost::{Absence, Ghost};
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, Output, State};
use std::cell::RefCell;

thread_local! {
    /// How many values the running template has put out, the last of them, and its text.
    static EMITTED: RefCell<(usize, Value, String)> = RefCell::default();
}

/// Writes a value into a text, as Python prints it; None and `omit` are nothing there.
pub fn format(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if let Some(ghost) = Ghost::of(value) {
        return Err(match &ghost.absence {
            Absence::Unknown(why) => Error::new(ErrorKind::InvalidOperation, why.clone()),
            Absence::Undefined(name) => Error::new(ErrorKind::UndefinedError, format!("`{name}` is undefined")),
        });
    }
    let text = match value.kind() {
        ValueKind::None => return Ok(()),
        ValueKind::String if value.as_str() == Some(OMIT) => String::new(),
        ValueKind::Number if !value.is_integer() => python(&to_json(value)?),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => plain(value)?.to_string(),
        ValueKind::Bool | ValueKind::Number => value.to_string(),
        _ => {
            EMITTED.with_borrow_mut(|e| e.0 += 1);
            return minijinja::escape_formatter(out, state, value);
        }
    };
    out.write_str(&text)?;
    EMITTED.with_borrow_mut(|e| *e = (e.0 + 1, value.clone(), text));
    Ok(())
}

/// Runs a template. As in Ansible, its result is a text, unless it put out nothing (None) or exactly one value and
/// no text beside it. A line break that ends the source does not count.
pub fn native(line: bool, render: impl FnOnce() -> Result<String, Error>) -> Result<Value, Error> {
    let outer = EMITTED.take();
    let result = render();
    let (count, value, shown) = EMITTED.replace(outer);
    let text = result?;
    let bare = if line { text.strip_suffix('\n').unwrap_or(&text) } else { &text };
    Ok(match count {
        0 if bare.is_empty() => Value::from(()),
        1 if !value.is_undefined() && bare == shown => value,
        _ => Value::from(text),
    })
}
