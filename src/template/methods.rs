//! Methods of Python's texts that the template engine's own set lacks.

use super::convert::to_value;
use minijinja::value::Value;
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::json;

/// Longest text that padding makes.
const WIDEST: usize = 1_000_000;

/// Calls a method that the value itself does not have.
pub fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let wrong = |why: &str| Error::new(ErrorKind::InvalidOperation, format!("{method}: {why}"));
    let Some(text) = value.as_str() else { return unknown_method_callback(state, value, method, args) };
    let part = || args.first().and_then(Value::as_str).filter(|s| !s.is_empty()).ok_or_else(|| wrong("a text is needed"));
    Ok(match (method, args) {
        ("zfill" | "ljust" | "rjust" | "center", [width, ..]) => {
            let width = width.as_usize().filter(|w| *w <= WIDEST).ok_or_else(|| wrong("a width is needed"))?;
            let fill = args.get(1).and_then(Value::as_str).unwrap_or(if method == "zfill" { "0" } else { " " });
            let space = width.saturating_sub(text.chars().count());
            // As Python, which puts the odd one to the left if the width is odd.
            let left = match method {
                "ljust" => 0,
                "center" => space / 2 + (space & width & 1),
                _ => space,
            };
            let (sign, digits) = text.split_at(usize::from(method == "zfill" && text.starts_with(['-', '+'])));
            Value::from(format!("{sign}{}{digits}{}", fill.repeat(left), fill.repeat(space - left)))
        }
        ("partition" | "rpartition", [_]) => {
            let separator = part()?;
            let last = method == "rpartition";
            let split = if last { text.rsplit_once(separator) } else { text.split_once(separator) };
            to_value(&match split {
                Some((before, after)) => json!([before, separator, after]),
                None if last => json!(["", "", text]),
                None => json!([text, "", ""]),
            })
        }
        ("rsplit", [_, most]) => {
            let separator = part()?;
            let most = most.as_usize().ok_or_else(|| wrong("a number is needed"))?;
            let mut parts: Vec<&str> = text.rsplitn(most.saturating_add(1), separator).collect();
            parts.reverse();
            to_value(&json!(parts))
        }
        ("rsplit", _) => return unknown_method_callback(state, value, "split", args),
        ("index", [_]) => {
            let found = text.find(part()?).ok_or_else(|| wrong("not found"))?;
            Value::from(text.get(..found).map_or(0, |before| before.chars().count()))
        }
        ("swapcase", []) => {
            let swap = |c: char| if c.is_uppercase() { c.to_lowercase().collect::<String>() } else { c.to_uppercase().collect() };
            Value::from(text.chars().map(swap).collect::<String>())
        }
        _ => return unknown_method_callback(state, value, method, args),
    })
}
