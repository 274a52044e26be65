//! What deploying, watching and deleting need to know of an AIStore cluster.

use super::pods::Pod;
use crate::cluster::{Resolved, Role as Places};
use serde_json::Value as Json;

/// A part of the cluster's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A gateway.
    Proxy,
    /// A storage node.
    Target,
}

impl Role {
    /// `proxy`, `target`: the value of the component label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Target => "target",
        }
    }
}

/// A StatefulSet of proxies or targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSet {
    /// What its pods are.
    pub role: Role,
    /// Its name, and the value of its pods' instance label.
    pub name: String,
    /// How many pods.
    pub count: u32,
    /// The nodes they may run on; empty: only labels choose them, and nobody listed the nodes.
    pub nodes: Vec<String>,
    /// What they store is in volume claims, not in directories of their nodes.
    pub claims: bool,
}

/// An AIStore cluster, as its spec has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The image of aisnode.
    pub image: String,
    /// Nodes speak HTTPS.
    pub https: bool,
    /// Its StatefulSets.
    pub sets: Vec<PodSet>,
    /// The labels by which roles find their nodes, where fettle puts them: key and value.
    pub labels: Vec<(Role, String, String)>,
    /// What clients in the cluster use: `http://ais-ais-proxy.ais:51080`.
    pub endpoint: String,
    /// Where the primary is to be after the first start, if the spec says so.
    pub initial_primary: Option<String>,
    /// Whether objects are to be moved when targets come and go (`rebalance.enabled` of the configuration).
    pub rebalance: bool,
    /// Settings of AIStore that the spec gives, as a cluster that runs is told them.
    pub config: Json,
}

impl Info {
    /// What the spec says.
    pub fn new(resolved: &Resolved) -> Self {
        let c = &resolved.cluster;
        let number = |n: i64| u32::try_from(n).unwrap_or(0);
        let mut sets = vec![PodSet {
            role: Role::Proxy,
            name: resolved.role_name(Places::Proxy),
            count: number(resolved.proxy_count),
            nodes: resolved.of(Places::Proxy).iter().map(|n| n.name.clone()).collect(),
            claims: false,
        }];
        sets.extend(resolved.target_sets().into_iter().map(|s| PodSet {
            role: Role::Target,
            name: s.name,
            count: number(s.count),
            nodes: s.nodes.into_iter().map(str::to_owned).collect(),
            claims: s.mountpaths.iter().any(|m| m.claim.is_some()),
        }));
        let labels = [(Role::Proxy, Places::Proxy), (Role::Target, Places::Target)].into_iter().filter(|(_, r)| c.puts_labels(*r));
        let labels = labels.map(|(role, r)| (role, c.role_label(r))).map(|(role, (key, value))| (role, key, value)).collect();
        let mut config = resolved.config();
        let rebalance = config.pointer("/rebalance/enabled").and_then(Json::as_bool).unwrap_or(true);
        // Rebalancing is switched when the cluster is complete, not before.
        if let Some(section) = config.get_mut("rebalance").and_then(Json::as_object_mut) {
            section.remove("enabled");
        }
        if let Some(all) = config.as_object_mut() {
            all.retain(|_, section| section.as_object().is_none_or(|s| !s.is_empty()));
        }
        Self {
            name: c.name.to_string(),
            namespace: c.namespace.to_string(),
            image: c.images.aisnode.to_string(),
            https: resolved.scheme() == "https",
            sets,
            labels,
            endpoint: resolved.endpoint(),
            initial_primary: c.initial_primary.as_ref().map(ToString::to_string),
            rebalance,
            config,
        }
    }

    /// Pods of a role.
    pub fn wanted(&self, role: Role) -> u32 {
        self.sets.iter().filter(|s| s.role == role).map(|s| s.count).sum()
    }

    /// Why the spec does not want a pod where it is; `None`: it does, or nobody knows which nodes it wants.
    pub fn stray(&self, pod: &Pod) -> Option<String> {
        let Some(set) = self.sets.iter().find(|s| s.name == pod.set) else {
            return Some(format!("{}: the spec has no {}", pod.name, pod.set));
        };
        if pod.ordinal >= set.count {
            return Some(format!("{}: the spec has only {} of {}", pod.name, set.count, set.name));
        }
        let elsewhere = !pod.node.is_empty() && !set.nodes.is_empty() && !set.nodes.contains(&pod.node);
        elsewhere.then(|| format!("{} runs on {}, where the spec does not want it", pod.name, pod.node))
    }

    /// Whether the spec wants a pod of the role on the node; true where nobody knows.
    pub fn names(&self, role: Role, node: &str) -> bool {
        self.sets.iter().any(|s| s.role == role && (s.nodes.is_empty() || s.nodes.iter().any(|n| n == node)))
    }

    /// The ConfigMap with the cluster's configuration.
    pub fn config_map(&self) -> String {
        format!("{}-global-cm", self.name)
    }

    /// Picks the pods of the cluster's proxies and targets.
    pub fn selector(&self) -> String {
        format!("app.kubernetes.io/name={},app.kubernetes.io/component in (proxy,target)", self.name)
    }

    /// Picks everything that was deployed for the cluster.
    pub fn everything(&self) -> String {
        format!("app.kubernetes.io/name={},app.kubernetes.io/managed-by={}", self.name, super::MANAGER)
    }
}
