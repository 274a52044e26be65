//! Global functions and values: `lookup`, `query`, `now`, `omit`, `range`, `dict`, ….

use super::convert::{to_json, to_value};
use super::engine::OMIT;
use super::ghost::{Absence, Ghost};
use super::lookups::Lookups;
use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, ErrorKind, State};
use serde_json::Value as Json;
use std::sync::Arc;

/// Names the scope must not answer for.
pub const NAMES: &[&str] = &[
    "lookup",
    "query",
    "q",
    "now",
    "omit",
    "range",
    "dict",
    "namespace",
    "undef",
    "loop",
    "self",
    "super",
    "caller",
    "varargs",
    "kwargs",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
    "debug",
];

/// Adds them.
pub fn add(env: &mut Environment<'static>, lookups: &Arc<dyn Lookups>) {
    env.add_global("omit", Value::from(OMIT));
    let one = lookups.clone();
    env.add_function("lookup", move |state: &mut State, name: &str, terms: Rest<Value>, options: Kwargs| {
        let wantlist = options.get::<Option<bool>>("wantlist")?.unwrap_or(false);
        let results = look(&one, state, name, &terms, &options)?;
        if wantlist {
            return Ok(Value::from(results));
        }
        // As Ansible: one result is itself, several are joined with commas.
        Ok(match results.as_slice() {
            [single] => single.clone(),
            many if many.iter().all(|v| v.as_str().is_some()) => {
                Value::from(many.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))
            }
            many => Value::from(many.to_vec()),
        })
    });
    for alias in ["query", "q"] {
        let many = lookups.clone();
        env.add_function(alias, move |state: &mut State, name: &str, terms: Rest<Value>, options: Kwargs| {
            look(&many, state, name, &terms, &options).map(Value::from)
        });
    }
    env.add_function("dict", dict);
    env.add_function("now", now);
    env.add_function("undef", |hint: Option<String>| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::UndefinedError, hint.unwrap_or_else(|| "undef() was reached".into())))
    });
}

fn look(lookups: &Arc<dyn Lookups>, state: &State, name: &str, terms: &[Value], options: &Kwargs) -> Result<Vec<Value>, Error> {
    if name.strip_prefix("ansible.builtin.").unwrap_or(name) == "vars" {
        let default = options.get::<Option<Value>>("default")?;
        return terms
            .iter()
            .map(|term| {
                let name = term.as_str().ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "the vars lookup takes names"))?;
                let value = state.lookup(name).unwrap_or_default();
                Ok(match (Ghost::of(&value).filter(|g| matches!(g.absence, Absence::Undefined(_))), &default) {
                    (Some(ghost), Some(default)) => {
                        ghost.account();
                        default.clone()
                    }
                    _ => value,
                })
            })
            .collect();
    }
    let terms = terms.iter().map(to_json).collect::<Result<Vec<_>, _>>()?;
    let mut given = serde_json::Map::new();
    for key in options.args() {
        given.insert(key.to_owned(), to_json(&options.get::<Value>(key)?)?);
    }
    let short = name.strip_prefix("ansible.builtin.").unwrap_or(name);
    let results = lookups.lookup(short, &terms, &given).map_err(|e| Error::new(ErrorKind::InvalidOperation, e))?;
    Ok(results.iter().map(to_value).collect())
}

/// `dict(mapping or pairs, key=value, …)`.
fn dict(from: Option<Value>, more: Kwargs) -> Result<Value, Error> {
    let mut map = serde_json::Map::new();
    match from.as_ref().map(to_json).transpose()? {
        None => {}
        Some(Json::Object(given)) => map = given,
        Some(Json::Array(pairs)) => {
            for pair in pairs {
                let Some([key, value]) = pair.as_array().map(Vec::as_slice) else {
                    return Err(Error::new(ErrorKind::InvalidOperation, format!("dict needs pairs, not {pair}")));
                };
                map.insert(key.as_str().map_or_else(|| key.to_string(), str::to_owned), value.clone());
            }
        }
        Some(other) => return Err(Error::new(ErrorKind::InvalidOperation, format!("dict needs a mapping or pairs, not {other}"))),
    }
    for key in more.args() {
        map.insert(key.to_owned(), to_json(&more.get::<Value>(key)?)?);
    }
    Ok(to_value(&Json::Object(map)))
}

/// `now(utc=False, fmt=None)`: this host's clock; always UTC, as hosts are compared with each other.
fn now(options: Kwargs) -> Result<String, Error> {
    let _utc = options.get::<Option<bool>>("utc")?;
    let format = options.get::<Option<String>>("fmt")?;
    options.assert_all_used()?;
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or(0);
    Ok(super::time::strftime(format.as_deref().unwrap_or("%Y-%m-%d %H:%M:%S"), i64::try_from(seconds).unwrap_or(0)))
}
