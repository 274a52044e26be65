//! Groups that Kubespray makes while it runs (its role `dynamic_groups`): its `group_vars/k8s_cluster` would hang in
//! the air without them.

use super::data::Data;
use crate::diag::Loc;

/// Names of old inventories, and what they are called now.
const OLD_NAMES: [(&str, &str); 5] = [
    ("kube_control_plane", "kube-master"),
    ("kube_node", "kube-node"),
    ("calico_rr", "calico-rr"),
    ("no_floating", "no-floating"),
    ("k8s_cluster", "k8s-cluster"),
];

/// The groups whose hosts are the cluster.
const CLUSTER: [&str; 3] = ["kube_node", "kube_control_plane", "calico_rr"];

/// Whether it is Kubespray's, by the names of its groups.
pub fn is_kubespray(data: &Data) -> bool {
    let old = OLD_NAMES.iter().take(2).map(|(_, old)| *old);
    ["kube_node", "kube_control_plane"].into_iter().chain(old).any(|g| data.groups.contains_key(g))
}

/// Adds the groups that are missing; an inventory that is not Kubespray's stays as it is.
pub fn complete(data: &mut Data) {
    let loc = Loc::outside("Kubespray's groups");
    if !is_kubespray(data) {
        return;
    }
    for (new, old) in OLD_NAMES {
        // A ring can't come of it: the new group was not there before.
        if data.groups.contains_key(old) && !data.groups.contains_key(new) {
            let _ = data.nest(new, old, &loc);
        }
    }
    // Also where `k8s_cluster` is there and leaves hosts out: Kubespray puts all of these into it.
    for group in CLUSTER {
        let all_in = |data: &Data| {
            let cluster = data.members("k8s_cluster");
            data.members(group).iter().all(|host| cluster.contains(host))
        };
        if data.groups.contains_key(group) && !(data.groups.contains_key("k8s_cluster") && all_in(data)) {
            // Only a group that holds the cluster could be in the way, and then its hosts are in it.
            let _ = data.nest("k8s_cluster", group, &loc);
        }
    }
}
