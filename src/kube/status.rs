//! How a cluster is: from the API server, and from the cluster map.

use super::members::{self, Map};
use super::pods::{Pod, pods, why_not_ready};
use super::{Info, KubeError, Role, Server, kind};
use serde_json::{Value as Json, json};

/// One proxy or target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its pod.
    pub pod: String,
    /// Its role.
    pub role: Role,
    /// Where it runs.
    pub node: String,
    /// Ready, as Kubernetes sees it.
    pub ready: bool,
    /// In one line why not; empty: ready.
    pub why: String,
    /// In one line why it should not be where it is; empty: it should.
    pub stray: String,
    /// Its image's tag.
    pub version: String,
    /// Restarts of its containers.
    pub restarts: u64,
    /// Its id in the cluster map; empty: not in it.
    pub id: String,
    /// It is the primary proxy.
    pub primary: bool,
    /// In maintenance or leaving.
    pub away: bool,
    /// Where clients reach it.
    pub url: String,
    /// Mountpaths in use, as a target tells; empty: not told.
    pub mountpaths: Vec<String>,
}

/// A cluster's state.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What clients in the Kubernetes cluster use.
    pub endpoint: String,
    /// The API server, and our credentials there.
    pub server: String,
    /// The cluster map, or why there is none.
    pub map: Result<Map, String>,
    /// Its pods.
    pub nodes: Vec<NodeStatus>,
    /// How many there should be: proxies, targets.
    pub wanted: (u32, u32),
    /// The last part of the answer: what was asked for and is not deployed at all.
    pub deployed: bool,
}

impl Status {
    /// All that should be there is ready and in the cluster map, and nothing is where it should not be.
    pub fn is_well(&self) -> bool {
        let strays = self.nodes.iter().any(|n| !n.stray.is_empty());
        let ready = |role| self.nodes.iter().filter(|n| n.role == role && n.ready && !n.id.is_empty() && !n.away).count();
        !strays && self.map.is_ok() && ready(Role::Proxy) >= self.wanted.0 as usize && ready(Role::Target) >= self.wanted.1 as usize
    }

    /// For machines.
    pub fn to_json(&self) -> Json {
        let nodes: Vec<Json> = self
            .nodes
            .iter()
            .map(|n| {
                json!({"pod": n.pod, "role": n.role.name(), "node": n.node, "ready": n.ready, "why": n.why, "stray": n.stray, "version": n.version,
                    "restarts": n.restarts, "id": n.id, "primary": n.primary, "away": n.away, "url": n.url, "mountpaths": n.mountpaths})
            })
            .collect();
        let map = match &self.map {
            Ok(map) => json!({"uuid": map.uuid, "version": map.version}),
            Err(why) => json!({"error": why}),
        };
        json!({"name": self.name, "namespace": self.namespace, "endpoint": self.endpoint, "server": self.server, "well": self.is_well(),
            "deployed": self.deployed, "map": map, "wanted": {"proxies": self.wanted.0, "targets": self.wanted.1}, "nodes": nodes})
    }
}

/// Asks for everything.
pub async fn status(server: &Server, info: &Info) -> Result<Status, KubeError> {
    let all = pods(server, info).await?;
    let map = members::map(server, info, &all).await.map_err(|e| e.to_string());
    let mut nodes = vec![];
    for pod in &all {
        let member = map.as_ref().ok().and_then(|m| m.of_pod(&pod.name));
        let mountpaths = match (pod.role, pod.ready) {
            (Role::Target, true) => members::mountpaths(server, info, pod).await.unwrap_or_default(),
            _ => vec![],
        };
        nodes.push(NodeStatus {
            why: if pod.ready { String::new() } else { why_not_ready(server, info, pod).await },
            stray: info.stray(pod).filter(|_| !pod.leaving).unwrap_or_default(),
            version: version(pod),
            id: member.map(|m| m.id.clone()).unwrap_or_default(),
            primary: member.is_some_and(|m| m.primary),
            away: member.is_some_and(|m| m.away),
            url: member.map(|m| m.public_url.clone()).unwrap_or_default(),
            mountpaths,
            pod: pod.name.clone(),
            role: pod.role,
            node: pod.node.clone(),
            ready: pod.ready,
            restarts: pod.restarts,
        });
    }
    let deployed = match kind("StatefulSet") {
        Some(sets) => !server.list(sets, Some(&info.namespace), &info.everything()).await?.is_empty(),
        None => false,
    };
    Ok(Status {
        name: info.name.clone(),
        namespace: info.namespace.clone(),
        endpoint: info.endpoint.clone(),
        server: format!("{} ({})", server.url, server.login),
        map,
        nodes,
        wanted: (info.wanted(Role::Proxy), info.wanted(Role::Target)),
        deployed,
    })
}

/// `v5.0` of `docker.io/aistorage/aisnode:v5.0`.
fn version(pod: &Pod) -> String {
    match pod.image.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag.to_owned(),
        _ => pod.image.clone(),
    }
}
