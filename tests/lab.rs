//! The lab itself: hosts that are real enough, apart from each other and from the machine, and gone when they should be.

mod support;

use fettle::lab::{self, Trouble, found, names};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{FETTLE, Lab, fettle, fettle_command, is_root, succeeded, unique_name};

/// Everything of a lab that this machine shows: processes, links, loop devices, mounts, folders.
fn traces(name: &str) -> Vec<String> {
    let mut traces: Vec<String> = Vec::new();
    traces.extend(found::inits().iter().filter(|init| init.lab == name).map(|init| format!("process {}", init.pid)));
    traces.extend(found::links().into_iter().filter(|link| link.lab == name).map(|link| format!("link {}", link.name)));
    let folders = [Path::new(names::RUN).join(name), Path::new(names::IMAGES).join(name)];
    traces.extend(found::loops(&folders[1]).iter().map(|device| format!("loop {}", device.display())));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    traces.extend(mounts.lines().filter(|line| line.contains(&format!("fettle-lab/{name}/"))).map(|line| format!("mount {line}")));
    traces.extend(folders.into_iter().filter(|folder| folder.exists()).map(|folder| format!("folder {}", folder.display())));
    traces
}

/// Bridges named as labs name them that no lab can be found by.
fn nameless_bridges() -> Vec<String> {
    let links = fs::read_dir("/sys/class/net").expect("links").flatten();
    let nameless = links.filter(|link| fs::read_to_string(link.path().join("ifalias")).is_ok_and(|alias| alias.trim().is_empty()));
    let names = nameless.filter_map(|link| link.file_name().into_string().ok());
    names.filter(|name| name.strip_prefix("fettle").is_some_and(|rest| rest.parse::<u8>().is_ok())).collect()
}

/// Process ids, as this machine counts, of everything that runs inside a host, with the time each was started.
fn processes(lab: &Lab, host: &str) -> Vec<(PathBuf, String)> {
    let space = |pid: &Path| fs::read_link(pid.join("ns/pid")).ok();
    let init = found::init_of(lab.name(), host).expect("the host runs");
    let home = space(&Path::new("/proc").join(init.to_string())).expect("the host runs");
    let all = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    all.filter(|pid| space(pid).as_ref() == Some(&home)).filter_map(|pid| Some((pid.clone(), started(&pid)?))).collect()
}

/// When a process began: its pid alone may be somebody else's later. A dead one not yet buried does not count.
fn started(pid: &Path) -> Option<String> {
    let stat = fs::read_to_string(pid.join("stat")).ok()?;
    let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
    (fields.first() != Some(&"Z")).then(|| fields.get(19).map(|time| (*time).to_owned()))?
}

#[test]
fn ssh_and_sudo_work_as_on_any_host() {
    let Some(lab) = Lab::new(2, 0) else { return };
    for host in ["node01", "node02"] {
        let output = lab.ssh("root", host).arg("id -un; uname -n").output().expect("ssh");
        assert_eq!(succeeded("ssh", &output), format!("root\n{host}"));
    }
    let output = lab.ssh("admin", "node01").arg("id -un; sudo -n id -un").output().expect("ssh");
    assert_eq!(succeeded("ssh", &output), "admin\nroot");
    let output = lab.ssh("operator", "node01").arg("sudo -n true").output().expect("ssh");
    assert!(String::from_utf8_lossy(&output.stderr).contains("password is required"), "{output:?}");
    let password = lab::init::etc::OPERATOR_PASSWORD;
    let output = lab.ssh("operator", "node01").arg(format!("echo {password} | sudo -S -p '' id -un")).output().expect("ssh");
    assert_eq!(succeeded("ssh", &output), "root");
    let key = |host| lab.sh(host, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key");
    assert_ne!(key("node01"), key("node02"));
    assert_ne!(lab.sh("node01", "cat /etc/machine-id"), lab.sh("node02", "cat /etc/machine-id"));
}

#[test]
fn disks_belong_to_one_host() {
    let Some(lab) = Lab::new(2, 2) else { return };
    for host in ["node01", "node02"] {
        assert_eq!(lab.sh(host, "ls /sys/block /sys/class/block | sort -u | tr '\\n' ' '"), "/sys/block: /sys/class/block: sda sdb");
        assert_eq!(lab.sh(host, "lsblk -dnbo NAME,SIZE | sort"), format!("sda  {0}\nsdb  {0}", support::DISK));
        assert_eq!(lab.sh(host, "find /dev -type b | sort"), "/dev/sda\n/dev/sdb");
        assert_eq!(lab.sh(host, "awk 'NR > 2 { print $4 }' /proc/partitions"), "sda\nsdb");
        assert_eq!(lab.sh(host, "cat /etc/fstab"), "");
    }
    lab.sh("node01", "mkfs.xfs -q /dev/sda && mkdir -p /ais/sda && mount /dev/sda /ais/sda && echo mine > /ais/sda/file");
    // By UUID, as fettle does it, with no udev to make links.
    lab.sh(
        "node01",
        "umount /ais/sda && echo \"UUID=$(blkid -s UUID -o value /dev/sda) /ais/sda xfs nofail 0 0\" > /etc/fstab && mount -a",
    );
    assert_eq!(lab.sh("node01", "cat /ais/sda/file"), "mine");
    let outside = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert!(!outside.contains("/ais/sda"), "{outside}");
    assert_eq!(lab.sh("node02", "findmnt -nt xfs; blkid /dev/sda || echo blank; cat /etc/fstab"), "blank");
    // Nothing of the machine's own mounts is left inside, and no name of its disks.
    let machine = fs::read_dir("/sys/block").expect("/sys/block").flatten().map(|entry| entry.file_name());
    let inside = lab.sh("node01", "cat /proc/self/mountinfo; ls /dev");
    for disk in machine.filter_map(|name| name.into_string().ok()) {
        assert!(!inside.split_whitespace().any(|word| word.trim_start_matches("/dev/") == disk), "{disk}: {inside}");
    }
}

#[test]
fn settings_of_the_machine_are_out_of_reach() {
    let Some(lab) = Lab::new(1, 1) else { return };
    let keys = ["vm/swappiness", "kernel/pid_max", "fs/file-max", "net/core/rmem_max", "net/core/netdev_max_backlog", "net/ipv4/tcp_mem"];
    let read = |key: &str| fs::read_to_string(Path::new("/proc/sys").join(key)).expect("a sysctl");
    let before: Vec<_> = keys.iter().map(|key| read(key)).collect();
    for key in keys {
        assert_eq!(lab.sh("node01", &format!("echo 4242 > /proc/sys/{key}; cat /proc/sys/{key}")), "4242", "{key}");
    }
    assert_eq!(keys.iter().map(|key| read(key)).collect::<Vec<_>>(), before);
    // Those of the network are real, and the host's own.
    let somaxconn = read("net/core/somaxconn");
    assert_eq!(
        lab.sh("node01", "sysctl -qw net.core.somaxconn=4243 net.ipv4.ip_forward=1; sysctl -n net.core.somaxconn net.ipv4.ip_forward"),
        "4243\n1"
    );
    assert!(!lab.exec("node01", "echo rubbish > /proc/sys/net/core/somaxconn").status.success());
    assert_eq!(read("net/core/somaxconn"), somaxconn);
    assert!(!lab.exec("node01", "echo never > /sys/kernel/mm/transparent_hugepage/enabled").status.success());
    // Queue settings and MTU are real too.
    let schedulers = lab.sh("node01", "echo none > /sys/block/sda/queue/scheduler; cat /sys/block/sda/queue/scheduler");
    assert!(schedulers.contains("[none]"), "{schedulers}");
    assert_eq!(lab.sh("node01", "ip link set eth0 mtu 9000 && cat /sys/class/net/eth0/mtu"), "9000");
    let links = lab.sh("node01", "ls /sys/class/net");
    assert!(links.contains("eth0") && !links.contains(&lab.state.bridge), "{links}");
}

#[test]
fn exec_passes_code_and_streams_on() {
    let Some(lab) = Lab::new(1, 0) else { return };
    let exec = |words: &[&str]| {
        let mut command = fettle_command(["lab", "exec", "node01", "--name", lab.name(), "--"]);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    assert_eq!(exec(&["sh", "-c", "exit 42"]).output().expect("fettle").status.code(), Some(42));
    assert_eq!(exec(&["sh", "-c", "kill -9 $$"]).output().expect("fettle").status.code(), Some(137));
    let mut child = exec(&["tr", "a-z", "A-Z"]).spawn().expect("fettle");
    child.stdin.take().expect("its input").write_all(b"hello").expect("it reads");
    assert_eq!(succeeded("tr", &child.wait_with_output().expect("it ends")), "HELLO");
    let missing = exec(&["no-such-program"]).output().expect("fettle");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot run `no-such-program` in node01"), "{missing:?}");
    let missing = fettle(["lab", "exec", "node1", "--name", lab.name(), "--", "true"]);
    let message = String::from_utf8_lossy(&missing.stderr);
    assert!(!missing.status.success() && message.contains("no host `node1`") && message.contains("node01"), "{message}");
    // Orphans get buried: PID 1 is a real one.
    lab.sh("node01", "(sleep 0.05 &) ; sleep 0.2; ! ps -eo stat | grep -q Z");
}

#[test]
fn a_second_up_leaves_it_alone_and_down_leaves_nothing() {
    let Some(lab) = Lab::new(2, 2) else { return };
    lab.sh("node01", "echo kept > /root/file; mkfs.xfs -q /dev/sda; mkdir /ais /ais/sda; mount /dev/sda /ais/sda; mkswap /dev/sdb; swapon /dev/sdb; sleep 1000 > /dev/null 2>&1 &");
    let again = fettle(["lab", "up", "--name", lab.name(), "--hosts", "2"]);
    assert!(succeeded("up", &again).contains("is up already: 2 hosts, 2 disks of 320M each"), "{again:?}");
    let other = fettle(["lab", "up", "--name", lab.name(), "--hosts", "5"]);
    assert!(
        !other.status.success() && String::from_utf8_lossy(&other.stderr).contains("is up already, and otherwise: 2 hosts"),
        "{other:?}"
    );
    assert_eq!(lab.sh("node01", "cat /root/file"), "kept");
    let list = succeeded("list", &fettle(["lab", "list"]));
    assert!(list.lines().any(|line| line.contains("node02") && line.contains("up") && line.ends_with("sda sdb")), "{list}");
    assert_eq!(succeeded("inventory", &fettle(["lab", "inventory", "--name", lab.name()])), lab.inventory().display().to_string());

    let inside: Vec<_> = ["node01", "node02"].iter().flat_map(|host| processes(&lab, host)).collect();
    assert!(inside.len() >= 5, "PID 1 and sshd of both, and sleep: {inside:?}");
    assert!(traces(lab.name()).len() >= 10, "{:?}", traces(lab.name()));
    assert!(succeeded("down", &fettle(["lab", "down", "--name", lab.name()])).contains("is gone"));
    assert_eq!(traces(lab.name()), Vec::<String>::new());
    for (pid, start) in inside {
        assert_ne!(started(&pid), Some(start), "{} outlived its host", pid.display());
    }
    // Its name may be another lab's by now, which then says so.
    let alias = fs::read_to_string(Path::new("/sys/class/net").join(&lab.state.bridge).join("ifalias")).unwrap_or_default();
    assert!(!alias.contains(lab.name()), "{alias}");
    assert!(!fs::read_to_string("/proc/swaps").expect("swaps").contains("fettle-lab"));
    assert!(succeeded("down", &fettle(["lab", "down", "--name", lab.name()])).contains("No lab"));
}

#[test]
fn down_cleans_up_after_a_crash() {
    let Some(lab) = Lab::new(2, 1) else { return };
    lab.sh("node01", "mkfs.xfs -q /dev/sda; mkdir -p /ais/sda; mount /dev/sda /ais/sda; echo x > /ais/sda/x");
    for host in ["node01", "node02"] {
        for (pid, _) in processes(&lab, host) {
            let pid = pid.file_name().and_then(|pid| pid.to_str()).and_then(|pid| pid.parse().ok()).expect("a pid");
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    let limit = Instant::now() + Duration::from_secs(10);
    while found::inits().iter().any(|init| init.lab == lab.name()) {
        assert!(Instant::now() < limit, "PID 1 does not die");
        std::thread::sleep(Duration::from_millis(5));
    }
    let up = fettle(["lab", "up", "--name", lab.name()]);
    let message = String::from_utf8_lossy(&up.stderr);
    assert!(!up.status.success() && message.contains("is broken: node01, node02 no longer run"), "{message}");
    assert!(succeeded("down", &fettle(["lab", "down", "--name", lab.name()])).contains("is gone"));
    assert_eq!(traces(lab.name()), Vec::<String>::new());
}

#[test]
fn down_cleans_up_when_its_notes_are_lost() {
    let Some(lab) = Lab::new(1, 1) else { return };
    fs::remove_dir_all(lab.folder()).expect("its folder");
    assert!(succeeded("down", &fettle(["lab", "down", "--name", lab.name()])).contains("is gone"));
    assert_eq!(traces(lab.name()), Vec::<String>::new());
}

#[test]
fn a_lock_that_is_held_while_a_lab_comes_up_is_let_go() {
    if !is_root() {
        return;
    }
    let (name, lock) = (unique_name(), tempfile::NamedTempFile::new().expect("a file"));
    let flock = |program: &[&str]| Command::new("flock").arg("--nonblock").arg(lock.path()).args(program).output().expect("flock");
    let up = flock(&[FETTLE, "lab", "up", "--name", &name, "--hosts", "1", "--disks", "0"]);
    let after = flock(&["true"]);
    succeeded("down", &fettle(["lab", "down", "--name", &name]));
    succeeded("up", &up);
    assert!(after.status.success(), "the lab holds it");
}

#[test]
fn an_interrupted_up_leaves_nothing_or_what_down_removes() {
    if !is_root() {
        return;
    }
    for (signal, delay) in [
        (Signal::SIGINT, 20),
        (Signal::SIGKILL, 8),
        (Signal::SIGKILL, 16),
        (Signal::SIGKILL, 30),
        (Signal::SIGINT, 90),
        (Signal::SIGKILL, 90),
        (Signal::SIGKILL, 200),
    ] {
        let name = unique_name();
        let mut up = fettle_command(["lab", "up", "--name", &name, "--hosts", "4", "--disks", "2"]);
        let mut up = up.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("fettle");
        std::thread::sleep(Duration::from_millis(delay));
        let _ = kill(Pid::from_raw(up.id().try_into().expect("a pid")), signal);
        let status = up.wait().expect("it ends");
        // Too late is possible on a fast machine: then the lab is simply up.
        if signal == Signal::SIGINT && status.code() != Some(0) {
            // With Ctrl-C it cleans up itself; before it watches for that, nothing is there but the folder.
            let left = traces(&name);
            assert!(left.iter().all(|trace| trace.starts_with("folder ")), "after {delay} ms: {left:?}");
        }
        succeeded("down", &fettle(["lab", "down", "--name", &name]));
        assert_eq!(traces(&name), Vec::<String>::new(), "{signal} after {delay} ms");
    }
    // A bridge that got no lab's name is one that nobody would ever remove. Labs of other tests may be getting theirs.
    let limit = Instant::now() + Duration::from_secs(5);
    while let [stray, ..] = nameless_bridges().as_slice() {
        assert!(Instant::now() < limit, "{stray} belongs to no lab");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn trouble_can_be_made_and_ended() {
    let Some(lab) = Lab::new(2, 1) else { return };
    let works = |host: &str| lab.ssh("root", host).args(["-o", "ConnectTimeout=1", "true"]).output().expect("ssh").status.success();
    lab.sh("node02", "echo 1 > /root/file");
    lab.cause("node02", Trouble::Stop);
    assert!(!works("node02"));
    assert_eq!(lab.sh("node02", "cat /root/file"), "1");
    lab.cause("node02", Trouble::Start);
    assert!(works("node02"));
    lab.cause("node02", Trouble::Cut);
    assert!(!works("node02"));
    assert!(works("node01"));
    lab.cause("node02", Trouble::Plug);
    assert!(works("node02"));
    lab.cause("node02", Trouble::Freeze);
    let mut hanging = lab.ssh("root", "node02").arg("true").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("ssh");
    std::thread::sleep(Duration::from_millis(300));
    assert!(matches!(hanging.try_wait(), Ok(None)), "a frozen host answered");
    lab.cause("node02", Trouble::Thaw);
    assert!(hanging.wait().expect("ssh").success());
}

#[test]
fn whoever_is_not_root_is_told_so() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
    let program = folder.path().join("fettle");
    fs::copy(FETTLE, &program).expect("a copy");
    for words in [vec!["up"], vec!["down"], vec!["exec", "node01", "--", "true"]] {
        let output = Command::new(&program).arg("lab").args(&words).current_dir("/").uid(65534).gid(65534).output().expect("fettle");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains("needs root") && message.contains("sudo fettle lab"), "{words:?}: {message}");
    }
}
