//! What only a machine with systemd, udev and a boot of its own can show: that what was prepared is still there after a reboot,
//! that units do as they are told, and which disks in use are refused.

mod support;

use serde_json::Value as Json;
use std::process::Output;
use support::control_plane::{Address, ControlPlane};
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

/// An apply that must find nothing to do.
fn nothing_to_do(machine: &Machine, arguments: &[&str]) {
    let output = machine.fettle(&[&["apply", "--json"], arguments].concat());
    assert_eq!((output.status.code(), changes(&output)), (Some(0), vec![]), "{}", text(&output));
}

/// A kubelet as Kubespray leaves it, as far as its configuration and its unit go: a unit that splits variables of an
/// environment file, arguments over several lines, a configuration with capital booleans and odd spaces. The program answers over TLS
/// as a kubelet does, and ends if it shall not survive the setting.
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
cd /var/kubelet
list=
if [ -s /run/kubelet.allowed ]; then
    [ ! -e breaks ] || { echo "unknown sysctl: net.*" >&2; exit 1; }
    list='"net.*"'
fi
printf 'HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nok' >healthz
printf 'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"kubeletconfig":{"allowedUnsafeSysctls":[%s]}}' "$list" >configz
exec openssl s_server -accept 10250 -cert cert -key key -HTTP -quiet
END
chmod 755 /usr/local/bin/kubelet
mkdir -p /var/kubelet
cd /var/kubelet
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=kubelet -days 2 -keyout key -out cert 2>/dev/null
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
    nothing_to_do(&machine, &all);
    prepared(&machine);
    kubelet(&machine);
    assert_ne!(machine.sh("systemctl show -P MainPID kubelet"), before, "the handler restarts it");

    machine.reboot();
    prepared(&machine);
    kubelet(&machine);
    let plan = machine.fettle(&[&["plan", "--json"], &all[..]].concat());
    assert_eq!((plan.status.code(), changes(&plan)), (Some(0), vec![]), "a reboot undoes nothing: {}", text(&plan));
    a_disk_that_was_replaced(&machine);
}

/// Where a disk is new, systemd still has a mount unit for the filesystem of the old one, which it never sees again. What is
/// mounted there now must stay mounted.
fn a_disk_that_was_replaced(machine: &Machine) {
    machine.sh("set -e
        umount /ais/sdb
        sed -i 's,^UUID=[^[:space:]]*\\([[:space:]]*/ais/sdb\\),UUID=00000000-1111-4222-8333-444444444444\\1,' /etc/fstab
        systemctl daemon-reload");
    assert!(machine.sh("systemctl show -P What ais-sdb.mount").contains("00000000-1111"));
    let made = planned_and_applied(machine, &["playbooks/data_filesystems.yml"]);
    assert!(made.iter().any(|c| c.contains("replace /etc/fstab")) && made.iter().any(|c| c.contains("mount /dev/sdb")), "{made:#?}");
    assert_eq!(machine.sh("sleep 3; findmnt -n -o SOURCE /ais/sdb"), "/dev/sdb");
    nothing_to_do(machine, &["playbooks/data_filesystems.yml"]);
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

/// Units for [`units_do_as_they_are_told`]: one that works, and ones that fail in the ways units do.
const UNITS: &str = r#"set -e
cd /etc/systemd/system
unit() { printf '[Service]\n%s\n[Install]\nWantedBy=multi-user.target\n' "$2" >"$1.service"; }
unit good 'ExecStart=/bin/sleep infinity
ExecReload=/bin/sh -c "echo reloaded >>/run/good.reloads"'
unit plain 'ExecStart=/bin/sleep infinity'
unit once 'Type=oneshot
ExecStart=/bin/sh -c "echo once >>/run/once"'
unit fails 'Type=oneshot
ExecStart=/bin/sh -c "echo the disk of this test is missing >&2; exit 3"'
unit dies 'ExecStart=/bin/sh -c "sleep 0.2; echo no such flag: --nonsense >&2; exit 4"'
unit loops 'ExecStart=/bin/sh -c "echo no such flag: --nonsense >&2; exit 4"
Restart=always
RestartSec=10s'
unit wrong 'Type=nonsense'
mkdir -p /usr/local/lib/systemd/system
mv plain.service /usr/local/lib/systemd/system
systemctl daemon-reload
"#;

#[test]
fn units_do_as_they_are_told_and_disks_in_use_are_refused() {
    let disks = ["SWAP0001", "LVM00001", "MD000001", "MD000002", "SWAP0002", "BLANK001"].map(|serial| Disk { bus: Bus::Virtio, serial });
    let Some(mut machine) = Machine::start(&disks) else { return };
    machine.inventory(&[]);
    units(&machine);
    units_that_fail(&machine);
    a_new_unit(&machine);
    disks_in_use(&machine);
    a_kubelet_that_does_not_come_back(&mut machine);
}

/// The hook after Kubespray, where systemd starts the kubelet: put back byte for byte when it fails, kept when it does not.
fn a_kubelet_that_does_not_come_back(machine: &mut Machine) {
    machine.sh(KUBELET);
    // 198.19.0.0/16 is the half of the addresses for tests (RFC 2544) that control planes don't use for pods.
    let id = std::process::id();
    let address = Address::new(format!("198.19.{}.{}", (id >> 8) & 255, id & 255));
    machine.forward(&address.0, 10250);
    let Some(plane) = ControlPlane::start(&[&format!("machine={}", address.0)]) else { return };
    // It has its own address as well, by which it is known.
    let internal = address.0.as_str();
    plane.with(|server| async move {
        let addresses: Vec<_> = [("InternalIP", internal), ("ExternalIP", "10.0.2.15")]
            .iter()
            .map(|(t, a)| serde_json::json!({"type": t, "address": a}))
            .collect();
        server.merge_at("/api/v1/nodes/machine/status", &serde_json::json!({"status": {"addresses": addresses}})).await.unwrap();
    });
    let groups = machine.file("kubespray.ini", "[kube_control_plane]\nmachine\n[kube_node]\nmachine\n");
    let hook = |more: &[&str]| {
        let options = ["hook", "post-kubespray", "--kubeconfig", plane.admin.to_str().unwrap(), "-i", groups.to_str().unwrap()];
        let output = machine.fettle(&[&options, more].concat());
        (output.status.code(), text(&output))
    };
    let same = || machine.sh("diff -r /root/kubernetes.before /etc/kubernetes && systemctl is-active kubelet");
    machine.sh("touch /var/kubelet/breaks");
    let (code, said) = hook(&["--timeout", "60s"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("unknown sysctl: net.*"), "the kubelet's own words: {said}");
    assert!(said.contains("the files of machine are as they were, and the kubelets run again"), "{said}");
    assert_eq!(same(), "active");
    machine.sh("rm /var/kubelet/breaks");
    let (code, said) = hook(&[]);
    assert!(code == Some(0) && said.contains("1 of 1 kubelets were changed and restarted; all nodes are Ready."), "{said}");
    kubelet(machine);
    let started = machine.sh("systemctl show -P ExecMainStartTimestampMonotonic kubelet");
    let (code, said) = hook(&[]);
    assert!(code == Some(0) && said.contains("Nothing to change: all 1 kubelets allow net.* already."), "{said}");
    assert_eq!(machine.sh("systemctl show -P ExecMainStartTimestampMonotonic kubelet"), started);
}

/// A playbook of these tasks, as a file.
fn playbook(machine: &Machine, tasks: &str) -> String {
    let text = format!("- hosts: ais\n  gather_facts: false\n  tasks:\n{tasks}");
    machine.file("tasks.yml", &text).display().to_string()
}

/// Start, stop, reload, restart, enable, disable, mask: planned as applied, and done.
fn units(machine: &Machine) {
    machine.sh(UNITS);
    let state =
        || machine.sh("echo $(systemctl show -P ActiveState -P UnitFileState good plain; cat /run/good.reloads 2>/dev/null | wc -l)");
    for (tasks, wanted, then) in [
        (
            "    - service: {name: good, state: started, enabled: true}\n    - systemd: {name: plain.service, masked: true}\n",
            &["service | enable good", "service | start good", "systemd | mask plain.service"][..],
            "active enabled inactive masked 0",
        ),
        (
            "    - systemd: {name: good, state: started, enabled: true}\n    - systemd: {name: plain, masked: true}\n    - service: {name: once, state: stopped}\n",
            &[],
            "active enabled inactive masked 0",
        ),
        (
            "    - systemd: {name: good, state: reloaded}\n    - systemd: {name: plain, masked: false, state: started, enabled: true}\n",
            &["systemd | reload good", "systemd | unmask plain", "systemd | enable plain", "systemd | start plain"],
            "active enabled active enabled 1",
        ),
        (
            "    - systemd: {name: good, state: stopped, enabled: false}\n    - service: {name: plain, enabled: false}\n    - service: {name: once, state: started}\n",
            &["systemd | disable good", "systemd | stop good", "service | disable plain", "service | start once"],
            "inactive disabled active disabled 1",
        ),
    ] {
        let path = playbook(machine, tasks);
        let wanted: Vec<String> = wanted.iter().map(|w| format!("{w} | true")).collect();
        let made: Vec<String> = planned_and_applied(machine, &[&path]).iter().map(|c| c.replace('"', "")).collect();
        assert_eq!(made, wanted, "{tasks}");
        assert_eq!(state(), then, "{tasks}");
    }
    assert_eq!(machine.sh("cat /run/once"), "once");
}

/// What each failing unit is told to do, the dry run's word on it where it can know, and what must be said when it is done.
fn units_that_fail(machine: &Machine) {
    let cases = [
        (
            "systemd: {name: fails, state: started}",
            "",
            "cannot start fails: Job for fails.service failed",
            "\n  the disk of this test is missing",
        ),
        (
            "systemd: {name: dies, state: started}",
            "",
            "cannot start dies: it was started, but ended at once (exit-code)",
            "\n  no such flag: --nonsense",
        ),
        (
            "service: {name: loops, state: restarted}",
            "",
            "cannot start loops: it was started, but ended at once (exit-code)",
            "\n  no such flag: --nonsense",
        ),
        (
            "systemd: {name: wrong, state: started}",
            "cannot start wrong: systemd can't load it (bad-setting)",
            "",
            "systemd-analyze verify wrong.service",
        ),
        ("systemd: {name: plain, state: reloaded}", "cannot reload plain: its unit does not say how (no ExecReload=)", "", ""),
        ("systemd: {name: good, masked: true}", "cannot mask good: /etc/systemd/system/good.service is where the mask would be", "", ""),
        ("systemd: {name: nosuch, enabled: true}", "this host has no unit nosuch", "", ""),
    ];
    let tasks: String = cases.iter().map(|c| format!("    - {}\n      ignore_errors: true\n", c.0)).collect();
    let path = playbook(machine, &tasks);
    for verb in ["plan", "apply"] {
        let output = machine.fettle(&[verb, &path, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        let said: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|l| serde_json::from_str::<Json>(l).unwrap())
            .filter(|e| e["event"] == "result")
            .map(|e| e["report"]["message"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(said.len(), cases.len(), "{said:#?}");
        for ((task, planned, applied, last), said) in cases.iter().zip(&said) {
            let wanted = if planned.is_empty() && verb == "apply" { applied } else { planned };
            let last = if planned.is_empty() && verb == "plan" { "" } else { last };
            assert!(said.starts_with(wanted) && said.contains(last), "{verb} {task}: {said}");
        }
    }
    machine.sh("systemctl stop loops; systemctl reset-failed");
}

/// A unit that the same play puts there, changed by a second one, with handlers: the usual way to install a service.
fn a_new_unit(machine: &Machine) {
    let tasks = |what: &str| {
        format!(
            "    - copy:
        dest: /etc/systemd/system/fresh.service
        content: |
          [Service]
          ExecStart=/bin/sh -c 'echo {what} >>/run/fresh; exec sleep infinity'
          [Install]
          WantedBy=multi-user.target
      notify: Restart fresh
    - systemd: {{name: fresh, enabled: true, state: started, daemon_reload: true}}
  handlers:
    - name: Restart fresh
      systemd: {{name: fresh, state: restarted, daemon_reload: true}}
"
        )
    };
    let first = planned_and_applied(machine, &[&playbook(machine, &tasks("one"))]);
    assert!(first.iter().any(|c| c.contains("enable fresh")) && first.iter().any(|c| c.contains("restart fresh")), "{first:#?}");
    assert_eq!(machine.sh("cat /run/fresh; systemctl is-enabled fresh"), "one\none\nenabled");
    let second = planned_and_applied(machine, &[&playbook(machine, &tasks("two"))]);
    assert!(second.iter().any(|c| c.contains("make systemd read its unit files again")), "{second:#?}");
    assert_eq!(machine.sh("cat /run/fresh; systemctl show -P NeedDaemonReload fresh"), "one\none\ntwo\nno");
    nothing_to_do(machine, &[&playbook(machine, &tasks("two"))]);
}

/// Disks that somebody uses are refused, each with the reason, also those that `wipe` names; all others stay as they are.
fn disks_in_use(machine: &Machine) {
    machine.sh("set -e
        mkswap -q /dev/vdb; swapon /dev/vdb
        pvcreate -qq /dev/vdc; vgcreate -qq data /dev/vdc; lvcreate -qq -n one -L 100M data
        mdadm -q --create /dev/md0 --run --level=1 --raid-devices=2 --metadata=1.2 /dev/vdd /dev/vde
        printf 'label: gpt\\n,\\n' | sfdisk -q /dev/vdf; udevadm settle --timeout=10
        mkswap -q /dev/vdf1; swapon /dev/vdf1");
    let all = "ROOT SWAP0001 LVM00001 MD000001 MD000002 SWAP0002 BLANK001";
    let list = all.split(' ').collect::<Vec<_>>().join(", ");
    let before = machine.sh("lsblk -nro NAME,FSTYPE,MOUNTPOINTS | sort");
    let path = playbook(machine, &format!("    - fettle.datafs: {{devices: [{list}], wipe: [{list}]}}\n"));
    for verb in ["plan", "apply"] {
        let output = machine.fettle(&[verb, &path]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        let said = text(&output);
        for (disk, why) in [
            ("/dev/vda (1.5 GiB, serial ROOT)", "it holds the root filesystem"),
            ("/dev/vdb (400 MiB, serial SWAP0001)", "it is in use as swap"),
            ("/dev/vdc (400 MiB, serial LVM00001)", "it is held by dm-0 (LVM, RAID or device mapper)"),
            ("/dev/vdd (400 MiB, serial MD000001)", "it is held by md0 (LVM, RAID or device mapper)"),
            ("/dev/vde (400 MiB, serial MD000002)", "it is held by md0 (LVM, RAID or device mapper)"),
            ("/dev/vdf (400 MiB, serial SWAP0002)", "it is in use as swap"),
        ] {
            assert!(said.contains(&format!("{disk}: {why}")), "{disk}: {why}:\n{said}");
        }
        assert!(said.contains("nothing is done on this host") && !said.contains("BLANK001"), "{said}");
    }
    assert_eq!(machine.sh("lsblk -nro NAME,FSTYPE,MOUNTPOINTS | sort"), before);
    // Out of use, but not blank: still refused, with what they hold; `wipe` then does it.
    machine.sh("set -e; swapoff /dev/vdb /dev/vdf1; vgchange -qq -an data; mdadm -q --stop /dev/md0");
    let path = playbook(machine, &format!("    - fettle.datafs: {{devices: [{}]}}\n", list.replace("ROOT, ", "")));
    let said = text(&machine.fettle(&["plan", &path]));
    for (disk, what) in [("SWAP0001", "swap"), ("LVM00001", "LVM2_member"), ("MD000001", "linux_raid_member"), ("SWAP0002", "(vdf1)")] {
        let line = said.lines().find(|l| l.contains(&format!("serial {disk}):"))).unwrap_or_else(|| panic!("{disk}: {said}"));
        assert!(line.contains(what) && line.contains("it is not blank"), "{line}");
        assert!(disk != "SWAP0002" || line.contains("it holds a partition table (gpt), swap "), "{line}");
    }
    let wiped = "SWAP0001, LVM00001, MD000001, SWAP0002";
    let path = playbook(machine, &format!("    - fettle.datafs: {{devices: [{wiped}, BLANK001], wipe: [{wiped}]}}\n"));
    let made = planned_and_applied(machine, &[&path]);
    assert_eq!(made.iter().filter(|c| c.contains("NOT BLANK")).count(), 4, "{made:#?}");
    assert_eq!(machine.sh("findmnt -rn -t xfs -o TARGET | sort | tr '\\n' ' '"), "/ais/vdb /ais/vdc /ais/vdd /ais/vdf /ais/vdg");
    assert_eq!(
        machine.sh("lsblk -nro NAME /dev/vdf; wipefs -n --output TYPE --noheadings /dev/vdf"),
        "vdf\nxfs",
        "its partition is gone with its table"
    );
    nothing_to_do(machine, &[&path]);
    // The kernel still has a partition of a table that is gone, as when the agent is cut off right after mkfs.
    machine.sh("umount /ais/vdg && addpart /dev/vdg 1 2048 4096 && test -b /dev/vdg1");
    let output = machine.fettle(&["apply", &path]);
    assert!(text(&output).contains("the kernel still lists vdg1"), "{}", text(&output));
    assert_eq!(machine.sh("findmnt -rn -o SOURCE /ais/vdg"), "/dev/vdg");
    nothing_to_do(machine, &[&path]);
}
