//! What `up` writes down for the other commands, and the list of labs.

use super::names::{IMAGES, Lab, RUN};
use super::{failed, found};
use crate::diag::Diagnostic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// One host of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostState {
    /// Its name, in the inventory and to itself.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The machine's end of its cable.
    pub link: String,
    /// Its disks' names.
    pub disks: Vec<String>,
}

/// One lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabState {
    /// Its name.
    pub name: String,
    /// The machine's bridge.
    pub bridge: String,
    /// The size of each disk in bytes.
    pub disk_size: u64,
    /// Its hosts.
    pub hosts: Vec<HostState>,
}

impl LabState {
    /// The host called `name`.
    ///
    /// # Errors
    /// There is none; the message names those there are.
    pub fn host(&self, name: &str) -> Result<&HostState, Diagnostic> {
        self.hosts.iter().find(|host| host.name == name).ok_or_else(|| {
            let names: Vec<_> = self.hosts.iter().map(|host| host.name.as_str()).collect();
            Diagnostic::bare(format!("lab `{}` has no host `{name}`", self.name))
                .nearest(name, names.iter().copied())
                .help(format!("its hosts: {}", names.join(", ")))
        })
    }
}

/// Reads what `up` wrote down.
///
/// # Errors
/// There is no such lab, it never came up whole, or the file can't be read.
pub fn load(name: &str) -> Result<LabState, Diagnostic> {
    let lab = Lab::new(name)?;
    let path = lab.state();
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|why| failed(path.display(), why).help(format!("written by another version? fettle lab down --name {name}"))),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            let there: Vec<_> = all_names();
            let labs = match there.is_empty() {
                true => "there is no lab on this machine".to_owned(),
                false => format!("labs here: {}", there.join(", ")),
            };
            Err(Diagnostic::bare(format!("no lab `{name}` is up; {labs}")).help(format!("fettle lab up --name {name}")))
        }
        Err(why) => Err(failed(path.display(), why)),
    }
}

/// Names of all labs of which anything is left on this machine: files, processes or links.
pub fn all_names() -> Vec<String> {
    let mut names = BTreeSet::new();
    for folder in [RUN, IMAGES] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            if let Ok(name) = entry.file_name().into_string() {
                names.insert(name);
            }
        }
    }
    names.extend(found::inits().into_iter().map(|init| init.lab));
    names.extend(found::links().into_iter().map(|link| link.lab));
    names.into_iter().filter(|name| Lab::new(name).is_ok()).collect()
}

/// One lab in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What it was made of; `None` for what a broken `up` or a reboot left behind.
    pub state: Option<LabState>,
    /// Names of hosts that live.
    pub alive: BTreeSet<String>,
}

/// All labs on this machine, whole or broken.
pub fn list() -> Vec<Listed> {
    let inits = found::inits();
    all_names()
        .into_iter()
        .map(|name| Listed {
            state: load(&name).ok(),
            alive: inits.iter().filter(|init| init.lab == name).map(|init| init.host.clone()).collect(),
            name,
        })
        .collect()
}
