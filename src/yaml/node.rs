//! The tree itself.

use crate::diag::Loc;
use serde::{Deserialize, Serialize};

/// One YAML node: its value, where it stands, and its tag if it had one of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// What it holds.
    pub value: Value,
    /// Where it starts.
    pub loc: Loc,
    /// A tag that is not one of YAML's core types, as written: `!vault`, `!unsafe`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Box<str>>,
}

/// What a node holds after PyYAML's resolution of plain scalars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true`, `yes`, `on` and their opposites.
    Bool(bool),
    /// An integer, in any of YAML 1.1's notations (`0644` is octal).
    Int(i64),
    /// A floating-point number (it needs a dot).
    Float(f64),
    /// Text: quoted, or plain and nothing else (dates stay text).
    Str(String),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping, in the order it was written, merge keys resolved.
    Map(Mapping),
}

/// A mapping's entries in the order they were written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mapping(pub Vec<(Node, Node)>);

impl Mapping {
    /// The value under the text key `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Key node and value node under the text key `key`.
    pub fn entry(&self, key: &str) -> Option<(&Node, &Node)> {
        self.0.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(k, v)| (k, v))
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Node, &Node)> {
        self.0.iter().map(|(k, v)| (k, v))
    }
}

impl Node {
    /// A node without a tag.
    pub fn new(value: Value, loc: Loc) -> Self {
        Self { value, loc, tag: None }
    }

    /// A text node at `loc`.
    pub fn text(text: impl Into<String>, loc: Loc) -> Self {
        Self::new(Value::Str(text.into()), loc)
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The mapping, if it is one.
    pub fn as_map(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Map(m) => Some(m),
            _ => None,
        }
    }

    /// The items, if it is a sequence.
    pub fn as_seq(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Seq(s) => Some(s),
            _ => None,
        }
    }

    /// Whether it is null or empty.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Tagged `!unsafe`: its text is never a template.
    pub fn is_unsafe(&self) -> bool {
        self.tag.as_deref() == Some("!unsafe")
    }

    /// "text", "a list", …: for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Str(_) => "text",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The same data without locations. Keys that are not text become text as Python prints them.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) => Json::from(*i),
            Value::Float(x) => serde_json::Number::from_f64(*x).map_or_else(|| Json::String(x.to_string()), Json::Number),
            Value::Str(s) => Json::String(s.clone()),
            Value::Seq(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.key_text(), v.to_json())).collect()),
        }
    }

    /// The text of a mapping key as Python's `str()` prints it.
    pub fn key_text(&self) -> String {
        match &self.value {
            Value::Null => "None".into(),
            Value::Bool(true) => "True".into(),
            Value::Bool(false) => "False".into(),
            Value::Int(i) => i.to_string(),
            Value::Float(x) => x.to_string(),
            Value::Str(s) => s.clone(),
            Value::Seq(_) | Value::Map(_) => self.to_json().to_string(),
        }
    }

    /// A tree all of whose nodes stand at `loc`, from data that came without locations.
    pub fn from_json(json: &serde_json::Value, loc: &Loc) -> Self {
        use serde_json::Value as Json;
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)), Value::Int),
            Json::String(s) => Value::Str(s.clone()),
            Json::Array(items) => Value::Seq(items.iter().map(|i| Self::from_json(i, loc)).collect()),
            Json::Object(map) => {
                Value::Map(Mapping(map.iter().map(|(k, v)| (Self::text(k.clone(), loc.clone()), Self::from_json(v, loc))).collect()))
            }
        };
        Self::new(value, loc.clone())
    }
}
