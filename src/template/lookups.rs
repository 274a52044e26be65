//! What templates may ask of the world outside: `lookup('items', …)`.

use serde_json::Value as Json;

/// Answers `lookup` and `query`.
pub trait Lookups: Send + Sync {
    /// The results of the lookup plugin `name` for these terms; `Err` says why there are none.
    fn lookup(&self, name: &str, terms: &[Json], options: &serde_json::Map<String, Json>) -> Result<Vec<Json>, String>;
}

/// Lookup plugins that work, for the check before a run.
pub const KNOWN: &[&str] = &["dict", "items", "list", "vars"];

/// Lookups that need nothing from outside.
#[derive(Debug)]
pub struct Builtin;

impl Lookups for Builtin {
    fn lookup(&self, name: &str, terms: &[Json], _options: &serde_json::Map<String, Json>) -> Result<Vec<Json>, String> {
        match name {
            "items" => Ok(terms
                .iter()
                .flat_map(|t| match t {
                    Json::Array(items) => items.clone(),
                    other => vec![other.clone()],
                })
                .collect()),
            "list" => Ok(terms.to_vec()),
            "dict" => terms
                .iter()
                .map(|t| match t {
                    Json::Object(map) => Ok(map.iter().map(|(k, v)| serde_json::json!({"key": k, "value": v})).collect::<Vec<_>>()),
                    other => Err(format!("the dict lookup takes mappings, not {other}")),
                })
                .collect::<Result<Vec<_>, _>>()
                .map(|all| all.into_iter().flatten().collect()),
            other => Err(format!("the lookup `{other}` is not supported; there are: {}", KNOWN.join(", "))),
        }
    }
}
