//! The variables a template sees.

use crate::yaml::Node;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;

/// One variable.
#[derive(Clone, Debug)]
pub enum Var {
    /// As the operator wrote it: text in it may be a template, rendered when the variable is used.
    Template(Arc<Node>),
    /// Data (facts, results): never a template, whatever it looks like. May hold [`unknown`] markers.
    Plain(Arc<Json>),
}

/// Layers of variables; a later layer hides an earlier one.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    layers: Vec<Arc<HashMap<String, Var>>>,
}

impl Scope {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a layer on top.
    pub fn push(&mut self, layer: Arc<HashMap<String, Var>>) {
        self.layers.push(layer);
    }

    /// The variable `name` means.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.layers.iter().rev().find_map(|layer| layer.get(name))
    }

    /// All names, for "did you mean" and `vars`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().flat_map(|layer| layer.keys().map(String::as_str))
    }
}

/// The key that marks an unknown value inside results: `{"__fettle_unknown": "why"}`. Reading one in a
/// template is [`super::TemplateError::Unknown`].
pub const UNKNOWN: &str = "__fettle_unknown";

/// A value a dry run cannot know.
pub fn unknown(why: &str) -> Json {
    serde_json::json!({ UNKNOWN: why })
}
