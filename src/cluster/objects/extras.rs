//! Certificate, admin client, monitoring, load generator.

use super::base::{manifest, name, put};
use super::pods::{given_env, requirements, set, tolerations};
use super::volumes::config_map;
use crate::cluster::Object;
use crate::cluster::passed::EnvValue;
use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::{AdminClient, CertificateMode, ClientCa, LoadGenerator, Resources};
use crate::cluster::value::At;
use crate::diag::Diagnostics;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Container, LocalObjectReference, PodSpec, PodTemplateSpec, ResourceRequirements, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// cert-manager's Certificate, as far as it is used.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateObject {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: CertificateSpec,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CertificateSpec {
    secret_name: String,
    issuer_ref: IssuerRef,
    usages: Vec<String>,
    dns_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    ip_addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    duration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    renew_before: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IssuerRef {
    name: String,
    kind: String,
    group: String,
}

/// The Prometheus operator's PodMonitor, as far as it is used.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodMonitorObject {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    spec: PodMonitorSpec,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PodMonitorSpec {
    selector: LabelSelector,
    pod_metrics_endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Endpoint {
    port: String,
    path: String,
    scheme: String,
    interval: String,
    relabelings: Vec<Relabeling>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    tls_config: Option<TlsConfig>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Relabeling {
    target_label: String,
    replacement: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TlsConfig {
    insecure_skip_verify: bool,
}

impl Resolved {
    /// The names a certificate for all pods needs: services, every pod by a wildcard, nodes, the hostname map, and what the spec adds.
    pub fn certificate_names(&self) -> Vec<String> {
        let c = &self.cluster;
        let mut names = vec![];
        for service in [self.client_service(), self.role_name(Role::Proxy), self.role_name(Role::Target)] {
            let full = format!("{service}.{}.svc.{}", *c.namespace, c.cluster_domain);
            names.extend([service.clone(), format!("{service}.{}", *c.namespace), format!("{service}.{}.svc", *c.namespace), full]);
        }
        for role in [Role::Proxy, Role::Target] {
            names.push(format!("*.{}.{}.svc.{}", self.role_name(role), *c.namespace, c.cluster_domain));
        }
        names.extend(self.nodes.proxies.iter().chain(&self.nodes.targets).map(|n| n.name.clone()));
        let mapped = c.hostname_map.values().flat_map(|all| all.split(',').map(|h| h.trim().to_owned()));
        names.extend(mapped.filter(|h| h.parse::<std::net::IpAddr>().is_err()));
        if let Some(certificate) = c.tls.as_ref().and_then(|t| t.certificate.as_ref()) {
            names.extend(certificate.dns_names.iter().map(|n| n.to_string()));
        }
        unique(names)
    }

    /// The addresses such a certificate needs.
    pub fn certificate_addresses(&self) -> Vec<String> {
        let c = &self.cluster;
        let mapped = c.hostname_map.values().flat_map(|all| all.split(',').map(|h| h.trim().to_owned()));
        let mut all: Vec<String> = mapped.filter(|h| h.parse::<std::net::IpAddr>().is_ok()).collect();
        if let Some(certificate) = c.tls.as_ref().and_then(|t| t.certificate.as_ref()) {
            all.extend(certificate.ip_addresses.iter().map(|a| a.to_string()));
        }
        unique(all)
    }
}

fn unique(names: Vec<String>) -> Vec<String> {
    let mut once: Vec<String> = vec![];
    for name in names {
        if !name.is_empty() && !once.contains(&name) {
            once.push(name);
        }
    }
    once
}

/// What the spec asks for beside proxies and targets.
pub fn push(r: &Resolved, all: &mut Vec<Object>) -> Result<(), Diagnostics> {
    let c = &r.cluster;
    certificate(r, all)?;
    if let Some(monitor) = &c.monitoring.pod_monitor {
        let mut made: PodMonitorObject = manifest!("monitoring.yaml", 0)?;
        name(&mut made.metadata, r, &c.name, "monitoring");
        made.metadata.labels.get_or_insert_default().extend(texts(&monitor.labels));
        made.spec.selector.match_labels = Some(BTreeMap::from([("app.kubernetes.io/name".to_owned(), c.name.to_string())]));
        for endpoint in &mut made.spec.pod_metrics_endpoints {
            endpoint.interval = monitor.interval.to_string();
            endpoint.scheme = r.scheme().to_owned();
            // Pods are scraped by their addresses, which no certificate names.
            endpoint.tls_config = c.tls.as_ref().map(|_| TlsConfig { insecure_skip_verify: true });
            for rule in &mut endpoint.relabelings {
                rule.replacement = c.name.to_string();
            }
        }
        put(all, &made)?;
    }
    if let Some(dashboard) = &c.monitoring.dashboard {
        let mut made: ConfigMap = manifest!("monitoring.yaml", 1)?;
        made.metadata.labels = None;
        name(&mut made.metadata, r, &format!("{}-dashboard", *c.name), "monitoring");
        made.metadata.labels.get_or_insert_default().extend(texts(&dashboard.labels));
        made.metadata.annotations = Some(texts(&dashboard.annotations)).filter(|a| !a.is_empty());
        let text = include_str!("../../../aisnode/dashboard.json");
        made.data = Some(BTreeMap::from([("aistore.json".to_owned(), text.to_owned())]));
        put(all, &made)?;
    }
    if let Some(client) = &c.admin_client {
        put(all, &admin_client(r, client)?)?;
    }
    if let Some(load) = &c.load_generator {
        put(all, &load_generator(r, load)?)?;
    }
    Ok(())
}

fn texts(map: &indexmap::IndexMap<String, crate::cluster::forms::Scalar>) -> BTreeMap<String, String> {
    map.iter().map(|(k, v)| (k.clone(), v.to_string())).collect()
}

fn certificate(r: &Resolved, all: &mut Vec<Object>) -> Result<(), Diagnostics> {
    let Some(given) = r.cluster.tls.as_ref().and_then(|t| t.certificate.as_ref()) else { return Ok(()) };
    if given.mode != CertificateMode::Secret {
        return Ok(());
    }
    let mut made: CertificateObject = manifest!("certificate.yaml", 0)?;
    name(&mut made.metadata, r, &format!("{}-tls-cert", *r.cluster.name), "access");
    let spec = &mut made.spec;
    spec.secret_name = r.certificate_secret().to_string();
    spec.issuer_ref.name = given.issuer.to_string();
    spec.issuer_ref.kind = given.issuer_kind.word().to_owned();
    spec.dns_names = r.certificate_names();
    spec.ip_addresses = r.certificate_addresses();
    spec.duration = given.duration.as_ref().map(|d| d.to_string());
    spec.renew_before = given.renew_before.as_ref().map(|d| d.to_string());
    put(all, &made)
}

/// What a helper's pod has in common with the other's.
fn helper<'a>(r: &Resolved, template: &'a mut PodTemplateSpec, own: &str) -> Option<&'a mut PodSpec> {
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert("app.kubernetes.io/name".into(), own.to_owned());
    let pod = template.spec.as_mut()?;
    let secrets = &r.cluster.images.pull_secrets;
    if !secrets.is_empty() {
        pod.image_pull_secrets = Some(secrets.iter().map(|s| LocalObjectReference { name: s.to_string() }).collect());
    }
    Some(pod)
}

fn resources(given: &Resources) -> Option<ResourceRequirements> {
    Some(requirements(given)).filter(|r| *r != ResourceRequirements::default())
}

fn admin_client(r: &Resolved, given: &AdminClient) -> Result<Deployment, Diagnostics> {
    let own = format!("{}-client", *r.cluster.name);
    let mut made: Deployment = manifest!("client.yaml", 0)?;
    name(&mut made.metadata, r, &own, "client");
    if let Some(spec) = &mut made.spec {
        spec.selector.match_labels.get_or_insert_default().insert("app.kubernetes.io/name".into(), own.clone());
        let annotations = Some(texts(&given.annotations)).filter(|a| !a.is_empty());
        let meta = spec.template.metadata.get_or_insert_default();
        meta.annotations = annotations;
        meta.labels.get_or_insert_default().extend(given.labels.iter().map(|(k, v)| (k.clone(), v.to_string())));
        if let Some(pod) = helper(r, &mut spec.template, &own) {
            pod.node_selector = Some(texts(&given.node_labels)).filter(|n| !n.is_empty());
            pod.affinity = given.affinity.as_ref().map(|a| a.0.clone());
            pod.tolerations = Some(tolerations(&given.tolerations)).filter(|t| !t.is_empty());
            for container in &mut pod.containers {
                client_container(r, given, container);
            }
            trust(pod, given.ca.as_ref(), &given.env);
        }
    }
    Ok(made)
}

fn client_container(r: &Resolved, given: &AdminClient, container: &mut Container) {
    container.image = Some(given.image.to_string());
    container.image_pull_policy = Some(given.pull_policy.unwrap_or(r.cluster.images.pull_policy).word().to_owned());
    container.resources = resources(&given.resources);
    set(container.env.get_or_insert_default(), "AIS_ENDPOINT", &r.endpoint());
}

/// The authority that a client trusts (by the variable that AIStore's clients read), and the variables that the spec adds.
fn trust(pod: &mut PodSpec, ca: Option<&ClientCa>, more: &indexmap::IndexMap<String, At<EnvValue>>) {
    if let Some(ca) = ca {
        pod.volumes = Some(vec![config_map("ais-ca", &ca.config_map, Some(&ca.key))]);
    }
    for container in &mut pod.containers {
        let env = container.env.get_or_insert_default();
        if let Some(ca) = ca {
            set(env, "AIS_CLIENT_CA", &format!("/etc/ais-ca/{}", ca.key));
            let mount =
                VolumeMount { name: "ais-ca".into(), mount_path: "/etc/ais-ca".into(), read_only: Some(true), ..VolumeMount::default() };
            container.volume_mounts = Some(vec![mount]);
        }
        given_env(env, more);
    }
}

fn load_generator(r: &Resolved, given: &LoadGenerator) -> Result<Job, Diagnostics> {
    let own = format!("{}-load", *r.cluster.name);
    let mut made: Job = manifest!("load.yaml", 0)?;
    name(&mut made.metadata, r, &own, "load");
    if let Some(spec) = &mut made.spec {
        spec.parallelism = Some(given.pods.int());
        spec.completions = Some(given.pods.int());
        if let Some(pod) = helper(r, &mut spec.template, &own) {
            pod.node_selector = Some(texts(&given.node_labels)).filter(|n| !n.is_empty());
            pod.tolerations = Some(tolerations(&given.tolerations)).filter(|t| !t.is_empty());
            for container in &mut pod.containers {
                container.image = Some(given.image.to_string());
                container.image_pull_policy = Some(r.cluster.images.pull_policy.word().to_owned());
                container.resources = resources(&given.resources);
                set(container.env.get_or_insert_default(), "AIS_ENDPOINT", &r.endpoint());
                container.args = Some(load_args(given));
            }
            trust(pod, given.ca.as_ref(), &given.env);
        }
    }
    Ok(made)
}

/// aisloader's options (bench/tools/aisloader/params.go of AIStore 5.0).
fn load_args(given: &LoadGenerator) -> Vec<String> {
    // aisloader writes `MiB` where Kubernetes writes `Mi`, and `MB` for `M`.
    let size = |s: &str| format!("{s}{}", if s.ends_with(|c: char| c.is_ascii_digit()) { "" } else { "B" });
    vec![
        format!("-bucket={}", given.bucket),
        format!("-duration={}", given.duration),
        format!("-pctput={}", given.put_percent),
        format!("-numworkers={}", given.workers),
        format!("-minsize={}", size(&given.min_size)),
        format!("-maxsize={}", size(&given.max_size)),
        format!("-cleanup={}", *given.remove_bucket),
        "-loaderid=$(JOB_COMPLETION_INDEX)".to_owned(),
        format!("-loadernum={}", given.pods),
    ]
}
