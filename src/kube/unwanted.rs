//! This cluster's labels on nodes that the spec no longer names: a pod that can't be where it was would come there, and a target
//! begins there with nothing.

use super::labels::LabelChange;
use super::pods::Pod;
use super::{Info, KubeError, Leave, Role, Server, kind};
use serde_json::Value as Json;

/// Labels that can go: their nodes have no pod of the cluster. (Those of pods that leave go when these are gone, [`super::shrink`].)
pub async fn unwanted(
    server: &Server,
    info: &Info,
    nodes: &[Json],
    pods: &[Pod],
    leaving: &[Leave],
) -> Result<Vec<LabelChange>, KubeError> {
    let mut found = labels(info, nodes, pods, leaving);
    if let Some(sets) = kind("StatefulSet").filter(|_| !found.is_empty()) {
        match server.list(sets, None, "").await {
            Ok(sets) => {
                let short = sets.iter().filter(|s| is_own(s, info)).any(|s| lacks_target(s, pods));
                let target = info.labels.iter().find(|(role, ..)| *role == Role::Target).map(|(_, key, _)| key);
                let stays = |c: &LabelChange| (short && Some(&c.key) == target) || sets.iter().any(|s| is_anothers(s, info, c));
                found.retain(|c| !stays(c));
            }
            // Who may see one namespace only can't know whose they are.
            Err(KubeError::Denied(_)) => found.clear(),
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

fn labels(info: &Info, nodes: &[Json], pods: &[Pod], leaving: &[Leave]) -> Vec<LabelChange> {
    let mut all = vec![];
    for (role, key, value) in &info.labels {
        // One that runs nowhere just now has its objects on the node it ran on last.
        let nowhere =
            pods.iter().any(|p| p.role == *role && p.node.is_empty()) || leaving.iter().any(|l| l.role == *role && l.node.is_empty());
        if nowhere && *role == Role::Target {
            continue;
        }
        for node in nodes.iter().filter(|n| n["metadata"]["labels"][key] == value.as_str()) {
            let name = node["metadata"]["name"].as_str().unwrap_or_default();
            let hosts = pods.iter().any(|p| p.role == *role && p.node == name);
            if !hosts && !info.names(*role, name) {
                all.push(LabelChange { node: name.to_owned(), key: key.clone(), before: Some(value.clone()), after: None });
            }
        }
    }
    all
}

fn is_own(set: &Json, info: &Info) -> bool {
    set["metadata"]["namespace"] == info.namespace.as_str() && set["metadata"]["labels"]["app.kubernetes.io/name"] == info.name.as_str()
}

/// Whether a StatefulSet of targets has fewer pods than it should: one is being made anew, perhaps.
fn lacks_target(set: &Json, pods: &[Pod]) -> bool {
    let name = set["metadata"]["name"].as_str().unwrap_or_default();
    let there = pods.iter().filter(|p| p.set == name).count() as u64;
    set["metadata"]["labels"]["app.kubernetes.io/component"] == Role::Target.name() && set["spec"]["replicas"].as_u64().unwrap_or(0) > there
}

/// Whether the pods of a StatefulSet of somebody else choose nodes by this label.
fn is_anothers(set: &Json, info: &Info, change: &LabelChange) -> bool {
    let pod = &set["spec"]["template"]["spec"];
    let value = change.before.as_deref().unwrap_or_default();
    // An affinity says it in many ways; the key in it is enough to leave the label alone.
    !is_own(set, info)
        && (pod["nodeSelector"][&change.key] == value
            || pod["affinity"]["nodeAffinity"].to_string().contains(&format!("\"{}\"", change.key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SPEC: &str = "name: ais\nimages: {aisnode: a:v5.0, init: b:v5.0}\nproxies:\n  nodes: [n1]\ntargets:\n  nodes: [n1, n2]\n  mountpaths: [{path: /ais/sda}]\n";

    fn pod(number: u32, node: &str) -> Pod {
        let object = json!({"metadata": {"name": format!("ais-target-{number}"), "labels": {"app.kubernetes.io/component": "target"}},
            "spec": {"nodeName": node}});
        super::super::pods::read(object).unwrap()
    }

    #[test]
    fn labels_of_nodes_without_pods_go_unless_they_are_somebody_elses() {
        let info = Info::new(&crate::cluster::read("cluster.yml", SPEC).unwrap().resolve(None, None).unwrap());
        let key = "nvidia.com/ais-target";
        let node = |name: &str, value: &str| json!({"metadata": {"name": name, "labels": {key: value}}});
        let nodes = [node("n1", "ais"), node("n2", "ais"), node("n3", "ais"), node("n4", "ais"), node("n5", "other")];
        let found = |pods: &[Pod]| labels(&info, &nodes, pods, &[]).into_iter().map(|c| c.node).collect::<Vec<_>>();
        assert_eq!(found(&[pod(0, "n1"), pod(1, "n3")]), ["n4"]);
        assert_eq!(found(&[pod(0, "n1"), pod(1, "")]), Vec::<String>::new());

        let change = LabelChange { node: "n4".into(), key: key.into(), before: Some("ais".into()), after: None };
        let set = |namespace: &str, spec: Json| json!({"metadata": {"namespace": namespace, "labels": {"app.kubernetes.io/name": "ais"}}, "spec": {"template": {"spec": spec}}});
        assert!(is_anothers(&set("two", json!({"nodeSelector": {key: "ais"}})), &info, &change));
        assert!(!is_anothers(&set("two", json!({"nodeSelector": {key: "b"}})), &info, &change));
        let mut own = set(&info.namespace, json!({}));
        own["metadata"]["name"] = json!("ais-target");
        own["metadata"]["labels"]["app.kubernetes.io/component"] = json!("target");
        own["spec"]["replicas"] = json!(2);
        assert!(lacks_target(&own, &[pod(0, "n1")]) && !lacks_target(&own, &[pod(0, "n1"), pod(1, "n2")]));
        assert!(!is_anothers(&set(&info.namespace, json!({"nodeSelector": {key: "ais"}})), &info, &change));
    }
}
