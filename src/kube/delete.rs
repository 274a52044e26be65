//! Taking a cluster away. What users stored stays, unless that is asked for by name.

use super::apply::gone;
use super::labels::{LabelChange, set_labels};
use super::{Info, KubeError, Progress, Server, kind};
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// Kinds a cluster is made of, in the order they go: what runs first, what it uses last.
const KINDS: &[&str] = &[
    "Job",
    "Deployment",
    "StatefulSet",
    "PodMonitor",
    "Certificate",
    "PodDisruptionBudget",
    "Service",
    "ConfigMap",
    "RoleBinding",
    "Role",
    "ServiceAccount",
];

/// What deleting would take away.
#[derive(Clone, Debug, Default)]
pub struct Removal {
    /// Objects that go: kind, name, uid.
    pub objects: Vec<(&'static str, String, String)>,
    /// Volume claims with AIStore's state (cluster map, identity).
    pub state_claims: Vec<(String, String)>,
    /// Volume claims and volumes with users' data.
    pub data_claims: Vec<(String, String)>,
    /// Volumes made for the cluster.
    pub volumes: Vec<(String, String)>,
    /// Labels of nodes.
    pub labels: Vec<LabelChange>,
}

impl Removal {
    /// There is nothing to take away.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
            && self.state_claims.is_empty()
            && self.data_claims.is_empty()
            && self.volumes.is_empty()
            && self.labels.is_empty()
    }
}

/// Finds what belongs to the cluster.
pub async fn find(server: &Server, info: &Info, labels: &[(String, String, String)]) -> Result<Removal, KubeError> {
    let labels = &everywhere(server, labels).await?;
    let mut removal = Removal::default();
    for name in KINDS {
        let Some(kind) = kind(name) else { continue };
        for object in server.list(kind, Some(&info.namespace), &info.everything()).await? {
            if object["metadata"]["ownerReferences"].is_null() {
                removal.objects.push((kind.name, text(&object, "name"), text(&object, "uid")));
            }
        }
    }
    if let Some(kind) = kind("PersistentVolumeClaim") {
        // Claims have the labels of their StatefulSet's pods.
        let selector = format!("app.kubernetes.io/name={}", info.name);
        for claim in server.list(kind, Some(&info.namespace), &selector).await? {
            let name = text(&claim, "name");
            let entry = (name.clone(), text(&claim, "uid"));
            if is_state(info, &name) { removal.state_claims.push(entry) } else { removal.data_claims.push(entry) }
        }
    }
    if let Some(kind) = kind("PersistentVolume") {
        for volume in server.list(kind, None, &info.everything()).await? {
            // A volume's cluster may have a namesake in another namespace.
            let namespace = volume.pointer("/metadata/labels/fettle.dev~1namespace").and_then(Json::as_str);
            if namespace.is_none_or(|n| n == info.namespace) {
                removal.volumes.push((text(&volume, "name"), text(&volume, "uid")));
            }
        }
    }
    if let Some(kind) = kind("Node") {
        for node in server.list(kind, None, "").await? {
            let name = text(&node, "name");
            for (wanted, key, value) in labels {
                if *wanted == name && node["metadata"]["labels"][key] == value.as_str() {
                    let before = Some(value.clone());
                    removal.labels.push(LabelChange { node: name.clone(), key: key.clone(), before, after: None });
                }
            }
        }
    }
    Ok(removal)
}

/// The same labels on all nodes: the spec may name others than when it was deployed.
async fn everywhere(server: &Server, labels: &[(String, String, String)]) -> Result<Vec<(String, String, String)>, KubeError> {
    let Some(kind) = kind("Node").filter(|_| !labels.is_empty()) else { return Ok(vec![]) };
    let nodes = match server.list(kind, None, "").await {
        Ok(nodes) => nodes,
        Err(KubeError::Denied(_)) => return Ok(labels.to_vec()),
        Err(e) => return Err(e),
    };
    let pairs: BTreeSet<(&String, &String)> = labels.iter().map(|(_, key, value)| (key, value)).collect();
    let on = |node: &Json| pairs.iter().map(|(k, v)| (text(node, "name"), (*k).clone(), (*v).clone())).collect::<Vec<_>>();
    Ok(nodes.iter().flat_map(on).collect())
}

/// Claims of the template `<namespace>-<cluster>-state`.
fn is_state(info: &Info, claim: &str) -> bool {
    claim.starts_with(&format!("{}-{}-state-", info.namespace, info.name))
}

fn text(object: &Json, key: &str) -> String {
    object["metadata"][key].as_str().unwrap_or_default().to_owned()
}

/// Takes away what [`find`] found; claims with state and with data only where asked.
pub async fn delete(
    server: &Server,
    info: &Info,
    removal: &Removal,
    state: bool,
    data: bool,
    progress: &mut dyn Progress,
) -> Result<(), KubeError> {
    let namespace = Some(info.namespace.as_str());
    for (name, object, uid) in &removal.objects {
        let Some(kind) = kind(name) else { continue };
        progress.now(&format!("delete {name} {object}"));
        if server.delete(kind, namespace, object, Some(uid), false, false).await? {
            gone(server, kind, namespace, object).await?;
            progress.line(&format!("{name} {}/{object}: deleted", info.namespace));
        }
    }
    pods_gone(server, info, progress).await?;
    let mut claims: Vec<&(String, String)> = vec![];
    if state {
        claims.extend(&removal.state_claims);
    }
    if data {
        claims.extend(&removal.data_claims);
    }
    if let Some(kind) = kind("PersistentVolumeClaim") {
        for (claim, uid) in claims {
            server.delete(kind, namespace, claim, Some(uid), false, false).await?;
            progress.line(&format!("PersistentVolumeClaim {}/{claim}: deleted", info.namespace));
        }
    }
    if data && let Some(kind) = kind("PersistentVolume") {
        for (volume, uid) in &removal.volumes {
            server.delete(kind, None, volume, Some(uid), false, false).await?;
            progress.line(&format!("PersistentVolume {volume}: deleted"));
        }
    }
    for label in &removal.labels {
        set_labels(server, &label.node, std::slice::from_ref(label), false, false).await?;
        progress.line(&format!("node {}: label {} removed", label.node, label.key));
    }
    Ok(())
}

/// Pods go after their StatefulSet, within their grace period (30 s unless the spec says otherwise; twice that here).
async fn pods_gone(server: &Server, info: &Info, progress: &mut dyn Progress) -> Result<(), KubeError> {
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let left = super::pods::pods(server, info).await?;
        let Some(first) = left.first() else { return Ok(()) };
        if tokio::time::Instant::now() > end {
            return Err(KubeError::Other(format!(
                "{} pods are still there after 60 s, {} for one: is its node away?",
                left.len(),
                first.name
            )));
        }
        progress.now(&format!("{} pods are stopping", left.len()));
        tokio::time::sleep(super::wait::PAUSE).await;
    }
}
