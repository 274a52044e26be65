//! What `fettle deploy` finds on the hosts: things AIStore itself would refuse later, and less clearly.

use super::CliError;
pub use super::onhosts::HostArgs;
use super::onhosts::{Results, play_aside};
use super::path_mtu;
use crate::cluster::{Resolved, Role, hosts_of_nodes};
use crate::inventory::Inventory;
use crate::protocol::{Status, TaskReport};
use crate::report::{Paint, Tone, colour_wanted};
use base64::Engine as _;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Filesystems known to keep extended attributes of users, where targets keep their identity.
const WITH_ATTRIBUTES: &[&str] = &["xfs", "ext4", "ext3", "btrfs", "zfs", "f2fs"];

/// Bytes of a packet that an overlay network's header may take: pods' MTU must be at least so much below the link's (AIStore's
/// deployment guide: 8980 on 9000).
const OVERLAY: i64 = 20;

/// Names of interfaces that carry pods' packets in other packets (Calico, Flannel, and the kernel's own).
const TUNNELS: [&str; 5] = ["vxlan", "tunl", "flannel.", "geneve", "wireguard."];

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    host: String,
    what: &'static str,
    /// Stands in the way; otherwise only told.
    bad: bool,
    text: String,
}

/// What a host is to be.
#[derive(Debug, Default)]
struct Wanted {
    node: String,
    mountpaths: Vec<(String, String)>,
    data: Vec<String>,
    /// Ports that must be free.
    ports: BTreeSet<u16>,
    /// Its address among the nodes, where the inventory says it: Kubespray's `ip`.
    address: Option<String>,
}

/// Looks at the hosts and shows what was found; whether nothing stands in the way.
/// `own`: ports that the cluster's pods have already, by node.
pub async fn run(
    resolved: &Resolved,
    own: &BTreeMap<String, BTreeSet<u16>>,
    inventory: &Inventory,
    hosts: &HostArgs,
    as_json: bool,
) -> Result<bool, CliError> {
    let (mut wanted, mut findings) = wanted(resolved, inventory);
    for w in wanted.values_mut() {
        let own = own.get(&w.node);
        w.ports.retain(|port| own.is_none_or(|o| !o.contains(port)));
    }
    if wanted.is_empty() {
        show(&findings, 0, as_json);
        return Ok(true);
    }
    let names = wanted.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    let each: Map<String, Json> = wanted
        .iter()
        .map(|(host, w)| {
            let roots = w.mountpaths.iter().map(|(path, _)| path.clone());
            (host.clone(), json!({"folders": roots.chain(w.data.iter().cloned()).collect::<Vec<_>>()}))
        })
        .collect();
    let sysctls: Vec<String> = resolved.unsafe_sysctls();
    let extra = json!({"preflight_hosts": names, "preflight": each, "preflight_sysctls": sysctls});
    let mut results = Results::default();
    play_aside("preflight", include_str!("preflight.yml"), &extra, inventory, hosts, false, &mut results)?;
    for (host, w) in &wanted {
        if let Some(why) = results.failed.get(host) {
            findings.push(Finding { host: host.clone(), what: "host", bad: true, text: why.clone() });
        }
        if let Some(tasks) = results.hosts.get(host) {
            look(host, w, tasks, &mut findings);
        }
    }
    same_mtu(&wanted, &results, &mut findings);
    full_packets(&wanted, &results, inventory, hosts, &mut findings)?;
    show(&findings, wanted.len(), as_json);
    Ok(!findings.iter().any(|f| f.bad))
}

/// Hosts of the spec's nodes, by inventory name; and the nodes that no host stands for.
fn wanted(resolved: &Resolved, inventory: &Inventory) -> (BTreeMap<String, Wanted>, Vec<Finding>) {
    let by_node = hosts_of_nodes(inventory);
    let mut strange: BTreeMap<&str, Finding> = BTreeMap::new();
    let mut all: BTreeMap<String, Wanted> = BTreeMap::new();
    for role in [Role::Proxy, Role::Target] {
        for node in resolved.of(role) {
            let Some(host) = node.host.as_ref().or_else(|| by_node.get(&node.name)) else {
                let text = format!(
                    "not looked at: no host of the inventory stands for this node. If one has another name, give it the variable \
                     `node_name: {}` (or Kubespray's `kube_override_hostname`)",
                    node.name
                );
                strange.entry(&node.name).or_insert(Finding { host: node.name.clone(), what: "host", bad: false, text });
                continue;
            };
            let entry = all.entry(host.clone()).or_default();
            entry.node.clone_from(&node.name);
            entry.address = inventory.vars(host).get("ip").and_then(|ip| ip.as_str()).map(str::to_owned);
            entry.ports.extend(resolved.host_ports(role));
        }
    }
    let c = &resolved.cluster;
    for set in resolved.target_sets() {
        for node in &set.nodes {
            let Some(entry) = all.values_mut().find(|w| w.node == *node) else { continue };
            for m in set.mountpaths.iter().filter(|m| m.claim.is_none()) {
                entry.mountpaths.push((m.path.to_string(), m.label.to_string()));
                entry.data.push(format!("{}/{}/{}/target", *m.path, *c.namespace, *c.name));
            }
        }
    }
    (all, strange.into_values().collect())
}

fn look(host: &str, wanted: &Wanted, tasks: &BTreeMap<String, TaskReport>, findings: &mut Vec<Finding>) {
    let mut find = |what, bad, text: String| findings.push(Finding { host: host.to_owned(), what, bad, text });
    let facts = tasks.get("facts").map(|t| super::onhosts::field(t, "ansible_facts")).unwrap_or(&Json::Null);
    let fact = |name: &str| facts.get(name).or_else(|| facts.get(format!("ansible_{name}")));
    let mounts = fact("mounts").and_then(Json::as_array).cloned().unwrap_or_default();
    let mut devices: BTreeMap<String, String> = BTreeMap::new();
    for (path, label) in &wanted.mountpaths {
        let Some(mount) = mounts.iter().find(|m| m["mount"] == path.as_str()) else {
            find(
                "mountpath",
                true,
                format!("no filesystem of a disk is mounted on {path} (playbooks/data_filesystems.yml makes and mounts it)"),
            );
            continue;
        };
        let text = |key: &str| mount[key].as_str().unwrap_or_default();
        if let Some(other) = devices.insert(text("device").to_owned(), path.clone())
            && label.is_empty()
        {
            find(
                "mountpath",
                true,
                format!("{path} and {other} are on the same filesystem {}: give them labels, or each its own", text("device")),
            );
        }
        if text("options").split(',').any(|o| o == "ro") {
            find("mountpath", true, format!("{path} is mounted read-only"));
        }
        if !WITH_ATTRIBUTES.contains(&text("fstype")) {
            find("mountpath", true, format!("{path} is {}, which may not keep extended attributes; targets need them", text("fstype")));
        }
    }
    if let Some(files) = tasks.get("metadata").and_then(|t| super::onhosts::field(t, "files").as_array()) {
        for (path, _) in &wanted.mountpaths {
            let stray: Vec<&str> = files
                .iter()
                .filter_map(|f| f["path"].as_str())
                .filter(|p| std::path::Path::new(p).parent() == Some(std::path::Path::new(path)))
                .collect();
            if let Some(first) = stray.first() {
                find(
                    "metadata",
                    true,
                    format!("{first} belongs to another cluster, made without fettle: remove {path}/.ais.* if that one is gone"),
                );
            }
        }
    }
    let mut taken = BTreeSet::new();
    for task in ["tcp", "tcp6"] {
        if let Some(text) = tasks.get(task).and_then(|t| super::onhosts::field(t, "content").as_str()) {
            taken.extend(listening(text));
        }
    }
    for port in wanted.ports.intersection(&taken) {
        find("port", true, format!("port {port} is in use, and not by a pod of this cluster: its clients would not reach the pod"));
    }
    if let Some(kubelet) = tasks.get("kubelet") {
        match kubelet.status {
            Status::Changed | Status::Unknown => {
                find(
                    "kubelet",
                    true,
                    "the kubelet does not allow the spec's sysctls: pods would be refused (fettle hook post-kubespray)".into(),
                );
            }
            Status::Failed => find("kubelet", false, format!("not looked at: {}", kubelet.message)),
            Status::Ok | Status::Skipped => {}
        }
    }
    for (bad, text) in narrow_pods(facts, wanted.address.as_deref()) {
        find("mtu", bad, text);
    }
}

/// Pods' interfaces whose MTU leaves too little room below that of the link to the other nodes, which has `address` where it is
/// known; and whether that stands in the way.
pub fn narrow_pods(facts: &Json, address: Option<&str>) -> Vec<(bool, String)> {
    let pods = pod_mtus(facts);
    let Some((card, of)) = address.and_then(|a| link_with(facts, a)).or_else(|| link_mtu(facts)) else {
        let text = "pods' MTU was not looked at: there is no default route, and no interface has the node's address";
        return if pods.is_empty() { vec![] } else { vec![(false, text.into())] };
    };
    // The same MTU means a network without a header of its own, unless there is a tunnel as wide as the link. Cilium's always is: there
    // it is pods' routes that are narrower, which no interface tells.
    let tunnel = |name: &str| TUNNELS.iter().any(|p| name.starts_with(p));
    let tunnelled = pods.iter().any(|(name, mtu)| *mtu == of && tunnel(name));
    let narrow = pods.iter().filter(|(_, mtu)| *mtu > of - OVERLAY && (*mtu != of || tunnelled));
    narrow.map(|(name, mtu)| (true, format!("pods have MTU {mtu} ({name}), {card} has {of}: pods need at least {OVERLAY} less"))).collect()
}

/// The interface that has this address, and its MTU.
fn link_with(facts: &Json, address: &str) -> Option<(String, i64)> {
    let has = |card: &Json| {
        let listed = ["ipv4_secondaries", "ipv6"].iter().flat_map(|key| card[*key].as_array().into_iter().flatten());
        listed.chain([&card["ipv4"]]).any(|a| a["address"] == address)
    };
    let card = facts.as_object()?.values().find(|v| v["device"].is_string() && has(v))?;
    Some((card["device"].as_str()?.to_owned(), card["mtu"].as_i64()?))
}

/// The default route's interface and its MTU.
fn link_mtu(facts: &Json) -> Option<(String, i64)> {
    let default = facts.get("default_ipv4").or_else(|| facts.get("ansible_default_ipv4"))?;
    let card = default["interface"].as_str().or_else(|| default["alias"].as_str())?;
    Some((card.to_owned(), default["mtu"].as_i64()?))
}

/// Interfaces that network plugins make for pods (Calico, Cilium, Flannel, bridges), with their MTU.
fn pod_mtus(facts: &Json) -> Vec<(String, i64)> {
    const PREFIXES: &[&str] = &["cali", "vxlan", "geneve", "wireguard.", "tunl", "cilium_", "lxc", "flannel", "cni"];
    let Some(all) = facts.as_object() else { return vec![] };
    let mut found: Vec<(String, i64)> = all
        .values()
        .filter_map(|v| Some((v["device"].as_str()?, v["mtu"].as_i64()?)))
        .filter(|(name, _)| PREFIXES.iter().any(|p| name.starts_with(p)))
        .map(|(name, mtu)| (name.to_owned(), mtu))
        .collect();
    // One of each MTU: a tunnel's name tells most.
    found.sort_by_key(|(name, mtu)| (*mtu, !TUNNELS.iter().any(|p| name.starts_with(p)), name.clone()));
    found.dedup_by_key(|(_, mtu)| *mtu);
    found
}

/// A host's facts, if it could be asked.
fn facts_of<'a>(results: &'a Results, host: &str) -> Option<&'a Json> {
    results.hosts.get(host)?.get("facts").map(|t| super::onhosts::field(t, "ansible_facts"))
}

/// The same MTU everywhere: a path is as narrow as its narrowest part.
fn same_mtu(wanted: &BTreeMap<String, Wanted>, results: &Results, findings: &mut Vec<Finding>) {
    let mut by_mtu: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for host in wanted.keys() {
        if let Some((_, mtu)) = facts_of(results, host).and_then(link_mtu) {
            by_mtu.entry(mtu).or_default().push(host);
        }
    }
    if by_mtu.len() > 1 {
        let usual = by_mtu.iter().max_by_key(|(_, hosts)| hosts.len()).map_or(0, |(mtu, _)| *mtu);
        for (mtu, hosts) in by_mtu.iter().filter(|(mtu, _)| **mtu != usual) {
            for host in hosts {
                findings.push(Finding {
                    host: (*host).to_owned(),
                    what: "mtu",
                    bad: true,
                    text: format!("MTU {mtu}, and {usual} on the other hosts"),
                });
            }
        }
    }
}

/// And what is between them carries it.
fn full_packets(
    wanted: &BTreeMap<String, Wanted>,
    results: &Results,
    inventory: &Inventory,
    hosts: &HostArgs,
    findings: &mut Vec<Finding>,
) -> Result<(), CliError> {
    let end = |host: &String| Some((host.clone(), path_mtu::end(facts_of(results, host)?)?));
    let ends = wanted.keys().filter(|h| !results.failed.contains_key(*h)).filter_map(end).collect();
    let paths = path_mtu::try_paths(&ends, inventory, hosts)?;
    findings.extend(paths.narrow.into_iter().map(|(host, text)| Finding { host, what: "mtu", bad: true, text }));
    findings.extend(paths.unknown.into_iter().map(|(host, text)| Finding { host, what: "mtu", bad: false, text }));
    Ok(())
}

/// Ports that something listens on, from the base64 of /proc/net/tcp: state 0A.
fn listening(base64: &str) -> BTreeSet<u16> {
    let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(base64) else { return BTreeSet::new() };
    String::from_utf8_lossy(&bytes)
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, _, state) = (words.next()?, words.next()?, words.next()?);
            (state == "0A").then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok())?
        })
        .collect()
}

fn show(findings: &[Finding], hosts: usize, as_json: bool) {
    if as_json {
        for f in findings {
            println!("{}", json!({"event": "finding", "host": f.host, "what": f.what, "bad": f.bad, "text": f.text}));
        }
        return;
    }
    let paint = Paint { on: colour_wanted() };
    if findings.is_empty() {
        println!("Preflight: {hosts} hosts looked at, nothing found.");
        return;
    }
    println!("Preflight: {hosts} hosts looked at");
    let width = findings.iter().map(|f| f.host.len()).max().unwrap_or(0);
    for f in findings {
        let (word, tone) = if f.bad { ("wrong  ", Tone::Bad) } else { ("notice ", Tone::Doubt) };
        println!("  {} {:<width$}  {:<9}  {}", paint.text(tone, word), f.host, f.what, f.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_listening_ports() {
        let text = "  sl  local_address rem_address   st\n   0: 0100007F:C788 00000000:0000 0A 0\n   1: 0100007F:C789 00000000:0000 01 0\n";
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        assert_eq!(listening(&encoded), BTreeSet::from([51080]));
    }

    #[test]
    fn pods_narrower_by_too_little_are_found() {
        let facts = json!({"ansible_default_ipv4": {"interface": "eth0", "mtu": 9000},
            "ansible_cali1": {"device": "cali1", "mtu": 8990}, "ansible_eth0": {"device": "eth0", "mtu": 9000}});
        let report: TaskReport = serde_json::from_value(json!({"task": 1, "loc": {"file": "x", "line": 1, "column": 1, "len": 0}, "name": "facts",
            "module": "setup", "handler": false, "item": null, "summary": false, "status": "ok", "ignored": false, "rescued": false, "message": "", "changes": [],
            "result": {"ansible_facts": facts}, "warnings": [], "millis": 0})).unwrap();
        let mut findings = vec![];
        look("h", &Wanted::default(), &BTreeMap::from([("facts".to_owned(), report)]), &mut findings);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].bad && findings[0].text.contains("8990"), "{findings:?}");
    }

    #[test]
    fn a_tunnel_as_wide_as_its_link_is_no_network_without_header() {
        let card = |name: &str, mtu: i64, address: &str| json!({"device": name, "mtu": mtu, "ipv4": {"address": address}});
        let mut facts = json!({"default_ipv4": {"interface": "eth0", "mtu": 9000}, "eth0": card("eth0", 9000, "192.0.2.1"),
            "eth1": card("eth1", 1500, "10.0.0.1"), "cali1": card("cali1", 1500, "")});
        assert_eq!(narrow_pods(&facts, Some("10.0.0.1")), []);
        facts["vxlan_calico"] = card("vxlan.calico", 1500, "");
        let told = narrow_pods(&facts, Some("10.0.0.1"));
        assert_eq!(told, [(true, "pods have MTU 1500 (vxlan.calico), eth1 has 1500: pods need at least 20 less".to_owned())]);
        // The default route's link is another one, and counts where nothing is known of the nodes'.
        assert_eq!(narrow_pods(&facts, None), []);
        facts["default_ipv4"] = json!({});
        assert!(matches!(narrow_pods(&facts, Some("10.9.9.9")).as_slice(), [(false, text)] if text.contains("was not looked at")));
        // Calico without a header, Cilium with one in its routes.
        let plain = json!({"eth1": card("eth1", 1500, "10.0.0.1"), "cali1": card("cali1", 1500, ""), "tunl0": card("tunl0", 1480, ""),
            "cilium_vxlan": card("cilium_vxlan", 1500, "")});
        assert_eq!(narrow_pods(&plain, Some("10.0.0.1")), []);
    }
}
