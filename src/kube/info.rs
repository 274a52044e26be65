//! What deploying, watching and deleting need to know of an AIStore cluster.

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
    /// `proxy`, `target`: the value of the component label and the end of names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Target => "target",
        }
    }
}

/// An AIStore cluster, as its spec has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Nodes speak HTTPS.
    pub https: bool,
    /// How many proxies.
    pub proxies: u32,
    /// How many targets.
    pub targets: u32,
    /// Their public ports.
    pub proxy_port: u16,
    /// Likewise.
    pub target_port: u16,
    /// What clients in the cluster use: `http://ais-ais-proxy.ais:51080`.
    pub endpoint: String,
    /// Whether objects are to be moved when targets come and go (`rebalance.enabled` of the configuration).
    pub rebalance: bool,
    /// Settings of AIStore that the spec gives, for clusters that run already.
    pub config: Json,
}

impl Info {
    /// Pods of a role.
    pub fn wanted(&self, role: Role) -> u32 {
        match role {
            Role::Proxy => self.proxies,
            Role::Target => self.targets,
        }
    }

    /// `ais-proxy`: name of the StatefulSet and of its headless service.
    pub fn set_name(&self, role: Role) -> String {
        format!("{}-{}", self.name, role.name())
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
