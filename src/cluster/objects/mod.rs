//! From a resolved spec to manifests: the bundled ones in `aisnode/`, filled in by typed code.

mod access;
mod base;
mod claims;
mod config;
mod extras;
mod pods;
mod volumes;

pub use claims::{OF_NAMESPACE, sanitized};
pub use pods::{RESTART, log_bytes};
pub use volumes::{claim_name, state_claim_name};

use super::Object;
use super::resolve::{Resolved, Role};
use super::spec::{Exception, Mountpath};
use crate::diag::Diagnostics;

/// A StatefulSet of targets: the common one, or an exception's.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSet<'a> {
    /// The StatefulSet's name.
    pub name: String,
    /// How many pods.
    pub count: i64,
    /// Its mountpaths.
    pub mountpaths: &'a [Mountpath],
    /// Whose it is; `None`: the common one.
    pub exception: Option<&'a Exception>,
    /// The names of its nodes, as far as they are known.
    pub nodes: Vec<&'a str>,
}

impl Resolved {
    /// All manifests, in the order in which they are applied. The same spec gives the same bytes.
    pub fn objects(&self) -> Result<Vec<Object>, Diagnostics> {
        let mut all = vec![];
        base::push(self, &mut all)?;
        config::push(self, &mut all)?;
        access::push(self, &mut all)?;
        claims::push(self, &mut all)?;
        pods::push(self, &mut all)?;
        extras::push(self, &mut all)?;
        Ok(all)
    }

    /// `ais-proxy`: the StatefulSet of a role, its headless service and its ConfigMap.
    pub fn role_name(&self, role: Role) -> String {
        format!("{}-{}", *self.cluster.name, role.word())
    }

    /// The StatefulSets of targets: the common one first, if any node is left for it.
    pub fn target_sets(&self) -> Vec<TargetSet<'_>> {
        let targets = &self.cluster.targets;
        let name = self.role_name(Role::Target);
        let exceptional = |node: &str| targets.exceptions.iter().any(|e| e.nodes.iter().any(|n| *n.value == *node));
        let common: Vec<&str> = self.nodes.targets.iter().map(|n| n.name.as_str()).filter(|n| !exceptional(n)).collect();
        let taken: i64 = targets.exceptions.iter().map(|e| e.nodes.len() as i64).sum();
        let mut sets = vec![];
        if self.target_count > taken {
            sets.push(TargetSet {
                name: name.clone(),
                count: self.target_count - taken,
                mountpaths: &targets.mountpaths,
                exception: None,
                nodes: common,
            });
        }
        sets.extend(targets.exceptions.iter().map(|e| TargetSet {
            name: format!("{name}-{}", *e.name),
            count: e.nodes.len() as i64,
            mountpaths: &e.mountpaths,
            exception: Some(e),
            nodes: e.nodes.iter().map(|n| &*n.value).collect(),
        }));
        sets
    }
}
