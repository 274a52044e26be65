//! What a cluster leaves in folders of its hosts: its state, and users' data.

use super::CliError;
use super::identity::stranger;
use super::onhosts::{HostArgs, Results, field, play_aside};
use crate::cluster::{Resolved, Role, hosts_of_nodes};
use crate::inventory::Inventory;
use crate::kube::{KubeError, Server, kind};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Folders, and single files, by Kubernetes node, or by host.
pub type Folders = BTreeMap<String, Vec<String>>;

/// What targets keep of the cluster map on each mountpath (AIStore's `fname.Smap`): without their state they would take it from there, and
/// look for the members of then at the addresses of then.
const MAP: &str = ".ais.smap";

/// The folders that hold the cluster's state and data: each ends in NAMESPACE/NAME/ROLE, so nobody else's are among them. Where data stays,
/// the cluster map among it goes with the state.
pub fn folders(resolved: &Resolved, state: bool, data: bool) -> Folders {
    let c = &resolved.cluster;
    let mut all = Folders::new();
    let mut add = |node: &str, path: String| all.entry(node.to_owned()).or_default().push(path);
    if state && c.state.claim.is_none() && c.state.empty_dir.is_none() {
        let prefix = c.state.host_path.as_ref().map_or("/etc/ais", |h| &**h.prefix);
        for role in [Role::Proxy, Role::Target] {
            for node in resolved.of(role) {
                add(&node.name, format!("{prefix}/{}/{}/{}", *c.namespace, *c.name, role.word()));
            }
        }
    }
    if state || data {
        for set in resolved.target_sets() {
            for (node, m) in set.nodes.iter().flat_map(|n| set.mountpaths.iter().map(move |m| (n, m))) {
                if m.claim.is_none() {
                    let folder = format!("{}/{}/{}/target", *m.path, *c.namespace, *c.name);
                    add(node, if data { folder } else { format!("{folder}/{MAP}") });
                }
            }
        }
    }
    all
}

/// The same by the inventory's hosts; an error names the nodes that no host stands for.
pub fn by_host(folders: &Folders, inventory: &Inventory) -> Result<Folders, CliError> {
    let hosts = hosts_of_nodes(inventory);
    let missing: Vec<&str> = folders.keys().filter(|node| !hosts.contains_key(*node)).map(String::as_str).collect();
    if let Some(first) = missing.first() {
        return Err(CliError::Failed(format!(
            "folders on {} are to be deleted, and no host of the inventory stands for {}: nothing was deleted. A host is the node of \
             its own name, unless its variable `node_name` (or `kube_override_hostname`) says another: `node_name: {first}`",
            missing.join(", "),
            if missing.len() == 1 { "it" } else { "them" },
        )));
    }
    Ok(folders.iter().filter_map(|(node, paths)| Some((hosts.get(node)?.clone(), paths.clone()))).collect())
}

/// Whether the hosts of `folders` (by node) are the nodes of this very cluster: another one may call its nodes the same. `any`: those pass that
/// the cluster can't tell, as their nodes are gone or it may not be asked for them.
pub async fn recognise(server: &Server, folders: &Folders, inventory: &Inventory, args: &HostArgs, any: bool) -> Result<(), CliError> {
    let refused = |text: String| {
        Err(CliError::Failed(format!(
            "{text}\nFolders would be removed on hosts of another cluster than the one at {} ({}): are inventory and context for the same? Nothing \
             was deleted",
            server.url, server.login
        )))
    };
    let list = match kind("Node") {
        Some(kind) => server.list(kind, None, "").await,
        None => Ok(vec![]),
    };
    let nodes = match list {
        Err(KubeError::Denied(_)) if any => return Ok(()),
        Err(KubeError::Denied(why)) => {
            return refused(format!("it can't be told whose hosts they are ({why}); to remove them all the same: --any-host"));
        }
        list => list?,
    };
    let (known, gone): (Vec<&String>, Vec<&String>) =
        folders.keys().partition(|name| nodes.iter().any(|n| n["metadata"]["name"] == name.as_str()));
    if !gone.is_empty() && !any {
        let gone: Vec<&str> = gone.iter().map(|n| n.as_str()).collect();
        return refused(format!(
            "Kubernetes has no node {}; if it had, and the hosts are to be cleared all the same: --any-host",
            gone.join(", ")
        ));
    }
    let hosts = hosts_of_nodes(inventory);
    let asked: Vec<(&str, &String)> = known.into_iter().filter_map(|node| Some((hosts.get(node)?.as_str(), node))).collect();
    if asked.is_empty() {
        return Ok(());
    }
    let extra = json!({"identity_hosts": asked.iter().map(|(host, _)| *host).collect::<Vec<_>>().join(",")});
    let mut results = Results::default();
    let summary = play_aside("identity", include_str!("identity.yml"), &extra, inventory, args, false, &mut results)?;
    if summary.interrupted {
        return Err(CliError::Failed("stopped; nothing was deleted".into()));
    }
    // One that can't be reached may be gone for good, and must not keep the cluster there for ever; removing tells of it.
    let silent: Vec<_> = results.failed.iter().filter(|(host, _)| !any || !results.unreachable.contains(*host)).collect();
    if let Some((host, why)) = silent.first() {
        let away = silent.iter().any(|(host, _)| results.unreachable.contains(*host));
        let insist = if away { "; to leave out those that can't be reached: --any-host" } else { "" };
        let count = silent.len();
        return Err(CliError::Failed(format!(
            "{count} hosts could not be asked who they are, so nothing was deleted; {host}: {why}{insist}"
        )));
    }
    let mut strangers = vec![];
    for (host, name) in asked.into_iter().filter(|(host, _)| !results.unreachable.contains(*host)) {
        let task = results.hosts.get(host).and_then(|tasks| tasks.get("facts"));
        let facts = task.map_or(&Json::Null, |t| field(t, "ansible_facts"));
        let node = nodes.iter().find(|n| n["metadata"]["name"] == name.as_str()).unwrap_or(&Json::Null);
        strangers.extend(stranger(node, facts).map(|why| format!("{host} is not the node {name}: {why}")));
    }
    if strangers.is_empty() { Ok(()) } else { refused(strangers.join("\n")) }
}

/// Removes folders, by host.
pub fn remove(by_host: &Folders, inventory: &Inventory, args: &HostArgs) -> Result<(), CliError> {
    let extra = json!({"remains_hosts": by_host.keys().map(String::as_str).collect::<Vec<_>>().join(","), "remains": by_host});
    let mut results = Results::default();
    let summary = play_aside("remains", include_str!("remains.yml"), &extra, inventory, args, false, &mut results)?;
    undone(by_host, &results, summary.interrupted).map_or(Ok(()), |text| Err(CliError::Failed(text)))
}

/// What was not removed: where it failed, and what a run that was stopped did not get to.
fn undone(by_host: &Folders, results: &Results, stopped: bool) -> Option<String> {
    let again = "the cluster itself is deleted; run the same again to remove the rest";
    if let Some((host, why)) = results.failed.iter().next() {
        return Some(format!("folders of {} hosts could not be removed; {host}: {why}\n{again}", results.failed.len()));
    }
    let items = |host: &str| results.hosts.get(host)?.get("remove").and_then(|task| field(task, "results").as_array().map(Vec::len));
    let left: Vec<&str> = by_host.iter().filter(|(host, paths)| items(host) < Some(paths.len())).map(|(host, _)| host.as_str()).collect();
    match (left.is_empty(), stopped) {
        (true, false) => None,
        // The last folder may be half there.
        (true, true) => Some(format!("stopped: not all folders on hosts may be removed; {again}")),
        (false, _) => Some(format!("stopped: the folders on {} are not all removed; {again}", left.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::TaskReport;

    #[test]
    fn fresh_state_keeps_data_and_no_cluster_map_among_it() {
        let spec = "name: ais\nnamespace: one\nimages: {aisnode: a:v5.0, init: b:v5.0}\nproxies:\n  nodes: [n1]\ntargets:\n  nodes: [n2]\n  mountpaths: [{path: /ais/sda}]\n";
        let resolved = crate::cluster::read("cluster.yml", spec).unwrap().resolve(None, None).unwrap();
        let of = |state, data| folders(&resolved, state, data).remove("n2").unwrap_or_default();
        assert_eq!(of(true, false), ["/etc/ais/one/ais/target", "/ais/sda/one/ais/target/.ais.smap"]);
        assert_eq!(of(true, true), ["/etc/ais/one/ais/target", "/ais/sda/one/ais/target"]);
        assert_eq!(of(false, false), Vec::<String>::new());
    }

    #[test]
    fn hosts_that_were_not_got_to_are_no_success() {
        let folders = Folders::from([("n1".to_owned(), vec!["/a".to_owned()]), ("n2".to_owned(), vec!["/a".to_owned()])]);
        let report = |items: &[&str]| -> TaskReport {
            serde_json::from_value(json!({"task": 1, "loc": {"file": "x", "line": 1, "column": 1, "len": 0}, "name": "remove",
                "module": "file", "handler": false, "item": null, "summary": true, "status": "changed", "ignored": false, "rescued": false,
                "message": "", "changes": [], "result": {"results": items}, "warnings": [], "millis": 0}))
            .unwrap()
        };
        let mut results = Results::default();
        let text = undone(&folders, &results, true).unwrap();
        assert!(text.starts_with("stopped: the folders on n1, n2 are not all removed; "), "{text}");
        results.hosts.insert("n1".into(), BTreeMap::from([("remove".to_owned(), report(&["/a"]))]));
        // One that was stopped between two of its folders.
        results.hosts.insert("n2".into(), BTreeMap::from([("remove".to_owned(), report(&[]))]));
        let text = undone(&folders, &results, true).unwrap();
        assert!(text.starts_with("stopped: the folders on n2 are not all removed; "), "{text}");
        results.hosts.insert("n2".into(), BTreeMap::from([("remove".to_owned(), report(&["/a"]))]));
        assert!(undone(&folders, &results, true).is_some());
        assert_eq!(undone(&folders, &results, false), None);
    }
}
