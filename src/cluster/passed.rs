//! Values that are Kubernetes' or AIStore's own and are passed through, checked as far as their types are known.

use super::forms::{ObjectName, Words};
use super::table::{Shape, Value};
use super::value::{Text, shown};
use crate::diag::{Diagnostic, Diagnostics, Loc, nearest};
use crate::yaml::{Node, Value as Yaml};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};

/// A type of the Kubernetes API that may be written out in the spec.
pub trait Known: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug {
    /// Its name in Kubernetes' API reference.
    const NAME: &'static str;
}

macro_rules! known {
    ($($Type:ident),+) => {
        $(impl Known for k8s_openapi::api::core::v1::$Type {
            const NAME: &'static str = stringify!($Type);
        })+
    };
}
known!(Affinity, PodSecurityContext, SecurityContext);

/// A piece of a Kubernetes object, in Kubernetes' own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Kube<T>(pub T, pub Loc);

impl<T: Known> Value for Kube<T> {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        let json = node.to_json();
        if !json.is_object() {
            out.push(Diagnostic::error(&node.loc, format!("`{what}` must be a mapping as Kubernetes' {}, not {}", T::NAME, node.kind())));
            return None;
        }
        let typed: T = match serde_json::from_value(json.clone()) {
            Ok(typed) => typed,
            Err(e) => {
                out.push(Diagnostic::error(&node.loc, format!("`{what}` is not Kubernetes' {}: {e}", T::NAME)));
                return None;
            }
        };
        // What the type does not know is gone after a round trip.
        let kept = serde_json::to_value(&typed).unwrap_or_default();
        if let Some((key, loc, inside)) = lost(node, &kept) {
            out.push(
                Diagnostic::error(&loc, format!("unknown field `{key}` of `{what}{inside}`"))
                    .help(format!("`{what}` is Kubernetes' {}: https://kubernetes.io/docs/reference/kubernetes-api/", T::NAME)),
            );
            return None;
        }
        Some(Self(typed, node.loc.clone()))
    }
    fn to_json(&self) -> Json {
        serde_json::to_value(&self.0).unwrap_or_default()
    }
    fn shape() -> Shape {
        Shape::plain(json!({"type": "object"}), &format!("Kubernetes' {}", T::NAME))
    }
    fn placeholder() -> Self {
        // Every field of these types is optional.
        let nothing = serde_json::from_value(json!({}));
        Self(nothing.unwrap_or_else(|_| unreachable!("an empty {} is one", T::NAME)), Loc::outside("missing"))
    }
}

/// The first key of `node` that `kept` has not: its name, its place, and the path to it.
fn lost(node: &Node, kept: &Json) -> Option<(String, Loc, String)> {
    match (&node.value, kept) {
        (Yaml::Map(map), Json::Object(kept)) => map.iter().find_map(|(key, value)| {
            let name = key.key_text();
            match kept.get(&name) {
                None if value.is_null()
                    || value.as_seq().is_some_and(<[Node]>::is_empty)
                    || value.as_map().is_some_and(|m| m.0.is_empty()) =>
                {
                    None
                }
                None => Some((name, key.loc.clone(), String::new())),
                Some(kept) => lost(value, kept).map(|(k, l, inside)| (k, l, format!(".{name}{inside}"))),
            }
        }),
        (Yaml::Seq(items), Json::Array(kept)) => items
            .iter()
            .zip(kept)
            .enumerate()
            .find_map(|(i, (item, kept))| lost(item, kept).map(|(k, l, inside)| (k, l, format!("[{i}]{inside}")))),
        _ => None,
    }
}

/// Sections of AIStore's cluster configuration (`ClusterConfig` of release v5.0, cmn/config.go).
pub const CONFIG_SECTIONS: &[&str] = &[
    "arch",
    "auth",
    "backend",
    "checksum",
    "chunks",
    "client",
    "disk",
    "distributed_sort",
    "downloader",
    "ec",
    "features",
    "fshc",
    "get_batch",
    "keepalivetracker",
    "log",
    "lso",
    "lru",
    "memsys",
    "mirror",
    "net",
    "periodic",
    "proxy",
    "rate_limit",
    "rebalance",
    "resilver",
    "space",
    "tcb",
    "tco",
    "timeout",
    "tracing",
    "transport",
    "versioning",
    "write_policy",
];

/// AIStore's own configuration, passed through; its sections are checked by name.
#[derive(Clone, Debug)]
pub struct AisConfig {
    /// As data.
    pub json: Map<String, Json>,
    /// As written.
    node: Option<Node>,
}

impl PartialEq for AisConfig {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl Default for AisConfig {
    fn default() -> Self {
        Self { json: Map::new(), node: None }
    }
}

impl AisConfig {
    /// The value at `path`, such as `net.http.use_https`.
    pub fn get(&self, path: &str) -> Option<&Json> {
        let mut parts = path.split('.');
        let mut value = self.json.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(value)
    }

    /// As it was written, section by section.
    pub fn written(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Where `path` stands.
    pub fn loc(&self, path: &str) -> Option<Loc> {
        let mut node = self.node.as_ref()?;
        let mut loc = &node.loc;
        for part in path.split('.') {
            let (key, value) = node.as_map()?.entry(part)?;
            (loc, node) = (&key.loc, value);
        }
        Some(loc.clone())
    }
}

impl Value for AisConfig {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        let Some(map) = node.as_map() else {
            out.push(Diagnostic::error(&node.loc, format!("`{what}` must be a mapping, not {}", node.kind())));
            return None;
        };
        for (key, value) in map.iter() {
            let name = key.key_text();
            if !CONFIG_SECTIONS.contains(&name.as_str()) {
                let d = Diagnostic::error(&key.loc, format!("AIStore's configuration has no section `{name}`"));
                out.push(match nearest(&name, CONFIG_SECTIONS.iter().copied()) {
                    Some(near) => d.label(format!("did you mean `{near}`?")),
                    None => d.help(format!("its sections: {}", CONFIG_SECTIONS.join(", "))),
                });
            } else if value.as_map().is_none() && name != "features" {
                out.push(Diagnostic::error(&value.loc, format!("`{what}.{name}` must be a mapping, not {}", shown(value))));
            }
        }
        let Json::Object(json) = node.to_json() else { return None };
        Some(Self { json, node: Some(node.clone()) })
    }
    fn to_json(&self) -> Json {
        Json::Object(self.json.clone())
    }
    fn shape() -> Shape {
        let sections: Map<String, Json> = CONFIG_SECTIONS
            .iter()
            .map(|s| ((*s).to_owned(), if *s == "features" { json!(true) } else { json!({"type": "object"}) }))
            .collect();
        Shape::plain(
            json!({"type": "object", "properties": sections, "additionalProperties": false}),
            "AIStore's cluster configuration, section by section",
        )
    }
    fn placeholder() -> Self {
        Self::default()
    }
}

/// The value of an environment variable.
#[derive(Clone, Debug, PartialEq)]
pub enum EnvValue {
    /// Written out.
    Text(String),
    /// From a Secret's key.
    Secret(String, String),
    /// From a ConfigMap's key.
    ConfigMap(String, String),
    /// From a field of the pod, such as `status.hostIP`.
    Field(String),
}

impl Value for EnvValue {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            Yaml::Str(s) => return Some(Self::Text(s.clone())),
            Yaml::Int(_) | Yaml::Float(_) => return Some(Self::Text(node.key_text())),
            Yaml::Map(_) => {}
            _ => {
                let d = Diagnostic::error(&node.loc, format!("`{what}` must be text or where to take it from, not {}", shown(node)));
                out.push(
                    d.help("write text in quotes, or `{secret: NAME, key: KEY}`, `{config_map: NAME, key: KEY}`, `{field: status.hostIP}`"),
                );
                return None;
            }
        }
        let map = node.as_map()?;
        let known = ["secret", "config_map", "field", "key"];
        for (key, _) in map.iter() {
            let name = key.key_text();
            if !known.contains(&name.as_str()) {
                out.push(Diagnostic::error(&key.loc, format!("unknown field `{name}` of `{what}`")).nearest(&name, known));
                return None;
            }
        }
        let name = |field: &str, out: &mut Diagnostics| map.get(field).and_then(|n| ObjectName::read(n, &format!("{what}.{field}"), out));
        let words = |field: &str, out: &mut Diagnostics| map.get(field).and_then(|n| Words::read(n, &format!("{what}.{field}"), out));
        let own = |t: Option<Text<_>>| t.map(|t: Words| t.to_string());
        let (secret, config_map) = (name("secret", out), name("config_map", out));
        let (field, key) = (own(words("field", out)), own(words("key", out)));
        match (secret, config_map, field, key) {
            (Some(s), None, None, Some(key)) => Some(Self::Secret(s.to_string(), key)),
            (None, Some(c), None, Some(key)) => Some(Self::ConfigMap(c.to_string(), key)),
            (None, None, Some(field), None) => Some(Self::Field(field)),
            _ => {
                let d = Diagnostic::error(&node.loc, format!("`{what}` must say one place to take its value from"));
                out.push(d.help("`{secret: NAME, key: KEY}`, `{config_map: NAME, key: KEY}` or `{field: status.hostIP}`"));
                None
            }
        }
    }
    fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => json!(text),
            Self::Secret(name, key) => json!({"secret": name, "key": key}),
            Self::ConfigMap(name, key) => json!({"config_map": name, "key": key}),
            Self::Field(path) => json!({"field": path}),
        }
    }
    fn shape() -> Shape {
        let from = |what: &str, with_key: bool| {
            let mut properties = Map::from_iter([(what.to_owned(), json!({"type": "string"}))]);
            let mut required = vec![what];
            if with_key {
                properties.insert("key".into(), json!({"type": "string"}));
                required.push("key");
            }
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        };
        Shape::plain(
            json!({"anyOf": [{"type": ["string", "number"]}, from("secret", true), from("config_map", true), from("field", false)]}),
            "text, `{secret: NAME, key: KEY}`, `{config_map: NAME, key: KEY}` or `{field: PATH}`",
        )
    }
    fn placeholder() -> Self {
        Self::Text(String::new())
    }
}
