//! Kubelets, as the API server and they themselves see them.

use super::{KubeError, Server, kind};
use serde_json::Value as Json;

/// A kubelet's state; what is wrong is in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubelet {
    /// Why it is not well yet; `None`: it answers, and its node is ready.
    pub wrong: Option<String>,
    /// The unsafe sysctls it allows now.
    pub allowed: Vec<String>,
}

/// Asks a node's kubelet through the API server: `/healthz`, `/configz`, and the node's Ready condition.
pub async fn look(server: &Server, node: &str) -> Result<Kubelet, KubeError> {
    let path = |what: &str| format!("/api/v1/nodes/{node}/proxy/{what}");
    let unwell = |text: String| Ok(Kubelet { wrong: Some(text), allowed: vec![] });
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
    let ready = match kind("Node") {
        Some(kind) => server.get(kind, None, node).await?.is_some_and(|n| is_ready(&n)),
        None => false,
    };
    Ok(Kubelet { wrong: (!ready).then(|| "its node is not Ready".into()), allowed })
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
