//! The kinds of objects we handle, and where the API has them. A table of our own saves asking the server for its
//! catalogue on every run.

/// One kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `apps/v1`.
    pub api_version: &'static str,
    /// `StatefulSet`.
    pub name: &'static str,
    /// `statefulsets`.
    pub plural: &'static str,
    /// Lives in a namespace.
    pub namespaced: bool,
}

const fn entry(api_version: &'static str, name: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    Kind { api_version, name, plural, namespaced }
}

/// All of them.
pub const KINDS: &[Kind] = &[
    entry("v1", "Namespace", "namespaces", false),
    entry("v1", "Node", "nodes", false),
    entry("v1", "PersistentVolume", "persistentvolumes", false),
    entry("storage.k8s.io/v1", "StorageClass", "storageclasses", false),
    entry("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", false),
    entry("v1", "ServiceAccount", "serviceaccounts", true),
    entry("rbac.authorization.k8s.io/v1", "Role", "roles", true),
    entry("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", true),
    entry("v1", "ConfigMap", "configmaps", true),
    entry("v1", "Secret", "secrets", true),
    entry("v1", "Service", "services", true),
    entry("v1", "PersistentVolumeClaim", "persistentvolumeclaims", true),
    entry("apps/v1", "StatefulSet", "statefulsets", true),
    entry("apps/v1", "Deployment", "deployments", true),
    entry("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true),
    entry("batch/v1", "Job", "jobs", true),
    entry("v1", "Pod", "pods", true),
    entry("v1", "Event", "events", true),
    entry("monitoring.coreos.com/v1", "PodMonitor", "podmonitors", true),
    entry("cert-manager.io/v1", "Certificate", "certificates", true),
];

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.name == name)
}

impl Kind {
    /// The path of one object, or of all of them where `name` is empty.
    pub fn path(&self, namespace: Option<&str>, name: &str) -> String {
        let mut path =
            if self.api_version.contains('/') { format!("/apis/{}", self.api_version) } else { format!("/api/{}", self.api_version) };
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(self.plural);
        if !name.is_empty() {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let path = |name, namespace, object| kind(name).unwrap().path(namespace, object);
        assert_eq!(path("Node", None, "a"), "/api/v1/nodes/a");
        assert_eq!(path("Node", Some("ignored"), ""), "/api/v1/nodes");
        assert_eq!(path("StatefulSet", Some("ais"), "ais-proxy"), "/apis/apps/v1/namespaces/ais/statefulsets/ais-proxy");
        assert_eq!(path("Pod", None, ""), "/api/v1/pods");
    }
}
