//! What a cluster leaves in folders of its hosts: its state, and users' data.

use super::CliError;
use super::onhosts::{HostArgs, Results, play_aside};
use crate::cluster::{Resolved, Role, hosts_of_nodes};
use crate::inventory::Inventory;
use serde_json::json;
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

/// Removes folders, by host.
pub fn remove(by_host: &Folders, inventory: &Inventory, args: &HostArgs) -> Result<(), CliError> {
    let extra = json!({"remains_hosts": by_host.keys().map(String::as_str).collect::<Vec<_>>().join(","), "remains": by_host});
    let mut results = Results::default();
    play_aside("remains", include_str!("remains.yml"), &extra, inventory, args, false, &mut results)?;
    if let Some((host, why)) = results.failed.iter().next() {
        return Err(CliError::Failed(format!("folders of {} hosts could not be removed; {host}: {why}", results.failed.len())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_state_keeps_data_and_no_cluster_map_among_it() {
        let spec = "name: ais\nnamespace: one\nimages: {aisnode: a:v5.0, init: b:v5.0}\nproxies:\n  nodes: [n1]\ntargets:\n  nodes: [n2]\n  mountpaths: [{path: /ais/sda}]\n";
        let resolved = crate::cluster::read("cluster.yml", spec).unwrap().resolve(None, None).unwrap();
        let of = |state, data| folders(&resolved, state, data).remove("n2").unwrap_or_default();
        assert_eq!(of(true, false), ["/etc/ais/one/ais/target", "/ais/sda/one/ais/target/.ais.smap"]);
        assert_eq!(of(true, true), ["/etc/ais/one/ais/target", "/ais/sda/one/ais/target"]);
        assert_eq!(of(false, false), Vec::<String>::new());
    }
}
