//! Kubelets, as the API server and they themselves see them.

use super::{Kind, KubeError, Server, kind};
use serde_json::Value as Json;

/// Leases, by which kubelets tell that they live (Kubernetes: Node heartbeats): every 10 s.
const LEASE: Kind = Kind { api_version: "coordination.k8s.io/v1", name: "Lease", plural: "leases", namespaced: true };

/// A kubelet's state; what is wrong is in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubelet {
    /// Why it is not well yet; `None`: it answers, and its node is ready.
    pub wrong: Option<String>,
    /// The unsafe sysctls it allows now.
    pub allowed: Vec<String>,
    /// When it last reported.
    pub pulse: Pulse,
}

/// When a kubelet last reported to the API server, by its own clock: to be compared with nothing but what it reported before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// `lastHeartbeatTime` of the Node's Ready condition.
    heartbeat: String,
    /// `renewTime` of the node's lease.
    renewed: String,
}

/// When the kubelet of a node last reported.
pub async fn pulse(server: &Server, node: &str) -> Result<Pulse, KubeError> {
    Ok(state(server, node).await?.1)
}

/// Whether the node is ready, and when its kubelet last reported.
async fn state(server: &Server, node: &str) -> Result<(bool, Pulse), KubeError> {
    let object = match kind("Node") {
        Some(kind) => server.get(kind, None, node).await?.unwrap_or_default(),
        None => Json::Null,
    };
    let lease = server.get(&LEASE, Some("kube-node-lease"), node).await?.unwrap_or_default();
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let heartbeats = conditions.filter(|c| c["type"] == "Ready").map(|c| &c["lastHeartbeatTime"]);
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let pulse = Pulse { heartbeat: heartbeats.map(text).collect(), renewed: text(&lease["spec"]["renewTime"]) };
    Ok((is_ready(&object), pulse))
}

/// Asks a node's kubelet through the API server: `/healthz`, `/configz`, and the node's Ready condition.
pub async fn look(server: &Server, node: &str) -> Result<Kubelet, KubeError> {
    let path = |what: &str| format!("/api/v1/nodes/{node}/proxy/{what}");
    let unwell = |text: String| Ok(Kubelet { wrong: Some(text), allowed: vec![], pulse: Pulse::default() });
    match server.get_through(&path("healthz"), "ask for its health").await {
        Ok(text) if text.trim() == "ok" => {}
        Ok(text) => return unwell(format!("the kubelet says of its health: {}", text.trim())),
        Err(e @ KubeError::Denied(_)) => return Err(e),
        Err(e) => return unwell(format!("the kubelet does not answer: {e}")),
    }
    let text = match server.get_through(&path("configz"), "ask for its configuration").await {
        Ok(text) => text,
        Err(e @ KubeError::Denied(_)) => return Err(e),
        Err(e) => return unwell(format!("the kubelet does not tell its configuration: {e}")),
    };
    let config: Json = serde_json::from_str(&text).unwrap_or(Json::Null);
    let list = config["kubeletconfig"]["allowedUnsafeSysctls"].as_array();
    let allowed = list.into_iter().flatten().filter_map(|s| s.as_str().map(str::to_owned)).collect();
    let (ready, pulse) = state(server, node).await?;
    Ok(Kubelet { wrong: (!ready).then(|| "its node is not Ready".into()), allowed, pulse })
}

/// Whether a Node object says that it is ready.
pub fn is_ready(node: &Json) -> bool {
    let conditions = node["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Whether one of `allowed` (names, or patterns that end in `*`) lets `wanted` through.
pub fn allows(allowed: &[String], wanted: &str) -> bool {
    allowed.iter().any(|a| match a.strip_suffix('*') {
        Some(start) => wanted.starts_with(start),
        None => a == wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_allow_names_and_narrower_patterns() {
        let allowed = ["net.*".to_owned(), "kernel.msgmax".to_owned()];
        assert!(allows(&allowed, "net.core.somaxconn") && allows(&allowed, "net.*") && allows(&allowed, "kernel.msgmax"));
        assert!(!allows(&allowed, "kernel.*") && !allows(&allowed, "vm.swappiness"));
    }
}
