//! Whether what a host wants done elsewhere is what the playbook delegates. The host renders its own templates, and it may
//! be hostile: what the playbook writes out must have come back as written.

use crate::modules::{coerce, find};
use crate::play::{Action, Task};
use crate::protocol::Errand;
use crate::yaml::{Node, Value};
use serde_json::Value as Json;

/// Why `errand` for `to` is not `task`'s. `privileged`: the inventory or the command line may ask for `become`.
pub(super) fn check(task: &Task, to: &str, root: bool, errand: &Errand, privileged: bool) -> Result<(), String> {
    let (Some(host), Action::Module { name, args, .. }) = (&task.delegate_to, &task.action) else {
        return Err("the play delegates no such task".into());
    };
    if *name != errand.module || root != errand.user.is_some() {
        return Err(format!("the play delegates `{name}` there, not `{}`", errand.module));
    }
    if !agrees(host, &Json::from(to)) {
        return Err(format!("the play delegates it to {}", host.as_str().unwrap_or("another host")));
    }
    let becomes = task.privilege.enabled.as_ref().is_some_and(|n| n.value != Value::Bool(false));
    let user = task.privilege.user.as_ref().map_or(errand.user.as_deref() == Some("root"), |written| {
        errand.user.as_deref().is_none_or(|user| agrees(written, &Json::from(user)))
    });
    if !privileged && errand.user.is_some() && !(becomes && user) {
        return Err(format!("the play does not make it {}", errand.user.as_deref().unwrap_or("root")));
    }
    for (variable, value) in &errand.environment {
        let written = task.environment.iter().any(|n| match n.as_map() {
            Some(map) => map.iter().any(|(k, v)| k.key_text() == *variable && agrees(v, &Json::from(value.as_str()))),
            None => is_template(n),
        });
        if !written {
            return Err(format!("the play does not set `{variable}` so in its environment"));
        }
    }
    let Some(map) = args.as_map() else { return Ok(()) };
    let module = find(name);
    for (arg, value) in &errand.args {
        let canonical = |key: &Node| module.and_then(|m| m.arg(&key.key_text())).map_or_else(|| key.key_text(), |a| a.name.to_owned());
        let written = map.iter().any(|(key, node)| canonical(key) == *arg && (agrees(node, value) || coerced(name, key, node, value)));
        if !written {
            return Err(format!("the play does not give it `{arg}` so"));
        }
    }
    Ok(())
}

/// Whether a written argument without templates becomes `value` where arguments are checked.
fn coerced(module: &str, key: &Node, node: &Node, value: &Json) -> bool {
    let Some(module) = find(module).filter(|_| !holds_template(node)) else { return false };
    let Some(arg) = module.arg(&key.key_text()) else { return false };
    coerce(arg.kind, node.to_json()).is_ok_and(|known| known == *value)
}

fn is_template(node: &Node) -> bool {
    !node.is_unsafe() && node.as_str().is_some_and(|text| text.contains("{{") || text.contains("{%") || text.contains("{#"))
}

fn holds_template(node: &Node) -> bool {
    match &node.value {
        Value::Seq(items) => items.iter().any(holds_template),
        Value::Map(map) => map.iter().any(|(k, v)| is_template(k) || holds_template(v)),
        _ => is_template(node),
    }
}

/// Whether `value` can be what became of `written`.
pub(super) fn agrees(written: &Node, value: &Json) -> bool {
    match (&written.value, value) {
        (Value::Str(text), _) if is_template(written) => match value {
            Json::String(value) => fits(text, value),
            // One expression gives a list or a number as it is; text around it makes it text.
            _ => literals(text).is_none_or(|parts| parts.iter().all(|p| p.trim().is_empty() || p.contains(','))),
        },
        (Value::Str(text), Json::String(value)) => text.trim() == value.trim(),
        (Value::Seq(items), Json::Array(values)) => {
            items.iter().any(is_template) || (items.len() == values.len() && items.iter().zip(values).all(|(w, v)| agrees(w, v)))
        }
        (Value::Map(map), Json::Object(values)) => {
            values.iter().all(|(key, value)| map.iter().any(|(k, v)| (k.key_text() == *key || is_template(k)) && agrees(v, value)))
        }
        _ => !holds_template(written) && written.to_json() == *value,
    }
}

/// The text between a template's expressions; `None`: statements may choose among it.
fn literals(template: &str) -> Option<Vec<&str>> {
    let mut parts = vec![];
    let mut rest = template;
    if rest.contains("{%") || rest.contains("{#") {
        return None;
    }
    while let Some((before, after)) = rest.split_once("{{") {
        parts.push(before);
        // A brace inside the expression (a dictionary) ends it too early here: then nothing can be said.
        let (expression, after) = after.split_once("}}")?;
        if expression.contains('{') {
            return None;
        }
        rest = after;
    }
    parts.push(rest);
    Some(parts)
}

/// Whether a template's own text stands in `value`, in its order.
fn fits(template: &str, value: &str) -> bool {
    let Some(parts) = literals(template) else { return true };
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return true };
    // White space at the ends is cut off by `{{-` and by the reading of arguments.
    let Some(mut rest) = value.trim().strip_prefix(first.trim()) else { return false };
    for part in parts.iter().skip(1).take(parts.len().saturating_sub(2)) {
        let Some(at) = rest.find(part.trim()) else { return false };
        rest = rest.get(at + part.trim().len()..).unwrap_or_default();
    }
    parts.len() == 1 || rest.ends_with(last.trim())
}

#[cfg(test)]
mod tests {
    use super::{agrees, fits};
    use crate::diag::Loc;
    use crate::yaml::Node;
    use serde_json::json;

    #[test]
    fn a_template_s_own_text_must_be_there() {
        assert!(fits("kubectl drain {{ node }} --force", "kubectl drain a --force"));
        assert!(fits("{{ a }}{{ b }}", "anything"));
        assert!(fits("/x/{{ a }}\n", "/x/y"));
        assert!(!fits("kubectl drain {{ node }} --force", "rm -rf / --force"));
        assert!(!fits("kubectl drain {{ node }} --force", "kubectl drain a"));
        assert!(!fits("a {{ b }} c {{ d }} e", "a x y e"));
        assert!(!fits("aa{{ x }}aa", "aa"), "the same letters can't stand for both ends");
    }

    #[test]
    fn literal_values_come_back_as_written() {
        let node = |value| Node::from_json(&value, &Loc::outside("test"));
        assert!(agrees(&node(json!("touch x")), &json!("touch x")));
        assert!(!agrees(&node(json!("touch x")), &json!("touch y")));
        assert!(agrees(&node(json!(["a", "{{ b }}"])), &json!(["a", "c"])));
        assert!(!agrees(&node(json!(["a", "b"])), &json!(["a", "c"])));
        assert!(agrees(&node(json!({"a": "{{ b }}", "c": 1})), &json!({"c": 1})));
        assert!(!agrees(&node(json!({"a": "b"})), &json!({"a": "b", "more": 1})));
        assert!(!agrees(&node(json!("x {{ y }}")), &json!(["rm"])));
    }
}
