//! The example, the schema, and that manifests are Kubernetes' own types to the last field.

use super::*;
use k8s_openapi::api::{
    apps::v1 as apps, batch::v1 as batch, core::v1 as core, policy::v1 as policy, rbac::v1 as rbac, storage::v1 as storage,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub const EXAMPLE: &str = include_str!("../../examples/cluster.yml");

pub fn resolved(text: &str) -> Resolved {
    let cluster = read("cluster.yml", text).unwrap_or_else(|e| panic!("{e}"));
    let resolved = cluster.resolve(None, None).unwrap_or_else(|e| panic!("{e}"));
    let found = resolved.check();
    assert!(!found.has_errors(), "{found}");
    resolved
}

fn same<T: Serialize + DeserializeOwned>(object: &Object) {
    let typed: T = serde_json::from_value(object.json.clone()).unwrap_or_else(|e| panic!("{}: {e}", object.title()));
    let back = serde_json::to_value(&typed).unwrap();
    assert_eq!(back, object.json, "{} has fields that Kubernetes does not know", object.title());
}

fn strict(object: &Object) {
    match object.kind() {
        "Namespace" => same::<core::Namespace>(object),
        "ServiceAccount" => same::<core::ServiceAccount>(object),
        "Role" => same::<rbac::Role>(object),
        "RoleBinding" => same::<rbac::RoleBinding>(object),
        "ConfigMap" => same::<core::ConfigMap>(object),
        "Service" => same::<core::Service>(object),
        "StatefulSet" => same::<apps::StatefulSet>(object),
        "PodDisruptionBudget" => same::<policy::PodDisruptionBudget>(object),
        "StorageClass" => same::<storage::StorageClass>(object),
        "PersistentVolume" => same::<core::PersistentVolume>(object),
        "Deployment" => same::<apps::Deployment>(object),
        "Job" => same::<batch::Job>(object),
        "PodMonitor" | "Certificate" => {}
        other => panic!("an object of an unknown kind: {other}"),
    }
}

#[test]
fn every_object_of_the_example_is_kubernetes_to_the_last_field() {
    let objects = resolved(EXAMPLE).objects().unwrap();
    assert!(objects.len() > 12);
    objects.iter().for_each(strict);
}

#[test]
fn bundled_manifests_are_valid_themselves() {
    for entry in std::fs::read_dir("aisnode").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            for document in crate::yaml::parse(&path.display().to_string(), &text).unwrap() {
                strict(&Object { json: document.to_json() });
            }
        }
    }
}
