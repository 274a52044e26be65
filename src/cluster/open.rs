//! From files to clusters that are ready to be rendered or deployed.

use super::{LabelledNodes, Resolved, check_together, load};
use crate::diag::{Diagnostics, Severity};
use crate::inventory::Inventory;
use std::path::PathBuf;

/// Cluster specs that passed every check.
#[derive(Debug)]
pub struct Opened {
    /// The clusters, in the order of their files.
    pub clusters: Vec<Resolved>,
    /// What is odd and yet accepted.
    pub warnings: Diagnostics,
}

/// Reads specs, finds their nodes, checks each, and checks them against each other. All errors are told at once.
pub fn open(files: &[PathBuf], inventory: Option<&Inventory>, labelled: Option<&LabelledNodes>) -> Result<Opened, Diagnostics> {
    open_with(files, inventory, labelled, true)
}

/// The same for looking at what is there and for taking it away, where nodes may have gone from Kubernetes.
pub fn open_as_it_was(files: &[PathBuf], inventory: Option<&Inventory>, labelled: Option<&LabelledNodes>) -> Result<Opened, Diagnostics> {
    open_with(files, inventory, labelled, false)
}

fn open_with(
    files: &[PathBuf],
    inventory: Option<&Inventory>,
    labelled: Option<&LabelledNodes>,
    all_there: bool,
) -> Result<Opened, Diagnostics> {
    let mut found = Diagnostics::default();
    let mut clusters = vec![];
    for file in files {
        match load(file).and_then(|cluster| cluster.resolve(inventory, labelled)) {
            Ok(resolved) => {
                if let Some(nodes) = labelled.filter(|_| all_there) {
                    found.0.append(&mut resolved.missing(nodes).0);
                }
                found.0.append(&mut resolved.check().0);
                found.0.extend(super::guarded::warning(&resolved));
                clusters.push(resolved);
            }
            Err(mut errors) => found.0.append(&mut errors.0),
        }
    }
    found.0.append(&mut check_together(&clusters).0);
    found.0.sort_by_key(|d| d.severity == Severity::Warning);
    if found.has_errors() { Err(found) } else { Ok(Opened { clusters, warnings: found }) }
}
