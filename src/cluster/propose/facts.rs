//! What a host is, as far as a proposal needs it.

use serde_json::{Map, Value as Json};

/// The smallest XFS that mkfs.xfs makes (300 MB since xfsprogs 5.19).
const LEAST: u64 = 300 << 20;

/// Devices that are no disks for objects: made of others, in memory, or removable by nature.
const OTHERS: &[&str] = &["loop", "ram", "zram", "sr", "fd", "dm-", "nbd", "mtdblock"];

/// One disk of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskFact {
    /// Kernel name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Spinning rust.
    pub rotational: bool,
    /// Removable medium.
    pub removable: bool,
    /// Why it must not be formatted.
    pub used: Vec<String>,
    /// What is written on it; `None`: it can't be read.
    pub signatures: Option<Vec<String>>,
    /// Where the whole disk is mounted, and as what.
    pub mounted: Option<(String, String)>,
}

/// What a disk can be for objects.
#[derive(Clone, Debug, PartialEq)]
pub enum DiskUse {
    /// Mounted already, where data disks are.
    Ready(String),
    /// Nothing is on it.
    Blank,
    /// It can't be read.
    Unread,
    /// It is for something else.
    Taken(String),
}

/// The network interface of the default route, or else the fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Nic {
    /// Its name.
    pub name: String,
    /// Mb/s, where it tells.
    pub speed: Option<u64>,
    /// Bytes.
    pub mtu: Option<u64>,
}

/// A host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFacts {
    /// The inventory's name.
    pub host: String,
    /// The name of its node.
    pub node: String,
    /// Whether pods run there: where the inventory has Kubespray's group `kube_node`, its members.
    pub worker: bool,
    /// Its disks.
    pub disks: Vec<DiskFact>,
    /// MiB.
    pub memory_mb: u64,
    /// Threads.
    pub processors: u64,
    /// Its way to the others.
    pub nic: Option<Nic>,
}

impl DiskFact {
    fn read(json: &Json) -> Option<Self> {
        let texts = |key: &str| {
            let list = json.get(key)?.as_array()?;
            Some(list.iter().filter_map(Json::as_str).map(str::to_owned).collect::<Vec<_>>())
        };
        let flag = |key: &str| json.get(key).and_then(Json::as_bool).unwrap_or(false);
        let mount = |key: &str| json.pointer(&format!("/mounted/{key}")).and_then(Json::as_str).map(str::to_owned);
        Some(Self {
            name: json.get("name")?.as_str()?.to_owned(),
            size: json.get("size")?.as_u64()?,
            rotational: flag("rotational"),
            removable: flag("removable"),
            used: texts("used").unwrap_or_default(),
            signatures: texts("signatures"),
            mounted: mount("target").zip(mount("fstype")),
        })
    }

    /// What it can be for objects; `prefix`: the folder data disks are mounted in.
    pub fn usage(&self, prefix: &str) -> DiskUse {
        let other = OTHERS.iter().any(|o| self.name.starts_with(o)) || self.name.contains("boot");
        if other {
            return DiskUse::Taken("is no disk for objects".into());
        }
        if let Some((target, kind)) = &self.mounted
            && target.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
        {
            return if kind == "xfs" {
                DiskUse::Ready(target.clone())
            } else {
                DiskUse::Taken(format!("is mounted on {target} as {kind}"))
            };
        }
        if let Some(why) = self.used.first() {
            return DiskUse::Taken(why.clone());
        }
        if self.removable {
            return DiskUse::Taken("is removable".into());
        }
        if self.size < LEAST {
            return DiskUse::Taken("is too small for XFS".into());
        }
        match self.signatures.as_deref() {
            None => DiskUse::Unread,
            Some([]) => DiskUse::Blank,
            Some([first, ..]) => DiskUse::Taken(format!("holds {first}")),
        }
    }
}

impl HostFacts {
    /// From the facts a host told (names without `ansible_`).
    pub fn read(host: &str, node: &str, worker: bool, facts: &Map<String, Json>) -> Self {
        let number = |key: &str| facts.get(key).and_then(Json::as_u64).unwrap_or(0);
        let disks = facts.get("fettle_disks").and_then(Json::as_array).into_iter().flatten();
        Self {
            host: host.to_owned(),
            node: node.to_owned(),
            worker,
            disks: disks.filter_map(DiskFact::read).collect(),
            memory_mb: number("memtotal_mb"),
            processors: number("processor_vcpus"),
            nic: nic(facts),
        }
    }

    /// Disks that hold objects, or could.
    pub fn data_disks<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a DiskFact> {
        self.disks.iter().filter(|d| matches!(d.usage(prefix), DiskUse::Ready(_) | DiskUse::Blank))
    }

    /// Those that the playbook of data filesystems makes, or has made: mounted under their kernel name.
    pub fn playbook_disks(&self, prefix: &str) -> Vec<String> {
        let own = |d: &&DiskFact| match d.usage(prefix) {
            DiskUse::Ready(target) => target == format!("{prefix}/{}", d.name),
            other => other == DiskUse::Blank,
        };
        self.disks.iter().filter(own).map(|d| d.name.clone()).collect()
    }

    /// Where they are mounted, or will be.
    pub fn mountpaths(&self, prefix: &str) -> Vec<String> {
        let mut all: Vec<String> = self
            .disks
            .iter()
            .filter_map(|d| match d.usage(prefix) {
                DiskUse::Ready(target) => Some(target),
                DiskUse::Blank => Some(format!("{prefix}/{}", d.name)),
                _ => None,
            })
            .collect();
        all.sort();
        all
    }

    /// Why it is no target.
    pub fn why_not(&self, prefix: &str) -> String {
        if !self.worker {
            return "not in kube_node".into();
        }
        let reasons: Vec<String> = self
            .disks
            .iter()
            .filter_map(|d| match d.usage(prefix) {
                DiskUse::Taken(why) => Some(format!("{} {}", d.name, unnumbered(&why))),
                DiskUse::Unread => Some(format!("{} can't be read", d.name)),
                _ => None,
            })
            .filter(|t| !t.ends_with("is no disk for objects"))
            .collect();
        if reasons.is_empty() { "it has no disks".into() } else { reasons.join(", ") }
    }
}

/// A reason without the UUIDs in it, by which hosts that are the same would differ.
pub fn unnumbered(why: &str) -> String {
    // 8-4-4-4-12 hexadecimal digits (RFC 9562), and LVM's with 32 letters and digits in groups of 6, 4, …, 6.
    let is_id = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let groups: Vec<usize> = word.split('-').map(str::len).collect();
        let digits = word.chars().all(|c| c == '-' || c.is_ascii_alphanumeric());
        digits && (groups == [8, 4, 4, 4, 12] || groups == [6, 4, 4, 4, 4, 4, 6])
    };
    why.split(' ').filter(|word| !is_id(word.rsplit('=').next().unwrap_or(word))).collect::<Vec<_>>().join(" ")
}

fn nic(facts: &Map<String, Json>) -> Option<Nic> {
    let of = |name: &str| {
        let facts = facts.get(&name.replace(['-', '.', ':'], "_"))?;
        let number = |key: &str| facts.get(key).and_then(Json::as_u64);
        Some(Nic { name: name.to_owned(), speed: number("speed"), mtu: number("mtu") })
    };
    if let Some(name) = facts.get("default_ipv4").and_then(|d| d.get("interface")).and_then(Json::as_str) {
        return of(name);
    }
    let names = facts.get("interfaces").and_then(Json::as_array)?.iter().filter_map(Json::as_str).filter(|n| *n != "lo");
    names.filter_map(of).max_by_key(|n| n.speed)
}
