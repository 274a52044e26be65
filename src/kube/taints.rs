//! Taints of nodes. They are one list that belongs to nobody, so a change replaces the list, and only if nobody else
//! changed the node meanwhile.

use super::server::Patch;
use super::{KubeError, Server, kind};
use serde_json::{Value as Json, json};

/// A taint. Key and effect identify it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// `nvidia.com/ais-target`.
    pub key: String,
    /// May be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`; empty for a removal of all effects.
    pub effect: String,
}

/// What happens to a node's taints.
#[derive(Clone, Debug, PartialEq)]
pub struct TaintChange {
    /// What is done, a line each.
    pub lines: Vec<String>,
    /// The whole list afterwards.
    list: Vec<Json>,
    /// The node's version it was computed from.
    version: String,
}

/// What putting `taint` on `node` (or, with `absent`, taking it off) would change; `None`: nothing.
pub fn plan_taints(node: &Json, taints: &[Taint], absent: bool) -> Option<TaintChange> {
    let mut list: Vec<Json> = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let mut lines = vec![];
    for taint in taints {
        let same = |t: &Json| t["key"] == taint.key.as_str() && (taint.effect.is_empty() || t["effect"] == taint.effect.as_str());
        if absent {
            list.retain(|t| {
                if same(t) {
                    lines.push(format!("remove taint {}", shown(t)));
                }
                !same(t)
            });
            continue;
        }
        let mut new = json!({"key": taint.key, "effect": taint.effect});
        if !taint.value.is_empty() {
            new["value"] = json!(taint.value);
        }
        match list.iter_mut().find(|t| same(t)) {
            Some(old) if old["value"].as_str().unwrap_or_default() == taint.value => {}
            Some(old) => {
                lines.push(format!("change taint {} to {}", shown(old), shown(&new)));
                *old = new;
            }
            None => {
                lines.push(format!("add taint {}", shown(&new)));
                list.push(new);
            }
        }
    }
    let version = node["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    (!lines.is_empty()).then_some(TaintChange { lines, list, version })
}

/// Carries a change out; with `dry_run` only asks the server whether it would pass.
pub async fn set_taints(server: &Server, node: &str, change: &TaintChange, dry_run: bool) -> Result<(), KubeError> {
    let Some(nodes) = kind("Node") else { return Ok(()) };
    let list = if change.list.is_empty() { Json::Null } else { json!(change.list) };
    // With the version, the server refuses the patch if somebody changed the node meanwhile.
    let body = json!({"metadata": {"resourceVersion": change.version}, "spec": {"taints": list}});
    server.patch(nodes, None, node, Patch::Merge, &body, dry_run).await?;
    Ok(())
}

/// `key=value:Effect`, as kubectl writes it.
fn shown(taint: &Json) -> String {
    let part = |name: &str| taint[name].as_str().unwrap_or_default();
    match part("value") {
        "" => format!("{}:{}", part("key"), part("effect")),
        value => format!("{}={value}:{}", part("key"), part("effect")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taint(value: &str, effect: &str) -> Taint {
        Taint { key: "k".into(), value: value.into(), effect: effect.into() }
    }

    fn node(taints: Json) -> Json {
        json!({"metadata": {"resourceVersion": "7"}, "spec": {"taints": taints}})
    }

    #[test]
    fn adds_changes_and_removes() {
        let lines = |n: &Json, t: &[Taint], absent| plan_taints(n, t, absent).map(|c| c.lines);
        let bare = json!({"metadata": {"resourceVersion": "7"}, "spec": {}});
        assert_eq!(lines(&bare, &[taint("v", "NoSchedule")], false), Some(vec!["add taint k=v:NoSchedule".into()]));
        let there = node(json!([{"key": "k", "value": "v", "effect": "NoSchedule"}, {"key": "o", "effect": "NoExecute"}]));
        assert_eq!(lines(&there, &[taint("v", "NoSchedule")], false), None);
        assert_eq!(lines(&there, &[taint("w", "NoSchedule")], false), Some(vec!["change taint k=v:NoSchedule to k=w:NoSchedule".into()]));
        let change = plan_taints(&there, &[taint("", "")], true).unwrap();
        assert_eq!(change.lines, ["remove taint k=v:NoSchedule"]);
        assert_eq!(change.list, [json!({"key": "o", "effect": "NoExecute"})]);
        assert_eq!(plan_taints(&bare, &[taint("", "")], true), None);
    }
}
