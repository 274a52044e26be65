//! Proposals from made-up hosts; each must pass every check of the spec.

use super::*;
use serde_json::{Map, Value as Json, json};

fn disk(name: &str, gib: u64) -> Json {
    json!({"name": name, "size": gib << 30, "rotational": name.starts_with("sd"), "removable": false, "used": [], "signatures": [], "mounted": null})
}

fn host(name: &str, disks: &[Json], speed: u64, mtu: u64) -> HostFacts {
    let facts = json!({
        "memtotal_mb": 256 << 10, "processor_vcpus": 64, "fettle_disks": disks, "interfaces": ["lo", "eth-0"],
        "default_ipv4": {"interface": "eth-0"}, "eth_0": {"speed": speed, "mtu": mtu},
    });
    let Json::Object(facts) = facts else { unreachable!("it is one") };
    HostFacts::read(name, name, true, &facts)
}

fn wishes() -> Wishes {
    Wishes { name: "ais".into(), namespace: "ais".into(), release: RELEASE.into(), proxies: None, prefix: "/ais".into() }
}

/// The proposal, whose text must be a spec that passes.
fn good(hosts: &[HostFacts]) -> (Proposal, String) {
    let proposal = propose(hosts, &wishes()).unwrap();
    let text = proposal.to_text(hosts, &wishes());
    let resolved = crate::cluster::read("cluster.yml", &text).and_then(|c| c.resolve(None, None)).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert!(!resolved.check().has_errors(), "{}\n{text}", resolved.check());
    assert_eq!(resolved.nodes.targets.len(), proposal.targets.len());
    (proposal, text)
}

#[test]
fn hosts_with_free_disks_become_targets() {
    let root = json!({"name": "nvme0n1", "size": 1u64 << 40, "rotational": false, "removable": false, "used": ["has partitions (nvme0n1p1)"], "signatures": ["a partition table (gpt)"], "mounted": null});
    let all: Vec<HostFacts> = ["n1", "n2", "n3", "n4"]
        .iter()
        .map(|n| host(n, &[root.clone(), disk("nvme1n1", 3576), disk("nvme2n1", 3576)], 100_000, 9000))
        .collect();
    let (proposal, text) = good(&all);
    assert_eq!(proposal.targets, ["n1", "n2", "n3", "n4"]);
    assert_eq!((proposal.proxies.len(), proposal.primary.as_str(), proposal.profile), (3, "n1", "nvme"));
    assert_eq!(proposal.mountpaths, ["/ais/nvme1n1", "/ais/nvme2n1"]);
    assert!(proposal.exceptions.is_empty() && proposal.warnings.is_empty(), "{:?}", proposal.warnings);
    assert!(text.contains("    - n1  # 2 × 3.5 TiB NVMe, 64 threads, 256 GiB, 100 Gb/s, MTU 9000\n"), "{text}");
    assert!(text.contains("#   n4 ais_devices=['nvme1n1','nvme2n1']\n"), "{text}");
    assert!(!text.contains("memsys"));
}

#[test]
fn what_is_in_use_is_left_alone_and_what_is_ready_is_taken() {
    let mounted = json!({"name": "sda", "size": 1u64 << 40, "rotational": true, "used": ["is mounted on /ais/data0"], "signatures": ["xfs"], "mounted": {"target": "/ais/data0", "fstype": "xfs"}});
    let ext4 =
        json!({"name": "sdb", "size": 1u64 << 40, "rotational": true, "used": [], "signatures": ["ext4 \"backup\""], "mounted": null});
    let elsewhere = json!({"name": "sdc", "size": 1u64 << 40, "rotational": true, "used": ["is mounted on /aisle"], "signatures": ["xfs"], "mounted": {"target": "/aisle", "fstype": "xfs"}});
    let stick = json!({"name": "sdd", "size": 1u64 << 40, "removable": true, "used": [], "signatures": []});
    let all = [host(
        "n1",
        &[mounted, ext4, elsewhere, stick, disk("loop0", 10), disk("dm-0", 10), disk("mmcblk0boot0", 1), disk("sde", 1)],
        10_000,
        9000,
    )];
    assert_eq!(all[0].mountpaths("/ais"), ["/ais/data0", "/ais/sde"]);
    let (proposal, _) = good(&all);
    assert_eq!(proposal.devices, [("n1".to_owned(), vec!["sde".to_owned()])]);
    assert_eq!(proposal.profile, "hdd");
    assert_eq!(proposal.proxies, ["n1"]);
    assert!(proposal.warnings[0].starts_with("there are fewer than three hosts"), "{:?}", proposal.warnings);
}

#[test]
fn nodes_with_other_disks_are_exceptions() {
    let one = [disk("sda", 9000)];
    let two = [disk("sda", 9000), disk("sdb", 9000)];
    let odd = [disk("sda", 9000), disk("sdz", 9000)];
    let all = [
        host("n1", &one, 25_000, 9000),
        host("n2", &two, 25_000, 9000),
        host("n3", &two, 25_000, 9000),
        host("n4", &odd, 25_000, 1500),
        host("n5", &one, 1000, 9000),
        host("n6", &two, 25_000, 9000),
    ];
    let (proposal, _) = good(&all);
    assert_eq!(proposal.mountpaths, ["/ais/sda", "/ais/sdb"]);
    let named: Vec<(&str, Vec<String>)> = proposal.exceptions.iter().map(|e| (e.name.as_str(), e.nodes.clone())).collect();
    assert_eq!(named, [("disks-1", vec!["n1".to_owned(), "n5".to_owned()]), ("disks-2", vec!["n4".to_owned()])]);
    assert_eq!(
        proposal.warnings,
        [
            "targets have different MTUs, 9000 (n1, n2, n3, n5, n6) and 1500 (n4): large packets between them are lost or split",
            "slower than 10 Gb/s: n5",
        ]
    );
}

#[test]
fn without_disks_there_is_no_cluster_and_every_host_says_why() {
    let unread = json!({"name": "sda", "size": 1u64 << 40, "used": [], "signatures": null});
    let small = json!({"name": "sda", "size": 1u64 << 20, "used": [], "signatures": []});
    let mut control = host("cp", &[disk("sda", 100)], 10_000, 1500);
    control.worker = false;
    let all = [control, host("n1", &[unread], 10_000, 1500), host("n2", &[small], 10_000, 1500), host("n3", &[], 10_000, 1500)];
    assert_eq!(
        propose(&all, &wishes()).unwrap_err(),
        "no host has a disk for objects (cp: not in kube_node; n1: sda can't be read; n2: sda is too small for XFS; n3: it has no disks): \
         only root can see whether disks are blank, so ask as root (-b)"
    );
}

#[test]
fn wishes_and_small_hosts_count() {
    let mut all: Vec<HostFacts> = (0..40).map(|i| host(&format!("n{i}"), &[disk("sda", 9000)], 10_000, 9000)).collect();
    assert_eq!(good(&all).0.proxies.len(), 5);
    for host in &mut all {
        host.memory_mb = 4096;
    }
    let asked = Wishes { name: "on".into(), proxies: Some(7), ..wishes() };
    let proposal = propose(&all, &asked).unwrap();
    assert_eq!(proposal.proxies.len(), 7);
    let text = proposal.to_text(&all, &asked);
    assert!(text.contains("name: \"on\"\n") && text.contains("min_free: 512mb"), "{text}");
    assert_eq!(propose(&all, &Wishes { proxies: Some(99), ..wishes() }).unwrap().proxies.len(), 40);
    let nothing = HostFacts::read("n", "n", true, &Map::new());
    assert!(nothing.disks.is_empty() && nothing.nic.is_none());
}

#[test]
fn wishes_that_no_spec_can_have_are_told_by_their_options() {
    assert!(wishes().check().is_ok());
    let wrong = Wishes { name: "A".into(), namespace: "1".into(), release: "v 5".into(), prefix: "ais".into(), proxies: None };
    let told = wrong.check().unwrap_err().to_string();
    for option in ["--name: `A`", "--namespace: `1`", "--release: `v 5`", "--prefix: `ais`"] {
        assert!(told.contains(option), "{told}");
    }
}

#[test]
fn hosts_that_differ_by_ids_only_are_the_same() {
    let told = unnumbered("is part of /dev/md0 (UUID=12345678-1234-1234-1234-123456789abc) now");
    assert_eq!(told, "is part of /dev/md0 now");
    assert_eq!(unnumbered("holds LVM2_member Ab12Cd-Ef34-Gh56-Ij78-Kl90-Mn12-Op34Qr"), "holds LVM2_member");
    assert_eq!(unnumbered("holds ext4"), "holds ext4");
}
