//! Values of the cluster spec: text with a form, numbers with limits, words, lists and mappings.

use super::table::{Shape, Value};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::yaml::{Node, Value as Yaml};
use indexmap::IndexMap;
use serde_json::{Value as Json, json};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

/// A value that knows where it stands, for checks that come after reading.
#[derive(Clone, Debug, PartialEq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub loc: Loc,
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Display> fmt::Display for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: Value> Value for At<T> {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        Some(Self { value: T::read(node, what, out)?, loc: node.loc.clone() })
    }
    fn to_json(&self) -> Json {
        self.value.to_json()
    }
    fn shape() -> Shape {
        T::shape()
    }
    fn placeholder() -> Self {
        Self::from(T::placeholder())
    }
}

impl<T> From<T> for At<T> {
    /// A value that comes from no file.
    fn from(value: T) -> Self {
        Self { value, loc: Loc::outside("default") }
    }
}

impl<F> From<&str> for At<Text<F>> {
    fn from(text: &str) -> Self {
        Self::from(Text::from(text))
    }
}

impl<T: Value> Value for Option<T> {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        T::read(node, what, out).map(Some)
    }
    fn to_json(&self) -> Json {
        self.as_ref().map_or(Json::Null, Value::to_json)
    }
    fn shape() -> Shape {
        T::shape()
    }
    fn placeholder() -> Self {
        None
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        let Some(items) = node.as_seq() else {
            out.push(Diagnostic::error(&node.loc, format!("`{what}` must be a list, not {}", node.kind())));
            return None;
        };
        Some(items.iter().enumerate().filter_map(|(i, item)| T::read(item, &format!("{what}[{i}]"), out)).collect())
    }
    fn to_json(&self) -> Json {
        Json::Array(self.iter().map(Value::to_json).collect())
    }
    fn shape() -> Shape {
        let item = T::shape();
        let words = format!("list of {}", plural(&item.words));
        Shape { schema: json!({"type": "array", "items": item.schema}), words, section: item.section, step: "[]" }
    }
    fn placeholder() -> Self {
        vec![]
    }
}

/// Several of what `words` says one of: `a node name` is `node names`, `a quantity` is `quantities`.
fn plural(words: &str) -> String {
    let Some(one) = words.strip_prefix("a ").or_else(|| words.strip_prefix("an ")) else { return words.to_owned() };
    match (one.strip_suffix('y'), one.strip_suffix("address")) {
        (Some(stem), _) => format!("{stem}ies"),
        (_, Some(_)) => format!("{one}es"),
        _ => format!("{one}s"),
    }
}

impl<T: Value> Value for IndexMap<String, T> {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        let Some(map) = node.as_map() else {
            out.push(Diagnostic::error(&node.loc, format!("`{what}` must be a mapping, not {}", node.kind())));
            return None;
        };
        let mut read = Self::new();
        for (key, value) in map.iter() {
            let name = key.key_text();
            if let Some(value) = T::read(value, &format!("{what}.{name}"), out) {
                read.insert(name, value);
            }
        }
        Some(read)
    }
    fn to_json(&self) -> Json {
        Json::Object(self.iter().map(|(k, v)| (k.clone(), v.to_json())).collect())
    }
    fn shape() -> Shape {
        let item = T::shape();
        let words = format!("mapping of names to {}", plural(&item.words));
        Shape { schema: json!({"type": "object", "additionalProperties": item.schema}), words, section: item.section, step: ".NAME" }
    }
    fn placeholder() -> Self {
        Self::new()
    }
}

impl Value for bool {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        match node.value {
            Yaml::Bool(b) => Some(b),
            _ => {
                out.push(Diagnostic::error(&node.loc, format!("`{what}` must be true or false, not {}", shown(node))));
                None
            }
        }
    }
    fn to_json(&self) -> Json {
        json!(self)
    }
    fn shape() -> Shape {
        Shape::plain(json!({"type": "boolean"}), "true or false")
    }
    fn placeholder() -> Self {
        false
    }
}

/// The node's text or kind, for "must be …, not …".
pub fn shown(node: &Node) -> String {
    match &node.value {
        Yaml::Str(s) => format!("`{s}`"),
        Yaml::Bool(b) => format!("`{b}`"),
        Yaml::Int(_) | Yaml::Float(_) => format!("`{}`", node.key_text()),
        _ => node.kind().to_owned(),
    }
}

/// A whole number from `LOW` to `HIGH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole<const LOW: i64, const HIGH: i64>(pub i64);

/// A TCP port.
pub type Port = Whole<1, 65535>;
/// How many of something, at least one.
pub type Count = Whole<1, 100_000>;
/// Seconds, or another number that may be zero.
pub type Number = Whole<0, 2_147_483_647>;

impl<const LOW: i64, const HIGH: i64> Value for Whole<LOW, HIGH> {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        match node.value {
            Yaml::Int(i) if (LOW..=HIGH).contains(&i) => Some(Self(i)),
            _ => {
                let text = if node.as_str().is_some() { "the text " } else { "" };
                out.push(Diagnostic::error(
                    &node.loc,
                    format!("`{what}` must be a whole number from {LOW} to {HIGH}, not {text}{}", shown(node)),
                ));
                None
            }
        }
    }
    fn to_json(&self) -> Json {
        json!(self.0)
    }
    fn shape() -> Shape {
        Shape::plain(json!({"type": "integer", "minimum": LOW, "maximum": HIGH}), &format!("a whole number from {LOW} to {HIGH}"))
    }
    fn placeholder() -> Self {
        Self(LOW)
    }
}

impl<const LOW: i64, const HIGH: i64> Whole<LOW, HIGH> {
    /// As Kubernetes takes numbers; larger ones are clamped (none of the types here reach that).
    pub fn int(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }
}

impl<const LOW: i64, const HIGH: i64> fmt::Display for Whole<LOW, HIGH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const LOW: i64, const HIGH: i64> From<i64> for Whole<LOW, HIGH> {
    fn from(value: i64) -> Self {
        Self(value)
    }
}

/// A form that text can have.
pub trait Form {
    /// `a node name`: what such text is called.
    const WORDS: &'static str;
    /// The regular expression of the schema; [`Form::wrong`] must refuse all that it refuses.
    const PATTERN: &'static str;
    /// Whether a whole number is taken for its digits.
    const NUMBERS: bool;
    /// Why `text` has not this form; `None`: it has.
    fn wrong(text: &str) -> Option<String>;
}

/// Text of the form `F`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text<F>(String, PhantomData<F>);

impl<F> Deref for Text<F> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<F> fmt::Debug for Text<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<F> fmt::Display for Text<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<F> From<&str> for Text<F> {
    fn from(text: &str) -> Self {
        Self(text.to_owned(), PhantomData)
    }
}

impl<F: Form> Value for Text<F> {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        let text = match &node.value {
            Yaml::Str(s) => s.clone(),
            Yaml::Int(_) | Yaml::Float(_) if F::NUMBERS => node.key_text(),
            _ => {
                out.push(Diagnostic::error(&node.loc, format!("`{what}` must be {}, not {}", F::WORDS, shown(node))));
                return None;
            }
        };
        if let Some(why) = F::wrong(&text) {
            out.push(Diagnostic::error(&node.loc, format!("`{what}` must be {}, not `{text}`: {why}", F::WORDS)));
            return None;
        }
        Some(Self(text, PhantomData))
    }
    fn to_json(&self) -> Json {
        json!(self.0)
    }
    fn shape() -> Shape {
        let kind = if F::NUMBERS { json!(["string", "number"]) } else { json!("string") };
        let schema = if F::PATTERN.is_empty() { json!({"type": kind}) } else { json!({"type": kind, "pattern": F::PATTERN}) };
        Shape::plain(schema, F::WORDS)
    }
    fn placeholder() -> Self {
        Self::from("missing")
    }
}

/// A value that is one of a few words.
macro_rules! words {
    ($(#[doc = $about:literal])+ pub enum $Name:ident { $($(#[doc = $doc:literal])+ $Variant:ident = $word:literal),+ $(,)? }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name {
            $($(#[doc = $doc])+ $Variant,)+
        }

        impl $Name {
            /// All words with what they mean.
            pub const ALL: &[(&'static str, &'static str, $Name)] = &[$(($word, concat!($($doc),+), $Name::$Variant)),+];

            /// The word in the file.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$Variant => $word,)+
                }
            }
        }

        impl $crate::cluster::table::Value for $Name {
            fn read(node: &$crate::yaml::Node, what: &str, out: &mut $crate::diag::Diagnostics) -> Option<Self> {
                $crate::cluster::value::word(node, what, Self::ALL, out)
            }
            fn to_json(&self) -> serde_json::Value {
                serde_json::json!(self.word())
            }
            fn shape() -> $crate::cluster::table::Shape {
                $crate::cluster::value::words_shape(&[$(($word, concat!($($doc),+))),+])
            }
            fn placeholder() -> Self {
                Self::ALL[0].2
            }
        }
    };
}
pub(crate) use words;

/// Reads one of a few words.
pub fn word<T: Copy>(node: &Node, what: &str, all: &[(&'static str, &'static str, T)], out: &mut Diagnostics) -> Option<T> {
    let found = node.as_str().and_then(|text| all.iter().find(|(w, _, _)| *w == text));
    if found.is_none() {
        let names: Vec<&str> = all.iter().map(|(w, _, _)| *w).collect();
        let d = Diagnostic::error(&node.loc, format!("`{what}` must be one of {}, not {}", names.join(", "), shown(node)));
        out.push(d.nearest(node.as_str().unwrap_or_default(), names));
    }
    found.map(|(_, _, value)| *value)
}

/// A sentence as it stands in brackets.
fn inside(sentence: &str) -> String {
    let text = sentence.trim().trim_end_matches('.');
    let mut chars = text.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The form of one of a few words.
pub fn words_shape(all: &[(&'static str, &'static str)]) -> Shape {
    let names: Vec<&str> = all.iter().map(|(w, _)| *w).collect();
    let words = all.iter().map(|(w, doc)| format!("`{w}` ({})", inside(doc))).collect::<Vec<_>>().join(", ");
    Shape::plain(json!({"type": "string", "enum": names}), &format!("one of {words}"))
}
