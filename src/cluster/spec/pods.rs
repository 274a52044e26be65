//! What proxies' and targets' pods have in common.

use crate::cluster::forms::{Quantity, Scalar, Words};
use crate::cluster::passed::{EnvValue, Kube};
use crate::cluster::table::{Absent, defaults, empty, optional, or, section};
use crate::cluster::value::{At, Count, Number, words};
use crate::diag::Loc;
use indexmap::IndexMap;
use k8s_openapi::api::core::v1::{Affinity, PodSecurityContext, SecurityContext};

section! {
    /// Resources of a container. Requests equal to limits, for every resource and container, make a pod Guaranteed.
    pub struct Resources {
        /// What the scheduler reserves.
        pub requests: IndexMap<String, At<Quantity>> = empty(),
        /// What the container may not exceed.
        pub limits: IndexMap<String, At<Quantity>> = empty(),
    }
}

words! {
    /// How a toleration compares.
    pub enum TaintOperator {
        /// The value must be the same.
        Equal = "Equal",
        /// Any value.
        Exists = "Exists",
    }
}

words! {
    /// What a taint does.
    pub enum TaintEffect {
        /// Pods don't come.
        NoSchedule = "NoSchedule",
        /// Pods come if they must.
        PreferNoSchedule = "PreferNoSchedule",
        /// Pods don't come, and those there are evicted.
        NoExecute = "NoExecute",
    }
}

section! {
    /// A taint of nodes that the pods put up with.
    pub struct Taint {
        /// The taint's key; without one all taints (`operator: Exists`).
        pub key: Option<Words> = optional(),
        /// How it compares.
        pub operator: TaintOperator = or(TaintOperator::Equal),
        /// The taint's value, with `Equal`.
        pub value: Option<Scalar> = optional(),
        /// The taint's effect; all unless given.
        pub effect: Option<TaintEffect> = optional(),
        /// With `NoExecute`: evicted all the same after so many seconds.
        pub seconds: Option<Number> = optional(),
    }
}

/// A probe's times, as manifests use them.
pub struct Probe {
    /// Seconds before the first.
    pub initial_delay: Number,
    /// Seconds between two.
    pub period: Count,
    /// Seconds until one counts as failed.
    pub timeout: Count,
    /// Failures in a row that count.
    pub failures: Count,
}

macro_rules! probe {
    ($($(#[doc = $about:literal])+ $Name:ident: $delay:literal, $failures:literal;)+) => {
        $(section! {
            $(#[doc = $about])+
            pub struct $Name {
                /// Seconds before the first.
                pub initial_delay: Number = or(Number::from($delay)),
                /// Seconds between two.
                pub period: Count = or(Count::from(5)),
                /// Seconds until one counts as failed.
                pub timeout: Count = or(Count::from(5)),
                /// Failures in a row that count.
                pub failures: Count = or(Count::from($failures)),
            }
        }

        impl $Name {
            /// Its times.
            pub fn times(&self) -> Probe {
                Probe { initial_delay: self.initial_delay, period: self.period, timeout: self.timeout, failures: self.failures }
            }
        })+
    };
}

probe! {
    /// Until it succeeds the others wait; a pod that needs longer than `period` × `failures` is started again. 48 × 5 s is
    /// longer than AIStore's join_startup_time of 3 minutes, so that a slow join is not cut off.
    StartupProbe: 0, 48;
    /// While it fails the pod gets no connections. Ready: the node has joined the cluster.
    ReadinessProbe: 0, 5;
    /// When it fails the pod is started again.
    LivenessProbe: 60, 10;
}

section! {
    /// Times of the health probes, in seconds. What they ask is fixed: /v1/health on the public port.
    pub struct Probes {
        /// Has the node started?
        pub startup: StartupProbe = defaults(),
        /// Does the node serve?
        pub readiness: ReadinessProbe = defaults(),
        /// Does the process live?
        pub liveness: LivenessProbe = defaults(),
    }
}

section! {
    /// Pods of a role.
    pub struct Pods {
        /// Resources of the aisnode container.
        pub resources: Resources = defaults(),
        /// Environment of the aisnode container; wins over what fettle sets.
        pub env: IndexMap<String, At<EnvValue>> = empty(),
        /// Annotations of the pods.
        pub annotations: IndexMap<String, At<Scalar>> = empty(),
        /// More labels of the pods. Those that services and StatefulSets choose by are reserved.
        pub labels: IndexMap<String, At<Scalar>> = empty(),
        /// Taints of nodes that the pods put up with.
        pub tolerations: Vec<Taint> = disk_pressure(),
        /// Further rules for placing pods, as Kubernetes writes them. A `podAntiAffinity` of its own replaces fettle's, which keeps
        /// two pods of a role from one node.
        pub affinity: Option<Kube<Affinity>> = optional(),
        /// Kernel parameters of the pod's network namespace. The kubelet must allow those that Kubernetes calls unsafe; fettle's
        /// playbooks/kubelet.yml sees to it. Not used with the host's network, whose parameters are the host's.
        pub sysctls: At<IndexMap<String, Scalar>> = somaxconn(),
        /// Security of the pod, in Kubernetes' words; what is given replaces fettle's field of that name.
        pub pod_security_context: Option<Kube<PodSecurityContext>> = optional(),
        /// Security of the aisnode container, in Kubernetes' words; what is given replaces fettle's field of that name (no privilege
        /// escalation, no capabilities).
        pub container_security_context: Option<Kube<SecurityContext>> = optional(),
        /// Times of the health probes.
        pub probes: Probes = defaults(),
    }
}

/// As AIStore's Helm chart: a full disk is no reason to lose the node that serves it.
fn disk_pressure() -> Absent<Vec<Taint>> {
    Absent::Is(vec![Taint {
        key: Some(Words::from("node.kubernetes.io/disk-pressure")),
        operator: TaintOperator::Exists,
        value: None,
        effect: Some(TaintEffect::NoExecute),
        seconds: None,
        loc: Loc::outside("default"),
    }])
}

/// The queue of connections not yet accepted, as profiles/required.yml sets it on hosts; a pod has its own (4096 by default).
fn somaxconn() -> Absent<At<IndexMap<String, Scalar>>> {
    Absent::Is(At::from(IndexMap::from_iter([("net.core.somaxconn".to_owned(), Scalar::from("65535"))])))
}
