//! The cluster spec, section by section. The documentation of each field is also its text in the JSON Schema and in
//! `docs/cluster.md`.

mod extras;
mod nodes;
mod pods;
mod storage;

pub use extras::{
    AdminClient, AzureSecret, Certificate, CertificateMode, ClientCa, Cloud, CloudSecret, Dashboard, IssuerKind, LoadGenerator, Monitoring,
    PodMonitor, Tls,
};
pub use nodes::{Access, Ports, Proxies, ProxyAccess, ProxyPorts, Reach, Size, TargetAccess, TargetPorts, Targets, host_port};
pub use pods::{Pods, Probe, Probes, Resources, Taint, TaintEffect, TaintOperator};
pub use storage::{
    Claim, ClaimRetention, Disruption, EmptyDir, Exception, HostPath, LocalVolumes, Logs, Mountpath, Retention, Sidecar, State, StateClaim,
};

use super::forms::{Domain, Image, Name, NodeName, ObjectName, Scalar, Words};
use super::passed::AisConfig;
use super::table::{defaults, empty, optional, or, required, section};
use super::value::{At, words};
use indexmap::IndexMap;

words! {
    /// When the kubelet asks the registry for an image.
    pub enum PullPolicy {
        /// Whenever a pod starts.
        Always = "Always",
        /// Only if the node has no image of that name.
        IfNotPresent = "IfNotPresent",
        /// Never: the image must be on the node.
        Never = "Never",
    }
}

words! {
    /// Which values the node labels have.
    pub enum LabelScheme {
        /// `nvidia.com/ais-proxy` and `nvidia.com/ais-target` have the cluster's name as value, as AIStore's Helm chart has it today.
        Today = "today",
        /// `nvidia.com/ais-target=RELEASE-ais` and `nvidia.com/ais-proxy=RELEASE-ais-electable`, as the deployment guide of 2021 has it.
        Guide = "guide",
        /// `nvidia.com/ais-target.NAMESPACE.NAME=true` and likewise for proxies: a node can serve several clusters.
        PerCluster = "per_cluster",
    }
}

words! {
    /// Under which name nodes are shown to clients.
    pub enum PublicName {
        /// The node's IP address.
        Ip = "IP",
        /// The node's name in Kubernetes; clients must be able to resolve it.
        Node = "Node",
        /// The pod's DNS name; with host network it resolves to the node's address, elsewhere only inside the cluster.
        Pod = "Pod",
    }
}

section! {
    /// Container images. `aisnode` and `init` must be of one release: the init container writes the configuration that aisnode reads.
    pub struct Images {
        /// AIStore itself.
        pub aisnode: At<Image> = required(),
        /// The init container that writes each node's configuration; same release as `aisnode`.
        pub init: At<Image> = required(),
        /// When nodes ask the registry.
        pub pull_policy: PullPolicy = or(PullPolicy::IfNotPresent),
        /// Secrets (type kubernetes.io/dockerconfigjson, in the cluster's namespace) for the registry. They are put on the service account.
        pub pull_secrets: Vec<ObjectName> = empty(),
    }
}

section! {
    /// The labels by which pods find their nodes.
    pub struct NodeLabels {
        /// Which values they have.
        pub scheme: LabelScheme = or(LabelScheme::Today),
        /// The release's name in the guide's label values and in the client service `RELEASE-ais-proxy`. The cluster's name unless given.
        pub release: Option<At<Name>> = optional(),
    }
}

section! {
    /// Who may talk to the cluster.
    pub struct Auth {
        /// Secret with the key SIGNING-KEY, by which proxies check the tokens of an AuthN server (HMAC).
        pub signing_key_secret: Option<ObjectName> = optional(),
        /// ConfigMap with the key ca.crt: certificates of the OIDC issuers whose tokens proxies take. Sets `auth.oidc.issuer_ca_bundle`.
        pub issuer_ca_config_map: Option<ObjectName> = optional(),
    }
}

section! {
    /// Traces in OpenTelemetry's protocol; the aisnode image must be built with them (tag `…-oteltracing`).
    pub struct Tracing {
        /// Secret with the exporter's token, mounted on /var/traces.
        pub token_secret: ObjectName = required(),
    }
}

section! {
    /// One AIStore cluster on Kubernetes: what `fettle render` turns into manifests and `fettle deploy` applies.
    pub struct Cluster {
        /// The cluster's name. All its objects start with it.
        pub name: At<Name> = required(),
        /// The namespace of all its objects.
        pub namespace: At<Name> = or("ais"),
        /// Whether the namespace is one of the cluster's objects. False: it must be there already.
        pub create_namespace: bool = or(true),
        /// More labels of the namespace. Where Pod Security Standards are enforced it needs `pod-security.kubernetes.io/enforce: privileged`:
        /// pods use directories and ports of their nodes. Clusters in one namespace need the same.
        pub namespace_labels: IndexMap<String, At<Scalar>> = empty(),
        /// DNS domain of the Kubernetes cluster.
        pub cluster_domain: Domain = or("cluster.local"),
        /// Container images.
        pub images: Images = required(),
        /// The labels by which pods find their nodes.
        pub node_labels: NodeLabels = defaults(),
        /// Gateways: they keep the cluster map and redirect clients to targets.
        pub proxies: Proxies = required(),
        /// Storage nodes.
        pub targets: Targets = required(),
        /// The node whose proxy is the primary after the first start. Without it: whichever node gets the pod NAME-proxy-0.
        pub initial_primary: Option<At<NodeName>> = optional(),
        /// Where nodes keep the cluster's metadata (/etc/ais).
        pub state: State = defaults(),
        /// Where nodes write their logs, and who reads them.
        pub logs: Logs = defaults(),
        /// Under which name nodes are shown to clients.
        pub public_name: At<PublicName> = or(PublicName::Ip),
        /// For nodes with several networks: public name or address to the comma-separated list of all of them.
        pub hostname_map: IndexMap<String, At<Words>> = empty(),
        /// NetworkAttachmentDefinitions (Multus) that each pod gets.
        pub network_attachments: Vec<ObjectName> = empty(),
        /// AIStore's own cluster configuration, where it is to differ from its defaults. Read at the first start only;
        /// afterwards `fettle deploy` brings changes in through AIStore's API.
        pub config: AisConfig = empty(),
        /// HTTPS, for clients and between nodes.
        pub tls: Option<Tls> = optional(),
        /// Who may talk to the cluster.
        pub auth: Option<Auth> = optional(),
        /// Traces.
        pub tracing: Option<Tracing> = optional(),
        /// Cloud storage behind buckets.
        pub cloud: Cloud = defaults(),
        /// Let targets run ETL transformers as pods: gives them the right to start pods and services in the namespace. Needs an aisnode
        /// image with ETL (tag `…-etl` since 5.0).
        pub etl: At<bool> = or(false),
        /// PriorityClass of proxies and targets, so that other pods are evicted before them.
        pub priority_class: Option<ObjectName> = optional(),
        /// A pod with AIStore's command line, for operators. `{}`: with its defaults.
        pub admin_client: Option<AdminClient> = optional(),
        /// Metrics.
        pub monitoring: Monitoring = defaults(),
        /// A job that loads the cluster with AIStore's aisloader.
        pub load_generator: Option<LoadGenerator> = optional(),
    }
}

impl Cluster {
    /// The release's name in labels and in the client service.
    pub fn release(&self) -> &str {
        self.node_labels.release.as_ref().map_or(&**self.name, |r| r)
    }
}
