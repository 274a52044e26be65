//! TLS, cloud credentials, admin client, monitoring, load generator.

use super::{PullPolicy, Resources, Taint};
use crate::cluster::forms::{Address, CertificateName, Duration, Image, ObjectName, Scalar, Size, Words};
use crate::cluster::passed::{EnvValue, Kube};
use crate::cluster::table::{defaults, empty, optional, or, required, section};
use crate::cluster::value::{At, Count, Whole, words};
use indexmap::IndexMap;
use k8s_openapi::api::core::v1::Affinity;

words! {
    /// Kinds of cert-manager's issuers.
    pub enum IssuerKind {
        /// For all namespaces.
        ClusterIssuer = "ClusterIssuer",
        /// Of the cluster's namespace.
        Issuer = "Issuer",
    }
}

words! {
    /// How cert-manager's certificate comes into pods.
    pub enum CertificateMode {
        /// One certificate for all pods, in the Secret NAME-tls.
        Secret = "secret",
        /// One for each pod, by cert-manager's CSI driver.
        Csi = "csi",
    }
}

section! {
    /// A certificate from cert-manager.
    pub struct Certificate {
        /// The issuer's name.
        pub issuer: ObjectName = required(),
        /// The issuer's kind.
        pub issuer_kind: IssuerKind = or(IssuerKind::ClusterIssuer),
        /// How it comes into pods.
        pub mode: CertificateMode = or(CertificateMode::Secret),
        /// The nodes' addresses, for clients that reach them by address (`public_name: IP`).
        pub ip_addresses: Vec<At<Address>> = empty(),
        /// More names for it. The services' and pods' names, the nodes and the hostname map are in it anyway.
        pub dns_names: Vec<CertificateName> = empty(),
        /// How long it is valid; the issuer's default unless given.
        pub duration: Option<Duration> = optional(),
        /// How long before its end it is renewed; the issuer's default unless given.
        pub renew_before: Option<Duration> = optional(),
    }
}

section! {
    /// HTTPS: either `secret` or `certificate`. Going from HTTP to HTTPS or back needs fresh state.
    pub struct Tls {
        /// A Secret with tls.crt, tls.key and ca.crt.
        pub secret: Option<ObjectName> = optional(),
        /// A certificate from cert-manager.
        pub certificate: Option<Certificate> = optional(),
        /// Let nodes take each other's certificates unseen. For trying things out.
        pub skip_verify: bool = or(false),
    }
}

section! {
    /// Credentials of a cloud.
    pub struct CloudSecret {
        /// The Secret.
        pub secret: ObjectName = required(),
    }
}

section! {
    /// Credentials of Azure.
    pub struct AzureSecret {
        /// The Secret.
        pub secret: ObjectName = required(),
        /// The Secret's key with the storage account's name.
        pub account_key: Words = or("AZURE_STORAGE_ACCOUNT"),
        /// The Secret's key with the account's access key.
        pub access_key: Words = or("AZURE_STORAGE_KEY"),
    }
}

section! {
    /// Cloud storage behind buckets: targets get the credentials, and the configuration its backend.
    pub struct Cloud {
        /// Amazon S3. Secret with the keys `config` and `credentials`.
        pub aws: Option<CloudSecret> = optional(),
        /// Google Cloud Storage. Secret with the key `gcp.json`.
        pub gcp: Option<CloudSecret> = optional(),
        /// Oracle Cloud. Secret with the keys `config` and `oci_api_key`.
        pub oci: Option<CloudSecret> = optional(),
        /// Azure Blob Storage.
        pub azure: Option<AzureSecret> = optional(),
    }
}

section! {
    /// Certificates that a client's pod trusts.
    pub struct ClientCa {
        /// The ConfigMap.
        pub config_map: ObjectName = required(),
        /// Its key.
        pub key: Words = or("trust-bundle.pem"),
    }
}

section! {
    /// A pod with AIStore's command line: `kubectl exec -it deploy/NAME-client -- ais show cluster`.
    pub struct AdminClient {
        /// Its image.
        pub image: Image = or("docker.io/aistorage/ais-util:latest"),
        /// When its node asks the registry; the cluster's policy unless given.
        pub pull_policy: Option<PullPolicy> = optional(),
        /// Its resources.
        pub resources: Resources = defaults(),
        /// Annotations of the pod.
        pub annotations: IndexMap<String, Scalar> = empty(),
        /// More labels of the pod.
        pub labels: IndexMap<String, At<Scalar>> = empty(),
        /// Labels of the nodes it may run on.
        pub node_labels: IndexMap<String, Scalar> = empty(),
        /// Further rules for placing it, as Kubernetes writes them.
        pub affinity: Option<Kube<Affinity>> = optional(),
        /// Taints it puts up with.
        pub tolerations: Vec<Taint> = empty(),
        /// Environment, beside AIS_ENDPOINT.
        pub env: IndexMap<String, At<EnvValue>> = empty(),
        /// Certificates it trusts.
        pub ca: Option<ClientCa> = optional(),
    }
}

section! {
    /// A PodMonitor for the Prometheus operator; its definition must be in the Kubernetes cluster.
    pub struct PodMonitor {
        /// How often.
        pub interval: Duration = or("30s"),
        /// Labels by which Prometheus finds it.
        pub labels: IndexMap<String, Scalar> = empty(),
    }
}

section! {
    /// A ConfigMap with a Grafana dashboard, for Grafana's sidecar.
    pub struct Dashboard {
        /// Labels by which the sidecar finds it.
        pub labels: IndexMap<String, Scalar> = one_label(),
        /// Annotations, such as the folder's.
        pub annotations: IndexMap<String, Scalar> = empty(),
    }
}

fn one_label() -> crate::cluster::table::Absent<IndexMap<String, Scalar>> {
    crate::cluster::table::Absent::Is(IndexMap::from_iter([("grafana_dashboard".to_owned(), Scalar::from("1"))]))
}

section! {
    /// Metrics. Every node serves them in Prometheus' format on /metrics of its public port.
    pub struct Monitoring {
        /// Put `prometheus.io/scrape` and its like on pods.
        pub scrape_annotations: bool = or(true),
        /// A PodMonitor for the Prometheus operator. `{}`: with its defaults.
        pub pod_monitor: Option<PodMonitor> = optional(),
        /// A Grafana dashboard. `{}`: with its defaults.
        pub dashboard: Option<Dashboard> = optional(),
    }
}

section! {
    /// A job that loads the cluster with aisloader. It starts when it is applied; to run it again delete the job and deploy.
    pub struct LoadGenerator {
        /// Its image.
        pub image: Image = or("docker.io/aistorage/ais-util:latest"),
        /// The bucket, made if it is not there.
        pub bucket: Words = or("ais://load"),
        /// How long.
        pub duration: Duration = or("5m"),
        /// Share of PUTs in percent; the others are GETs.
        pub put_percent: Whole<0, 100> = or(Whole::from(10)),
        /// Requests at once, in each pod.
        pub workers: Count = or(Count::from(16)),
        /// Smallest object.
        pub min_size: At<Size> = or("1Mi"),
        /// Largest object.
        pub max_size: At<Size> = or("4Mi"),
        /// Remove the bucket afterwards, with all that is in it.
        pub remove_bucket: At<bool> = or(false),
        /// Pods at once.
        pub pods: Count = or(Count::from(1)),
        /// Its resources.
        pub resources: Resources = defaults(),
        /// Labels of the nodes it may run on: best not those of the cluster.
        pub node_labels: IndexMap<String, Scalar> = empty(),
        /// Taints it puts up with.
        pub tolerations: Vec<Taint> = empty(),
        /// Environment, beside AIS_ENDPOINT.
        pub env: IndexMap<String, At<EnvValue>> = empty(),
        /// Certificates it trusts.
        pub ca: Option<ClientCa> = optional(),
    }
}
