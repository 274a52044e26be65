//! Taking a cluster away. What users stored stays, unless that is asked for by name.

use super::apply::gone;
use super::labels::{LabelChange, set_labels};
use super::neighbours::label_users;
use super::{Info, KubeError, Progress, Server, kind};
use crate::cluster::{OF_NAMESPACE, state_claim_name};
use serde_json::Value as Json;
use std::collections::BTreeMap;

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
    /// What stays although it is the cluster's, and why: a line each.
    pub kept: Vec<String>,
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
    let mut removal = Removal::default();
    for name in KINDS {
        let Some(kind) = kind(name) else { continue };
        let list = match server.list(kind, Some(&info.namespace), &info.everything()).await {
            // Others' kinds: who may not look at them made none.
            Err(KubeError::Denied(_)) if matches!(kind.name, "PodMonitor" | "Certificate") => continue,
            list => list?,
        };
        for object in list {
            if object["metadata"]["ownerReferences"].is_null() {
                removal.objects.push((kind.name, text(&object, "name"), text(&object, "uid")));
            }
        }
    }
    if let Some(kind) = kind("PersistentVolumeClaim") {
        // Claims have the labels of their StatefulSet's pods.
        let selector = format!("app.kubernetes.io/name={}", info.name);
        for claim in server.list(kind, Some(&info.namespace), &selector).await? {
            let entry = (text(&claim, "name"), text(&claim, "uid"));
            if is_state(info, &claim) { removal.state_claims.push(entry) } else { removal.data_claims.push(entry) }
        }
    }
    if let Some(kind) = kind("PersistentVolume") {
        let list = match server.list(kind, None, &info.everything()).await {
            Err(KubeError::Denied(why)) => {
                removal.kept.push(format!("PersistentVolumes, if there are any of this cluster: {why}"));
                vec![]
            }
            list => list?,
        };
        for volume in list {
            // A volume's cluster may have a namesake in another namespace; one that does not say whose it is stays.
            if volume["metadata"]["labels"][OF_NAMESPACE] == info.namespace.as_str() {
                removal.volumes.push((text(&volume, "name"), text(&volume, "uid")));
            }
        }
    }
    node_labels(server, info, labels, &mut removal).await?;
    Ok(removal)
}

/// The labels of nodes that go, on whatever node: the spec may name others than when it was deployed. Those stay that another
/// cluster's pods choose nodes by.
async fn node_labels(server: &Server, info: &Info, labels: &[(String, String, String)], removal: &mut Removal) -> Result<(), KubeError> {
    let Some(kind) = kind("Node").filter(|_| !labels.is_empty()) else { return Ok(()) };
    let asked = labels.iter().map(|(_, key, value)| (key.clone(), value.clone())).collect();
    let found = async { Ok((server.list(kind, None, "").await?, label_users(server, info, &asked).await?)) };
    let (nodes, users) = match found.await {
        Err(KubeError::Denied(why)) => {
            removal.kept.push(format!("labels of nodes: it can't be told which are this cluster's alone: {why}"));
            return Ok(());
        }
        found => found?,
    };
    let mut shared: BTreeMap<&str, (Vec<String>, Vec<&str>)> = BTreeMap::new();
    for node in nodes {
        let name = text(&node, "name");
        for (key, value) in asked.iter().filter(|(k, v)| node["metadata"]["labels"][k] == v.as_str()) {
            match users.get(&(key.clone(), value.clone())) {
                Some(users) => {
                    let users = || users.iter().map(String::as_str).collect();
                    shared.entry(key).or_insert_with(|| (vec![], users())).0.push(name.clone());
                }
                None => {
                    let before = Some(value.clone());
                    removal.labels.push(LabelChange { node: name.clone(), key: key.clone(), before, after: None });
                }
            }
        }
    }
    for (key, (nodes, users)) in shared {
        removal.kept.push(format!("label {key} of {}: the cluster {} chooses nodes by it too", nodes.join(", "), users.join(", ")));
    }
    Ok(())
}

/// Claims of the template for state. A StatefulSet names them TEMPLATE-SET-NUMBER, and a mountpath's template may begin alike.
fn is_state(info: &Info, claim: &Json) -> bool {
    let set = claim["metadata"]["labels"]["app.kubernetes.io/instance"].as_str().unwrap_or_default();
    let stem = format!("{}-{set}-", state_claim_name(&info.namespace, &info.name));
    let number = claim["metadata"]["name"].as_str().and_then(|n| n.strip_prefix(&stem));
    !set.is_empty() && number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
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

/// How long pods may take to go: their grace period (30 s unless the spec says otherwise), and where their node is gone
/// Kubernetes' garbage collector, which looks every 20 s and waits 40 s before it believes that; and as much again.
const GOING: std::time::Duration = std::time::Duration::from_secs(180);

/// Pods go after their StatefulSet.
async fn pods_gone(server: &Server, info: &Info, progress: &mut dyn Progress) -> Result<(), KubeError> {
    let end = tokio::time::Instant::now() + GOING;
    loop {
        let left = super::pods::pods(server, info).await?;
        let Some(first) = left.first() else { return Ok(()) };
        if tokio::time::Instant::now() > end {
            return Err(KubeError::Other(format!(
                "{} pods are still there after {} s, {} for one: is its node away?",
                left.len(),
                GOING.as_secs(),
                first.name
            )));
        }
        progress.now(&format!("{} pods are stopping", left.len()));
        tokio::time::sleep(super::wait::PAUSE).await;
    }
}
