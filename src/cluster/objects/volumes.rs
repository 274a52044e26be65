//! What is mounted into proxies and targets.

use super::TargetSet;
use super::claims::{sanitized, volume_labels};
use super::config::{CERTS, ISSUER_CA, global_name};
use crate::cluster::forms::{Duration, ObjectName};
use crate::cluster::resolve::{Resolved, Role};
use crate::cluster::spec::{Certificate, CertificateMode, Claim, Mountpath};
use k8s_openapi::api::core::v1::{
    CSIVolumeSource, ConfigMapVolumeSource, EmptyDirVolumeSource, HostPathVolumeSource, KeyToPath, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, SecretVolumeSource, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use std::collections::BTreeMap;

/// Permissions of files from ConfigMaps and Secrets: 0644, Kubernetes' default, written out so that nothing is left to compare.
const MODE: i32 = 0o644;

/// What a pod mounts.
#[derive(Default)]
pub struct Mounts {
    /// The pod's volumes.
    pub volumes: Vec<Volume>,
    /// What of them the aisnode container mounts.
    pub node: Vec<VolumeMount>,
    /// Claims made for each pod.
    pub claims: Vec<PersistentVolumeClaim>,
}

impl Mounts {
    fn volume(&mut self, volume: Volume, path: &str, sub_path: Option<&str>, read_only: bool) {
        self.mount(&volume.name, path, sub_path, read_only);
        self.volumes.push(volume);
    }

    fn mount(&mut self, name: &str, path: &str, sub_path: Option<&str>, read_only: bool) {
        self.node.push(VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            sub_path_expr: sub_path.map(str::to_owned),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
    }
}

fn empty(name: &str) -> Volume {
    Volume { name: name.into(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

fn host(name: &str, path: String) -> Volume {
    let source = HostPathVolumeSource { path, type_: Some("DirectoryOrCreate".into()) };
    Volume { name: name.into(), host_path: Some(source), ..Volume::default() }
}

fn secret(name: &str, secret: &str) -> Volume {
    let source = SecretVolumeSource { secret_name: Some(secret.into()), default_mode: Some(MODE), ..SecretVolumeSource::default() };
    Volume { name: name.into(), secret: Some(source), ..Volume::default() }
}

/// A ConfigMap as a volume; with `key` only that key.
pub fn config_map(name: &str, config_map: &str, key: Option<&str>) -> Volume {
    let source = ConfigMapVolumeSource {
        name: config_map.into(),
        default_mode: Some(MODE),
        items: key.map(|k| vec![KeyToPath { key: k.into(), path: k.into(), mode: None }]),
        ..ConfigMapVolumeSource::default()
    };
    Volume { name: name.into(), config_map: Some(source), ..Volume::default() }
}

/// What a role's pods mount; `set`: for targets.
pub fn mounts(r: &Resolved, role: Role, set: Option<&TargetSet<'_>>) -> Mounts {
    let c = &r.cluster;
    let mut m = Mounts::default();
    let own = set.map_or_else(|| r.role_name(role), |s| s.name.clone());
    m.volumes.push(config_map("config-template", &own, None));
    m.volumes.push(config_map("config-global", &global_name(r), None));
    m.volume(empty("config-mount"), "/var/ais_config", None, false);

    // Target pods are bound to their node by its mountpaths, and each gets a folder of its own; proxies may change nodes, and what they
    // find there is that node's.
    let own_folder = (role == Role::Target).then_some("$(MY_POD)");
    let below = |directory: &str| format!("{directory}/{}/{}/{}", *c.namespace, *c.name, role.word());
    let logs = match &c.logs.directory {
        Some(directory) => host("logs-dir", below(directory)),
        None => empty("logs-dir"),
    };
    m.volume(logs, "/var/log/ais", own_folder, false);
    if let Some(claim) = &c.state.claim {
        let name = state_claim_name(&c.namespace, &c.name);
        m.mount(&name, "/etc/ais", None, false);
        m.claims.push(claim_template(&name, &claim.size, claim.storage_class.as_deref(), None));
    } else if c.state.empty_dir.is_some() {
        m.volume(empty("state-mount"), "/etc/ais", None, false);
    } else {
        let prefix = c.state.host_path.as_ref().map_or("/etc/ais", |h| &**h.prefix);
        m.volume(host("state-mount", below(prefix)), "/etc/ais", own_folder, false);
    }
    certificates(r, role, &mut m);
    if let Some(tracing) = &c.tracing {
        m.volume(secret("tracing-token", &tracing.token_secret), "/var/traces", None, true);
    }
    if role == Role::Proxy
        && let Some(ca) = c.auth.as_ref().and_then(|a| a.issuer_ca_config_map.as_ref())
    {
        m.volume(config_map("oidc-ca", ca, Some("ca.crt")), ISSUER_CA, None, true);
    }
    if let Some(set) = set {
        clouds(r, &mut m);
        data(r, set, &mut m);
    }
    m
}

fn certificates(r: &Resolved, role: Role, m: &mut Mounts) {
    let Some(tls) = &r.cluster.tls else { return };
    let volume = match (&tls.certificate, &tls.secret) {
        (Some(certificate), _) if certificate.mode == CertificateMode::Csi => csi(r, role, certificate),
        (Some(_), _) => secret("tls-certs", &r.certificate_secret()),
        (None, Some(given)) => secret("tls-certs", given),
        (None, None) => return,
    };
    m.volume(volume, CERTS, None, true);
}

/// A certificate of the pod's own, by cert-manager's CSI driver; the attributes are that driver's.
fn csi(r: &Resolved, role: Role, certificate: &Certificate) -> Volume {
    let key = |k: &str| format!("csi.cert-manager.io/{k}");
    let mut attributes = BTreeMap::from([
        (key("issuer-name"), certificate.issuer.to_string()),
        (key("issuer-kind"), certificate.issuer_kind.word().to_owned()),
        (key("issuer-group"), "cert-manager.io".to_owned()),
        (key("common-name"), format!("{}.{}", r.role_name(role), *r.cluster.namespace)),
        (key("dns-names"), r.certificate_names().join(",")),
        (key("key-usages"), "digital signature,key encipherment,server auth,client auth".to_owned()),
    ]);
    let addresses = r.certificate_addresses();
    if !addresses.is_empty() {
        attributes.insert(key("ip-sans"), addresses.join(","));
    }
    let mut time = |k: &str, value: &Option<Duration>| {
        if let Some(value) = value {
            attributes.insert(key(k), value.to_string());
        }
    };
    time("duration", &certificate.duration);
    time("renew-before", &certificate.renew_before);
    let source = CSIVolumeSource {
        driver: "csi.cert-manager.io".into(),
        read_only: Some(true),
        volume_attributes: Some(attributes),
        ..CSIVolumeSource::default()
    };
    Volume { name: "tls-certs".into(), csi: Some(source), ..Volume::default() }
}

fn clouds(r: &Resolved, m: &mut Mounts) {
    let cloud = &r.cluster.cloud;
    for (name, given, path) in
        [("aws-creds", &cloud.aws, "/root/.aws"), ("gcp-creds", &cloud.gcp, "/var/gcp"), ("oci-creds", &cloud.oci, "/root/.oci")]
    {
        if let Some(given) = given {
            m.volume(secret(name, &given.secret), path, None, true);
        }
    }
}

fn data(r: &Resolved, set: &TargetSet<'_>, m: &mut Mounts) {
    let c = &r.cluster;
    for (i, mountpath) in set.mountpaths.iter().enumerate() {
        match &mountpath.claim {
            None => {
                let path = format!("{}/{}/{}/target", *mountpath.path, *c.namespace, *c.name);
                m.volume(host(&format!("host-data-mount-{i}"), path), &mountpath.path, None, false);
            }
            Some(claim) => {
                let name = claim_name(r, mountpath);
                m.mount(&name, &mountpath.path, None, false);
                m.claims.push(data_claim(r, mountpath, claim, &name));
            }
        }
    }
}

/// The claim template of a cluster's state.
pub fn state_claim_name(namespace: &str, name: &str) -> String {
    format!("{namespace}-{name}-state")
}

/// The claim template of a mountpath: NAME and the path, as today's operator names them.
pub fn claim_name(r: &Resolved, mountpath: &Mountpath) -> String {
    format!("{}-{}", *r.cluster.name, sanitized(&mountpath.path))
}

fn data_claim(r: &Resolved, mountpath: &Mountpath, claim: &Claim, name: &str) -> PersistentVolumeClaim {
    let local = r.cluster.targets.local_volumes.as_ref();
    let class = claim.storage_class.as_ref().map(|c| &*c.value).or(local.map(|l| &*l.storage_class.value));
    let mut labels: BTreeMap<String, String> = claim.selector.iter().map(|(k, v)| (k.clone(), v.to_string())).collect();
    if local.is_some() {
        labels.extend(volume_labels(r, &mountpath.path));
    }
    claim_template(name, &claim.size, class, Some(labels).filter(|l| !l.is_empty()))
}

fn claim_template(name: &str, size: &str, class: Option<&str>, labels: Option<BTreeMap<String, String>>) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(size.to_owned()))])),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: class.map(str::to_owned),
            selector: labels.map(|l| LabelSelector { match_labels: Some(l), ..LabelSelector::default() }),
            volume_mode: Some("Filesystem".into()),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

impl Resolved {
    /// The Secret that cert-manager writes.
    pub fn certificate_secret(&self) -> ObjectName {
        ObjectName::from(format!("{}-tls", *self.cluster.name).as_str())
    }
}
