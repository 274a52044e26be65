//! What a cluster leaves in folders of its hosts: its state, and users' data.

use super::CliError;
use super::onhosts::{HostArgs, Results, play_aside};
use crate::cluster::{Resolved, Role, hosts_of_nodes};
use crate::inventory::Inventory;
use serde_json::json;
use std::collections::BTreeMap;

/// Folders by Kubernetes node, or by host.
pub type Folders = BTreeMap<String, Vec<String>>;

/// The folders that hold the cluster's state and data: each ends in NAMESPACE/NAME/ROLE, so nobody else's are among them.
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
    if data {
        for set in resolved.target_sets() {
            for (node, m) in set.nodes.iter().flat_map(|n| set.mountpaths.iter().map(move |m| (n, m))) {
                if m.claim.is_none() {
                    add(node, format!("{}/{}/{}/target", *m.path, *c.namespace, *c.name));
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
