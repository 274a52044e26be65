//! Which nodes, which ports, and how clients reach them.

use super::{ClaimRetention, Disruption, Exception, LocalVolumes, Mountpath, Pods};
use crate::cluster::forms::{Network, NodeName, Scalar};
use crate::cluster::table::{Shape, Value, defaults, empty, optional, or, required, section};
use crate::cluster::value::{At, Count, Port, shown, words};
use crate::diag::{Diagnostic, Diagnostics, Loc};
use crate::yaml::{Node, Value as Yaml};
use indexmap::IndexMap;
use serde_json::{Value as Json, json};

/// How many pods: a number, or one on each node that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One on each chosen node.
    Auto,
    /// So many, on some of the chosen nodes.
    Of(Count),
}

impl Value for Size {
    fn read(node: &Node, what: &str, out: &mut Diagnostics) -> Option<Self> {
        match &node.value {
            Yaml::Str(s) if s == "auto" => Some(Self::Auto),
            Yaml::Int(i) if (1..=100_000).contains(i) => Some(Self::Of(Count::from(*i))),
            _ => {
                out.push(Diagnostic::error(&node.loc, format!("`{what}` must be `auto` or a whole number from 1, not {}", shown(node))));
                None
            }
        }
    }
    fn to_json(&self) -> Json {
        match self {
            Self::Auto => json!("auto"),
            Self::Of(n) => json!(n.0),
        }
    }
    fn shape() -> Shape {
        let schema =
            json!({"anyOf": [{"type": ["string", "null"], "enum": ["auto", null]}, {"type": "integer", "minimum": 1, "maximum": 100_000}]});
        Shape::plain(schema, "`auto` or a whole number from 1")
    }
    fn placeholder() -> Self {
        Self::Auto
    }
}

words! {
    /// How clients outside reach pods.
    pub enum Reach {
        /// A port of the node leads to the pod: the usual way on own hardware.
        HostPort = "host_port",
        /// A service of type LoadBalancer: one for all proxies, one for each target.
        LoadBalancer = "load_balancer",
        /// The pod uses the node's network itself. Targets only.
        HostNetwork = "host_network",
        /// Not at all: only pods of this Kubernetes cluster are clients.
        Cluster = "cluster",
    }
}

/// The three ports of a role, as checks and manifests use them.
#[derive(Clone, Debug, PartialEq)]
pub struct Ports {
    /// For clients.
    pub public: At<Port>,
    /// Between nodes: cluster map, health, joins.
    pub control: At<Port>,
    /// Between nodes: objects.
    pub data: At<Port>,
}

section! {
    /// Ports of proxies. AIStore 5.0 refuses to start where the public port is also one of the others.
    pub struct ProxyPorts {
        /// For clients.
        pub public: At<Port> = or(Port::from(51080)),
        /// Between nodes: cluster map, health, joins.
        pub control: At<Port> = or(Port::from(51082)),
        /// Between nodes: objects.
        pub data: At<Port> = or(Port::from(51083)),
    }
}

section! {
    /// Ports of targets. AIStore 5.0 refuses to start where the public port is also one of the others.
    pub struct TargetPorts {
        /// For clients.
        pub public: At<Port> = or(Port::from(51081)),
        /// Between nodes: cluster map, health, joins.
        pub control: At<Port> = or(Port::from(51082)),
        /// Between nodes: objects.
        pub data: At<Port> = or(Port::from(51083)),
    }
}

section! {
    /// How clients outside reach proxies.
    pub struct ProxyAccess {
        /// The way.
        pub by: At<Reach> = or(Reach::HostPort),
        /// The node's port, with `host_port`; the public port unless given. AIStore shows the public port, so best leave it out.
        pub host_port: Option<At<Port>> = optional(),
        /// Annotations of the LoadBalancer services.
        pub annotations: IndexMap<String, Scalar> = empty(),
        /// Class of the LoadBalancer services.
        pub load_balancer_class: Option<At<Scalar>> = optional(),
        /// Networks whose clients the load balancers let in; all unless given.
        pub source_ranges: Vec<At<Network>> = empty(),
    }
}

section! {
    /// How clients outside reach targets. They must: proxies only redirect, the objects themselves come from targets.
    pub struct TargetAccess {
        /// The way.
        pub by: At<Reach> = or(Reach::HostPort),
        /// The node's port, with `host_port`. It must be the public port, to which proxies redirect clients.
        pub host_port: Option<At<Port>> = optional(),
        /// Annotations of the LoadBalancer services.
        pub annotations: IndexMap<String, Scalar> = empty(),
        /// Class of the LoadBalancer services.
        pub load_balancer_class: Option<At<Scalar>> = optional(),
        /// Networks whose clients the load balancers let in; all unless given.
        pub source_ranges: Vec<At<Network>> = empty(),
    }
}

/// How clients outside reach a role, as checks and manifests use it.
pub struct Access<'a> {
    /// Where the section stands.
    pub loc: &'a Loc,
    /// The way.
    pub by: &'a At<Reach>,
    /// The node's port as given.
    pub host_port: Option<&'a At<Port>>,
    /// Annotations of the LoadBalancer services.
    pub annotations: &'a IndexMap<String, Scalar>,
    /// Class of the LoadBalancer services.
    pub load_balancer_class: Option<&'a At<Scalar>>,
    /// Networks let in.
    pub source_ranges: &'a [At<Network>],
}

section! {
    /// Gateways. Nodes are chosen by `nodes` and `groups` (fettle labels them then), or by labels they have already.
    pub struct Proxies {
        /// Nodes by name.
        pub nodes: Vec<At<NodeName>> = empty(),
        /// Groups of the inventory: all their hosts.
        pub groups: Vec<At<Scalar>> = empty(),
        /// Labels that the nodes have already; fettle labels no node then. Without `nodes`, `groups` and `labels`: the role's own label.
        pub labels: IndexMap<String, At<Scalar>> = empty(),
        /// How many. `auto`: one on each node chosen.
        pub count: At<Size> = or(Size::Auto),
        /// Ports.
        pub ports: ProxyPorts = defaults(),
        /// How clients outside reach them.
        pub access: ProxyAccess = defaults(),
        /// Whether claims (of `state`) go when pods do. Needs Kubernetes 1.32.
        pub claim_retention: Option<ClaimRetention> = optional(),
        /// Their pods.
        pub pods: Pods = defaults(),
    }
}

section! {
    /// Storage nodes. Nodes are chosen by `nodes` and `groups` (fettle labels them then), or by labels they have already.
    pub struct Targets {
        /// Nodes by name.
        pub nodes: Vec<At<NodeName>> = empty(),
        /// Groups of the inventory: all their hosts.
        pub groups: Vec<At<Scalar>> = empty(),
        /// Labels that the nodes have already; fettle labels no node then. Without `nodes`, `groups` and `labels`: the role's own label.
        pub labels: IndexMap<String, At<Scalar>> = empty(),
        /// How many. `auto`: one on each node chosen.
        pub count: At<Size> = or(Size::Auto),
        /// The filesystems that hold objects, the same on each node.
        pub mountpaths: Vec<Mountpath> = required(),
        /// Nodes with other mountpaths. Each makes a StatefulSet of its own, NAME-target-EXCEPTION.
        pub exceptions: Vec<Exception> = empty(),
        /// Render a PersistentVolume for each claim and node, and their StorageClass: for disks that no provisioner hands out.
        pub local_volumes: Option<LocalVolumes> = optional(),
        /// Whether claims go when pods do. Needs Kubernetes 1.32.
        pub claim_retention: Option<ClaimRetention> = optional(),
        /// Ports.
        pub ports: TargetPorts = defaults(),
        /// How clients outside reach them.
        pub access: TargetAccess = defaults(),
        /// Let several targets run on one node. Only with claims (a directory of the host would be shared), and without host ports.
        pub share_nodes: At<bool> = or(false),
        /// Guards targets against `kubectl drain` and cluster autoscalers.
        pub disruption_budget: Option<Disruption> = optional(),
        /// Their pods.
        pub pods: Pods = defaults(),
    }
}

macro_rules! role {
    ($($Role:ident),+) => {
        $(impl $Role {
            /// Its ports.
            pub fn ports(&self) -> Ports {
                Ports { public: self.ports.public.clone(), control: self.ports.control.clone(), data: self.ports.data.clone() }
            }

            /// How clients outside reach it.
            pub fn access(&self) -> Access<'_> {
                let access = &self.access;
                Access {
                    loc: &access.loc,
                    by: &access.by,
                    host_port: access.host_port.as_ref(),
                    annotations: &access.annotations,
                    load_balancer_class: access.load_balancer_class.as_ref(),
                    source_ranges: &access.source_ranges,
                }
            }
        })+
    };
}
role!(Proxies, Targets);

/// The port of the node that leads to the pod, if one does.
pub fn host_port(access: &Access<'_>, ports: &Ports) -> Option<At<Port>> {
    (access.by.value == Reach::HostPort).then(|| access.host_port.cloned().unwrap_or_else(|| ports.public.clone()))
}
