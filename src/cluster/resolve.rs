//! Which nodes play which role.

use super::forms::{NodeName, Scalar};
use super::spec::{Cluster, LabelScheme, Size};
use super::value::At;
use crate::diag::{Diagnostic, Diagnostics, Loc, nearest};
use crate::inventory::Inventory;
use crate::template::{Engine, Scope, Var};
use indexmap::IndexMap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The nodes that the API server knows, with their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelledNodes(pub BTreeMap<String, BTreeMap<String, String>>);

impl LabelledNodes {
    /// From Node objects, as the API server lists them.
    pub fn from_nodes(nodes: &[serde_json::Value]) -> Self {
        let mut all = Self::default();
        for node in nodes {
            let Some(name) = node["metadata"]["name"].as_str() else { continue };
            let labels = node["metadata"]["labels"].as_object();
            let labels = labels.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())));
            all.0.insert(name.to_owned(), labels.collect());
        }
        all
    }
}

/// One node with a role.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInfo {
    /// Its name in Kubernetes.
    pub name: String,
    /// The inventory's name for it, if it came from there.
    pub host: Option<String>,
    /// Where the spec names it.
    pub loc: Loc,
}

/// The nodes of a cluster, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nodes {
    /// Proxies' nodes. Empty where they are chosen by labels and no list of nodes was at hand.
    pub proxies: Vec<NodeInfo>,
    /// Targets' nodes; likewise.
    pub targets: Vec<NodeInfo>,
}

/// The two kinds of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A gateway.
    Proxy,
    /// A storage node.
    Target,
}

impl Role {
    /// `proxy`, `target`: as in objects' names and labels.
    pub fn word(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Target => "target",
        }
    }

    /// `proxies`, `targets`: as in the spec.
    pub fn section(self) -> &'static str {
        match self {
            Self::Proxy => "proxies",
            Self::Target => "targets",
        }
    }
}

/// A cluster spec whose nodes are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The spec.
    pub cluster: Cluster,
    /// Its nodes.
    pub nodes: Nodes,
    /// How many proxies run.
    pub proxy_count: i64,
    /// How many targets run.
    pub target_count: i64,
}

/// How a role chooses its nodes.
struct Choice<'a> {
    role: Role,
    nodes: &'a [At<NodeName>],
    groups: &'a [At<Scalar>],
    labels: &'a IndexMap<String, At<Scalar>>,
    count: &'a At<Size>,
    share: bool,
    loc: &'a Loc,
}

impl Choice<'_> {
    fn named(&self) -> bool {
        !self.nodes.is_empty() || !self.groups.is_empty()
    }
}

impl Cluster {
    fn choice(&self, role: Role) -> Choice<'_> {
        match role {
            Role::Proxy => {
                let p = &self.proxies;
                Choice { role, nodes: &p.nodes, groups: &p.groups, labels: &p.labels, count: &p.count, share: false, loc: &p.loc }
            }
            Role::Target => {
                let t = &self.targets;
                Choice { role, nodes: &t.nodes, groups: &t.groups, labels: &t.labels, count: &t.count, share: *t.share_nodes, loc: &t.loc }
            }
        }
    }

    /// Whether fettle puts the role's label on nodes: they were chosen by name or group.
    pub fn puts_labels(&self, role: Role) -> bool {
        self.choice(role).named()
    }

    /// The label of a role: its key and value.
    pub fn role_label(&self, role: Role) -> (String, String) {
        let key = format!("nvidia.com/ais-{}", role.word());
        match (self.node_labels.scheme, role) {
            (LabelScheme::Today, _) => (key, self.name.to_string()),
            (LabelScheme::Guide, Role::Target) => (key, format!("{}-ais", self.release())),
            (LabelScheme::Guide, Role::Proxy) => (key, format!("{}-ais-electable", self.release())),
            (LabelScheme::PerCluster, _) => (format!("{key}.{}.{}", *self.namespace, *self.name), "true".into()),
        }
    }

    /// The label of the node that is to be the first primary.
    pub fn primary_label(&self) -> (String, String) {
        let key = "nvidia.com/ais-initial-primary-proxy".to_owned();
        match self.node_labels.scheme {
            LabelScheme::Today => (key, self.name.to_string()),
            LabelScheme::Guide => (key, format!("{}-ais", self.release())),
            LabelScheme::PerCluster => (format!("{key}.{}.{}", *self.namespace, *self.name), "true".into()),
        }
    }

    /// By which labels pods of a role find their nodes.
    pub fn node_selector(&self, role: Role) -> BTreeMap<String, String> {
        let choice = self.choice(role);
        if choice.named() || choice.labels.is_empty() {
            BTreeMap::from([self.role_label(role)])
        } else {
            choice.labels.iter().map(|(k, v)| (k.clone(), v.to_string())).collect()
        }
    }

    /// All labels by which its pods choose nodes, whoever puts them there.
    pub fn choosing_labels(&self) -> Vec<(String, String)> {
        let of_roles = [Role::Proxy, Role::Target].into_iter().flat_map(|role| self.node_selector(role));
        of_roles.chain(self.initial_primary.is_some().then(|| self.primary_label())).collect()
    }

    /// Finds the nodes. `groups` need the inventory; nodes chosen by labels need the API server's list, unless `count` says how many.
    pub fn resolve(&self, inventory: Option<&Inventory>, labelled: Option<&LabelledNodes>) -> Result<Resolved, Diagnostics> {
        let mut out = Diagnostics::default();
        let (proxies, proxy_count) = self.find(Role::Proxy, inventory, labelled, &mut out);
        let (targets, target_count) = self.find(Role::Target, inventory, labelled, &mut out);
        let resolved = Resolved { cluster: self.clone(), nodes: Nodes { proxies, targets }, proxy_count, target_count };
        if out.has_errors() { Err(out) } else { Ok(resolved) }
    }

    fn find(
        &self,
        role: Role,
        inventory: Option<&Inventory>,
        labelled: Option<&LabelledNodes>,
        out: &mut Diagnostics,
    ) -> (Vec<NodeInfo>, i64) {
        let choice = self.choice(role);
        let section = role.section();
        if choice.named() && !choice.labels.is_empty() {
            out.push(
                Diagnostic::error(choice.loc, format!("`{section}` chooses its nodes by name or group and by `labels` as well"))
                    .help("leave one out: nodes chosen by name are labelled by fettle, `labels` are those they have already"),
            );
            return (vec![], 1);
        }
        let found = if choice.named() { named(&choice, inventory, out) } else { self.labelled(role, labelled) };
        let count = match (choice.count.value, found.len()) {
            (Size::Of(count), known) => {
                if known > 0 && !choice.share && count.0 > known as i64 {
                    out.push(Diagnostic::error(
                        &choice.count.loc,
                        format!("`{section}.count` is {count}, and {known} nodes are chosen: two {section} never share a node"),
                    ));
                }
                count.0
            }
            (Size::Auto, 0) if choice.named() => 1,
            (Size::Auto, 0) => {
                let selector = self.node_selector(role).into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",");
                out.push(if labelled.is_some() {
                    Diagnostic::error(choice.loc, format!("no node has the label {selector} by which `{section}` are chosen"))
                        .help(format!("label nodes, or name them: `{section}: {{nodes: [NODE, …]}}`"))
                } else {
                    Diagnostic::error(
                        choice.loc,
                        format!("how many `{section}` there are only the API server knows: nodes with the label {selector}"),
                    )
                    .help(format!("name the nodes (`nodes`, `groups`), or give `{section}.count` as a number"))
                });
                1
            }
            (Size::Auto, known) => known as i64,
        };
        (found, count)
    }

    fn labelled(&self, role: Role, labelled: Option<&LabelledNodes>) -> Vec<NodeInfo> {
        let selector = self.node_selector(role);
        let Some(LabelledNodes(all)) = labelled else { return vec![] };
        let loc = self.choice(role).loc.clone();
        all.iter()
            .filter(|(_, labels)| selector.iter().all(|(k, v)| labels.get(k) == Some(v)))
            .map(|(name, _)| NodeInfo { name: name.clone(), host: None, loc: loc.clone() })
            .collect()
    }
}

/// Nodes by name and by the inventory's groups.
fn named(choice: &Choice<'_>, inventory: Option<&Inventory>, out: &mut Diagnostics) -> Vec<NodeInfo> {
    let section = choice.role.section();
    let mut found: Vec<NodeInfo> = vec![];
    let hosts = inventory.map(hosts_of_nodes).unwrap_or_default();
    for node in choice.nodes {
        if found.iter().any(|n| n.name == *node.value) {
            out.push(Diagnostic::error(&node.loc, format!("the node `{}` is in `{section}.nodes` twice", node.value)));
            continue;
        }
        let host = hosts.get(&*node.value).cloned();
        found.push(NodeInfo { name: node.value.to_string(), host, loc: node.loc.clone() });
    }
    for group in choice.groups {
        let Some(inventory) = inventory else {
            out.push(
                Diagnostic::error(&group.loc, format!("`{section}.groups` names groups of an inventory, and none was given"))
                    .help("name the inventory with -i"),
            );
            break;
        };
        let groups = inventory.groups();
        let Some(hosts) = groups.get(&*group.value) else {
            let d = Diagnostic::error(&group.loc, format!("the inventory has no group `{}`", group.value));
            let d = d.nearest(group, groups.keys().map(String::as_str));
            let names: Vec<&str> = groups.keys().map(String::as_str).filter(|g| !matches!(*g, "all" | "ungrouped")).collect();
            out.push(if d.label.is_some() { d } else { d.help(format!("its groups: {}", names.join(", "))) });
            continue;
        };
        if hosts.is_empty() {
            out.push(Diagnostic::error(&group.loc, format!("the group `{}` has no hosts", group.value)));
        }
        for host in hosts {
            match node_name(inventory, host, &group.loc) {
                Ok(name) if found.iter().any(|n| n.name == name) => {}
                Ok(name) => found.push(NodeInfo { name, host: Some(host.clone()), loc: group.loc.clone() }),
                Err(e) => out.push(e),
            }
        }
    }
    found
}

/// The inventory's hosts by the nodes that they stand for. A host whose name can't be a node's stands for none.
pub fn hosts_of_nodes(inventory: &Inventory) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for host in inventory.hosts() {
        if let Ok(node) = node_name(inventory, &host, &Loc::outside("inventory")) {
            all.entry(node).or_insert(host);
        }
    }
    all
}

/// A host's name as a node: `kube_override_hostname` (Kubespray's), `node_name`, or the inventory's name; in small letters, as
/// kubelets make it.
pub fn node_name(inventory: &Inventory, host: &str, loc: &Loc) -> Result<String, Diagnostic> {
    node_name_with(inventory, host, &serde_json::Value::Null, loc)
}

/// The same where the host's facts are known, for names that are made of them; and a host whose override is empty is called
/// what it calls itself.
pub fn node_name_with(inventory: &Inventory, host: &str, facts: &serde_json::Value, loc: &Loc) -> Result<String, Diagnostic> {
    let vars = inventory.vars(host);
    let mut layer: HashMap<String, Var> = vars.0.iter().map(|(name, node)| (name.clone(), Var::Template(Arc::new(node.clone())))).collect();
    for (name, value) in facts.as_object().into_iter().flatten() {
        layer.insert(format!("ansible_{}", name.trim_start_matches("ansible_")), Var::Plain(Arc::new(value.clone())));
    }
    for (name, value) in [
        ("inventory_hostname", host.into()),
        ("inventory_hostname_short", host.split('.').next().unwrap_or(host).into()),
        ("group_names", inventory.group_names(host).into()),
    ] {
        layer.insert(name.into(), Var::Plain(Arc::new(value)));
    }
    let mut scope = Scope::new();
    scope.push(Arc::new(layer));
    for variable in ["kube_override_hostname", "node_name"] {
        let Some(node) = vars.get(variable) else { continue };
        let value = Engine::new()
            .variable(variable, &scope)
            .map_err(|e| Diagnostic::error(&node.loc, format!("`{variable}` of host {host} can't be rendered: {e}")))?;
        match value.as_str().map(str::trim) {
            // As Kubespray's defaults have it for clouds: the kubelet takes the host's own name.
            Some("") => {
                let own = facts.get("nodename").or_else(|| facts.get("ansible_nodename")).and_then(serde_json::Value::as_str);
                if let Some(own) = own.filter(|_| variable == "kube_override_hostname" && vars.get("node_name").is_none()) {
                    return check_name(own, host, loc);
                }
            }
            Some(name) => return check_name(name, host, &node.loc),
            None => return Err(Diagnostic::error(&node.loc, format!("`{variable}` of host {host} is not a node name"))),
        }
    }
    check_name(host, host, loc)
}

fn check_name(name: &str, host: &str, loc: &Loc) -> Result<String, Diagnostic> {
    let name = name.to_lowercase();
    match super::forms::node_wrong(&name) {
        None => Ok(name),
        Some(why) => Err(Diagnostic::error(loc, format!("the host {host} can't be the node `{name}`: {why}"))
            .help("give the host the variable `node_name`: its name in `kubectl get nodes`")),
    }
}

impl Resolved {
    /// The nodes of a role, as far as they are known.
    pub fn of(&self, role: Role) -> &[NodeInfo] {
        match role {
            Role::Proxy => &self.nodes.proxies,
            Role::Target => &self.nodes.targets,
        }
    }

    /// Nodes that the spec names and Kubernetes has not: an error each.
    pub fn missing(&self, LabelledNodes(all): &LabelledNodes) -> Diagnostics {
        let mut out = Diagnostics::default();
        let named = [Role::Proxy, Role::Target].into_iter().flat_map(|role| self.of(role));
        for node in named.filter(|n| !all.contains_key(&n.name)) {
            let d = Diagnostic::error(&node.loc, format!("Kubernetes has no node `{}`", node.name));
            out.push(match nearest(&node.name, all.keys().map(String::as_str)) {
                Some(near) => d.label(format!("did you mean `{near}`?")),
                None => d.help(format!("its nodes: {}", all.keys().map(String::as_str).collect::<Vec<_>>().join(", "))),
            });
        }
        out
    }

    /// The labels that nodes must get: node, key, value. None for a role whose nodes are chosen by labels they have already.
    pub fn labels(&self) -> Vec<(String, String, String)> {
        let mut all = vec![];
        for role in [Role::Proxy, Role::Target] {
            if self.cluster.puts_labels(role) {
                let (key, value) = self.cluster.role_label(role);
                all.extend(self.of(role).iter().map(|n| (n.name.clone(), key.clone(), value.clone())));
            }
        }
        if let Some(primary) = &self.cluster.initial_primary {
            let (key, value) = self.cluster.primary_label();
            all.push((primary.to_string(), key, value));
        }
        all
    }

    /// Where clients in the Kubernetes cluster find AIStore: the client service in front of all proxies.
    pub fn endpoint(&self) -> String {
        let c = &self.cluster;
        format!("{}://{}.{}:{}", self.scheme(), self.client_service(), *c.namespace, c.proxies.ports.public.value)
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.cluster.tls.is_some() { "https" } else { "http" }
    }

    /// Ports of a node that a role's pods take.
    pub fn host_ports(&self, role: Role) -> Vec<u16> {
        let c = &self.cluster;
        let ports = match role {
            Role::Proxy => super::check::on_host(&c.proxies.access(), &c.proxies.ports()),
            Role::Target => super::check::on_host(&c.targets.access(), &c.targets.ports()),
        };
        ports.iter().filter_map(|p| u16::try_from(p.value.0).ok()).collect()
    }

    /// Sysctls of pods that a kubelet must be told to allow.
    pub fn unsafe_sysctls(&self) -> Vec<String> {
        // Allowed always, as Kubernetes documents it ("safe sysctls", 1.32 and later).
        const SAFE: &[&str] = &[
            "kernel.shm_rmid_forced",
            "net.ipv4.ip_local_port_range",
            "net.ipv4.ip_local_reserved_ports",
            "net.ipv4.ip_unprivileged_port_start",
            "net.ipv4.ping_group_range",
            "net.ipv4.tcp_fin_timeout",
            "net.ipv4.tcp_keepalive_intvl",
            "net.ipv4.tcp_keepalive_probes",
            "net.ipv4.tcp_keepalive_time",
            "net.ipv4.tcp_rmem",
            "net.ipv4.tcp_syncookies",
            "net.ipv4.tcp_wmem",
        ];
        let c = &self.cluster;
        let mut all: Vec<String> = c.proxies.pods.sysctls.keys().chain(c.targets.pods.sysctls.keys()).cloned().collect();
        all.retain(|name| !SAFE.contains(&name.as_str()));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The name of the client service in front of all proxies.
    pub fn client_service(&self) -> String {
        format!("{}-ais-proxy", self.cluster.release())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_are_called_as_kubelets_call_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts.ini");
        let text = "[web]\nA.example.com node_name=\"{{ inventory_hostname_short }}\"\nb kube_override_hostname=\nc kube_override_hostname= node_name=n-c\n\
            d node_name=\"{{ ansible_hostname }}.d\"\ne node_name=\"{{ 'w' if 'web' in group_names else 'x' }}\"\nf kube_override_hostname=[1]\n";
        std::fs::write(&file, text).unwrap();
        let inventory = Inventory::load(&[file.display().to_string()], None).unwrap();
        let facts = json!({"ansible_hostname": "D1", "ansible_nodename": "Own.example"});
        let name = |host: &str, facts: &serde_json::Value| node_name_with(&inventory, host, facts, &Loc::outside("test"));
        let names: Vec<String> = ["A.example.com", "b", "c", "d", "e"].iter().map(|h| name(h, &facts).unwrap()).collect();
        assert_eq!(names, ["a", "own.example", "n-c", "d1.d", "w"]);
        let none = serde_json::Value::Null;
        assert_eq!(name("b", &none).unwrap(), "b");
        assert!(name("d", &none).unwrap_err().to_string().contains("can't be rendered"));
        assert!(name("f", &none).unwrap_err().to_string().contains("is not a node name"));
    }
}
