//! Volumes of disks that are mounted already, their StorageClass, and the disruption budget.

use super::base::{labels, manifest, name, put};
use super::{TargetSet, access};
use crate::cluster::Object;
use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::{Claim, Mountpath};
use crate::diag::Diagnostics;
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, VolumeNodeAffinity};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// `/ais/nvme0n1` as it stands in names and label values: `ais-nvme0n1`.
pub fn sanitized(path: &str) -> String {
    let text: String = path.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' }).collect();
    text.trim_matches(['-', '.']).to_owned()
}

/// The label of volumes with their cluster's namespace: volumes belong to no namespace, and clusters of one name may.
pub const OF_NAMESPACE: &str = "fettle/namespace";

/// By which labels claims find the volumes of a mountpath.
pub fn volume_labels(r: &Resolved, path: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), r.cluster.name.to_string()),
        (OF_NAMESPACE.to_owned(), r.cluster.namespace.to_string()),
        ("fettle/mountpath".to_owned(), sanitized(path)),
    ])
}

/// StorageClass, volumes and budget.
pub fn push(r: &Resolved, all: &mut Vec<Object>) -> Result<(), Diagnostics> {
    let targets = &r.cluster.targets;
    if let Some(local) = &targets.local_volumes {
        let mut class: StorageClass = manifest!("local-volumes.yaml", 0)?;
        class.metadata.name = Some(local.storage_class.to_string());
        class.metadata.labels.get_or_insert_default().insert("app.kubernetes.io/managed-by".into(), "fettle".into());
        put(all, &class)?;
        for set in r.target_sets() {
            for (mountpath, claim) in set.mountpaths.iter().filter_map(|m| Some((m, m.claim.as_ref()?))) {
                volumes(r, &set, mountpath, claim, &local.storage_class, all)?;
            }
        }
    }
    if let Some(budget) = &targets.disruption_budget {
        let mut pdb: PodDisruptionBudget = manifest!("disruption-budget.yaml", 0)?;
        name(&mut pdb.metadata, r, &r.role_name(Role::Target), "target");
        if let Some(spec) = &mut pdb.spec {
            let share = budget.max_unavailable.to_string();
            spec.max_unavailable = Some(share.parse().map_or(IntOrString::String(share), IntOrString::Int));
            spec.selector = Some(LabelSelector { match_labels: Some(access::selector(r, Role::Target)), ..LabelSelector::default() });
        }
        put(all, &pdb)?;
    }
    Ok(())
}

fn volumes(
    r: &Resolved,
    set: &TargetSet<'_>,
    mountpath: &Mountpath,
    claim: &Claim,
    class: &str,
    all: &mut Vec<Object>,
) -> Result<(), Diagnostics> {
    for node in &set.nodes {
        let mut volume: PersistentVolume = manifest!("local-volumes.yaml", 1)?;
        let meta = &mut volume.metadata;
        meta.name = Some(format!("{}-{}-{node}-{}", *r.cluster.namespace, *r.cluster.name, sanitized(&mountpath.path)));
        let mut of_volume = labels(r, "target");
        of_volume.extend(volume_labels(r, &mountpath.path));
        meta.labels = Some(of_volume);
        if let Some(spec) = &mut volume.spec {
            spec.capacity = Some(BTreeMap::from([("storage".to_owned(), Quantity(claim.size.to_string()))]));
            spec.storage_class_name = Some(class.to_owned());
            if let Some(local) = &mut spec.local {
                local.path = mountpath.path.to_string();
            }
            spec.node_affinity = Some(VolumeNodeAffinity {
                required: Some(NodeSelector {
                    node_selector_terms: vec![NodeSelectorTerm {
                        match_expressions: Some(vec![hostname_is("In", &[node])]),
                        ..NodeSelectorTerm::default()
                    }],
                }),
            });
        }
        put(all, &volume)?;
    }
    Ok(())
}

/// A rule about a node's name.
pub fn hostname_is(operator: &str, names: &[&str]) -> NodeSelectorRequirement {
    NodeSelectorRequirement {
        key: "kubernetes.io/hostname".into(),
        operator: operator.into(),
        values: Some(names.iter().map(|n| (*n).to_owned()).collect()),
    }
}
