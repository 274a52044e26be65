//! What tests of clusters begin with: an API server, nodes, and a stand-in for AIStore.

use super::control_plane::{ControlPlane, StandIn};
use fettle::kube::{Info, KINDS, Server, kind};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Output;

/// A cluster of three proxies and three targets.
pub const SPEC: &str = "\
name: ais
namespace: storage
images:
  aisnode: docker.io/aistorage/aisnode:v5.0
  init: docker.io/aistorage/ais-init:v5.0
proxies:
  nodes: [n1, n2, n3]
targets:
  nodes: [n1, n2, n3]
  mountpaths:
    - path: /ais/sda
config:
  mirror:
    enabled: false
";

/// What AIStore hears when a rebalance is to begin.
pub const START: &str = "start {\"kind\":\"rebalance\"}";

/// An API server with four nodes, and a stand-in for AIStore in its pods.
pub struct World {
    pub plane: ControlPlane,
    pub stand_in: StandIn,
}

impl World {
    pub fn new() -> Option<Self> {
        let plane = ControlPlane::start(&["n1", "n2", "n3", "n4"])?;
        let stand_in = StandIn::start(&plane, &info());
        Some(Self { plane, stand_in })
    }

    pub fn spec(&self, text: &str) -> PathBuf {
        let path = self.plane.folder().join("cluster.yml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs fettle on the spec as the administrator.
    pub fn run(&self, command: &str, spec: &str, more: &[&str]) -> Output {
        self.run_as(&self.plane.admin, command, spec, more)
    }

    pub fn run_as(&self, kubeconfig: &std::path::Path, command: &str, spec: &str, more: &[&str]) -> Output {
        let spec = self.spec(spec);
        let mut fettle = super::fettle_command([command]);
        fettle.arg(spec).arg("--kubeconfig").arg(kubeconfig).args(more);
        fettle.output().unwrap()
    }

    pub fn good(&self, command: &str, spec: &str, more: &[&str]) -> String {
        super::succeeded(command, &self.run(command, spec, more))
    }

    pub fn get(&self, kind_name: &str, name: &str) -> Option<Json> {
        self.plane.with(|server| async move { server.get(kind(kind_name).unwrap(), Some("storage"), name).await.unwrap() })
    }

    pub fn labels(&self, node: &str) -> Json {
        self.get("Node", node).unwrap()["metadata"]["labels"].take()
    }

    /// The versions of everything that was deployed.
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.plane.with(|server: Server| async move {
            let mut all = BTreeMap::new();
            for kind in KINDS.iter().filter(|k| !["Event", "Pod"].contains(&k.name)) {
                for object in server.list(kind, Some("storage"), "app.kubernetes.io/managed-by=fettle").await.unwrap() {
                    let meta = &object["metadata"];
                    all.insert(format!("{} {}", kind.name, meta["name"]), meta["resourceVersion"].to_string());
                }
            }
            all
        })
    }
}

fn info() -> Info {
    Info::new(&fettle::cluster::read("cluster.yml", SPEC).unwrap().resolve(None, None).unwrap())
}

/// Everything a run printed.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The lines of a rollout, in order: who was restarted.
pub fn restarted(text: &str) -> Vec<&str> {
    text.lines().filter_map(|l| l.strip_suffix(": restarted, back in the cluster")).collect()
}
