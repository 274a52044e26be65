//! What runs inside a host: builds the host's world around itself, then is its PID 1.
//!
//! `up` starts `fettle lab init LAB HOST`. That process attaches the disks, steps into fresh namespaces and forks;
//! the child is PID 1 there. Talk with `up`, a line each: we say `pid N`; it says `go` once the cable is laid; we
//! say `up`, or `failed WHY`. If `up` dies first, its end of the pipe closes and PID 1 ends, which takes all else along.

pub mod dev;
pub mod etc;
pub mod root;
pub mod sysctl;

use super::names::Lab;
use super::{failed, loops, needs, net};
use crate::diag::Diagnostic;
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Stops everything in the host but PID 1: nobody answers, yet the host's files and disks are there.
pub const STOP: Signal = Signal::SIGUSR1;
/// Starts sshd again.
pub const START: Signal = Signal::SIGUSR2;
/// How long sshd may take until it listens; it needs some 20 ms.
const SSHD_LIMIT: Duration = Duration::from_secs(20);

/// The kernel's table of TCP sockets, of the namespace one is in.
const TCP: &str = "/proc/net/tcp";

/// One disk to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its name inside: `sda`.
    pub name: String,
    /// The file behind it.
    pub image: std::path::PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// Everything a host needs to know to come up; `up` leaves it in the host's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The host's name.
    pub host: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// The machine's address on the bridge.
    pub gateway: Ipv4Addr,
    /// All hosts of the lab, for `/etc/hosts`.
    pub peers: Vec<(String, Ipv4Addr)>,
    /// Its disks.
    pub disks: Vec<Disk>,
    /// For `/etc/machine-id`: 32 hexadecimal digits.
    pub machine_id: String,
    /// The key that may log in, as in `authorized_keys`.
    pub public_key: String,
}

/// A disk that is attached: its name, the loop device's number, its size.
#[derive(Debug)]
pub struct Attached {
    disk: Disk,
    device: loops::Loop,
}

/// The program of `fettle lab init LAB HOST`. In the first process it returns once PID 1 is born; in PID 1 it
/// returns when the host is to end.
///
/// # Errors
/// The host cannot be built; `up` has been told as well.
pub fn run(lab: &str, host: &str) -> Result<(), Diagnostic> {
    let lab = Lab::new(lab)?;
    build(&lab, host).inspect_err(|why| say(&format!("failed {why}")))
}

fn build(lab: &Lab, host: &str) -> Result<(), Diagnostic> {
    needs::root("init")?;
    let folder = lab.host(host);
    let path = folder.join("spec.json");
    let text = fs::read(&path).map_err(|why| failed(path.display(), why).help("`fettle lab up` starts this; it is not for people"))?;
    let spec: Spec = serde_json::from_slice(&text).map_err(|why| failed(path.display(), why))?;
    // Ctrl-C is for `up`, which then ends us in its own way.
    let _ = nix::unistd::setsid();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let mut disks = Vec::new();
    for disk in &spec.disks {
        let device =
            loops::attach(&disk.image, disk.bytes).map_err(|why| failed(format!("cannot attach {}", disk.image.display()), why))?;
        disks.push(Attached { disk: disk.clone(), device });
    }
    let host_key = folder.join("ssh_host_ed25519_key");
    keygen(&host_key, &spec.host)?;
    let shared = sysctl::machine_values();
    let flags =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWPID;
    nix::sched::unshare(flags).map_err(|why| {
        failed("cannot make namespaces", why).help("in a container, start it privileged; else look at /proc/sys/user/max_*_namespaces")
    })?;
    // SAFETY: this program has one thread, so the child has everything it needs.
    match unsafe { nix::unistd::fork() }.map_err(|why| failed("fork", why))? {
        ForkResult::Parent { child } => {
            say(&format!("pid {child}"));
            Ok(())
        }
        ForkResult::Child => {
            // From here on nothing may be missed: children that die, and the signals to stop and start.
            let signals = block_signals()?;
            root::enter(&folder, &spec, &disks, &shared, &host_key)?;
            wait_for_go()?;
            let (address, gateway) = (spec.address, spec.gateway);
            net::ip(&format!("link set lo up\naddress add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {gateway}\n"))
                .map_err(|why| failed("cannot set up the host's network", why))?;
            let sshd = start_sshd()?;
            wait_for_sshd(sshd)?;
            say("up");
            let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(|why| failed("/dev/null", why))?;
            for result in [nix::unistd::dup2_stdin(&null), nix::unistd::dup2_stdout(&null), nix::unistd::dup2_stderr(&null)] {
                result.map_err(|why| failed("dup2", why))?;
            }
            serve(&signals)
        }
    }
}

/// A line to `up`; if it is gone, nobody is there to tell.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", line.replace('\n', " ")).and_then(|()| out.flush());
}

/// Makes an ed25519 key pair without a passphrase.
pub(crate) fn keygen(path: &std::path::Path, comment: &str) -> Result<(), Diagnostic> {
    let program =
        needs::program("ssh-keygen").ok_or_else(|| Diagnostic::bare("`ssh-keygen` not found").help("apt-get install openssh-client"))?;
    let output = Command::new(program)
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|why| failed("ssh-keygen", why))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed("ssh-keygen", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn wait_for_go() -> Result<(), Diagnostic> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|why| failed("standard input", why))?;
    match line.trim() {
        "go" => Ok(()),
        _ => Err(Diagnostic::bare("`up` ended before the host was up")),
    }
}

/// The signals PID 1 waits for, held back until it does.
fn block_signals() -> Result<SigSet, Diagnostic> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, STOP, START] {
        signals.add(signal);
    }
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None).map_err(|why| failed("sigprocmask", why))?;
    Ok(signals)
}

fn start_sshd() -> Result<Child, Diagnostic> {
    let program = needs::program("sshd").ok_or_else(|| Diagnostic::bare("`sshd` not found").help("apt-get install openssh-server"))?;
    let log = || -> std::io::Result<File> { OpenOptions::new().create(true).append(true).mode(0o600).open("/var/log/sshd.log") };
    let start = || -> std::io::Result<Child> {
        Command::new(program)
            .args(["-D", "-e", "-f", "/etc/ssh/sshd_config"])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log()?)
            .stderr(log()?)
            .spawn()
    };
    start().map_err(|why| failed("cannot start sshd", why))
}

/// Waits until someone listens on port 22.
fn wait_for_sshd(mut sshd: Child) -> Result<(), Diagnostic> {
    let begin = Instant::now();
    while !listening(TCP) {
        if let Ok(Some(status)) = sshd.try_wait() {
            let log = fs::read_to_string("/var/log/sshd.log").unwrap_or_default();
            return Err(failed(format!("sshd ended at once ({status})"), log.trim()));
        }
        if begin.elapsed() > SSHD_LIMIT {
            return Err(Diagnostic::bare(format!("sshd does not listen after {} s", SSHD_LIMIT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Whether, by the kernel's table of TCP sockets at that path, one listens on port 22 (there 0016; 0A is the state LISTEN).
pub fn listening(table: &str) -> bool {
    fs::read_to_string(table).is_ok_and(|table| {
        table.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            words.next().is_some_and(|local| local.ends_with(":0016")) && words.nth(1) == Some("0A")
        })
    })
}

/// PID 1: buries the dead, stops and starts sshd when told so, ends on SIGTERM.
fn serve(signals: &SigSet) -> Result<(), Diagnostic> {
    loop {
        match signals.wait().map_err(|why| failed("sigwait", why))? {
            Signal::SIGCHLD => bury(),
            Signal::SIGTERM => return Ok(()),
            // To every process of this namespace but ourselves.
            STOP => drop(nix::sys::signal::kill(Pid::from_raw(-1), Signal::SIGKILL)),
            START if !listening(TCP) => drop(start_sshd()),
            _ => {}
        }
    }
}

/// Takes the exit codes of all children that have ended, adopted ones too.
fn bury() {
    while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
