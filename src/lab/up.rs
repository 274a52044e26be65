//! Bringing a lab up.

use super::init::{self, Disk, Spec};
use super::names::{self, Lab, RUN};
use super::state::{self, HostState, LabState};
use super::{down, failed, found, needs, net, outliving};
use crate::diag::Diagnostic;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// How long a host may take for one step. A step takes some 0.1 s; 50 at once on two busy cores take a few seconds.
const STEP_LIMIT: Duration = Duration::from_secs(90);
/// How often a wait looks whether Ctrl-C was pressed.
const GLANCE: Duration = Duration::from_millis(100);
/// More disks a host than any data server has.
const MAX_DISKS: usize = 128;

/// What a lab is to be like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name; several stand side by side.
    pub name: String,
    /// How many hosts: 1 to [`net::MAX_HOSTS`].
    pub hosts: usize,
    /// How many disks each has: 0 to 128.
    pub disks: usize,
    /// The size of each disk in bytes. XFS wants at least 300 MiB. Disks are sparse: they take what is written.
    pub disk_size: u64,
    /// The `fettle` program, which becomes the hosts' PID 1; this very program where `None`.
    pub program: Option<PathBuf>,
}

/// What `up` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    /// Brought it up.
    Made(LabState),
    /// It was up already and is as it was.
    There(LabState),
}

/// Brings a lab up, or finds that it is. `progress` hears of each host that is ready, in the order they get so,
/// with the time since the beginning.
///
/// # Errors
/// What is missing on the machine, or what went wrong; whatever had been made is gone again then.
pub fn up(options: &Options, progress: &mut dyn FnMut(&HostState, Duration)) -> Result<Up, Diagnostic> {
    let lab = Lab::new(&options.name)?;
    needs::check()?;
    if !(1..=net::MAX_HOSTS).contains(&options.hosts) {
        return Err(Diagnostic::bare(format!("a lab has 1 to {} hosts, not {}", net::MAX_HOSTS, options.hosts)));
    }
    if options.disks > MAX_DISKS {
        return Err(Diagnostic::bare(format!("a host has at most {MAX_DISKS} disks, not {}", options.disks)));
    }
    fs::DirBuilder::new().recursive(true).mode(0o755).create(RUN).map_err(|why| failed(RUN, why))?;
    match fs::DirBuilder::new().mode(0o755).create(lab.run()) {
        Ok(()) => {}
        Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => return there(&lab).map(Up::There),
        Err(why) => return Err(failed(lab.run().display(), why)),
    }
    let _lock = lock(&lab)?;
    let interrupts = Interrupts::watch();
    let made = make(&lab, options, &interrupts, progress);
    if made.is_err() {
        // The first failure is what the operator needs to see, not what came of it.
        let _ = down::remove(&lab);
    }
    made.map(Up::Made)
}

/// Held while a lab comes up or goes down.
fn lock(lab: &Lab) -> Result<Flock<File>, Diagnostic> {
    let path = lab.run().join("lock");
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(|why| failed(path.display(), why))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| Diagnostic::bare(format!("lab `{}` is coming up or going down right now, by another fettle", lab.name())))
}

/// The lab whose folder was there before us, if it is whole.
fn there(lab: &Lab) -> Result<LabState, Diagnostic> {
    let name = lab.name();
    drop(lock(lab)?);
    let state = state::load(name);
    let alive = |host: &HostState| found::init_of(name, &host.name).is_some();
    match state {
        Ok(state) if state.hosts.iter().all(alive) => Ok(state),
        Ok(state) => {
            let dead: Vec<_> = state.hosts.iter().filter(|host| !alive(host)).map(|host| host.name.as_str()).collect();
            Err(Diagnostic::bare(format!("lab `{name}` is broken: {} no longer run", dead.join(", "))).help(again(name)))
        }
        Err(_) => Err(Diagnostic::bare(format!("lab `{name}` is half there: its `up` was interrupted")).help(again(name))),
    }
}

fn again(name: &str) -> String {
    format!("fettle lab down --name {name}, then up again")
}

fn make(
    lab: &Lab,
    options: &Options,
    interrupts: &Interrupts,
    progress: &mut dyn FnMut(&HostState, Duration),
) -> Result<LabState, Diagnostic> {
    let begin = Instant::now();
    // Images, links or processes of this name with no folder: a reboot or somebody's broom. Nobody can use them.
    down::sweep(lab)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(lab.images()).map_err(|why| failed(lab.images().display(), why))?;
    init::keygen(&lab.key(), &format!("fettle lab {}", lab.name()))?;
    let public_key = lab.key().with_extension("pub");
    let public_key = fs::read_to_string(&public_key).map_err(|why| failed(public_key.display(), why))?;
    let subnet = net::make_bridge(lab)?;
    let disks: Vec<_> = (0..options.disks).map(names::disk_name).collect();
    let hosts: Vec<_> = (0..options.hosts)
        .map(|n| HostState { name: names::host_name(n), address: subnet.address(n), link: subnet.link(n), disks: disks.clone() })
        .collect();
    let state = LabState { name: lab.name().to_owned(), bridge: subnet.bridge(), disk_size: options.disk_size, hosts };
    let peers: Vec<_> = state.hosts.iter().map(|host| (host.name.clone(), host.address)).collect();

    let (sender, receiver) = mpsc::channel();
    let mut births = Vec::new();
    for (n, host) in state.hosts.iter().enumerate() {
        let spec = Spec {
            host: host.name.clone(),
            address: host.address,
            gateway: subnet.gateway(),
            peers: peers.clone(),
            disks: disks
                .iter()
                .map(|disk| Disk { name: disk.clone(), image: lab.image(&host.name, disk), bytes: options.disk_size })
                .collect(),
            machine_id: uuid::Uuid::new_v4().simple().to_string(),
            public_key: public_key.trim().to_owned(),
        };
        births.push(Birth::begin(lab, n, &spec, options.program.as_deref(), sender.clone())?);
    }
    drop(sender);

    let mut pids = Vec::new();
    for _ in &births {
        let (n, line) = hear(&receiver, &births, lab, interrupts)?;
        match line.strip_prefix("pid ").and_then(|pid| pid.parse().ok()) {
            Some(pid) => pids.push((n, pid)),
            None => return Err(broken(&births, n, lab, &line)),
        }
    }
    net::cables(lab, subnet, &pids)?;
    for birth in &mut births {
        birth.go()?;
    }
    for _ in &births {
        let (n, line) = hear(&receiver, &births, lab, interrupts)?;
        match (line.as_str(), state.hosts.get(n)) {
            ("up", Some(host)) => progress(host, begin.elapsed()),
            _ => return Err(broken(&births, n, lab, &line)),
        }
    }
    write_files(lab, &state)?;
    Ok(state)
}

/// A host on its way.
struct Birth {
    host: String,
    child: Child,
    input: Option<ChildStdin>,
}

impl Birth {
    fn begin(lab: &Lab, n: usize, spec: &Spec, program: Option<&Path>, lines: Sender<(usize, String)>) -> Result<Self, Diagnostic> {
        let folder = lab.host(&spec.host);
        let start = || -> std::io::Result<Child> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            fs::write(folder.join("spec.json"), serde_json::to_vec_pretty(spec)?)?;
            let program = match program {
                Some(program) => program.to_owned(),
                None => std::env::current_exe()?,
            };
            let mut command = Command::new(program);
            command.args(found::INIT_ARGUMENTS).args([lab.name(), &spec.host]).current_dir("/");
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(folder.join("log"))?);
            outliving(&mut command).spawn()
        };
        let mut child = start().map_err(|why| failed(format!("cannot start {}", spec.host), why))?;
        let input = child.stdin.take();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if lines.send((n, line)).is_err() {
                        return;
                    }
                }
                let _ = lines.send((n, String::new()));
            });
        }
        Ok(Self { host: spec.host.clone(), child, input })
    }

    /// Says that the cable is laid.
    fn go(&mut self) -> Result<(), Diagnostic> {
        // The first process has done its part; what runs now is its child.
        let _ = self.child.wait();
        let input = self.input.as_mut().ok_or_else(|| Diagnostic::bare("the host's input is closed"))?;
        input.write_all(b"go\n").map_err(|why| failed(format!("{} ended early", self.host), why))
    }
}

/// The next line a host says; an empty one where it ended. Hosts end their talk after `up`, which is none of ours.
fn hear(receiver: &Receiver<(usize, String)>, births: &[Birth], lab: &Lab, interrupts: &Interrupts) -> Result<(usize, String), Diagnostic> {
    let begin = Instant::now();
    loop {
        if interrupts.came() {
            return Err(Diagnostic::bare("interrupted; the lab is gone again"));
        }
        match receiver.recv_timeout(GLANCE) {
            Ok((n, line)) if line.is_empty() && ended_well(births, n, lab) => {}
            Ok(heard) => return Ok(heard),
            Err(RecvTimeoutError::Timeout) if begin.elapsed() < STEP_LIMIT => {}
            Err(RecvTimeoutError::Timeout) => {
                return Err(Diagnostic::bare(format!("a host of the lab hangs: nothing heard for {} s", STEP_LIMIT.as_secs())));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Diagnostic::bare("every host of the lab ended early")),
        }
    }
}

/// Whether a host that says no more lives on: its talk is over because it is up.
fn ended_well(births: &[Birth], n: usize, lab: &Lab) -> bool {
    births.get(n).is_some_and(|birth| found::init_of(lab.name(), &birth.host).is_some())
}

/// What to say of a host that did not come up.
fn broken(births: &[Birth], n: usize, lab: &Lab, line: &str) -> Diagnostic {
    let host = births.get(n).map(|birth| birth.host.as_str()).unwrap_or_default();
    let log = fs::read_to_string(lab.host(host).join("log")).unwrap_or_default();
    let why = match (line.strip_prefix("failed "), log.trim()) {
        (Some(why), _) => why,
        (None, "") => "it ended without a word",
        (None, log) => log,
    };
    failed(format!("{host} does not come up"), why)
}

/// Writes known_hosts, inventory and, last, the state: with it the lab counts as up.
fn write_files(lab: &Lab, state: &LabState) -> Result<(), Diagnostic> {
    let mut known = String::new();
    for host in &state.hosts {
        let path = lab.host(&host.name).join("ssh_host_ed25519_key.pub");
        let key = fs::read_to_string(&path).map_err(|why| failed(path.display(), why))?;
        let key: Vec<_> = key.split_whitespace().take(2).collect();
        known.push_str(&format!("{},{} {}\n", host.address, host.name, key.join(" ")));
    }
    let state_text = serde_json::to_string_pretty(state).map_err(|why| failed("lab.json", why))?;
    for (path, text) in [(lab.known_hosts(), known), (lab.inventory(), inventory(lab, state)), (lab.state(), state_text)] {
        fs::write(&path, text).map_err(|why| failed(path.display(), why))?;
    }
    Ok(())
}

/// The inventory, for fettle and Ansible alike.
fn inventory(lab: &Lab, state: &LabState) -> String {
    let mut text = format!("# Lab `{}`: throw-away hosts on this machine. Gone with: fettle lab down --name {0}\n\n[ais]\n", lab.name());
    for host in &state.hosts {
        text.push_str(&format!("{} ansible_host={}\n", host.name, host.address));
    }
    let disks = state.hosts.first().map(|host| host.disks.as_slice()).unwrap_or_default();
    let disks: Vec<_> = disks.iter().map(|disk| format!("'{disk}'")).collect();
    text.push_str(&format!("\n[ais:vars]\nais_devices=[{}]\nais_interfaces=['eth0']\n", disks.join(",")));
    text.push_str(&format!(
        "\n[all:vars]\nansible_user=root\nansible_ssh_private_key_file={}\nansible_ssh_common_args='-o UserKnownHostsFile={} -o IdentitiesOnly=yes'\n",
        lab.key().display(),
        lab.known_hosts().display()
    ));
    if Path::new("/usr/bin/python3").exists() {
        text.push_str("ansible_python_interpreter=/usr/bin/python3\n");
    }
    text
}

/// Whether Ctrl-C (or a polite kill) came while a lab was being made; what was there before is put back after.
struct Interrupts {
    before: Vec<(Signal, SigAction)>,
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupted(_: nix::libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

impl Interrupts {
    fn watch() -> Self {
        INTERRUPTED.store(false, Ordering::Relaxed);
        let action = SigAction::new(SigHandler::Handler(interrupted), SaFlags::empty(), SigSet::empty());
        let watch = |signal: Signal| {
            // SAFETY: the handler only stores to an atomic.
            unsafe { sigaction(signal, &action) }.ok().map(|before| (signal, before))
        };
        Self { before: [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().filter_map(watch).collect() }
    }

    fn came(&self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for (signal, before) in &self.before {
            // SAFETY: puts back what was there.
            let _ = unsafe { sigaction(*signal, before) };
        }
    }
}
