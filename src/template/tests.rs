//! Tests (`is …`) that Ansible adds or reads differently.

use super::convert::{first_unknown, to_json};
use super::filters::regex;
use super::ghost::{Absence, Ghost};
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind};
use serde_json::Value as Json;

/// Tests that look at the controller's files in Ansible; refused, because templates run on the host.
pub const REFUSED: &[&str] = &["file", "directory", "link", "exists", "mount", "link_exists", "is_file", "is_dir", "abs"];

/// Adds them.
pub fn add(env: &mut Environment<'static>) {
    env.add_test("defined", |v: &Value| defined(v));
    env.add_test("undefined", |v: &Value| !defined(v));
    for (name, key) in [("changed", "changed"), ("change", "changed"), ("skipped", "skipped"), ("skip", "skipped")] {
        env.add_test(name, move |v: &Value| flag(v, key));
    }
    for name in ["failed", "failure"] {
        env.add_test(name, |v: &Value| flag(v, "failed"));
    }
    for name in ["succeeded", "success", "successful"] {
        env.add_test(name, |v: &Value| Ok::<_, Error>(!flag(v, "failed")?));
    }
    env.add_test("reachable", |v: &Value| Ok::<_, Error>(!flag(v, "unreachable")?));
    env.add_test("unreachable", |v: &Value| flag(v, "unreachable"));
    for name in ["version", "version_compare"] {
        env.add_test(name, version);
    }
    for (name, anchor) in [("match", regex::Anchor::Start), ("search", regex::Anchor::None), ("regex", regex::Anchor::None)] {
        let test = move |text: &str, pattern: &str, options: Kwargs| regex::test(text, pattern, anchor, &options);
        env.add_test(name, test);
        // `selectattr` is given a name as a text.
        env.add_test(format!("ansible.builtin.{name}"), test);
    }
    env.add_test("contains", |list: &Value, item: &Value| {
        if let (Some(text), Some(part)) = (list.as_str(), item.as_str()) {
            return Ok(text.contains(part));
        }
        let item = to_json(item)?;
        Ok::<_, Error>(match to_json(list)? {
            Json::Array(items) => items.contains(&item),
            Json::Object(map) => item.as_str().is_some_and(|k| map.contains_key(k)),
            _ => false,
        })
    });
    for (name, swap) in [("subset", false), ("issubset", false), ("superset", true), ("issuperset", true)] {
        env.add_test(name, move |a: &Value, b: &Value| {
            let (small, large) = if swap { (b, a) } else { (a, b) };
            let large = items(large)?;
            Ok::<_, Error>(items(small)?.iter().all(|i| large.contains(i)))
        });
    }
    env.add_test("all", |list: &Value| Ok::<_, Error>(items(list)?.iter().all(truthy)));
    env.add_test("any", |list: &Value| Ok::<_, Error>(items(list)?.iter().any(truthy)));
    env.add_test("truthy", |v: &Value, options: Kwargs| bool_test(v, &options, true));
    env.add_test("falsy", |v: &Value, options: Kwargs| bool_test(v, &options, false));
    env.add_test("sequence", |v: &Value| matches!(v.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map));
    env.add_test("mapping", |v: &Value| v.kind() == ValueKind::Map);
    env.add_test("nan", |v: &Value| f64::try_from(v.clone()).is_ok_and(f64::is_nan));
    for name in REFUSED {
        env.add_test(*name, move |_: &Value| -> Result<bool, Error> {
            Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("the test `{name}` looks at the workstation's files, and templates run on the host: use the stat module"),
            ))
        });
    }
}

fn defined(value: &Value) -> bool {
    match Ghost::of(value) {
        Some(ghost) => {
            ghost.account();
            matches!(ghost.absence, Absence::Unknown(_))
        }
        None => !value.is_undefined(),
    }
}

/// A result's flag; for a loop's result, the task's own.
fn flag(result: &Value, key: &str) -> Result<bool, Error> {
    if Ghost::of(result).is_some() {
        return Ok(false);
    }
    match to_json(result)? {
        Json::Object(map) => match map.get(key) {
            Some(value) => match first_unknown(value) {
                // Handed out and not accounted for: the evaluation becomes unknown.
                Some(why) => {
                    let _ = Ghost::value(Absence::Unknown(why));
                    Ok(false)
                }
                None => Ok(truthy(value)),
            },
            None => Ok(false),
        },
        other => Err(Error::new(ErrorKind::InvalidOperation, format!("this test needs the result of a task, not {other}"))),
    }
}

fn items(value: &Value) -> Result<Vec<Json>, Error> {
    match to_json(value)? {
        Json::Array(items) => Ok(items),
        Json::Object(map) => Ok(map.keys().map(|k| Json::from(k.as_str())).collect()),
        other => Err(Error::new(ErrorKind::InvalidOperation, format!("a list is needed here, not {other}"))),
    }
}

/// Python's truth of a value.
pub fn truthy(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(b) => *b,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(s) => !s.is_empty(),
        Json::Array(a) => !a.is_empty(),
        Json::Object(o) => !o.is_empty(),
    }
}

fn bool_test(value: &Value, options: &Kwargs, want: bool) -> Result<bool, Error> {
    let convert = options.get::<Option<bool>>("convert_bool")?.unwrap_or(false);
    options.assert_all_used()?;
    let json = to_json(value)?;
    let truth = match &json {
        Json::String(s) if convert => matches!(s.to_ascii_lowercase().as_str(), "yes" | "true" | "on" | "1" | "y" | "t"),
        other => truthy(other),
    };
    Ok(truth == want)
}

/// `version(other, operator='eq', strict=false, version_type='loose')`: loose comparison is as Python's old LooseVersion.
fn version(given: &Value, other: &Value, operator: Option<&str>, options: Kwargs) -> Result<bool, Error> {
    let operator = match options.get::<Option<&str>>("operator")? {
        Some(named) => named,
        None => operator.unwrap_or("eq"),
    };
    let (strict, kind) = (options.get::<Option<bool>>("strict")?.unwrap_or(false), options.get::<Option<&str>>("version_type")?);
    options.assert_all_used()?;
    let (given, other) = (given.to_string(), other.to_string());
    let order = match kind.unwrap_or(if strict { "strict" } else { "loose" }) {
        "loose" => Ok(compare_versions(&given, &other)),
        "semver" | "semantic" => semver(&given).and_then(|a| Ok(a.cmp(&semver(&other)?))),
        // Numbers alone compare alike in both; pre-releases do not.
        "strict" => match [&given, &other].into_iter().find(|v| !(2..=3).contains(&v.split('.').count()) || numbers(v).is_none()) {
            Some(strange) => Err(format!("`{strange}` is not two or three numbers with dots, which strict comparison needs")),
            None => Ok(numbers(&given).cmp(&numbers(&other))),
        },
        other => Err(format!("version_type can be loose, strict or semver, not `{other}`")),
    }
    .map_err(|e| Error::new(ErrorKind::InvalidOperation, e))?;
    use std::cmp::Ordering::{Equal, Greater, Less};
    Ok(match operator {
        "==" | "=" | "eq" => order == Equal,
        "!=" | "<>" | "ne" => order != Equal,
        "<" | "lt" => order == Less,
        "<=" | "le" => order != Greater,
        ">" | "gt" => order == Greater,
        ">=" | "ge" => order != Less,
        other => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("`{other}` is no comparison; there are ==, !=, <, <=, >, >= and eq, ne, lt, le, gt, ge"),
            ));
        }
    })
}

/// Three numbers, the last 0 where it is missing; `None` if there is anything else.
fn numbers(text: &str) -> Option<[u64; 3]> {
    let mut all = [0; 3];
    for (i, part) in text.split('.').enumerate() {
        *all.get_mut(i)? = part.parse().ok()?;
    }
    Some(all)
}

/// A semantic version so that they sort: numbers, whether it is a release, and what a pre-release says (numbers
/// stand before words). What follows `+` does not count.
type Semantic = ([u64; 3], bool, Vec<(bool, u64, String)>);

fn semver(text: &str) -> Result<Semantic, String> {
    let plain = text.split('+').next().unwrap_or_default();
    let (core, pre) = plain.split_once('-').map_or((plain, None), |(core, pre)| (core, Some(pre)));
    let core = numbers(core).filter(|_| core.split('.').count() == 3).ok_or_else(|| format!("`{text}` is no semantic version"))?;
    let parts = pre.into_iter().flat_map(|pre| pre.split('.')).map(|part| match part.parse() {
        Ok(number) => (false, number, String::new()),
        Err(_) => (true, 0, part.to_owned()),
    });
    Ok((core, pre.is_none(), parts.collect()))
}

/// Compares version texts part by part: numbers as numbers, the rest as text; a number is above text.
fn compare_versions(a: &str, b: &str) -> std::cmp::Ordering {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    enum Part {
        Text(String),
        Number(u64),
    }
    let parts = |text: &str| {
        let mut all: Vec<Part> = vec![];
        let mut current = String::new();
        let mut digits = false;
        for c in text.chars().chain(std::iter::once('.')) {
            let is_digit = c.is_ascii_digit();
            if (c == '.' || is_digit != digits) && !current.is_empty() {
                all.push(if digits { Part::Number(current.parse().unwrap_or(u64::MAX)) } else { Part::Text(current.clone()) });
                current.clear();
            }
            digits = is_digit;
            if c != '.' {
                current.push(c);
            }
        }
        all
    };
    parts(a.trim()).cmp(&parts(b.trim()))
}

#[cfg(test)]
mod unit {
    use super::compare_versions;
    use std::cmp::Ordering::{Equal, Greater, Less};

    #[test]
    fn versions() {
        assert_eq!(compare_versions("1.10", "1.9"), Greater);
        assert_eq!(compare_versions("22.04", "22.04"), Equal);
        assert_eq!(compare_versions("6.1.0-18", "6.8"), Less);
        assert_eq!(compare_versions("v1.30.1", "v1.33.0"), Less);
    }
}
