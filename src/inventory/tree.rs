//! YAML and JSON inventories.

use super::data::Data;
use super::names;
use crate::diag::{Diagnostic, Diagnostics};
use crate::yaml::{Mapping, Node, Value};

const SECTIONS: [&str; 3] = ["hosts", "children", "vars"];

/// Deepest nesting of groups in groups.
const DEPTH_LIMIT: usize = 64;

/// Reads a YAML inventory into `data`.
pub fn read(root: &Node, data: &mut Data) -> Result<(), Diagnostics> {
    let Value::Map(groups) = &root.value else {
        let what = if root.is_null() { "is empty".into() } else { format!("is {}", root.kind()) };
        return Err(Diagnostic::error(&root.loc, format!("this inventory {what}, where a mapping of groups is expected"))
            .help("all:  hosts:  node1:  is the shortest one, a line each")
            .into());
    };
    if let Some((key, plugin)) = groups.entry("plugin") {
        let name = plugin.as_str().unwrap_or("?");
        return Err(Diagnostic::error(&key.loc, format!("the inventory plugin `{name}` is not supported"))
            .help("`ansible-inventory --list` with it prints a static inventory; save that as a .json file")
            .into());
    }
    let mut errors = Diagnostics::default();
    for (key, value) in groups.iter() {
        group(key, value, data, 0, &mut errors);
    }
    if errors.has_errors() { Err(errors) } else { Ok(()) }
}

/// One group; its name, for the parent to take it in.
fn group<'n>(key: &'n Node, value: &Node, data: &mut Data, depth: usize, errors: &mut Diagnostics) -> Option<&'n str> {
    let Some(name) = key.as_str().filter(|n| !n.is_empty()) else {
        errors.push(Diagnostic::error(&key.loc, format!("a group's name is text, not {}", key.kind())).help("put it in quotes"));
        return None;
    };
    if depth > DEPTH_LIMIT {
        errors.push(Diagnostic::error(&key.loc, format!("groups are nested more than {DEPTH_LIMIT} deep")));
        return None;
    }
    data.group(name);
    let map = match &value.value {
        Value::Null => return Some(name),
        Value::Map(map) => map,
        _ => {
            let message = format!("the group `{name}` must hold `hosts`, `children` or `vars`, not {}", value.kind());
            errors.push(Diagnostic::error(&value.loc, message));
            return None;
        }
    };
    for (section, content) in map.iter() {
        let single;
        let entries = match &content.value {
            _ if !section.as_str().is_some_and(|s| SECTIONS.contains(&s)) => {
                let given = section.key_text();
                errors.push(
                    Diagnostic::error(&section.loc, format!("a group has no `{given}`"))
                        .nearest(&given, SECTIONS)
                        .help("a group holds `hosts`, `children` and `vars`; groups inside it stand below `children`"),
                );
                continue;
            }
            Value::Null => continue,
            Value::Map(entries) => entries,
            // `hosts: node1` is short for a mapping with one key.
            Value::Str(_) if section.as_str() != Some("vars") => {
                single = Mapping(vec![(content.clone(), Node::new(Value::Null, content.loc.clone()))]);
                &single
            }
            _ => {
                let what = section.key_text();
                let mut error = Diagnostic::error(&content.loc, format!("`{what}` of group `{name}` is a mapping, not {}", content.kind()));
                if matches!(content.value, Value::Seq(_)) && what != "vars" {
                    error = error.help("each name is a key with a colon behind it: `node1:` instead of `- node1`");
                }
                errors.push(error);
                continue;
            }
        };
        match section.as_str() {
            Some("hosts") => entries.iter().for_each(|(k, v)| hosts(name, k, v, data, errors)),
            Some("children") => {
                for (child_key, child) in entries.iter() {
                    if let Some(child) = group(child_key, child, data, depth + 1, errors)
                        && let Err(e) = data.nest(name, child, &child_key.loc)
                    {
                        errors.push(e);
                    }
                }
            }
            _ => {
                for (var, value) in entries.iter() {
                    if let Err(e) = data.set_group(name, &var.key_text(), value.clone()) {
                        errors.push(e);
                    }
                }
            }
        }
    }
    Some(name)
}

fn hosts(group: &str, key: &Node, value: &Node, data: &mut Data, errors: &mut Diagnostics) {
    let Some(pattern) = key.as_str().filter(|n| !n.is_empty()) else {
        errors.push(Diagnostic::error(&key.loc, format!("a host's name is text, not {}", key.kind())).help("put it in quotes"));
        return;
    };
    let (names, port) = match names::expand(pattern) {
        Ok(expanded) => expanded,
        Err(e) => {
            errors.push(Diagnostic::error(&key.loc, e));
            return;
        }
    };
    let empty = Mapping::default();
    let vars = match &value.value {
        Value::Map(vars) => vars,
        Value::Null => &empty,
        _ => {
            errors.push(Diagnostic::error(&value.loc, format!("the variables of host `{pattern}` are a mapping, not {}", value.kind())));
            return;
        }
    };
    for host in &names {
        data.join(group, host, &key.loc);
        if let Some(port) = port {
            data.set_host(host, "ansible_port", Node::new(Value::Int(port.into()), key.loc.clone()), &key.loc);
        }
        for (name, value) in vars.iter() {
            data.set_host(host, &name.key_text(), value.clone(), &key.loc);
        }
    }
}
