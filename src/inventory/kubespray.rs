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

/// Adds the groups that are missing; an inventory that is not Kubespray's stays as it is.
pub fn complete(data: &mut Data) {
    let loc = Loc::outside("Kubespray's groups");
    let is_kubespray = |data: &Data| ["kube_node", "kube_control_plane"].iter().any(|g| data.groups.contains_key(*g));
    let is_old = OLD_NAMES.iter().take(2).any(|(_, old)| data.groups.contains_key(*old));
    if !is_kubespray(data) && !is_old {
        return;
    }
    for (new, old) in OLD_NAMES {
        // A ring can't come of it: the new group was not there before.
        if data.groups.contains_key(old) && !data.groups.contains_key(new) {
            let _ = data.nest(new, old, &loc);
        }
    }
    if data.groups.contains_key("k8s_cluster") {
        return;
    }
    for group in CLUSTER {
        if data.groups.contains_key(group) {
            let _ = data.nest("k8s_cluster", group, &loc);
        }
    }
}
