//! What a cluster leaves in folders of its hosts: its state, and users' data.

use super::CliError;
use super::onhosts::{HostArgs, Results, play_aside};
use crate::cluster::{Resolved, Role};
use crate::inventory::Inventory;
use serde_json::json;
use std::collections::BTreeMap;

/// Folders, and single files, by Kubernetes node.
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

/// Removes the folders on the hosts.
pub async fn remove(folders: &Folders, resolved: &Resolved, inventory: &Inventory, args: &HostArgs) -> Result<(), CliError> {
    let mut by_host = BTreeMap::new();
    let loc = resolved.cluster.name.loc.clone();
    for host in inventory.select("all")? {
        let node = crate::cluster::node_name(inventory, &host, &loc)?;
        if let Some(paths) = folders.get(&node) {
            by_host.insert(host, paths);
        }
    }
    if by_host.len() < folders.len() {
        let known: Vec<String> = by_host.keys().cloned().collect();
        return Err(CliError::Failed(format!(
            "the inventory names {} of {} nodes whose folders are to be removed ({}): no folder was removed",
            by_host.len(),
            folders.len(),
            known.join(", ")
        )));
    }
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
