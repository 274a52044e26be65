//! Templates in playbooks: checked before any host is touched, and names rendered that must be known by then.

use super::read;
use crate::diag::Diagnostics;
use crate::modules::Module;
use crate::play::Vars;
use crate::template::{self, Engine, Scope, TemplateError, Var};
use crate::yaml::Node;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::sync::Arc;

/// Checks every template in `node`.
pub(crate) fn template(node: &Node, out: &mut Diagnostics) {
    if read::is_template(node) {
        out.0.extend(template::check(node, false));
    }
}

/// Checks a condition: a bare expression.
pub(crate) fn condition(node: &Node, out: &mut Diagnostics) {
    if node.as_str().is_some() {
        out.0.extend(template::check(node, true));
    }
}

/// Checks an argument of a module; some are expressions without braces.
pub(crate) fn argument(module: &Module, name: &str, value: &Node, out: &mut Diagnostics) {
    match (module.name, name) {
        ("assert", "that") => match value.as_seq() {
            Some(items) => items.iter().for_each(|n| condition(n, out)),
            None => condition(value, out),
        },
        ("debug", "var") => condition(value, out),
        _ => template(value, out),
    }
}

/// Renders a name with variables known before any host is asked; later layers win.
pub(crate) fn render(node: &Node, layers: &[&Vars]) -> Result<String, String> {
    let mut scope = Scope::new();
    for vars in layers {
        let layer: HashMap<String, Var> = vars.0.iter().map(|(k, v)| (k.clone(), Var::Template(Arc::new(v.clone())))).collect();
        scope.push(Arc::new(layer));
    }
    match Engine::new().render(node, &scope) {
        Ok(Json::String(text)) => Ok(text),
        Ok(Json::Number(number)) => Ok(number.to_string()),
        Ok(other) => Err(format!("it gives {other}, which is no name")),
        Err(TemplateError::Unknown(why)) => Err(why),
        Err(TemplateError::Undefined(d) | TemplateError::Failed(d)) => Err(d.message),
    }
}
