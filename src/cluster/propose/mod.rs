//! A cluster spec from what hosts are: for `fettle init`. Pure: facts in, a proposal and its text out.

mod facts;
mod text;

#[cfg(test)]
mod tests;

pub use facts::{DiskFact, DiskUse, HostFacts, Nic, unnumbered};

use crate::cluster::forms::{Absolute, Picture, dns_label};
use crate::cluster::value::Form;
use crate::diag::{Diagnostic, Diagnostics, Loc};
use std::collections::HashMap;

/// The release that is proposed: the newest that these manifests were written for.
pub const RELEASE: &str = "v5.0";

/// Below so much memory AIStore's defaults (8 GiB kept free) leave nothing; in MiB.
const SMALL_MEMORY: u64 = 16 << 10;

/// What the operator asks for.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The cluster's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Release of the images.
    pub release: String,
    /// How many proxies; by the number of hosts unless given.
    pub proxies: Option<usize>,
    /// The folder that data disks are mounted in.
    pub prefix: String,
}

impl Wishes {
    /// Whether a spec can have them; told before any host is asked.
    pub fn check(&self) -> Result<(), Diagnostics> {
        let mut out = Diagnostics::default();
        let mut must = |option: &str, text: &str, why: Option<String>| {
            if let Some(why) = why {
                out.push(Diagnostic::error(&Loc::outside(option), format!("`{text}` can't be used: {why}")));
            }
        };
        must("--name", &self.name, dns_label(&self.name, true));
        must("--namespace", &self.namespace, dns_label(&self.namespace, true));
        must("--release", &self.release, Picture::wrong(&format!("image:{}", self.release)));
        must("--prefix", &self.prefix, Absolute::wrong(&self.prefix));
        must("--proxies", "0", (self.proxies == Some(0)).then(|| "a cluster has at least one proxy".into()));
        if out.has_errors() { Err(out) } else { Ok(()) }
    }
}

/// Mountpaths that differ from the common ones, and whose they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Differing {
    /// The exception's name.
    pub name: String,
    /// Node names.
    pub nodes: Vec<String>,
    /// Their mountpaths.
    pub mountpaths: Vec<String>,
}

/// What is proposed.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Node names of proxies.
    pub proxies: Vec<String>,
    /// Node names of targets.
    pub targets: Vec<String>,
    /// The first primary.
    pub primary: String,
    /// Mountpaths most targets have.
    pub mountpaths: Vec<String>,
    /// Those of the others.
    pub exceptions: Vec<Differing>,
    /// `hdd` or `nvme`: the tuning profile of the disks.
    pub profile: &'static str,
    /// Disks for the playbook of data filesystems, by the inventory's name of their host: `ais_devices`. Those that are mounted
    /// elsewhere than under their kernel name are ready, and not its business.
    pub devices: Vec<(String, Vec<String>)>,
    /// Whether AIStore's memory settings must be smaller than its defaults.
    pub small_memory: bool,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

/// Proposes a cluster; an error says why there is none.
pub fn propose(hosts: &[HostFacts], wishes: &Wishes) -> Result<Proposal, String> {
    let storage: Vec<&HostFacts> = hosts.iter().filter(|h| h.worker && !h.mountpaths(&wishes.prefix).is_empty()).collect();
    if storage.is_empty() {
        let why = hosts.iter().map(|h| format!("{}: {}", h.host, h.why_not(&wishes.prefix))).collect::<Vec<_>>().join("; ");
        let unread = hosts.iter().flat_map(|h| &h.disks).any(|d| d.usage(&wishes.prefix) == DiskUse::Unread);
        let hint = if unread { ": only root can see whether disks are blank, so ask as root (-b)" } else { "" };
        return Err(format!("no host has a disk for objects ({why}){hint}"));
    }
    let mut warnings = vec![];
    let (mountpaths, exceptions) = sort(&storage, &wishes.prefix);
    let proxies = gateways(hosts, wishes, &mut warnings);
    let primary = proxies.first().cloned().unwrap_or_default();
    network(&storage, &mut warnings);
    let disks = || storage.iter().flat_map(|h| h.data_disks(&wishes.prefix));
    let (spinning, all) = (disks().filter(|d| d.rotational).count(), disks().count());
    if spinning > 0 && spinning < all {
        warnings.push(format!("{spinning} of {all} disks rotate and the others don't: AIStore is as fast as the slowest"));
    }
    for host in hosts.iter().filter(|h| h.worker) {
        let unread = host.disks.iter().filter(|d| matches!(d.usage(&wishes.prefix), DiskUse::Unread)).count();
        if unread > 0 {
            warnings.push(format!("{}: {unread} disks can't be read, so nobody knows whether they are blank: ask as root (-b)", host.host));
        }
    }
    Ok(Proposal {
        primary,
        proxies,
        targets: storage.iter().map(|h| h.node.clone()).collect(),
        mountpaths,
        exceptions,
        profile: if spinning * 2 > all { "hdd" } else { "nvme" },
        devices: storage.iter().map(|h| (h.host.clone(), h.playbook_disks(&wishes.prefix))).collect(),
        small_memory: storage.iter().any(|h| h.memory_mb < SMALL_MEMORY),
        warnings,
    })
}

/// The mountpaths most hosts have, and the others' by their lists.
fn sort(storage: &[&HostFacts], prefix: &str) -> (Vec<String>, Vec<Differing>) {
    let mut counts: HashMap<Vec<String>, usize> = HashMap::new();
    for host in storage {
        *counts.entry(host.mountpaths(prefix)).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    // Of several as frequent the first host's counts.
    let lists = storage.iter().map(|h| h.mountpaths(prefix));
    let common = lists.clone().find(|l| counts.get(l) == Some(&most)).unwrap_or_default();
    let mut differing: Vec<Differing> = vec![];
    for (host, list) in storage.iter().zip(lists).filter(|(_, l)| *l != common) {
        if let Some(same) = differing.iter_mut().find(|d| d.mountpaths == list) {
            same.nodes.push(host.node.clone());
            continue;
        }
        let plain = format!("disks-{}", list.len());
        let taken = |name: &str| differing.iter().any(|d| d.name == name);
        let name = (1..).map(|i| if i == 1 { plain.clone() } else { format!("{plain}-{i}") }).find(|n| !taken(n)).unwrap_or(plain.clone());
        differing.push(Differing { name, nodes: vec![host.node.clone()], mountpaths: list });
    }
    (common, differing)
}

/// Three proxies, five from 30 hosts on; one where there are fewer than three hosts.
fn gateways(hosts: &[HostFacts], wishes: &Wishes, warnings: &mut Vec<String>) -> Vec<String> {
    let able: Vec<&HostFacts> = hosts.iter().filter(|h| h.worker).collect();
    let count = match wishes.proxies {
        Some(given) => {
            if given > able.len() {
                warnings.push(format!("{given} proxies were asked for, and there are {} hosts", able.len()));
            }
            given.clamp(1, able.len())
        }
        None if able.len() < 3 => {
            // Where only some run pods, it is those that count.
            let place = if able.len() < hosts.len() { " in kube_node" } else { "" };
            warnings.push(format!(
                "there are fewer than three hosts{place}, so there is one proxy, and while it is away nobody reaches the cluster"
            ));
            1
        }
        None => {
            if able.len() < 30 {
                3
            } else {
                5
            }
        }
    };
    able.iter().take(count).map(|h| h.node.clone()).collect()
}

fn network(storage: &[&HostFacts], warnings: &mut Vec<String>) {
    let mut by_mtu: Vec<(u64, Vec<&str>)> = vec![];
    for host in storage {
        let Some(mtu) = host.nic.as_ref().and_then(|n| n.mtu) else { continue };
        match by_mtu.iter_mut().find(|(m, _)| *m == mtu) {
            Some((_, hosts)) => hosts.push(&host.host),
            None => by_mtu.push((mtu, vec![&host.host])),
        }
    }
    if by_mtu.len() > 1 {
        by_mtu.sort_by_key(|(_, hosts)| std::cmp::Reverse(hosts.len()));
        let text = by_mtu.iter().map(|(mtu, hosts)| format!("{mtu} ({})", hosts.join(", "))).collect::<Vec<_>>().join(" and ");
        warnings.push(format!("targets have different MTUs, {text}: large packets between them are lost or split"));
    }
    let slow: Vec<&str> =
        storage.iter().filter(|h| h.nic.as_ref().and_then(|n| n.speed).is_some_and(|s| s < 10_000)).map(|h| h.host.as_str()).collect();
    if !slow.is_empty() {
        warnings.push(format!("slower than 10 Gb/s: {}", slow.join(", ")));
    }
}
