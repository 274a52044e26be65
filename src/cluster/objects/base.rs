//! Bundled manifests as types; namespace and rights.

use crate::cluster::Object;
use crate::cluster::resolve::Resolved;
use crate::cluster::spec::Reach;
use crate::diag::{Diagnostic, Diagnostics};
use crate::yaml::{self, Node};
use k8s_openapi::api::core::v1::{LocalObjectReference, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The documents of a bundled manifest.
pub type Documents = Result<Vec<Json>, Diagnostics>;

/// Reads a bundled manifest.
pub fn documents(name: &str, text: &str) -> Documents {
    Ok(yaml::parse(name, text)?.iter().map(Node::to_json).collect())
}

/// The `index`th document of a bundled manifest, as its type.
pub fn bundled<T: DeserializeOwned>(name: &str, documents: &Documents, index: usize) -> Result<T, Diagnostics> {
    let broken = |why: String| Diagnostics::from(Diagnostic::bare(format!("the bundled manifest {name} is broken: {why}")));
    let document = documents.as_ref().map_err(Clone::clone)?.get(index);
    let document = document.ok_or_else(|| broken(format!("it has no document {}", index + 1)))?;
    T::deserialize(document).map_err(|e| broken(e.to_string()))
}

/// A bundled manifest by its file's name; read once.
macro_rules! manifest {
    ($file:literal, $index:expr) => {{
        static READ: std::sync::OnceLock<$crate::cluster::objects::base::Documents> = std::sync::OnceLock::new();
        let text = include_str!(concat!("../../../aisnode/", $file));
        let documents = READ.get_or_init(|| $crate::cluster::objects::base::documents($file, text));
        $crate::cluster::objects::base::bundled($file, documents, $index)
    }};
}
pub(crate) use manifest;

/// Puts a typed object at the end of `all`.
pub fn put(all: &mut Vec<Object>, object: &impl Serialize) -> Result<(), Diagnostics> {
    let json = serde_json::to_value(object).map_err(|e| Diagnostic::bare(format!("an object can't be written: {e}")))?;
    all.push(Object { json });
    Ok(())
}

/// The labels of an object that is no pod's: `component` says what it belongs to.
pub fn labels(r: &Resolved, component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), r.cluster.name.to_string()),
        ("app.kubernetes.io/component".to_owned(), component.to_owned()),
        ("app.kubernetes.io/managed-by".to_owned(), "fettle".to_owned()),
    ])
}

/// Gives an object its name, namespace and labels; other labels and annotations stay.
pub fn name(meta: &mut ObjectMeta, r: &Resolved, name: &str, component: &str) {
    meta.name = Some(name.to_owned());
    meta.namespace = Some(r.cluster.namespace.to_string());
    meta.labels.get_or_insert_default().extend(labels(r, component));
}

/// The service account's name.
pub fn account(r: &Resolved) -> String {
    format!("{}-sa", *r.cluster.name)
}

/// Namespace, service account, role, binding.
pub fn push(r: &Resolved, all: &mut Vec<Object>) -> Result<(), Diagnostics> {
    let c = &r.cluster;
    if c.create_namespace {
        let mut namespace: Namespace = manifest!("namespace.yaml", 0)?;
        namespace.metadata.name = Some(c.namespace.to_string());
        let labels = namespace.metadata.labels.get_or_insert_default();
        labels.extend(c.namespace_labels.iter().map(|(k, v)| (k.clone(), v.to_string())));
        labels.insert("app.kubernetes.io/managed-by".into(), "fettle".into());
        put(all, &namespace)?;
    }
    let mut sa: ServiceAccount = manifest!("rbac.yaml", 0)?;
    name(&mut sa.metadata, r, &account(r), "access");
    if !c.images.pull_secrets.is_empty() {
        sa.image_pull_secrets = Some(c.images.pull_secrets.iter().map(|s| LocalObjectReference { name: s.to_string() }).collect());
    }
    put(all, &sa)?;

    let mut role: Role = manifest!("rbac.yaml", 1)?;
    name(&mut role.metadata, r, &format!("{}-role", *c.name), "access");
    let rules = role.rules.get_or_insert_default();
    if *c.etl {
        // Transformers are pods with a service each, which targets start and stop.
        let verbs = ["get", "list", "watch", "create", "update", "delete"];
        *rules = vec![rule(&["pods", "services"], &verbs), rule(&["pods/log"], &["get"])];
    } else if c.targets.access.by.value == Reach::LoadBalancer {
        rules.push(rule(&["services"], &["get"]));
    }
    put(all, &role)?;

    let mut binding: RoleBinding = manifest!("rbac.yaml", 2)?;
    name(&mut binding.metadata, r, &format!("{}-rb", *c.name), "access");
    binding.role_ref.name = format!("{}-role", *c.name);
    for subject in binding.subjects.iter_mut().flatten() {
        subject.name = account(r);
        subject.namespace = Some(c.namespace.to_string());
    }
    put(all, &binding)
}

fn rule(resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    PolicyRule { api_groups: Some(vec![String::new()]), resources: Some(own(resources)), verbs: own(verbs), ..PolicyRule::default() }
}
