//! A task's arguments after rendering, checked and coerced by the module's description.

use super::{Kind, Module, PlanError};
use serde_json::{Map, Value as Json};

/// Checked arguments under their canonical names. Null and `omit` count as not given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args(Map<String, Json>);

impl Args {
    /// Checks `given` against `module`: unknown names, missing required ones, wrong kinds.
    pub fn check(module: &Module, given: Map<String, Json>) -> Result<Self, PlanError> {
        let mut args = Map::new();
        for (name, value) in given {
            let known = module.arg(&name);
            // A variable may be set to nothing; an argument that is nothing is not given.
            if value.is_null() && (known.is_some() || !module.any_args) {
                continue;
            }
            let Some(arg) = known else {
                if module.any_args || name == "_raw_params" {
                    args.insert(name, value);
                    continue;
                }
                return Err(PlanError::failed(format!("unknown argument `{name}` of module `{}`", module.name)));
            };
            let value = coerce(arg.kind, value)
                .map_err(|want| PlanError::failed(format!("argument `{name}` of module `{}` {want}", module.name)))?;
            if args.insert(arg.name.to_owned(), value).is_some() {
                return Err(PlanError::failed(format!(
                    "argument `{}` of module `{}` is given twice (it is also called {})",
                    arg.name,
                    module.name,
                    arg.aliases.join(", ")
                )));
            }
        }
        for arg in module.args.iter().filter(|a| a.required) {
            if !args.contains_key(arg.name) {
                return Err(PlanError::failed(format!("argument `{}` of module `{}` is missing", arg.name, module.name)));
            }
        }
        Ok(Self(args))
    }

    /// The raw value of `name`.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    /// Text (also paths, modes and choices).
    pub fn str(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Json::as_str)
    }

    /// Text of an argument whose description says it is required.
    pub fn required(&self, name: &str) -> Result<&str, PlanError> {
        self.str(name).ok_or_else(|| PlanError::failed(format!("argument `{name}` is missing")))
    }

    /// A boolean.
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.0.get(name).and_then(Json::as_bool)
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Json::as_i64)
    }

    /// A list of texts.
    pub fn str_list(&self, name: &str) -> Option<Vec<String>> {
        let items = self.0.get(name)?.as_array()?;
        Some(items.iter().map(text).collect())
    }

    /// All arguments, for `any_args` modules.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Json)> {
        self.0.iter()
    }
}

/// Python's `str()` of a plain value.
pub(super) fn text(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        Json::Bool(true) => "True".into(),
        Json::Bool(false) => "False".into(),
        Json::Null => "None".into(),
        other => other.to_string(),
    }
}

/// A boolean as Ansible reads one.
pub fn boolean(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(b) => Some(*b),
        Json::Number(n) if n.as_f64() == Some(1.0) => Some(true),
        Json::Number(n) if n.as_f64() == Some(0.0) => Some(false),
        Json::String(s) => match s.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" | "1.0" => Some(true),
            "n" | "no" | "off" | "0" | "false" | "f" | "0.0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Turns `value` into `kind` as Ansible would; the error says what was wanted (`must be …, not …`).
pub fn coerce(kind: Kind, value: Json) -> Result<Json, String> {
    let wrong = |want: &str, value: &Json| format!("must be {want}, not {value}");
    match kind {
        Kind::Any => Ok(value),
        Kind::Str | Kind::Path => match value {
            Json::Array(_) | Json::Object(_) => Err(wrong("text", &value)),
            other => Ok(Json::String(text(&other))),
        },
        Kind::Choice(words) => {
            let word = match &value {
                // YAML reads a bare `yes`/`no` as a boolean; a choice of these words means the word.
                Json::Bool(b) => ["yes", "no", "on", "off", "true", "false"]
                    .iter()
                    .find(|w| words.contains(w) && boolean(&Json::from(**w)) == Some(*b))
                    .map_or_else(|| text(&value), |w| (*w).to_owned()),
                other => text(other),
            };
            if words.contains(&word.as_str()) {
                Ok(Json::String(word))
            } else {
                Err(wrong(&format!("one of {}", words.join(", ")), &value))
            }
        }
        Kind::Bool => boolean(&value).map(Json::Bool).ok_or_else(|| wrong("yes or no", &value)),
        Kind::Int => match &value {
            Json::Number(n) if n.is_i64() => Ok(value),
            Json::Number(n) if n.as_f64().is_some_and(|x| x.fract() == 0.0 && x.abs() < 9e15) => {
                Ok(Json::from(n.as_f64().unwrap_or(0.0) as i64))
            }
            Json::String(s) => s.trim().parse::<i64>().map(Json::from).map_err(|_| wrong("a whole number", &value)),
            _ => Err(wrong("a whole number", &value)),
        },
        Kind::Float => match &value {
            Json::Number(_) => Ok(value),
            Json::String(s) => s
                .trim()
                .parse::<f64>()
                .ok()
                .and_then(|x| serde_json::Number::from_f64(x).map(Json::Number))
                .ok_or_else(|| wrong("a number", &value)),
            _ => Err(wrong("a number", &value)),
        },
        // A number is what YAML made of an octal literal: 0644 arrives as 420.
        Kind::Mode => match &value {
            Json::Number(n) => {
                n.as_u64().filter(|m| *m <= 0o7777).map(|m| Json::String(format!("{m:04o}"))).ok_or_else(|| wrong("a file mode", &value))
            }
            Json::String(_) => Ok(value),
            _ => Err(wrong("a file mode", &value)),
        },
        Kind::StrList => match value {
            Json::Array(items) => Ok(Json::Array(items.iter().map(|i| Json::String(text(i))).collect())),
            Json::String(s) => Ok(Json::Array(s.split(',').map(str::trim).filter(|s| !s.is_empty()).map(Json::from).collect())),
            Json::Object(_) => Err(wrong("a list", &value)),
            other => Ok(Json::Array(vec![Json::String(text(&other))])),
        },
        Kind::List => match value {
            Json::Array(_) => Ok(value),
            Json::Object(_) => Err(wrong("a list", &value)),
            other => Ok(Json::Array(vec![other])),
        },
        Kind::Dict => match value {
            Json::Object(_) => Ok(value),
            other => Err(wrong("a mapping", &other)),
        },
    }
}
