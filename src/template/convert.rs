//! Between data (JSON) and template values, keeping order, number types and unknown markers.

use super::ghost::{Absence, Ghost};
use super::scope::{UNKNOWN, unknown};
use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// A mapping whose values become template values when they are looked at.
#[derive(Debug)]
pub struct LazyMap(pub Map<String, Json>);

/// A list that holds something unknown, likewise.
#[derive(Debug)]
pub struct LazyList(pub Vec<Json>);

impl Object for LazyMap {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    // `map[key]` and `key in map`.
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let text = match key.as_str() {
            Some(text) => text.to_owned(),
            None => key.to_string(),
        };
        self.0.get(&text).map(to_value)
    }

    // `map.key`: a missing one chains, so that `a.b.c | default(x)` works.
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(self.0.get(key).map_or_else(|| Ghost::value(Absence::Undefined(key.to_owned())), to_value))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.keys().map(|k| Value::from(k.as_str())).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.0.len())
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match (method, args) {
            ("get", [key]) => Ok(self.get_value(key).unwrap_or_else(|| Value::from(()))),
            ("get", [key, default]) => Ok(self.get_value(key).unwrap_or_else(|| default.clone())),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

impl Object for LazyList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let index = usize::try_from(key.as_i64()?).ok()?;
        self.0.get(index).map(to_value)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
}

/// Data as a template value.
pub fn to_value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(i), ..) => Value::from(i),
            (_, Some(u), _) => Value::from(u),
            (.., x) => Value::from(x.unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::from(s.as_str()),
        Json::Array(items) if items.iter().any(holds_unknown) => Value::from_object(LazyList(items.clone())),
        Json::Array(items) => Value::from(items.iter().map(to_value).collect::<Vec<_>>()),
        Json::Object(map) => match map.get(UNKNOWN) {
            Some(why) => Ghost::value(Absence::Unknown(why.as_str().unwrap_or("a result that a dry run does not have").to_owned())),
            None => Value::from_object(LazyMap(map.clone())),
        },
    }
}

fn holds_unknown(json: &Json) -> bool {
    match json {
        Json::Object(map) => map.contains_key(UNKNOWN),
        Json::Array(items) => items.iter().any(holds_unknown),
        _ => false,
    }
}

/// A template value as data. An unknown becomes its marker; an undefined one is an error that names it.
pub fn to_json(value: &Value) -> Result<Json, Error> {
    if let Some(ghost) = Ghost::of(value) {
        return match &ghost.absence {
            Absence::Unknown(why) => {
                ghost.account();
                Ok(unknown(why))
            }
            Absence::Undefined(name) => Err(Error::new(ErrorKind::UndefinedError, format!("`{name}` is undefined"))),
        };
    }
    if let Some(map) = value.downcast_object_ref::<LazyMap>() {
        return Ok(Json::Object(map.0.clone()));
    }
    if let Some(list) = value.downcast_object_ref::<LazyList>() {
        return Ok(Json::Array(list.0.clone()));
    }
    match value.kind() {
        ValueKind::Undefined => Err(Error::new(ErrorKind::UndefinedError, "the value is undefined")),
        ValueKind::None => Ok(Json::Null),
        ValueKind::Bool => Ok(Json::Bool(value.is_true())),
        ValueKind::Number => Ok(number(value)),
        ValueKind::String => Ok(Json::String(value.as_str().map_or_else(|| value.to_string(), str::to_owned))),
        ValueKind::Bytes => Ok(Json::String(String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned())),
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.map(|item| to_json(&item)).collect::<Result<Vec<_>, _>>().map(Json::Array)
        }
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter()? {
                let item = value.get_item(&key)?;
                map.insert(key.as_str().map_or_else(|| key.to_string(), str::to_owned), to_json(&item)?);
            }
            Ok(Json::Object(map))
        }
        ValueKind::Invalid => Err(Error::new(ErrorKind::InvalidOperation, value.to_string())),
        _ => Ok(Json::String(value.to_string())),
    }
}

fn number(value: &Value) -> Json {
    if value.is_integer() {
        if let Some(i) = value.as_i64() {
            return Json::from(i);
        }
        if let Ok(u) = u64::try_from(value.clone()) {
            return Json::from(u);
        }
    }
    let x = f64::try_from(value.clone()).unwrap_or(f64::NAN);
    serde_json::Number::from_f64(x).map_or_else(|| Json::String(value.to_string()), Json::Number)
}

/// A list or mapping as Python prints it; other values as they are.
pub fn plain(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => {
            let json = to_json(value)?;
            if let Some(why) = first_unknown(&json) {
                // Printing it would print the marker: hand out a ghost that nobody accounts for.
                let _ = Ghost::value(Absence::Unknown(why));
            }
            Ok(Value::from(super::filters::python(&json)))
        }
        _ => Ok(value.clone()),
    }
}

/// Why something inside is unknown.
pub fn first_unknown(json: &Json) -> Option<String> {
    match json {
        Json::Object(map) => match map.get(UNKNOWN) {
            Some(why) => Some(why.as_str().unwrap_or_default().to_owned()),
            None => map.values().find_map(first_unknown),
        },
        Json::Array(items) => items.iter().find_map(first_unknown),
        _ => None,
    }
}
