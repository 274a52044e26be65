//! Regular expressions in Python's syntax.

use super::text::python;
use super::{Call, DataFilter};
use fancy_regex::{Captures, Regex};
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
pub fn compile(pattern: &str, ignorecase: bool, multiline: bool, start: bool) -> Result<Regex, String> {
    let mut flags = String::new();
    if ignorecase {
        flags.push('i');
    }
    if multiline {
        flags.push('m');
    }
    // Python's names of groups and its end-of-text differ from the engine's.
    let body = pattern.replace("(?P=", "\\k<PY>").replace("\\Z", "\\z");
    let body = if body.contains("\\k<PY>") { group_references(&body) } else { body };
    let flags = if flags.is_empty() { String::new() } else { format!("(?{flags})") };
    let full = if start { format!("{flags}\\A(?:{body})") } else { format!("{flags}{body}") };
    Regex::new(&full).map_err(|e| format!("`{pattern}` is not a regular expression: {e}"))
}

/// `(?P=name)` as `\k<name>`.
fn group_references(body: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("\\k<PY>") {
        out.push_str(before);
        match after.split_once(')') {
            Some((name, tail)) => {
                out.push_str(&format!("\\k<{name}>"));
                rest = tail;
            }
            None => rest = after,
        }
    }
    out.push_str(rest);
    out
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
    let regex = compile(pattern, ignorecase, multiline, anchor == Anchor::Start).map_err(failed)?;
    regex.is_match(text).map_err(|e| failed(e.to_string()))
}

fn pattern<'c>(c: &'c Call, name: &str) -> Result<&'c str, String> {
    c.str(0, name).ok_or_else(|| "a pattern is needed".into())
}

fn search(c: &Call) -> Result<Json, String> {
    let regex = compile(pattern(c, "regex")?, c.flag(usize::MAX - 1, "ignorecase"), c.flag(usize::MAX - 1, "multiline"), false)?;
    let text = python(c.value());
    let groups: Vec<String> = c.rest().iter().skip(1).map(python).collect();
    let Some(found) = regex.captures(&text).map_err(|e| e.to_string())? else { return Ok(Json::Null) };
    if groups.is_empty() {
        return Ok(json!(found.get(0).map_or("", |m| m.as_str())));
    }
    let mut out = vec![];
    for group in groups {
        let value = match (
            group.strip_prefix("\\g<").and_then(|g| g.strip_suffix('>')),
            group.strip_prefix('\\').and_then(|g| g.parse::<usize>().ok()),
        ) {
            (Some(name), _) => found.name(name).or_else(|| name.parse().ok().and_then(|n| found.get(n))),
            (None, Some(number)) => found.get(number),
            _ => return Err(format!("`{group}` names no group: write \\\\1 or \\\\g<name>")),
        };
        out.push(value.map_or(Json::Null, |m| json!(m.as_str())));
    }
    Ok(Json::Array(out))
}

fn findall(c: &Call) -> Result<Json, String> {
    let regex = compile(pattern(c, "regex")?, c.flag(2, "ignorecase"), c.flag(1, "multiline"), false)?;
    let text = python(c.value());
    let mut out = vec![];
    for found in regex.captures_iter(&text) {
        let found = found.map_err(|e| e.to_string())?;
        let part = |i: usize| found.get(i).map_or("", |m| m.as_str());
        out.push(match found.len() {
            1 => json!(part(0)),
            2 => json!(part(1)),
            n => (1..n).map(|i| json!(part(i))).collect(),
        });
    }
    Ok(Json::Array(out))
}

fn replace(c: &Call) -> Result<Json, String> {
    let regex = compile(pattern(c, "pattern")?, c.flag(2, "ignorecase"), c.flag(3, "multiline"), false)?;
    let with = c.str(1, "replacement").unwrap_or("").to_owned();
    let count = c.arg(usize::MAX - 1, "count").and_then(Json::as_u64).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let text = python(c.value());
    let out = regex.try_replacen(&text, count, |found: &Captures<'_, str>| expand(&with, found)).map_err(|e| e.to_string())?;
    Ok(json!(out))
}

/// A replacement as Python reads it: `\1`, `\g<1>`, `\g<name>`, `\\`, `\n`, `\t`.
pub fn expand(with: &str, found: &Captures<'_, str>) -> String {
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
                out.push_str(number.parse().ok().and_then(|n| found.get(n)).map_or("", |m| m.as_str()));
            }
            Some('g') if chars.peek() == Some(&'<') => {
                chars.next();
                let name: String = chars.by_ref().take_while(|c| *c != '>').collect();
                let group = name.parse::<usize>().ok().and_then(|n| found.get(n)).or_else(|| found.name(&name));
                out.push_str(group.map_or("", |m| m.as_str()));
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
