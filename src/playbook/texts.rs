//! Templates in playbooks, checked before any host is touched.

use crate::diag::Diagnostics;
use crate::modules::Module;
use crate::play::Vars;
use crate::yaml::Node;

/// Checks every template in `node`.
pub(crate) fn template(_node: &Node, _out: &mut Diagnostics) {}

/// Checks a condition: a bare expression.
pub(crate) fn condition(_node: &Node, _out: &mut Diagnostics) {}

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
pub(crate) fn render(_node: &Node, _layers: &[&Vars]) -> Result<String, String> {
    Err("templates are not rendered here yet".into())
}
