//! A small virtual machine with real systemd, udev and fstab at boot, for what a lab host can't show. Its disk image is made by
//! `scripts/machine`. It is emulated, so it is slow: start it once and look at much.

use super::{FETTLE, fettle_command, skipped, succeeded};
use serde_json::{Value as Json, json};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a boot may take before something is wrong. Alone it is 15 s; on a busy machine it was 90 s.
const BOOT: Duration = Duration::from_secs(300);
/// How long one command inside may take.
const COMMAND_SECONDS: u64 = 120;
/// Bytes of a disk where nothing else is said: a little more than XFS wants.
pub const DISK: u64 = 400 << 20;

/// How a disk is attached.
pub enum Bus {
    /// `vdb` and so on; tells a serial number only.
    Virtio,
    /// `sda` and so on, rotating; with this World Wide Name.
    Scsi(u64),
    /// `nvme0n1` and so on.
    Nvme,
}

/// A blank disk of the machine.
pub struct Disk {
    /// How it is attached.
    pub bus: Bus,
    /// Its serial number.
    pub serial: &'static str,
}

/// A running machine; it is gone with this value, also when the test fails.
pub struct Machine {
    process: Child,
    port: u16,
    image: PathBuf,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// One machine at a time in a test program: two would each take more than twice as long.
static TURN: Mutex<()> = Mutex::new(());

impl Machine {
    /// Starts a machine with these disks, in this order, beside the one it boots from (`vda`, serial number `ROOT`), and waits
    /// until it can be logged in to. Its network cards are `enp0s2`, for SSH, and `enp0s16`, which nothing else uses. Where it
    /// can't be started for want of an image, says `SKIPPED: why`.
    pub fn start(disks: &[Disk]) -> Option<Self> {
        let image = Path::new(FETTLE).parent().and_then(Path::parent).unwrap_or(Path::new("target")).join("machine");
        if let Ok(why) = std::fs::read_to_string(image.join("why-not")) {
            skipped(why.trim());
            return None;
        }
        if !image.join("recipe").exists() {
            skipped("the virtual machine's image is not made yet: scripts/machine makes it, and scripts/test calls that");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let process = qemu(&image, folder.path(), disks).spawn().unwrap_or_else(|why| panic!("qemu-system-x86_64: {why}"));
        let mut machine = Self { process, port: 0, image, folder, _turn: turn };
        machine.port = machine.forwarded_port();
        let key = std::fs::read_to_string(machine.image.join("host_key.pub")).unwrap();
        std::fs::write(machine.known_hosts(), format!("[127.0.0.1]:{} {key}", machine.port)).unwrap();
        machine.wait_until(BOOT, "boots", |m| m.boot_id().is_some());
        Some(machine)
    }

    /// A folder of this machine's own, for playbooks and so on.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes an inventory in which it is `machine` of the group `ais`, with these variables (`name=value` in INI's form).
    pub fn inventory(&self, variables: &[&str]) -> PathBuf {
        let mut text = format!("[ais]\nmachine ansible_host=127.0.0.1 ansible_port={}\n\n[ais:vars]\nansible_user=root\n", self.port);
        let _ = writeln!(text, "ansible_ssh_private_key_file={}", self.image.join("key").display());
        let _ = writeln!(text, "ansible_ssh_common_args='-o UserKnownHostsFile={} -o IdentitiesOnly=yes'", self.known_hosts().display());
        variables.iter().for_each(|v| text.push_str(&format!("{v}\n")));
        let path = self.folder().join("hosts.ini");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a file into the machine's folder here, such as a playbook; gives its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs `fettle` with these arguments on the inventory written last.
    pub fn fettle(&self, arguments: &[&str]) -> Output {
        let output = fettle_command(arguments).arg("-i").arg(self.folder().join("hosts.ini")).output();
        output.unwrap_or_else(|why| panic!("{FETTLE}: {why}"))
    }

    /// Runs a shell command inside.
    pub fn exec(&self, script: &str) -> Output {
        // `timeout`, because a machine that hangs keeps the connection open.
        let mut command = Command::new("timeout");
        command.arg(COMMAND_SECONDS.to_string()).arg("ssh").arg("-p").arg(self.port.to_string()).arg("-i").arg(self.image.join("key"));
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.known_hosts().display()));
        command.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "ConnectTimeout=20",
            "root@127.0.0.1",
            script,
        ]);
        command.stdin(Stdio::null()).output().unwrap_or_else(|why| panic!("ssh: {why}"))
    }

    /// The same, for commands that must succeed; gives what they print, trimmed.
    pub fn sh(&self, script: &str) -> String {
        succeeded(script, &self.exec(script))
    }

    /// Restarts it as an operator would and waits until it is back.
    pub fn reboot(&self) {
        let before = self.boot_id().unwrap_or_else(|| panic!("no answer before the reboot: {}", self.console()));
        // The connection may break before the command's end is told.
        self.exec("systemctl reboot");
        self.wait_until(BOOT, "comes back", |m| m.boot_id().is_some_and(|now| now != before));
    }

    /// Waits until `what` holds; fails with the console's last words after `limit`.
    pub fn wait_until(&self, limit: Duration, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < limit, "the machine should be so that it {what}, and is not after {limit:?}:\n{}", self.console());
            sleep(Duration::from_millis(300));
        }
    }

    /// The last lines the machine wrote on its console.
    pub fn console(&self) -> String {
        let bytes = std::fs::read(self.folder().join("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn known_hosts(&self) -> PathBuf {
        self.folder().join("known_hosts")
    }

    /// What tells one boot from another; `None` while nobody can log in.
    fn boot_id(&self) -> Option<String> {
        // QEMU takes connections before anybody listens inside; OpenSSH's greeting tells that it does.
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut greeting = [0; 4];
        connection.read_exact(&mut greeting).ok().filter(|()| greeting == *b"SSH-")?;
        drop(connection);
        // The kernel's own; not before all that is started at boot was started, or nobody would know what a failure means.
        let output =
            self.exec("case $(systemctl is-system-running --wait) in running | degraded) cat /proc/sys/kernel/random/boot_id ;; esac");
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|id| output.status.success() && !id.is_empty())
    }

    /// The port here that leads to its SSH server; QEMU has chosen a free one.
    fn forwarded_port(&mut self) -> u16 {
        let table = self.tell("info usernet");
        // `TCP[HOST_FORWARD]  15       127.0.0.1 42349       10.0.2.15    22     0     0`
        let port = table.lines().find(|l| l.contains("HOST_FORWARD")).and_then(|l| l.split_whitespace().nth(3)?.parse().ok());
        port.unwrap_or_else(|| panic!("QEMU forwards no port: {table}"))
    }

    /// Leads what comes to this port of `address`, one of this machine, to the same port inside.
    pub fn forward(&mut self, address: &str, port: u16) {
        let said = self.tell(&format!("hostfwd_add first tcp:{address}:{port}-:{port}"));
        assert_eq!(said, "", "hostfwd_add");
        // What comes from another address than the loopback one keeps it, and is answered there.
        self.sh(&format!("ip route replace {address}/32 via 10.0.2.2"));
    }

    /// Has QEMU carry out a command of its monitor; what it says.
    fn tell(&mut self, line: &str) -> String {
        let path = self.folder().join("control");
        let begin = Instant::now();
        let socket = loop {
            if let Ok(socket) = UnixStream::connect(&path) {
                break socket;
            }
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && begin.elapsed() < BOOT, "QEMU does not start: {ended:?} {}", self.said());
            sleep(Duration::from_millis(50));
        };
        socket.set_read_timeout(Some(BOOT)).unwrap();
        let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
        let mut ask = |command: Json| -> Json {
            writeln!(&socket, "{command}").unwrap();
            loop {
                let answer: Json = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
                if let Some(given) = answer.get("return") {
                    return given.clone();
                }
                assert!(answer.get("error").is_none(), "{command}: {answer}");
            }
        };
        ask(json!({"execute": "qmp_capabilities"}));
        let said = ask(json!({"execute": "human-monitor-command", "arguments": {"command-line": line}}));
        said.as_str().unwrap_or_default().to_owned()
    }

    /// What QEMU itself complained about.
    fn said(&self) -> String {
        std::fs::read_to_string(self.folder().join("qemu")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The command that starts it: software emulation, which works everywhere; `FETTLE_TEST_ACCEL=kvm` is for where that works.
fn qemu(image: &Path, folder: &Path, disks: &[Disk]) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    let mut add = |line: &str| {
        command.args(line.split(' ').filter(|w| !w.is_empty()));
    };
    let file = |name: &str| folder.join(name).display().to_string();
    let accel = std::env::var("FETTLE_TEST_ACCEL").unwrap_or_else(|_| "tcg,thread=multi".into());
    add(&format!("-nodefaults -no-user-config -display none -machine q35 -accel {accel} -cpu max -smp 2 -m 512"));
    add(&format!("-serial file:{} -qmp unix:{},server=on,wait=off", file("console"), file("control")));
    add("-object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng");
    add(&format!("-kernel {0}/kernel -initrd {0}/initrd", image.display()));
    // Changes to the image go to a temporary file that nobody keeps.
    add(&format!("-drive if=none,id=root,file={}/disk,format=raw,snapshot=on", image.display()));
    add("-device virtio-blk-pci,drive=root,serial=ROOT,addr=0x3");
    add("-netdev user,id=first,restrict=on,hostfwd=tcp:127.0.0.1:0-:22 -device virtio-net-pci,netdev=first,addr=0x2");
    add("-netdev user,id=second,restrict=on -device virtio-net-pci,netdev=second,addr=0x10");
    add("-device virtio-scsi-pci,id=scsi");
    for (i, Disk { bus, serial }) in disks.iter().enumerate() {
        let path = folder.join(format!("disk{i}"));
        std::fs::File::create(&path).and_then(|f| f.set_len(DISK)).unwrap();
        add(&format!("-drive if=none,id=d{i},format=raw,file={}", path.display()));
        match bus {
            Bus::Virtio => add(&format!("-device virtio-blk-pci,drive=d{i},serial={serial}")),
            Bus::Scsi(wwn) => add(&format!("-device scsi-hd,bus=scsi.0,drive=d{i},serial={serial},wwn={wwn:#x},rotation_rate=7200")),
            Bus::Nvme => add(&format!("-device nvme,drive=d{i},serial={serial}")),
        }
    }
    command.args(["-append", "root=/dev/vda1 rw console=ttyS0 scsi_mod.scan=sync mitigations=off quiet panic=-1"]);
    // With the test program, also when that is killed.
    let said = std::fs::File::create(folder.join("qemu")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    // SAFETY: prctl is safe to call between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            nix::libc::prctl(nix::libc::PR_SET_PDEATHSIG, nix::libc::SIGKILL);
            Ok(())
        });
    }
    command
}
