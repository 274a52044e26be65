//! The table behind the cluster spec. Each section of `cluster.yml` is declared once, with [`section!`]; that one
//! declaration makes the Rust type, the located reading of YAML, the JSON Schema and the reference, so they can't differ.

use crate::diag::{Diagnostic, Diagnostics, Loc, nearest};
use crate::yaml::{Mapping, Node};
use serde_json::{Map, Value as Json, json};

/// What can stand as a value in the spec.
pub trait Value: Sized {
    /// Reads it; what does not fit is written into `out`.
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self>;
    /// As data, for defaults in the schema.
    fn to_json(&self) -> Json;
    /// Its form, for the schema and the reference.
    fn shape() -> Shape;
    /// Says where a value stands that the file does not give: where its section does.
    fn stand(&mut self, _loc: &Loc) {}
    /// Any value of the type; stands where a required one is missing, and is never used: the file is refused then.
    fn placeholder() -> Self;
}

/// The form of a value.
pub struct Shape {
    /// Its JSON Schema, without description and default.
    pub schema: Json,
    /// In words, for the reference: `text`, `port`, `list of node names`.
    pub words: String,
    /// The sections inside it: described below it in the reference.
    pub section: Option<Described>,
    /// What stands between its name and its section's fields: nothing, `[]` for lists, `.NAME` for mappings.
    pub step: &'static str,
}

impl Shape {
    /// A plain value.
    pub fn plain(schema: Json, words: &str) -> Self {
        Self { schema, words: words.to_owned(), section: None, step: "" }
    }
}

/// A section as it describes itself.
pub struct Described {
    /// What it is for.
    pub about: String,
    /// Its fields in order.
    pub fields: Vec<Field>,
}

/// One field as it describes itself.
pub struct Field {
    /// Its name in the file.
    pub name: &'static str,
    /// What it is for.
    pub doc: String,
    /// Must be given.
    pub required: bool,
    /// Its value when not given; `None`: nothing then.
    pub default: Option<Json>,
    /// Its form.
    pub shape: Shape,
}

/// A mapping with known fields.
pub trait Section: Sized {
    /// What it is for.
    fn about() -> String;
    /// Reads its fields, or only describes them: both are the same walk.
    fn walk(fields: &mut Fields<'_>) -> Self;
}

/// What a field is when the file does not give it.
pub enum Absent<T> {
    /// An error.
    Refused,
    /// This value.
    Is(T),
}

/// It must be given.
pub fn required<T>() -> Absent<T> {
    Absent::Refused
}

/// It is `value` unless given.
pub fn or<T>(value: impl Into<T>) -> Absent<T> {
    Absent::Is(value.into())
}

/// It may be left out, and is nothing then.
pub fn optional<T>() -> Absent<Option<T>> {
    Absent::Is(None)
}

/// An empty list or mapping unless given.
pub fn empty<T: Default>() -> Absent<T> {
    Absent::Is(T::default())
}

/// A section that is there with its defaults even if not given.
pub fn defaults<T: Section>() -> Absent<T> {
    let nothing = Mapping::default();
    let mut fields = Fields::new(&nothing, Loc::outside("default"), "");
    Absent::Is(T::walk(&mut fields))
}

/// One walk over a section's fields.
pub struct Fields<'a> {
    map: &'a Mapping,
    loc: Loc,
    /// How the section is called in messages: `proxies.ports`; empty for the whole file.
    path: String,
    /// Names of the fields so far.
    names: Vec<&'static str>,
    /// Their descriptions, if the section is only described.
    described: Option<Vec<Field>>,
    /// Required fields that are not there.
    missing: Vec<(&'static str, Diagnostic)>,
    /// Errors found; dropped when the section is only described.
    pub out: Diagnostics,
}

impl<'a> Fields<'a> {
    fn new(map: &'a Mapping, loc: Loc, path: &str) -> Self {
        Self { map, loc, path: path.to_owned(), names: vec![], described: None, missing: vec![], out: Diagnostics::default() }
    }

    /// Where the section stands.
    pub fn loc(&self) -> Loc {
        self.loc.clone()
    }

    /// The field `name`.
    pub fn field<T: Value>(&mut self, name: &'static str, doc: &[&str], absent: Absent<T>) -> T {
        let text = || doc.iter().map(|l| l.trim()).collect::<Vec<_>>().join(" ").trim().to_owned();
        self.names.push(name);
        if let Some(described) = &mut self.described {
            let default = match &absent {
                Absent::Is(value) => Some(value.to_json()).filter(|d| !d.is_null()),
                Absent::Refused => None,
            };
            let required = matches!(absent, Absent::Refused);
            described.push(Field { name, doc: text(), required, default, shape: T::shape() });
        }
        let what = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        // A key without a value is as if it weren't there, as in Kubernetes.
        let given = self.map.get(name).filter(|node| !node.is_null());
        match (given, absent) {
            (Some(node), _) => T::read(node, &what, &mut self.out).unwrap_or_else(T::placeholder),
            (None, Absent::Is(mut value)) => {
                value.stand(&self.loc);
                value
            }
            (None, Absent::Refused) => {
                let loc = self.map.entry(name).map_or(&self.loc, |(key, _)| &key.loc);
                self.missing.push((name, Diagnostic::error(loc, format!("`{what}` is missing")).help(text().trim_end_matches('.'))));
                T::placeholder()
            }
        }
    }

    fn refuse_unknown(&mut self) {
        let names = &self.names;
        let place = if self.path.is_empty() { "the cluster spec".to_owned() } else { format!("`{}`", self.path) };
        for (key, _) in self.map.iter() {
            let Some(name) = key.as_str() else {
                self.out.push(Diagnostic::error(&key.loc, format!("a field of {place} is named by text, not by {}", key.kind())));
                continue;
            };
            if names.contains(&name) {
                continue;
            }
            let d = Diagnostic::error(&key.loc, format!("unknown field `{name}` of {place}")).nearest(name, names.iter().copied());
            // A required field that was only misspelt is told once.
            let meant = nearest(name, names.iter().copied());
            self.missing.retain(|(required, _)| Some(*required) != meant);
            let d = if d.label.is_some() { d } else { d.help(format!("its fields: {}", names.join(", "))) };
            self.out.push(d);
        }
        let missing = std::mem::take(&mut self.missing);
        self.out.0.extend(missing.into_iter().map(|(_, d)| d));
    }
}

/// Reads a section from a mapping.
pub fn read_section<T: Section>(node: &Node, what: &str, out: &mut Diagnostics) -> Option<T> {
    let Some(map) = node.as_map() else {
        let name = if what.is_empty() { "the cluster spec".to_owned() } else { format!("`{what}`") };
        out.push(Diagnostic::error(&node.loc, format!("{name} must be a mapping, not {}", node.kind())));
        return None;
    };
    let mut fields = Fields::new(map, node.loc.clone(), what);
    let value = T::walk(&mut fields);
    fields.refuse_unknown();
    out.0.append(&mut fields.out.0);
    Some(value)
}

/// A section's own description.
pub fn describe<T: Section>() -> Described {
    let nothing = Mapping::default();
    let mut fields = Fields { described: Some(vec![]), ..Fields::new(&nothing, Loc::outside("description"), "") };
    T::walk(&mut fields);
    Described { about: T::about(), fields: fields.described.unwrap_or_default() }
}

/// The form of a section.
pub fn section_shape<T: Section>() -> Shape {
    let described = describe::<T>();
    let mut properties = Map::new();
    let mut needed = vec![];
    for field in &described.fields {
        let mut schema = field.shape.schema.clone();
        if let Json::Object(map) = &mut schema {
            map.insert("description".into(), json!(field.doc));
            if let Some(default) = &field.default {
                map.insert("default".into(), default.clone());
            }
        }
        if field.required {
            needed.push(field.name);
        } else {
            or_null(&mut schema);
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !needed.is_empty() {
        schema["required"] = json!(needed);
    }
    Shape { schema, words: "a mapping".to_owned(), section: Some(described), step: "" }
}

/// A key without a value counts as not given.
fn or_null(schema: &mut Json) {
    match schema.get_mut("type") {
        Some(Json::Array(kinds)) => kinds.push(json!("null")),
        Some(kind) => *kind = json!([kind.clone(), "null"]),
        None => {}
    }
    if let Some(Json::Array(words)) = schema.get_mut("enum") {
        words.push(Json::Null);
    }
}

/// Declares a section: its type with documentation, and the table that reads and describes it.
///
/// Each field is `/// doc`, `pub name: Type = absent`, with [`required`], [`or`], [`optional`], [`empty`] or [`defaults`].
macro_rules! section {
    ($(#[doc = $about:literal])+ pub struct $Name:ident { $($(#[doc = $doc:literal])+ pub $field:ident: $Type:ty = $absent:expr),* $(,)? }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $($(#[doc = $doc])+ pub $field: $Type,)*
            /// Where the section stands.
            pub loc: $crate::diag::Loc,
        }

        impl $crate::cluster::table::Section for $Name {
            fn about() -> String {
                [$($about),+].map(str::trim).join(" ")
            }

            fn walk(fields: &mut $crate::cluster::table::Fields<'_>) -> Self {
                Self { $($field: fields.field(stringify!($field), &[$($doc),+], $absent),)* loc: fields.loc() }
            }
        }

        impl $crate::cluster::table::Value for $Name {
            fn read(node: &$crate::yaml::Node, what: &str, out: &mut $crate::diag::Diagnostics) -> Option<Self> {
                $crate::cluster::table::read_section(node, what, out)
            }

            fn to_json(&self) -> serde_json::Value {
                let fields: Vec<(&str, serde_json::Value)> =
                    vec![$((stringify!($field), $crate::cluster::table::Value::to_json(&self.$field))),*];
                serde_json::Value::Object(fields.into_iter().filter(|(_, v)| !v.is_null()).map(|(n, v)| (n.to_owned(), v)).collect())
            }

            fn shape() -> $crate::cluster::table::Shape {
                $crate::cluster::table::section_shape::<Self>()
            }

            fn stand(&mut self, loc: &$crate::diag::Loc) {
                self.loc = loc.clone();
                $($crate::cluster::table::Value::stand(&mut self.$field, loc);)*
            }

            fn placeholder() -> Self {
                $crate::cluster::table::placeholder()
            }
        }
    };
}
pub(crate) use section;

/// A section with nothing in it.
pub fn placeholder<T: Section>() -> T {
    let nothing = Mapping::default();
    T::walk(&mut Fields::new(&nothing, Loc::outside("missing"), ""))
}
