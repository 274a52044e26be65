//! Ansible's filters. Those that only turn data into data are plain functions over JSON, by theme.

mod data;
mod net;
pub mod regex;
mod text;

pub use data::python_json;

pub use text::python;

use super::convert::{first_unknown, to_json, to_value};
use super::ghost::{Absence, Ghost};
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use serde_json::{Map, Value as Json};

/// Filters of Ansible's that are refused by name, with the reason.
pub const REFUSED: &[(&str, &str)] = &[
    ("json_query", "JMESPath is not built in: use selectattr, map and dict2items"),
    ("password_hash", "hash passwords on the workstation"),
    ("vault", "vault is not supported yet"),
    ("unvault", "vault is not supported yet"),
    ("random_mac", "it gives another value on every run"),
    ("shuffle", "it gives another order on every run"),
    ("fileglob", "it looks at the workstation's files, and templates run on the host"),
    ("md5", "use hash('sha256') or sha1"),
];

/// What a data filter is given: the value and positional arguments, and named ones.
pub struct Call {
    args: Vec<Json>,
    named: Map<String, Json>,
    used: std::cell::RefCell<Vec<String>>,
}

impl Call {
    /// The filtered value.
    pub fn value(&self) -> &Json {
        self.args.first().unwrap_or(&Json::Null)
    }

    /// Argument number `index` (from 0, behind the value), or the named one.
    pub fn arg(&self, index: usize, name: &str) -> Option<&Json> {
        self.used.borrow_mut().push(name.to_owned());
        self.named.get(name).or_else(|| self.args.get(index + 1))
    }

    /// As text.
    pub fn str(&self, index: usize, name: &str) -> Option<&str> {
        self.arg(index, name).and_then(Json::as_str)
    }

    /// As a boolean.
    pub fn flag(&self, index: usize, name: &str) -> bool {
        self.arg(index, name).is_some_and(super::tests::truthy)
    }

    /// All positional arguments behind the value.
    pub fn rest(&self) -> &[Json] {
        self.args.get(1..).unwrap_or_default()
    }
}

/// A filter from data to data.
pub type DataFilter = fn(&Call) -> Result<Json, String>;

fn data(env: &mut Environment<'static>, name: &'static str, filter: DataFilter) {
    env.add_filter(name, move |args: Rest<Value>, named: Kwargs| -> Result<Value, Error> {
        let args = args.iter().map(to_json).collect::<Result<Vec<_>, _>>()?;
        let mut map = Map::new();
        for key in named.args() {
            map.insert(key.to_owned(), to_json(&named.get::<Value>(key)?)?);
        }
        if let Some(why) = args.iter().chain(map.values()).find_map(first_unknown) {
            return Ok(Ghost::value(Absence::Unknown(why)));
        }
        let call = Call { args, named: map, used: std::cell::RefCell::default() };
        let result = filter(&call).map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("{name}: {e}")))?;
        let used = call.used.borrow();
        if let Some(stranger) = call.named.keys().find(|k| !used.contains(k)) {
            return Err(Error::new(ErrorKind::TooManyArguments, format!("{name} has no argument `{stranger}`")));
        }
        Ok(to_value(&result))
    });
}

/// Adds all filters.
pub fn add(env: &mut Environment<'static>) {
    for (name, filter) in data::FILTERS.iter().chain(text::FILTERS).chain(net::FILTERS).chain(regex::FILTERS) {
        data(env, name, *filter);
    }
    for name in ["default", "d"] {
        env.add_filter(name, default);
    }
    env.add_filter("mandatory", mandatory);
    env.add_filter("map", map);
    env.add_filter("ternary", ternary);
    env.add_filter("extract", extract);
    env.add_filter("type_debug", |v: &Value| match v.kind() {
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if v.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Seq | ValueKind::Iterable => "list",
        ValueKind::Map => "dict",
        _ => "AnsibleUndefined",
    });
    for (name, reason) in REFUSED {
        env.add_filter(*name, move |_: Rest<Value>| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, format!("the filter `{name}` is not supported: {reason}")))
        });
    }
}

/// `default(other='', boolean=false)`.
fn default(value: Value, other: Option<Value>, boolean: Option<bool>, named: Kwargs) -> Result<Value, Error> {
    let other = match named.get::<Option<Value>>("default_value")? {
        Some(named) => named,
        None => other.unwrap_or_else(|| Value::from("")),
    };
    let boolean = named.get::<Option<bool>>("boolean")?.or(boolean).unwrap_or(false);
    named.assert_all_used()?;
    if let Some(ghost) = Ghost::of(&value) {
        if matches!(ghost.absence, Absence::Undefined(_)) {
            ghost.account();
            return Ok(other);
        }
        return Ok(value);
    }
    Ok(if value.is_undefined() || (boolean && !value.is_true()) { other } else { value })
}

/// `mandatory(msg)`.
fn mandatory(value: Value, message: Option<String>, named: Kwargs) -> Result<Value, Error> {
    let message = named.get::<Option<String>>("msg")?.or(message);
    named.assert_all_used()?;
    let missing = value.is_undefined() || Ghost::of(&value).is_some_and(|g| matches!(g.absence, Absence::Undefined(_)));
    match (missing, message) {
        (false, _) => Ok(value),
        (true, Some(message)) => {
            if let Some(ghost) = Ghost::of(&value) {
                ghost.account();
            }
            Err(Error::new(ErrorKind::InvalidOperation, message))
        }
        (true, None) => Err(Error::new(ErrorKind::UndefinedError, "a mandatory variable is undefined")),
    }
}

/// `map('filter', …)`, `map(attribute='a.b', default=x)`.
fn map(state: &mut State<'_, '_>, list: Value, args: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    if Ghost::of(&list).is_some() {
        return Ok(list);
    }
    let mut results = vec![];
    if let Some(attribute) = named.get::<Option<Value>>("attribute")? {
        let default = named.get::<Option<Value>>("default")?;
        named.assert_all_used()?;
        for item in list.try_iter()? {
            let mut value = item;
            for part in attribute.to_string().split('.') {
                value = match part.parse::<i64>() {
                    Ok(index) if value.kind() == ValueKind::Seq => value.get_item(&Value::from(index))?,
                    _ if value.is_undefined() => value,
                    _ => value.get_attr(part)?,
                };
            }
            let ghost = Ghost::of(&value).filter(|g| matches!(g.absence, Absence::Undefined(_)));
            results.push(match (ghost, &default) {
                (Some(ghost), Some(default)) => {
                    ghost.account();
                    default.clone()
                }
                (None, Some(default)) if value.is_undefined() => default.clone(),
                _ => value,
            });
        }
        return Ok(Value::from(results));
    }
    let Some((filter, rest)) = args.split_first() else {
        return Err(Error::new(ErrorKind::MissingArgument, "map needs a filter's name or attribute='…'"));
    };
    let filter = filter.as_str().ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "map needs the name of a filter"))?;
    let short = filter.rsplit('.').next().unwrap_or(filter);
    let mut named_args: Vec<(String, Value)> = vec![];
    for key in named.args() {
        named_args.push((key.to_owned(), named.get::<Value>(key)?));
    }
    for item in list.try_iter()? {
        let mut all = vec![item];
        all.extend(rest.iter().cloned());
        if !named_args.is_empty() {
            all.push(Value::from(Kwargs::from_iter(named_args.iter().map(|(k, v)| (k.as_str(), v.clone())))));
        }
        results.push(state.apply_filter(short, &all)?);
    }
    Ok(Value::from(results))
}

/// `ternary(true_value, false_value, none_value)`.
fn ternary(value: Value, yes: Value, no: Value, none: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let none = named.get::<Option<Value>>("none_val")?.or(none);
    named.assert_all_used()?;
    if Ghost::of(&value).is_some() {
        return Ok(value);
    }
    Ok(match none {
        Some(none) if value.is_none() => none,
        _ if value.is_true() => yes,
        _ => no,
    })
}

/// `extract(container, morekeys)`: as `map('extract', hostvars, 'attr')` uses it.
fn extract(key: Value, container: Value, more: Option<Value>) -> Result<Value, Error> {
    let missing = |key: &Value| Ghost::value(Absence::Undefined(key.to_string()));
    let mut value = container.get_item(&key)?;
    if value.is_undefined() {
        return Ok(missing(&key));
    }
    let keys: Vec<Value> = match more {
        None => vec![],
        Some(list) if list.kind() == ValueKind::Seq => list.try_iter()?.collect(),
        Some(one) => vec![one],
    };
    for key in keys {
        value = value.get_item(&key)?;
        if value.is_undefined() {
            return Ok(missing(&key));
        }
    }
    Ok(value)
}
