//! What only a machine with systemd, udev and a boot of its own can show: that what was prepared is still there after a reboot,
//! that units do as they are told, and which disks in use are refused.

mod support;

use serde_json::Value as Json;
use std::process::Output;
use support::machine::{Bus, Disk, Machine};

const SITE: &str = "playbooks/site.yml";
/// All of it, also what depends on the site.
const ALL_TAGS: &str = "required,network,memory,io,mtu";

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a run changed (or would change): task, change, done or not, in order.
fn changes(output: &Output) -> Vec<String> {
    let mut all = vec![];
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let event: Json = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if event["event"] == "result" {
            let report = &event["report"];
            for change in report["changes"].as_array().unwrap() {
                all.push(format!("{} | {} | {}", report["name"], change["summary"], change["done"]));
            }
        }
    }
    all
}

/// A dry run, then the real one: both must succeed, and tell the same changes, which are given back.
fn planned_and_applied(machine: &Machine, arguments: &[&str]) -> Vec<String> {
    let run = |verb: &str| {
        let output = machine.fettle(&[&[verb, "--json"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{verb}: {}", text(&output));
        changes(&output)
    };
    let planned = run("plan");
    assert_eq!(planned, run("apply"));
    planned
}

/// A kubelet as Kubespray leaves it, as far as its configuration and its unit go: a unit that splits variables of an
/// environment file, arguments over several lines, a configuration with capital booleans and odd spaces. The program only waits.
const KUBELET: &str = r#"set -e
mkdir -p /etc/kubernetes
cat >/etc/kubernetes/kubelet.env <<'END'
KUBE_LOG_LEVEL="--v=2"
KUBELET_ADDRESS="--node-ip=10.0.2.15"
KUBELET_HOSTNAME="--hostname-override=machine"


KUBELET_ARGS="--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
--config=/etc/kubernetes/kubelet-config.yaml \
--kubeconfig=/etc/kubernetes/kubelet.conf \
--runtime-cgroups=/system.slice/containerd.service \
 "
KUBELET_CLOUDPROVIDER=""

PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
END
cat >/etc/kubernetes/kubelet-config.yaml <<'END'
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
nodeStatusUpdateFrequency: "10s"
failSwapOn: True
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: True
cgroupDriver: systemd
containerRuntimeEndpoint : unix:///var/run/containerd/containerd.sock
clusterDNS:
- 169.254.25.10
END
chmod 600 /etc/kubernetes/kubelet.env /etc/kubernetes/kubelet-config.yaml
cp -a /etc/kubernetes /root/kubernetes.before
cat >/usr/local/bin/kubelet <<'END'
#!/bin/sh
echo "$@" >/run/kubelet.arguments
grep -A9 allowedUnsafeSysctls /etc/kubernetes/kubelet-config.yaml >/run/kubelet.allowed
exec sleep infinity
END
chmod 755 /usr/local/bin/kubelet
cat >/etc/systemd/system/kubelet.service <<'END'
[Unit]
Description=Stands in for a kubelet
[Service]
EnvironmentFile=-/etc/kubernetes/kubelet.env
ExecStart=/usr/local/bin/kubelet \
		$KUBE_LOGTOSTDERR \
		$KUBE_LOG_LEVEL \
		$KUBELET_API_SERVER \
		$KUBELET_ADDRESS \
		$KUBELET_HOSTNAME \
		$KUBELET_ARGS \
		$KUBELET_CLOUDPROVIDER
Restart=always
RestartSec=10s
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl -q enable --now kubelet
"#;

#[test]
fn what_was_prepared_is_still_there_after_a_reboot() {
    let disks = [
        Disk { bus: Bus::Virtio, serial: "VIRT0001" },
        Disk { bus: Bus::Scsi(0x5000_c500_a1b2_c3d4), serial: "SCSI0002" },
        Disk { bus: Bus::Scsi(0x5000_c500_a1b2_c3d5), serial: "SCSI0003" },
        Disk { bus: Bus::Nvme, serial: "NVME0004" },
    ];
    let Some(machine) = Machine::start(&disks) else { return };
    // By serial number of every kind of disk, and by World Wide Name as lsblk prints it.
    machine.inventory(&[
        "ais_devices=['VIRT0001','0x5000c500a1b2c3d4','SCSI0003','NVME0004']",
        "ais_io_profile=hdd",
        "ais_interfaces=['enp0s16']",
    ]);
    machine.sh(KUBELET);
    let before = machine.sh("systemctl show -P MainPID kubelet");
    let all = [SITE, "-t", ALL_TAGS];

    let made = planned_and_applied(&machine, &all);
    assert!(made.iter().any(|c| c.contains("restart kubelet")), "{made:#?}");
    let again = planned_and_applied(&machine, &all);
    assert_eq!(again, Vec::<String>::new());
    prepared(&machine);
    kubelet(&machine);
    assert_ne!(machine.sh("systemctl show -P MainPID kubelet"), before, "the handler restarts it");

    machine.reboot();
    prepared(&machine);
    kubelet(&machine);
    let after = planned_and_applied(&machine, &all);
    assert_eq!(after, Vec::<String>::new(), "a reboot undoes nothing");
}

/// What `site.yml` with everything must have made of the machine. Logging in takes a second: all is asked at once.
fn prepared(machine: &Machine) {
    let state = machine.sh("findmnt -rn -t xfs -o TARGET,SOURCE,OPTIONS
        for disk in vdb sda sdb nvme0n1; do
            echo $disk: $(blkid -p -o value -s UUID /dev/$disk) = $(awk -v at=/ais/$disk '$2 == at' /etc/fstab)
            cd /sys/block/$disk/queue
            echo $disk queue: $(cat scheduler) $(cat nr_requests read_ahead_kb rq_affinity)
        done
        sysctl net.core.somaxconn net.ipv4.ip_local_port_range net.core.rmem_max net.ipv4.tcp_rmem vm.swappiness vm.min_free_kbytes
        grep . /sys/class/net/enp0s*/mtu
        echo files of a user: $(su -s /bin/sh nobody -c 'ulimit -Sn; ulimit -Hn')");
    let has = |line: &str| assert!(state.lines().any(|l| l.replace('\t', " ") == line), "`{line}` is not in:\n{state}");
    for disk in ["vdb", "sda", "sdb", "nvme0n1"] {
        let line = |start: &str| state.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("{start}: {state}"));
        let mount = line(&format!("/ais/{disk} /dev/{disk} "));
        for option in ["noatime", "largeio", "swalloc", "allocsize=131072k", "logbsize=256k"] {
            assert!(mount.contains(option), "{mount}");
        }
        let (uuid, entry) = line(&format!("{disk}: ")).split_once(' ').unwrap().1.split_once(" = ").unwrap();
        assert!(entry.starts_with(&format!("UUID={uuid} /ais/{disk} xfs noatime")), "{uuid}: {entry}");
        has(&format!("{disk} queue: [mq-deadline] none 2048 4096 2"));
    }
    has("net.core.somaxconn = 65535");
    has("net.ipv4.ip_local_port_range = 2048 65535");
    has("net.core.rmem_max = 134217728");
    has("net.ipv4.tcp_rmem = 4096 262144 134217728");
    has("vm.swappiness = 10");
    has("vm.min_free_kbytes = 65536");
    has("/sys/class/net/enp0s16/mtu:9000");
    has("/sys/class/net/enp0s2/mtu:1500");
    has("files of a user: 1048576 1048576");
}

/// The stand-in kubelet runs with the sysctls allowed, and no other byte of its files is changed.
fn kubelet(machine: &Machine) {
    let changed = machine.exec("diff -r /root/kubernetes.before /etc/kubernetes");
    let changed = String::from_utf8_lossy(&changed.stdout).into_owned();
    let lines: Vec<&str> = changed.lines().filter(|l| l.starts_with(['<', '>', 'O', 'B'])).collect();
    assert_eq!(lines, ["> allowedUnsafeSysctls:", "> - net.*"], "{changed}");
    assert_eq!(machine.sh("stat -c %a /etc/kubernetes/kubelet-config.yaml"), "600");
    assert_eq!(machine.sh("systemctl is-active kubelet; cat /run/kubelet.allowed"), "active\nallowedUnsafeSysctls:\n- net.*");
    assert!(machine.sh("cat /run/kubelet.arguments").contains("--config=/etc/kubernetes/kubelet-config.yaml --kubeconfig="));
}
