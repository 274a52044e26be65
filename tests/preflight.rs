//! What `fettle deploy` finds on real hosts before it applies anything.

mod support;

use support::Lab;
use support::control_plane::ControlPlane;

const SPEC: &str = "\
name: ais
namespace: storage
images:
  aisnode: docker.io/aistorage/aisnode:v5.0
  init: docker.io/aistorage/ais-init:v5.0
proxies:
  nodes: [node01, node02]
targets:
  nodes: [node01, node02]
  mountpaths:
    - path: /ais/sda
    - path: /ais/sdb
";

struct World {
    lab: Lab,
    plane: ControlPlane,
}

impl World {
    /// What a dry run of a deploy prints, and whether it found nothing that stands in the way.
    fn deploy(&self) -> (String, bool) {
        self.run("deploy", SPEC, &["--check", "-i", &self.lab.inventory().display().to_string()])
    }

    fn run(&self, command: &str, spec: &str, more: &[&str]) -> (String, bool) {
        let path = self.plane.folder().join("cluster.yml");
        std::fs::write(&path, spec).unwrap();
        let mut fettle = support::fettle_command([command]);
        let output = fettle.arg(path).args(more).env("KUBECONFIG", &self.plane.admin).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.success())
    }

    fn wrong(&self, expected: &[&str]) {
        let (text, fine) = self.deploy();
        assert!(!fine && text.contains("the hosts are not ready for this cluster; nothing was changed"), "{text}");
        let found: Vec<&str> = text.lines().filter(|l| l.trim_start().starts_with("wrong")).collect();
        assert_eq!(found.len(), expected.len(), "{text}");
        for (line, expected) in found.iter().zip(expected) {
            // Columns are as wide as they need be.
            let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(line, format!("wrong {expected}"), "{text}");
        }
    }
}

#[test]
fn what_stands_in_a_clusters_way_is_found_on_its_hosts() {
    let Some(lab) = Lab::new(2, 2) else { return };
    let node = |host: &str| format!("{host}={}", lab.state.host(host).unwrap().address);
    let Some(plane) = ControlPlane::start(&[&node("node01"), &node("node02"), "node03"]) else { return };
    let world = World { lab, plane };
    let lab = &world.lab;
    let nothing = "no filesystem of a disk is mounted on /ais/sd";
    let how = "(playbooks/data_filesystems.yml makes and mounts it)";
    world.wrong(&[
        &format!("node01 mountpath {nothing}a {how}"),
        &format!("node01 mountpath {nothing}b {how}"),
        &format!("node02 mountpath {nothing}a {how}"),
        &format!("node02 mountpath {nothing}b {how}"),
    ]);

    let inventory = lab.inventory().display().to_string();
    let made = support::fettle(["apply", "playbooks/data_filesystems.yml", "-i", &inventory]);
    support::succeeded("fettle apply", &made);
    let (text, fine) = world.deploy();
    assert!(fine && text.contains("Preflight: 2 hosts looked at, nothing found."), "{text}");

    // Nodes that no host stands for are named, and a host that can be no node is no business of ours.
    let others = world.plane.folder().join("others.ini");
    std::fs::write(&others, "Build_Box ansible_host=192.0.2.1\n").unwrap();
    let others = others.display().to_string();
    let three = SPEC.replace("node02]", "node02, node03]");
    let (text, fine) = world.run("deploy", &three, &["--check", "-i", &inventory, "-i", &others]);
    assert!(fine && text.contains("Preflight: 2 hosts looked at\n  notice  node03  host       not looked at: no host of the"), "{text}");
    assert!(!text.contains("Build_Box") && text.contains("`node_name: node03`"), "{text}");
    let (text, fine) = world.run("deploy", &three, &["--check", "-i", &others]);
    assert!(fine && text.contains("Preflight: 0 hosts looked at") && text.matches("not looked at:").count() == 3, "{text}");

    // Deleting finds its hosts before it takes anything away.
    let (text, fine) = world.run("deploy", &three, &["--timeout", "0", "--no-preflight"]);
    assert!(fine, "{text}");
    let everything = ["--state", "--data", "--data-of", "ais", "--yes", "-i", &inventory, "-i", &others];
    let (text, fine) = world.run("delete", &three, &everything);
    assert!(!fine && text.contains("folders on node03 are to be deleted, and no host of the inventory stands for it"), "{text}");
    let sets = |world: &World| {
        let kind = fettle::kube::kind("StatefulSet").unwrap();
        world.plane.with(|server| async move { server.list(kind, Some("storage"), "").await.unwrap().len() })
    };
    assert_eq!(sets(&world), 2);
    lab.sh("node01", "mkdir -p /ais/sda/storage/ais/target && touch /ais/sda/storage/ais/target/object");
    let (text, fine) = world.run("delete", SPEC, &everything);
    assert!(fine && sets(&world) == 0, "{text}");
    lab.sh("node01", "test -e /ais/sda/storage && ! test -e /ais/sda/storage/ais/target");

    // In the network of its node a target listens on all its ports.
    let network = SPEC.replace("targets:\n", "targets:\n  access: {by: host_network}\n");
    let (text, fine) = world.run("deploy", &network, &["--timeout", "0", "--no-preflight"]);
    assert!(fine, "{text}");
    let placed = |world: &World| {
        let kind = fettle::kube::kind("Pod").unwrap();
        let list = world.plane.with(|server| async move { server.list(kind, Some("storage"), "").await.unwrap() });
        list.iter().filter(|pod| pod["spec"]["nodeName"].is_string()).count()
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while placed(&world) < 4 {
        assert!(std::time::Instant::now() < end, "{} of 4 pods have a node", placed(&world));
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    for port in [51081, 51082, 51083] {
        lab.sh("node01", &format!("setsid python3 -m http.server {port} >/dev/null 2>&1 & echo $! >> /run/listeners"));
    }
    lab.sh("node01", "until [ $(grep -c ':C78[9AB] 00000000:0000 0A' /proc/net/tcp) = 3 ]; do sleep 0.1; done");
    let (text, fine) = world.run("deploy", &network, &["--check", "-i", &inventory]);
    assert!(fine && text.contains("nothing found"), "{text}");
    let (text, fine) = world.run("delete", &network, &["--yes"]);
    assert!(fine, "{text}");
    let (text, fine) = world.run("deploy", &network, &["--check", "-i", &inventory]);
    assert!(!fine && text.matches("is in use, and not by a pod of this cluster").count() == 3, "{text}");
    lab.sh("node01", "kill $(cat /run/listeners); sleep 0.2");

    // A port that somebody else listens on.
    lab.sh("node01", "setsid python3 -m http.server 51081 >/dev/null 2>&1 & echo $! > /run/listener; sleep 1");
    world.wrong(&["node01 port port 51081 is in use, and not by a pod of this cluster: its clients would not reach the pod"]);
    lab.sh("node01", "kill $(cat /run/listener); sleep 0.2");

    // One filesystem on two mountpaths; read-only; and what another cluster left.
    lab.sh("node01", "umount /ais/sdb && mount /dev/sda /ais/sdb && touch /ais/sda/.ais.vmd");
    lab.sh("node02", "mount -o remount,ro /ais/sdb");
    world.wrong(&[
        "node01 mountpath /ais/sdb and /ais/sda are on the same filesystem /dev/sda: give them labels, or each its own",
        "node01 metadata /ais/sda/.ais.vmd belongs to another cluster, made without fettle: remove /ais/sda/.ais.* if that one is gone",
        "node01 metadata /ais/sdb/.ais.vmd belongs to another cluster, made without fettle: remove /ais/sdb/.ais.* if that one is gone",
        "node02 mountpath /ais/sdb is mounted read-only",
    ]);
    lab.sh("node01", "rm /ais/sda/.ais.vmd && umount /ais/sdb && mount /dev/sdb /ais/sdb");
    lab.sh("node02", "mount -o remount,rw /ais/sdb");

    // Interfaces with one MTU, and a switch between them that carries less.
    lab.sh("node01", "ip link set eth0 mtu 9000");
    world.wrong(&["node02 mtu MTU 1500, and 9000 on the other hosts"]);
    lab.sh("node02", "ip link set eth0 mtu 9000");
    let (text, fine) = world.deploy();
    assert!(fine && text.contains("nothing found"), "{text}");
    // This end of node02's cable is the switch's port; and this machine's own MTU is a workstation's.
    for link in [&lab.state.host("node02").unwrap().link, &lab.state.bridge] {
        let narrowed = std::process::Command::new("ip").args(["link", "set", link, "mtu", "1500"]).status().unwrap();
        assert!(narrowed.success());
    }
    let address = |host: &str| lab.state.host(host).unwrap().address;
    let lost = |from: &str, to: &str| {
        let to_address = address(to);
        format!(
            "{from} mtu packets of 9000 bytes, the MTU of both ends, do not arrive at {to} ({to_address}); small ones do: \
             a switch or link between them has a smaller MTU"
        )
    };
    world.wrong(&[&lost("node01", "node02"), &lost("node02", "node01")]);

    // Nobody answers, or asks: then it is not known, and said so.
    lab.sh("node01", "ip link set eth0 mtu 1500");
    lab.sh("node02", "ip link set eth0 mtu 1500; sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
    let (text, fine) = world.deploy();
    assert!(fine && text.matches("the way to other hosts was not tried").count() == 1, "{text}");
    assert!(text.contains("notice  node01  mtu"), "{text}");
}
