//! What `fettle inventory` prints: the forms of `ansible-inventory`.

use super::{Inventory, LOCALHOST};
use crate::diag::Diagnostic;
use crate::yaml::{Node, Value};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, HashSet};

/// `--list`: groups, and all hosts' variables below `_meta`; `only`: these hosts and no others. Variables stand as written.
pub fn list_json(inventory: &Inventory, only: Option<&[String]>) -> Json {
    let wanted: HashSet<String> = match only {
        Some(hosts) => hosts.iter().cloned().collect(),
        None => inventory.hosts().into_iter().collect(),
    };
    let mut out: BTreeMap<String, Json> = BTreeMap::new();
    for (name, group) in &inventory.data.groups {
        let mut parts = Map::new();
        if !group.children.is_empty() {
            parts.insert("children".into(), json!(group.children));
        }
        let hosts: Vec<&String> = group.hosts.iter().filter(|h| wanted.contains(*h)).collect();
        if name != "all" && !hosts.is_empty() {
            parts.insert("hosts".into(), json!(hosts));
        }
        if !parts.is_empty() {
            out.insert(name.clone(), Json::Object(parts));
        }
    }
    let mut names: Vec<&String> = wanted.iter().collect();
    names.sort();
    let hostvars: Map<String, Json> = names
        .into_iter()
        .map(|host| (host.clone(), variables(inventory, host)))
        .filter(|(_, vars)| vars.as_object().is_some_and(|v| !v.is_empty()))
        .collect();
    let mut all = Map::from_iter([("_meta".to_owned(), json!({ "hostvars": hostvars }))]);
    all.extend(out);
    Json::Object(all)
}

/// `--host`: one host's variables as written, sorted by name.
pub fn host_json(inventory: &Inventory, host: &str) -> Result<Json, Diagnostic> {
    if !inventory.data.hosts.contains_key(host) && !LOCALHOST.contains(&host) {
        let hosts = inventory.data.hosts.keys().map(String::as_str);
        return Err(Diagnostic::bare(format!("no host is named `{host}`")).nearest(host, hosts));
    }
    Ok(variables(inventory, host))
}

/// `--graph`: groups, their groups and hosts as a tree; with `vars` each one's variables.
pub fn graph_text(inventory: &Inventory, vars: bool) -> String {
    let mut out = String::new();
    graph(inventory, "all", 0, vars, &mut out);
    out
}

fn graph(inventory: &Inventory, name: &str, depth: usize, vars: bool, out: &mut String) {
    line(depth, &format!("@{name}:"), out);
    let Some(group) = inventory.data.groups.get(name) else { return };
    for child in &group.children {
        graph(inventory, child, depth + 1, vars, out);
    }
    if name != "all" {
        for host in &group.hosts {
            line(depth + 1, host, out);
            if vars && let Json::Object(map) = variables(inventory, host) {
                map.iter().for_each(|(k, v)| line(depth + 2, &format!("{{{k} = {}}}", shown(v)), out));
            }
        }
    }
    if vars {
        let mut own: Vec<(String, Node)> = inventory.group_vars(name).into_iter().collect();
        own.sort_by(|a, b| a.0.cmp(&b.0));
        own.iter().for_each(|(k, v)| line(depth + 1, &format!("{{{k} = {}}}", shown(&data(v))), out));
    }
}

fn line(depth: usize, text: &str, out: &mut String) {
    out.push_str(&"  |".repeat(depth));
    if depth > 0 {
        out.push_str("--");
    }
    out.push_str(text);
    out.push('\n');
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn variables(inventory: &Inventory, host: &str) -> Json {
    let mut vars = inventory.vars(host).0;
    vars.sort_by(|a, b| a.0.cmp(&b.0));
    Json::Object(vars.into_iter().map(|(name, node)| (name, data(&node))).collect())
}

/// A node as data, with the marks `ansible-inventory` gives to tagged text.
fn data(node: &Node) -> Json {
    match (&node.value, node.tag.as_deref()) {
        (Value::Str(text), Some("!vault")) => json!({ "__ansible_vault": text }),
        (Value::Str(text), Some("!unsafe")) => json!({ "__ansible_unsafe": text }),
        (Value::Seq(items), _) => Json::Array(items.iter().map(data).collect()),
        (Value::Map(map), _) => Json::Object(map.iter().map(|(k, v)| (k.key_text(), data(v))).collect()),
        _ => node.to_json(),
    }
}
