//! Reading typed values out of the YAML tree; what does not fit is written down and left out.

use crate::diag::{Diagnostic, Diagnostics};
use crate::play::Vars;
use crate::yaml::{Mapping, Node, Value};

/// Whether a text holds a template.
pub(crate) fn has_braces(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Whether a template is anywhere in `node`.
pub(crate) fn is_template(node: &Node) -> bool {
    match &node.value {
        Value::Str(s) => !node.is_unsafe() && has_braces(s),
        Value::Seq(items) => items.iter().any(is_template),
        Value::Map(map) => map.iter().any(|(k, v)| is_template(k) || is_template(v)),
        _ => false,
    }
}

/// The text of a plain value; lists, mappings and nothing are an error.
pub(crate) fn text(node: &Node, what: &str, out: &mut Diagnostics) -> Option<String> {
    match &node.value {
        Value::Str(s) => Some(s.clone()),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => Some(node.key_text()),
        Value::Null | Value::Seq(_) | Value::Map(_) => {
            out.push(Diagnostic::error(&node.loc, format!("`{what}` must be text, not {}", node.kind())));
            None
        }
    }
}

/// Like [`text`], but a template is refused: it would have to be known before any host is asked.
pub(crate) fn literal(node: &Node, what: &str, out: &mut Diagnostics) -> Option<String> {
    let text = text(node, what, out)?;
    if is_template(node) {
        out.push(Diagnostic::error(&node.loc, format!("`{what}` must be written out: a template here is not supported yet")));
        return None;
    }
    Some(text)
}

/// A text node, template or not.
pub(crate) fn text_node(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Node> {
    text(node, what, out).map(|t| match &node.value {
        Value::Str(_) => node.clone(),
        _ => Node::text(t, node.loc.clone()),
    })
}

/// What Ansible takes for a boolean.
fn truth(node: &Node) -> Option<bool> {
    match &node.value {
        Value::Bool(b) => Some(*b),
        Value::Int(1) => Some(true),
        Value::Int(0) => Some(false),
        Value::Str(s) => match s.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" | "on" | "1" | "true" | "t" => Some(true),
            "n" | "no" | "off" | "0" | "false" | "f" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// Yes or no, known now.
pub(crate) fn boolean(node: &Node, what: &str, out: &mut Diagnostics) -> Option<bool> {
    if is_template(node) {
        out.push(Diagnostic::error(&node.loc, format!("`{what}` must be yes or no: a template here is not supported yet")));
        return None;
    }
    let value = truth(node);
    if value.is_none() {
        out.push(Diagnostic::error(&node.loc, format!("`{what}` must be yes or no, not {}", shown(node))));
    }
    value
}

/// Yes or no, or a template that will say.
pub(crate) fn boolean_node(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Node> {
    if is_template(node) && node.as_str().is_some() {
        return Some(node.clone());
    }
    boolean(node, what, out).map(|b| Node::new(Value::Bool(b), node.loc.clone()))
}

/// A number, or a template that will say.
pub(crate) fn number_node(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Node> {
    let good = match &node.value {
        Value::Int(i) => *i >= 0,
        Value::Float(x) => *x >= 0.0,
        Value::Str(s) => has_braces(s) || s.trim().parse::<f64>().is_ok_and(|x| x >= 0.0),
        _ => false,
    };
    if !good {
        out.push(Diagnostic::error(&node.loc, format!("`{what}` must be a number from 0, not {}", shown(node))));
    }
    good.then(|| node.clone())
}

/// The node's text or kind, for "must be …, not …".
pub(crate) fn shown(node: &Node) -> String {
    match &node.value {
        Value::Str(s) => format!("`{s}`"),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => format!("`{}`", node.key_text()),
        _ => node.kind().to_owned(),
    }
}

/// One or several conditions: text or booleans.
pub(crate) fn conditions(node: &Node, what: &str, out: &mut Diagnostics) -> Vec<Node> {
    let one = |n: &Node, out: &mut Diagnostics| match &n.value {
        Value::Str(_) | Value::Bool(_) | Value::Int(_) => Some(n.clone()),
        _ => {
            out.push(
                Diagnostic::error(&n.loc, format!("`{what}` must be a condition, not {}", n.kind()))
                    .help("write an expression without braces, or a list of them that must all hold"),
            );
            None
        }
    };
    match &node.value {
        Value::Seq(items) => items.iter().filter_map(|i| one(i, out)).collect(),
        _ => one(node, out).into_iter().collect(),
    }
}

/// A list of texts, or one text.
pub(crate) fn texts(node: &Node, what: &str, out: &mut Diagnostics) -> Vec<Node> {
    match &node.value {
        Value::Null => vec![],
        Value::Seq(items) => items.iter().filter_map(|i| text_node(i, what, out)).collect(),
        _ => text_node(node, what, out).into_iter().collect(),
    }
}

/// A mapping.
pub(crate) fn mapping<'a>(node: &'a Node, what: &str, out: &mut Diagnostics) -> Option<&'a Mapping> {
    let map = node.as_map();
    if map.is_none() {
        out.push(Diagnostic::error(&node.loc, format!("{what} must be a mapping, not {}", node.kind())));
    }
    map
}

/// A list; nothing counts as an empty one.
pub(crate) fn list<'a>(node: &'a Node, what: &str, out: &mut Diagnostics) -> &'a [Node] {
    match &node.value {
        Value::Null => &[],
        Value::Seq(items) => items,
        _ => {
            out.push(Diagnostic::error(&node.loc, format!("{what} must be a list, not {}", node.kind())));
            &[]
        }
    }
}

/// Variables: a mapping whose keys can be variable names.
pub(crate) fn vars(node: &Node, what: &str, out: &mut Diagnostics) -> Vars {
    if node.is_null() {
        return Vars::default();
    }
    let Some(map) = mapping(node, what, out) else { return Vars::default() };
    let mut vars = Vars::default();
    for (key, value) in map.iter() {
        match key.as_str() {
            Some(name) if is_name(name) => vars.0.push((name.to_owned(), value.clone())),
            _ => out.push(
                Diagnostic::error(&key.loc, format!("{} cannot be the name of a variable", shown(key)))
                    .help("a name is letters, digits and underscores, and starts with no digit"),
            ),
        }
    }
    vars
}

/// Whether `name` can name a variable.
pub(crate) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The name of a variable to be set (`register`, `loop_var`).
pub(crate) fn name(node: &Node, what: &str, out: &mut Diagnostics) -> Option<String> {
    let name = literal(node, what, out)?;
    if !is_name(&name) {
        out.push(
            Diagnostic::error(&node.loc, format!("`{name}` cannot be the name of a variable"))
                .help("a name is letters, digits and underscores, and starts with no digit"),
        );
        return None;
    }
    Some(name)
}

/// Checks a mapping's keys: `known` are fine, `refused` are named with what to do instead, the rest is unknown.
pub(crate) fn keys(map: &Mapping, what: &str, known: &[&str], refused: &[(&str, &str)], out: &mut Diagnostics) {
    for (key, _) in map.iter() {
        let Some(name) = key.as_str() else {
            out.push(Diagnostic::error(&key.loc, format!("a keyword of {what} must be text, not {}", key.kind())));
            continue;
        };
        if known.contains(&name) {
            continue;
        }
        match refused.iter().find(|(n, _)| *n == name) {
            Some((_, instead)) => out.push(refusal(key, name, what, instead)),
            None => {
                let d = Diagnostic::error(&key.loc, format!("unknown keyword `{name}` of {what}")).nearest(name, known.iter().copied());
                out.push(listing(d, "keywords", known));
            }
        }
    }
}

/// Adds all that is possible, unless a near name already says what was meant.
pub(crate) fn listing(d: Diagnostic, what: &str, names: &[&str]) -> Diagnostic {
    if d.label.is_some() {
        return d;
    }
    let mut names: Vec<&str> = names.to_vec();
    names.sort_unstable();
    d.help(format!("{what}: {}", names.join(", ")))
}

/// "not supported yet", with what to do instead.
pub(crate) fn refusal(key: &Node, name: &str, what: &str, instead: &str) -> Diagnostic {
    let d = Diagnostic::error(&key.loc, format!("keyword `{name}` of {what} is not supported yet"));
    if instead.is_empty() { d } else { d.help(instead) }
}
