//! Regular expressions in Python's syntax.

use super::text::python;
use super::{Call, DataFilter};
use crate::template::pattern::{Flags, Found, Pattern};
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind};
use serde_json::{Value as Json, json};

pub const FILTERS: &[(&str, DataFilter)] = &[
    ("regex_search", search),
    ("regex_findall", findall),
    ("regex_replace", replace),
    ("regex_escape", |c| Ok(json!(escape(&python(c.value()))))),
];

/// Where a match must start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// At the start of the text (`match`).
    Start,
    /// Anywhere (`search`).
    None,
}

/// Compiles a pattern as Python writes it.
pub fn compile(pattern: &str, flags: Flags) -> Result<Pattern, String> {
    Pattern::new(pattern, flags).map_err(|e| format!("`{pattern}` is not a regular expression: {e}"))
}

/// The tests `match`, `search`, `regex`.
pub fn test(text: &str, pattern: &str, anchor: Anchor, options: &Kwargs) -> Result<bool, Error> {
    let ignorecase = options.get::<Option<bool>>("ignorecase")?.unwrap_or(false);
    let multiline = options.get::<Option<bool>>("multiline")?.unwrap_or(false);
    let how = options.get::<Option<String>>("match_type")?;
    options.assert_all_used()?;
    let anchor = match how.as_deref() {
        Some("match") => Anchor::Start,
        _ => anchor,
    };
    let failed = |e: String| Error::new(ErrorKind::InvalidOperation, e);
    let regex = compile(pattern, Flags { ignorecase, multiline, ..Flags::default() }).map_err(failed)?;
    let found = if anchor == Anchor::Start { regex.match_start(text) } else { regex.search(text) };
    Ok(found.map_err(|e| failed(e.to_string()))?.is_some())
}

fn pattern<'c>(c: &'c Call, name: &str) -> Result<&'c str, String> {
    c.str(0, name).ok_or_else(|| "a pattern is needed".into())
}

/// The filters' flags, by the places of their arguments.
fn flags(c: &Call, ignorecase: usize, multiline: usize) -> Flags {
    Flags { ignorecase: c.flag(ignorecase, "ignorecase"), multiline: c.flag(multiline, "multiline"), ..Flags::default() }
}

fn search(c: &Call) -> Result<Json, String> {
    let regex = compile(pattern(c, "regex")?, flags(c, usize::MAX - 1, usize::MAX - 1))?;
    let text = python(c.value());
    let groups: Vec<String> = c.rest().iter().skip(1).map(python).collect();
    let Some(found) = regex.search(&text).map_err(|e| e.to_string())? else { return Ok(Json::Null) };
    if groups.is_empty() {
        return Ok(json!(found.get(0).unwrap_or_default()));
    }
    let mut out = vec![];
    for group in groups {
        let value = match (
            group.strip_prefix("\\g<").and_then(|g| g.strip_suffix('>')),
            group.strip_prefix('\\').and_then(|g| g.parse::<usize>().ok()),
        ) {
            (Some(name), _) => found.name(name).or_else(|| name.parse().ok().and_then(|n| found.get(n))),
            (None, Some(number)) => found.get(number),
            _ => return Err(format!("`{group}` names no group: write \\1 or \\g<name>")),
        };
        out.push(value.map_or(Json::Null, |m| json!(m)));
    }
    Ok(Json::Array(out))
}

fn findall(c: &Call) -> Result<Json, String> {
    let regex = compile(pattern(c, "regex")?, flags(c, 2, 1))?;
    let text = python(c.value());
    let mut out = vec![];
    for found in regex.find_all(&text).map_err(|e| e.to_string())? {
        let part = |i: usize| found.get(i).unwrap_or_default();
        out.push(match found.len() {
            1 => json!(part(0)),
            2 => json!(part(1)),
            n => (1..n).map(|i| json!(part(i))).collect(),
        });
    }
    Ok(Json::Array(out))
}

fn replace(c: &Call) -> Result<Json, String> {
    let regex = compile(pattern(c, "pattern")?, flags(c, 2, 3))?;
    let with = c.str(1, "replacement").unwrap_or("").to_owned();
    let count = c.arg(usize::MAX - 1, "count").and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let text = python(c.value());
    let (out, _) = regex.replace(&text, count, |found| expand(&with, found)).map_err(|e| e.to_string())?;
    Ok(json!(out))
}

/// A replacement as Python reads it: `\1`, `\g<1>`, `\g<name>`, `\\`, `\n`, `\t`.
pub fn expand(with: &str, found: &Found<'_, '_>) -> String {
    let mut out = String::new();
    let mut chars = with.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(d) if d.is_ascii_digit() => {
                let mut number = d.to_string();
                if let Some(next) = chars.peek().filter(|n| n.is_ascii_digit()).copied() {
                    number.push(next);
                    chars.next();
                }
                out.push_str(number.parse().ok().and_then(|n| found.get(n)).unwrap_or_default());
            }
            Some('g') if chars.peek() == Some(&'<') => {
                chars.next();
                let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                let group = name.parse::<usize>().ok().and_then(|n| found.get(n)).or_else(|| found.name(&name));
                out.push_str(group.unwrap_or_default());
            }
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('\\') => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

/// A text with everything special in a pattern escaped.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "\\.+*?()|[]{}^$#&-~ \t\n\r".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
