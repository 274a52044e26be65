//! Labels of nodes, by server-side apply: what others own is not taken from them unasked.

use super::server::Patch;
use super::{KubeError, MANAGER, Server, kind};
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fmt;

/// One label of one node that is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelChange {
    /// The node.
    pub node: String,
    /// The label's key.
    pub key: String,
    /// Its value now; `None`: it has none.
    pub before: Option<String>,
    /// Its value then; `None`: removed.
    pub after: Option<String>,
}

impl fmt::Display for LabelChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.after {
            Some(after) => write!(f, "node {}: label {}={after}", self.node, self.key),
            None => write!(f, "node {}: label {} removed", self.node, self.key),
        }
    }
}

/// What labelling nodes would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelPlan {
    /// What is to change, in the order asked for.
    pub changes: Vec<LabelChange>,
    /// Labels that already have another value.
    pub conflicts: Vec<LabelChange>,
}

/// Compares what is wanted (`None`: the label shall not be there) with the nodes as they are. Nodes that don't
/// exist are an error naming all of them.
pub fn plan_labels(nodes: &[Json], wanted: &[(String, String, Option<String>)]) -> Result<LabelPlan, KubeError> {
    let known: BTreeMap<&str, &Json> = nodes.iter().filter_map(|n| Some((n["metadata"]["name"].as_str()?, n))).collect();
    let mut missing: Vec<String> = vec![];
    let mut plan = LabelPlan::default();
    for (node, key, after) in wanted {
        let Some(object) = known.get(node.as_str()) else {
            let near = crate::diag::nearest(node, known.keys().copied()).map(|n| format!(" (did you mean {n}?)")).unwrap_or_default();
            let text = format!("{node}{near}");
            if !missing.contains(&text) {
                missing.push(text);
            }
            continue;
        };
        let before = object["metadata"]["labels"][key].as_str().map(str::to_owned);
        if before == *after {
            continue;
        }
        let change = LabelChange { node: node.clone(), key: key.clone(), before, after: after.clone() };
        if change.before.is_some() && change.after.is_some() {
            plan.conflicts.push(change.clone());
        }
        plan.changes.push(change);
    }
    if missing.is_empty() { Ok(plan) } else { Err(KubeError::Missing(format!("the cluster has no node {}", missing.join(", ")))) }
}

/// Carries out changes of labels on one node, all at once; with `dry_run` only asks the server whether they would pass.
/// `force`: takes labels over that another manager set.
pub async fn set_labels(server: &Server, node: &str, changes: &[LabelChange], force: bool, dry_run: bool) -> Result<(), KubeError> {
    let Some(nodes) = kind("Node") else { return Ok(()) };
    let Some(object) = server.get(nodes, None, node).await? else {
        return Err(KubeError::Missing(format!("the cluster has no node {node}")));
    };
    let removed: Map<String, Json> = changes.iter().filter(|c| c.after.is_none()).map(|c| (c.key.clone(), Json::Null)).collect();
    if !removed.is_empty() {
        // Applying can only remove what we own; a label to be gone is gone whoever set it.
        server.patch(nodes, None, node, Patch::Merge, &json!({"metadata": {"labels": removed}}), dry_run).await?;
    }
    let set: Vec<&LabelChange> = changes.iter().filter(|c| c.after.is_some()).collect();
    if set.is_empty() {
        return Ok(());
    }
    // What we own and don't repeat would be removed: other clusters' labels on this node are ours, too.
    let mut labels = Map::new();
    for key in owned(&object) {
        if !removed.contains_key(&key)
            && let Some(value) = object["metadata"]["labels"].get(&key)
        {
            labels.insert(key, value.clone());
        }
    }
    for change in set {
        labels.insert(change.key.clone(), json!(change.after));
    }
    let body = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}});
    server.patch(nodes, None, node, Patch::Apply { force }, &body, dry_run).await?;
    Ok(())
}

/// How many nodes are asked about at once: a thousand take a few seconds.
const AT_ONCE: usize = 16;

/// Asks the server whether planned changes would pass, and what is in the way. Conflicts that the plan names are not asked about.
pub(super) async fn refused(server: &Server, plan: &LabelPlan, force: bool) -> Result<Vec<KubeError>, KubeError> {
    let mut by_node: BTreeMap<String, Vec<LabelChange>> = BTreeMap::new();
    for change in &plan.changes {
        by_node.entry(change.node.clone()).or_default().push(change.clone());
    }
    for conflict in plan.conflicts.iter().filter(|_| !force) {
        by_node.remove(&conflict.node);
    }
    let mut left = by_node.into_iter();
    let mut asking = tokio::task::JoinSet::new();
    let mut found = BTreeMap::new();
    loop {
        for (node, changes) in left.by_ref().take(AT_ONCE.saturating_sub(asking.len())) {
            let server = server.clone();
            asking.spawn(async move {
                let answer = set_labels(&server, &node, &changes, force, true).await;
                (node, answer)
            });
        }
        match asking.join_next().await {
            None => return Ok(found.into_values().collect()),
            Some(Ok((_, Ok(())))) => {}
            // Rights to one node are rights to all.
            Some(Ok((_, Err(e @ KubeError::Denied(_))))) => return Ok(vec![e]),
            Some(Ok((_, Err(e @ KubeError::Unreachable(_))))) => return Err(e),
            Some(Ok((node, Err(e)))) => {
                found.insert(node, e);
            }
            Some(Err(e)) => return Err(KubeError::Other(format!("check labels of nodes: {e}"))),
        }
    }
}

/// The label keys we own by apply.
pub(super) fn owned(object: &Json) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .filter(|e| e["manager"] == MANAGER && e["operation"] == "Apply")
        .filter_map(|e| e.pointer("/fieldsV1/f:metadata/f:labels").and_then(Json::as_object))
        .flat_map(|labels| labels.keys().filter_map(|k| k.strip_prefix("f:")).map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Json> {
        vec![
            json!({"metadata": {"name": "n1", "labels": {"a": "1"}}}),
            json!({"metadata": {"name": "n2", "managedFields": [
                {"manager": "fettle", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:x/y": {}}}}},
                {"manager": "other", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {"f:z": {}}}}}]}}),
        ]
    }

    fn want(node: &str, key: &str, value: Option<&str>) -> (String, String, Option<String>) {
        (node.into(), key.into(), value.map(str::to_owned))
    }

    #[test]
    fn plans_only_differences() {
        let plan = plan_labels(&nodes(), &[want("n1", "a", Some("1")), want("n2", "a", Some("1")), want("n2", "b", None)]).unwrap();
        assert_eq!(plan.changes, [LabelChange { node: "n2".into(), key: "a".into(), before: None, after: Some("1".into()) }]);
        let plan = plan_labels(&nodes(), &[want("n1", "a", Some("2"))]).unwrap();
        assert_eq!(plan.conflicts.len(), 1);
    }

    #[test]
    fn names_nodes_that_are_not_there() {
        let wrong = plan_labels(&nodes(), &[want("n3", "a", Some("1")), want("n3", "b", Some("1"))]).unwrap_err();
        assert_eq!(wrong.to_string(), "the cluster has no node n3 (did you mean n1?)");
    }

    #[test]
    fn finds_what_we_own() {
        assert_eq!(owned(&nodes()[1]), ["x/y"]);
    }
}
