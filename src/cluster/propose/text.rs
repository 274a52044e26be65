//! The proposal as a commented file.

use super::{HostFacts, Proposal, Wishes};
use crate::cluster::text::scalar;
use crate::host::block::human;

impl Proposal {
    /// The text of `cluster.yml`.
    pub fn to_text(&self, hosts: &[HostFacts], wishes: &Wishes) -> String {
        let mut out = String::from(
            "# An AIStore cluster on Kubernetes, proposed by `fettle init` from what the hosts are. Look through it; all fields are in\n\
             # docs/cluster.md, and `fettle schema cluster > cluster.schema.json` lets your editor complete them.\n",
        );
        out.push_str(&format!("name: {}\nnamespace: {}\n\n", scalar(&wishes.name), scalar(&wishes.namespace)));
        out.push_str("images:\n  # Both of one release: the init container writes the configuration that aisnode reads.\n");
        for (field, image) in [("aisnode", "aisnode"), ("init", "ais-init")] {
            out.push_str(&format!("  {field}: {}\n", scalar(&format!("docker.io/aistorage/{image}:{}", wishes.release))));
        }
        out.push_str("\nproxies:\n  # Gateways: clients ask them where an object is.\n  nodes:\n");
        self.proxies.iter().for_each(|node| out.push_str(&format!("    - {}\n", scalar(node))));
        out.push_str(&format!("\n# Where the primary is after the first start.\ninitial_primary: {}\n", scalar(&self.primary)));
        out.push_str("\ntargets:\n  # They hold the objects.\n  nodes:\n");
        let width = self.targets.iter().map(|n| scalar(n).len()).max().unwrap_or(0);
        for node in &self.targets {
            let about = hosts.iter().find(|h| h.node == *node).map(|h| about(h, &wishes.prefix)).unwrap_or_default();
            out.push_str(&format!("    - {:<width$}  # {about}\n", scalar(node)));
        }
        out.push_str("  # Filesystems that playbooks/data_filesystems.yml makes and mounts.\n  mountpaths:\n");
        self.mountpaths.iter().for_each(|path| out.push_str(&format!("    - path: {}\n", scalar(path))));
        if !self.exceptions.is_empty() {
            out.push_str("  # Nodes with other disks.\n  exceptions:\n");
            for exception in &self.exceptions {
                let nodes = exception.nodes.iter().map(|n| scalar(n)).collect::<Vec<_>>().join(", ");
                out.push_str(&format!("    - name: {}\n      nodes: [{nodes}]\n      mountpaths:\n", exception.name));
                exception.mountpaths.iter().for_each(|path| out.push_str(&format!("        - path: {}\n", scalar(path))));
            }
        }
        if self.small_memory {
            out.push_str(
                "\nconfig:\n  # There is little memory: AIStore would keep 8 GiB free.\n  memsys:\n    min_free: 512mb\n    to_gc: 512mb\n",
            );
        }
        out.push_str("\nadmin_client: {}\n");
        out.push_str(&self.tail());
        out
    }

    /// What belongs into the inventory, as comments.
    fn tail(&self) -> String {
        let mut out = String::from("\n# For the inventory, so that the playbooks prepare these very disks:\n");
        for (host, disks) in &self.devices {
            out.push_str(&format!("#   {host} ais_devices=[{}]\n", disks.iter().map(|d| format!("'{d}'")).collect::<Vec<_>>().join(",")));
        }
        out.push_str(&format!("# and for the tuning of their queues (-t io): ais_io_profile={}\n", self.profile));
        out
    }
}

/// A host in a line: `4 × 3.5 TiB NVMe, 64 threads, 252 GiB, 100 Gb/s, MTU 9000`.
fn about(host: &HostFacts, prefix: &str) -> String {
    let mut parts = vec![host.disks_in_words(prefix)];
    if host.processors > 0 {
        parts.push(format!("{} threads", host.processors));
    }
    parts.push(human(host.memory_mb << 20));
    parts.extend(host.speed_in_words());
    parts.extend(host.nic.as_ref().and_then(|n| n.mtu).map(|m| format!("MTU {m}")));
    parts.join(", ")
}

impl HostFacts {
    /// Disks of one size and kind together: `4 × 3.5 TiB NVMe`.
    pub fn disks_in_words(&self, prefix: &str) -> String {
        let mut kinds: Vec<(String, usize)> = vec![];
        for disk in self.data_disks(prefix) {
            let kind = match (disk.name.starts_with("nvme"), disk.rotational) {
                (true, _) => "NVMe",
                (_, true) => "HDD",
                (_, false) => "SSD",
            };
            let text = format!("{} {kind}", human(disk.size));
            match kinds.iter_mut().find(|(t, _)| *t == text) {
                Some((_, count)) => *count += 1,
                None => kinds.push((text, 1)),
            }
        }
        kinds.iter().map(|(text, count)| format!("{count} × {text}")).collect::<Vec<_>>().join(" + ")
    }

    /// `100 Gb/s`.
    pub fn speed_in_words(&self) -> Option<String> {
        let speed = self.nic.as_ref()?.speed?;
        Some(if speed >= 1000 && speed % 1000 == 0 { format!("{} Gb/s", speed / 1000) } else { format!("{speed} Mb/s") })
    }
}
