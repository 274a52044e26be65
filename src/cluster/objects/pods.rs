//! The StatefulSets of proxies and targets.

use super::base::{account, manifest, name, put};
use super::claims::hostname_is;
use super::volumes::{Mounts, mounts};
use super::{TargetSet, access};
use crate::cluster::Object;
use crate::cluster::passed::EnvValue;
use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::{Access, Pods, Ports, Probe, PublicName, Reach, Resources, Taint, host_port};
use crate::cluster::value::At;
use crate::diag::Diagnostics;
use indexmap::IndexMap;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy};
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapKeySelector, Container, ContainerPort, EnvVar, EnvVarSource, NodeAffinity, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, ObjectFieldSelector, PodSpec, PreferredSchedulingTerm, ResourceRequirements, SecretKeySelector, Sysctl, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The annotation that changes when pods must be started again for a changed configuration: AIStore reads ports, mountpaths and all
/// of `net` only at start.
pub const RESTART: &str = "fettle/restart-config";

/// One role's StatefulSet in the making.
struct Making<'a> {
    r: &'a Resolved,
    role: Role,
    set: Option<&'a TargetSet<'a>>,
    pods: &'a Pods,
    ports: Ports,
    access: Access<'a>,
}

/// The StatefulSets: proxies, then targets.
pub fn push(r: &Resolved, all: &mut Vec<Object>) -> Result<(), Diagnostics> {
    let c = &r.cluster;
    let (pods, ports, access) = (&c.proxies.pods, c.proxies.ports(), c.proxies.access());
    let proxies = Making { r, role: Role::Proxy, set: None, pods, ports, access };
    put(all, &proxies.stateful_set(manifest!("proxies.yaml", 0)?, &r.role_name(Role::Proxy), r.proxy_count)?)?;
    for set in r.target_sets() {
        let (pods, ports, access) = (&c.targets.pods, c.targets.ports(), c.targets.access());
        let targets = Making { r, role: Role::Target, set: Some(&set), pods, ports, access };
        put(all, &targets.stateful_set(manifest!("targets.yaml", 0)?, &set.name, set.count)?)?;
    }
    Ok(())
}

impl Making<'_> {
    fn stateful_set(&self, mut made: StatefulSet, own_name: &str, count: i64) -> Result<StatefulSet, Diagnostics> {
        let (r, targets) = (self.r, &self.r.cluster.targets);
        name(&mut made.metadata, r, own_name, self.role.word());
        let Mounts { volumes, node, claims } = mounts(r, self.role, self.set);
        let mut labels = access::selector(r, self.role);
        labels.insert("app.kubernetes.io/instance".into(), own_name.to_owned());
        let restart = self.restart_hash()?;
        if let Some(spec) = &mut made.spec {
            spec.replicas = Some(i32::try_from(count).unwrap_or(i32::MAX));
            spec.service_name = Some(r.role_name(self.role));
            spec.selector.match_labels = Some(labels.clone());
            spec.volume_claim_templates = Some(claims).filter(|c| !c.is_empty());
            let retention = if self.role == Role::Target { &targets.claim_retention } else { &r.cluster.proxies.claim_retention };
            if let Some(retention) = retention {
                spec.persistent_volume_claim_retention_policy = Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some(retention.when_deleted.word().to_owned()),
                    when_scaled: Some(retention.when_scaled.word().to_owned()),
                });
            }
            let meta = spec.template.metadata.get_or_insert_default();
            labels.insert("app.kubernetes.io/managed-by".into(), "fettle".into());
            labels.extend(self.pods.labels.iter().map(|(k, v)| (k.clone(), v.to_string())));
            meta.labels = Some(labels);
            meta.annotations = Some(self.annotations(restart));
            if let Some(pod) = &mut spec.template.spec {
                pod.volumes = Some(volumes);
                self.pod(pod, node);
            }
        }
        Ok(made)
    }

    /// What, when it changes, needs a restart: the node's own configuration and the `net` section.
    fn restart_hash(&self) -> Result<String, Diagnostics> {
        let net = self.r.config().get("net").cloned().unwrap_or_default();
        let local = self.r.local_config(&self.ports, self.set.map(|s| s.mountpaths))?;
        let digest = Sha256::digest(
            json!([net, local, self.r.cluster.hostname_map.iter().map(|(k, v)| (k, v.to_string())).collect::<Vec<_>>()]).to_string(),
        );
        Ok(digest.iter().take(8).map(|b| format!("{b:02x}")).collect())
    }

    fn annotations(&self, restart: String) -> BTreeMap<String, String> {
        let c = &self.r.cluster;
        let mut all = BTreeMap::from([(RESTART.to_owned(), restart)]);
        if c.monitoring.scrape_annotations {
            all.insert("prometheus.io/scrape".into(), "true".into());
            all.insert("prometheus.io/port".into(), self.ports.public.to_string());
            all.insert("prometheus.io/path".into(), "/metrics".into());
            if c.tls.is_some() {
                all.insert("prometheus.io/scheme".into(), "https".into());
            }
        }
        if !c.network_attachments.is_empty() {
            let names: Vec<&str> = c.network_attachments.iter().map(|n| &**n).collect();
            all.insert("k8s.v1.cni.cncf.io/networks".into(), names.join(","));
        }
        all.extend(self.pods.annotations.iter().map(|(k, v)| (k.clone(), v.to_string())));
        all
    }

    fn pod(&self, pod: &mut PodSpec, node_mounts: Vec<k8s_openapi::api::core::v1::VolumeMount>) {
        let c = &self.r.cluster;
        pod.service_account_name = Some(account(self.r));
        pod.node_selector = Some(self.r.cluster.node_selector(self.role));
        pod.affinity = self.affinity(pod.affinity.take());
        pod.tolerations = Some(tolerations(&self.pods.tolerations)).filter(|t| !t.is_empty());
        pod.priority_class_name = c.priority_class.as_ref().map(|p| p.to_string());
        let host_network = self.access.by.value == Reach::HostNetwork;
        if host_network {
            pod.host_network = Some(true);
            pod.dns_policy = Some("ClusterFirstWithHostNet".into());
        }
        if let Some(security) = &mut pod.security_context {
            let sysctls = self.pods.sysctls.iter().map(|(k, v)| Sysctl { name: k.clone(), value: v.to_string() }).collect();
            security.sysctls = Some(sysctls).filter(|s: &Vec<_>| !s.is_empty() && !host_network);
            if let Some(given) = &self.pods.pod_security_context {
                *security = replaced(security, &given.0);
            }
        }
        for container in pod.init_containers.iter_mut().flatten() {
            self.init(container);
        }
        for container in &mut pod.containers {
            self.node(container, node_mounts.clone());
        }
        if let Some(sidecar) = &c.logs.sidecar {
            pod.containers.push(self.sidecar(sidecar, &node_mounts));
        }
    }

    fn affinity(&self, bundled: Option<Affinity>) -> Option<Affinity> {
        let mut affinity = bundled.unwrap_or_default();
        for term in
            affinity.pod_anti_affinity.iter_mut().flat_map(|a| a.required_during_scheduling_ignored_during_execution.iter_mut().flatten())
        {
            if let Some(selector) = &mut term.label_selector {
                selector.match_labels = Some(access::selector(self.r, self.role));
            }
        }
        let targets = &self.r.cluster.targets;
        if self.role == Role::Target && *targets.share_nodes {
            affinity.pod_anti_affinity = None;
        }
        if let Some(given) = &self.pods.affinity {
            affinity.pod_affinity = given.0.pod_affinity.clone();
            affinity.node_affinity = given.0.node_affinity.clone();
            affinity.pod_anti_affinity = given.0.pod_anti_affinity.clone().or(affinity.pod_anti_affinity);
        }
        // Nodes with other mountpaths run their own StatefulSet's pods, and no others.
        match self.set.map(|s| (s.exception, s)) {
            Some((Some(_), set)) => require(&mut affinity, &hostname_is("In", &set.nodes)),
            Some((None, _)) if !targets.exceptions.is_empty() => {
                let names: Vec<&str> = targets.exceptions.iter().flat_map(|e| e.nodes.iter().map(|n| &*n.value)).collect();
                require(&mut affinity, &hostname_is("NotIn", &names));
            }
            _ => {}
        }
        if self.role == Role::Proxy && self.r.cluster.initial_primary.is_some() {
            self.prefer_primary(&mut affinity);
        }
        Some(affinity).filter(|a| *a != Affinity::default())
    }

    /// The first pod made is number 0, and the scheduler prefers the labelled node for it. It is a preference: deploy looks where the
    /// primary is and moves it if need be.
    fn prefer_primary(&self, affinity: &mut Affinity) {
        let (key, value) = self.r.cluster.primary_label();
        let rule = NodeSelectorRequirement { key, operator: "In".into(), values: Some(vec![value]) };
        let term = PreferredSchedulingTerm {
            weight: 100,
            preference: NodeSelectorTerm { match_expressions: Some(vec![rule]), ..NodeSelectorTerm::default() },
        };
        affinity
            .node_affinity
            .get_or_insert_default()
            .preferred_during_scheduling_ignored_during_execution
            .get_or_insert_default()
            .push(term);
    }

    fn init(&self, container: &mut Container) {
        let c = &self.r.cluster;
        container.image = Some(c.images.init.to_string());
        container.image_pull_policy = Some(c.images.pull_policy.word().to_owned());
        let env = container.env.get_or_insert_default();
        let balanced = self.role == Role::Target && self.access.by.value == Reach::LoadBalancer;
        set(env, "MY_SERVICE", &self.r.role_name(self.role));
        set(env, "AIS_K8S_CLUSTER_DOMAIN", &c.cluster_domain);
        set(env, "AIS_PUBLIC_DNS_MODE", c.public_name.word());
        set(env, "ENABLE_EXTERNAL_ACCESS", if balanced { "true" } else { "false" });
        let host_network = self.access.by.value == Reach::HostNetwork;
        if host_network {
            set(env, "HOST_NETWORK", "true");
        }
        if host_network || self.access.by.value == Reach::HostPort {
            let path = if c.public_name.value == PublicName::Node { "spec.nodeName" } else { "status.hostIP" };
            env.push(from_field("AIS_PUBLIC_HOSTNAME", path));
        }
        if !c.hostname_map.is_empty() {
            container.args.get_or_insert_default().push("-hostname_map_file=/var/global_config/hostname_map.json".into());
        }
    }

    fn node(&self, container: &mut Container, node_mounts: Vec<k8s_openapi::api::core::v1::VolumeMount>) {
        let c = &self.r.cluster;
        container.image = Some(c.images.aisnode.to_string());
        container.image_pull_policy = Some(c.images.pull_policy.word().to_owned());
        for arg in container.args.iter_mut().flatten().filter(|a| a.starts_with("-ntargets=")) {
            *arg = format!("-ntargets={}", self.r.target_count);
        }
        self.env(container.env.get_or_insert_default());
        let number = self.ports.public.int();
        container.ports = Some(self.container_ports());
        container.resources = self.resources(container.resources.take());
        if let (Some(security), Some(given)) = (&mut container.security_context, &self.pods.container_security_context) {
            *security = replaced(security, &given.0);
        }
        let scheme = if c.tls.is_some() { "HTTPS" } else { "HTTP" };
        let probes = &self.pods.probes;
        for (probe, times) in [
            (&mut container.startup_probe, probes.startup.times()),
            (&mut container.readiness_probe, probes.readiness.times()),
            (&mut container.liveness_probe, probes.liveness.times()),
        ] {
            set_probe(probe, &times, number, scheme);
        }
        container.volume_mounts = Some(node_mounts);
    }

    /// The public port first. Those between nodes are the node's in its own network, and others must know: the scheduler keeps
    /// pods of one port apart, and preflight finds whose it is.
    fn container_ports(&self) -> Vec<ContainerPort> {
        let Ports { public, control, data } = &self.ports;
        let port = |name: &str, number: i32, on_host| ContainerPort {
            name: Some(name.to_owned()),
            container_port: number,
            host_port: on_host,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        };
        if self.access.by.value != Reach::HostNetwork {
            return vec![port("http", public.int(), host_port(&self.access, &self.ports).map(|p| p.int()))];
        }
        let mut all = vec![port("http", public.int(), Some(public.int())), port("control", control.int(), Some(control.int()))];
        // Kubernetes takes a port once; the two may be the same.
        if data.value != control.value {
            all.push(port("data", data.int(), Some(data.int())));
        }
        all
    }

    fn env(&self, env: &mut Vec<EnvVar>) {
        let c = &self.r.cluster;
        if self.role == Role::Proxy {
            if let Some(secret) = c.auth.as_ref().and_then(|a| a.signing_key_secret.as_ref()) {
                env.push(from_secret("AIS_AUTHN_SECRET_KEY", secret, "SIGNING-KEY"));
            }
        } else {
            if c.cloud.gcp.is_some() {
                set(env, "GOOGLE_APPLICATION_CREDENTIALS", "/var/gcp/gcp.json");
            }
            if c.cloud.oci.is_some() {
                set(env, "OCI_CLI_CONFIG_FILE", "/root/.oci/config");
            }
            if let Some(azure) = &c.cloud.azure {
                env.push(from_secret("AZURE_STORAGE_ACCOUNT", &azure.secret, &azure.account_key));
                env.push(from_secret("AZURE_STORAGE_KEY", &azure.secret, &azure.access_key));
            }
        }
        given_env(env, &self.pods.env);
    }

    fn resources(&self, bundled: Option<ResourceRequirements>) -> Option<ResourceRequirements> {
        let mut made = requirements(&self.pods.resources);
        // What the pod writes to the node's disk: logs unless they go elsewhere, and 144 MiB for configuration and the container.
        let requests = made.requests.get_or_insert_default();
        if !requests.contains_key("ephemeral-storage") {
            let default = bundled.and_then(|b| b.requests).and_then(|r| r.get("ephemeral-storage").cloned());
            let amount = match (&self.r.cluster.logs.directory, self.r.cluster.config.get("log.max_total").and_then(log_bytes)) {
                (Some(_), _) => Some(Quantity("144Mi".into())),
                (None, Some(bytes)) => Some(Quantity(format!("{}Mi", bytes.div_ceil(1 << 20) + 144))),
                (None, None) => default,
            };
            requests.extend(amount.map(|a| ("ephemeral-storage".to_owned(), a)));
        }
        Some(made)
    }

    fn sidecar(&self, sidecar: &crate::cluster::spec::Sidecar, node_mounts: &[k8s_openapi::api::core::v1::VolumeMount]) -> Container {
        let logs = node_mounts.iter().filter(|m| m.name == "logs-dir").cloned().collect();
        let resources = requirements(&sidecar.resources);
        Container {
            name: "ais-logs".into(),
            image: Some(sidecar.image.to_string()),
            image_pull_policy: Some("IfNotPresent".into()),
            args: Some(vec![format!("/var/log/ais/ais{}.INFO", self.role.word())]),
            env: Some(vec![from_field("MY_POD", "metadata.name")]),
            resources: Some(resources).filter(|r| *r != ResourceRequirements::default()),
            security_context: restricted(),
            volume_mounts: Some(logs),
            ..Container::default()
        }
    }
}

/// No privilege escalation, no capabilities, a root filesystem that can't be written.
fn restricted() -> Option<k8s_openapi::api::core::v1::SecurityContext> {
    serde_json::from_value(json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true}))
        .ok()
}

/// Fields of `given` in place of those of `base`; the others stay.
fn replaced<T: Serialize + DeserializeOwned + Clone>(base: &T, given: &T) -> T {
    let (Ok(mut merged), Ok(given)) = (serde_json::to_value(base), serde_json::to_value(given)) else { return base.clone() };
    if let (Some(merged), Some(given)) = (merged.as_object_mut(), given.as_object()) {
        merged.extend(given.clone());
    }
    // Both were of this type, and so is their union.
    serde_json::from_value(merged).unwrap_or_else(|_| base.clone())
}

/// Adds a rule that nodes must meet to every alternative there is.
fn require(affinity: &mut Affinity, rule: &NodeSelectorRequirement) {
    let node: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    let required: &mut NodeSelector = node.required_during_scheduling_ignored_during_execution.get_or_insert_default();
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_expressions.get_or_insert_default().push(rule.clone());
    }
}

/// `log.max_total` in bytes: AIStore takes a number or text such as `512mb` (binary units, whatever their spelling).
pub fn log_bytes(value: &serde_json::Value) -> Option<u64> {
    if let Some(bytes) = value.as_u64() {
        return Some(bytes);
    }
    let text = value.as_str()?.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let shift = match text.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ') {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Resources as Kubernetes writes them.
pub fn requirements(resources: &Resources) -> ResourceRequirements {
    let map = |given: &IndexMap<String, At<crate::cluster::forms::Quantity>>| {
        Some(given.iter().map(|(k, v)| (k.clone(), Quantity(v.to_string()))).collect::<BTreeMap<_, _>>()).filter(|m| !m.is_empty())
    };
    ResourceRequirements { requests: map(&resources.requests), limits: map(&resources.limits), ..ResourceRequirements::default() }
}

/// Tolerations as Kubernetes writes them.
pub fn tolerations(taints: &[Taint]) -> Vec<Toleration> {
    taints
        .iter()
        .map(|t| Toleration {
            key: t.key.as_ref().map(|k| k.to_string()),
            operator: Some(t.operator.word().to_owned()),
            value: t.value.as_ref().map(|v| v.to_string()),
            effect: t.effect.map(|e| e.word().to_owned()),
            toleration_seconds: t.seconds.map(|s| s.0),
        })
        .collect()
}

fn set_probe(probe: &mut Option<k8s_openapi::api::core::v1::Probe>, times: &Probe, port: i32, scheme: &str) {
    let Some(probe) = probe else { return };
    probe.initial_delay_seconds = Some(times.initial_delay.int()).filter(|d| *d > 0);
    probe.period_seconds = Some(times.period.int());
    probe.timeout_seconds = Some(times.timeout.int());
    probe.failure_threshold = Some(times.failures.int());
    if let Some(get) = &mut probe.http_get {
        get.port = IntOrString::Int(port);
        get.scheme = Some(scheme.to_owned());
    }
}

/// Sets a variable: in its place if it is there, else at the end.
pub fn set(env: &mut Vec<EnvVar>, name: &str, value: &str) {
    put_env(env, EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None });
}

fn put_env(env: &mut Vec<EnvVar>, var: EnvVar) {
    match env.iter_mut().find(|e| e.name == var.name) {
        Some(there) => *there = var,
        None => env.push(var),
    }
}

fn from_field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".into()), field_path: path.to_owned() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }) }
}

fn from_secret(name: &str, secret: &str, key: &str) -> EnvVar {
    let key = SecretKeySelector { name: secret.to_owned(), key: key.to_owned(), optional: None };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() }) }
}

/// The spec's variables; they win over what is there.
pub fn given_env(env: &mut Vec<EnvVar>, given: &IndexMap<String, At<EnvValue>>) {
    for (name, value) in given {
        let var = match &value.value {
            EnvValue::Text(text) => EnvVar { name: name.clone(), value: Some(text.clone()), value_from: None },
            EnvValue::Secret(secret, key) => from_secret(name, secret, key),
            EnvValue::Field(path) => from_field(name, path),
            EnvValue::ConfigMap(map, key) => {
                let key = ConfigMapKeySelector { name: map.clone(), key: key.clone(), optional: None };
                let source = EnvVarSource { config_map_key_ref: Some(key), ..EnvVarSource::default() };
                EnvVar { name: name.clone(), value: None, value_from: Some(source) }
            }
        };
        put_env(env, var);
    }
}
