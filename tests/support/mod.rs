//! What tests on real hosts share: labs that go away by themselves, and the `fettle` program.
#![allow(dead_code)] // Each test program uses its own part of it.

pub mod control_plane;
pub mod machine;
pub mod world;

pub mod runs;

use fettle::lab::{self, LabState, Options, Trouble, Up};
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The `fettle` program under test.
pub const FETTLE: &str = env!("CARGO_BIN_EXE_fettle");
/// The smallest disk XFS takes, in bytes: it wants 300 MiB.
pub const DISK: u64 = 320 << 20;

static COUNT: AtomicUsize = AtomicUsize::new(0);
static LEFT_OVER: Once = Once::new();
static AGENT: Once = Once::new();

/// A lab of this test's own; it goes away with this value, also when the test fails.
pub struct Lab {
    /// What it is made of.
    pub state: LabState,
}

impl Lab {
    /// Brings up a lab, or says `SKIPPED: why` where that can't be done by this user. `scripts/test` fails on that
    /// word, so nothing is skipped without somebody knowing.
    pub fn new(hosts: usize, disks: usize) -> Option<Self> {
        Self::with_disks_of(hosts, disks, DISK)
    }

    /// The same, with disks of `disk_size` bytes.
    pub fn with_disks_of(hosts: usize, disks: usize, disk_size: u64) -> Option<Self> {
        is_root().then(|| {
            LEFT_OVER.call_once(remove_left_over);
            let options = Options { name: unique_name(), hosts, disks, disk_size, program: Some(FETTLE.into()) };
            match lab::up(&options, &mut |_, _| {}) {
                Ok(Up::Made(state)) => Self { state },
                Ok(Up::There(state)) => panic!("lab `{}` was there before", state.name),
                Err(why) => panic!("{why}"),
            }
        })
    }

    /// Its name, for `--name`.
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// The path of its inventory, for `-i`.
    pub fn inventory(&self) -> PathBuf {
        lab::inventory(self.name()).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The folder of its key, known_hosts and so on.
    pub fn folder(&self) -> PathBuf {
        Path::new(lab::names::RUN).join(self.name())
    }

    /// Runs a shell command inside a host, without SSH.
    pub fn exec(&self, host: &str, script: &str) -> Output {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = lab::enter::spawn(self.name(), host, command).unwrap_or_else(|why| panic!("{why}"));
        child.wait_with_output().unwrap_or_else(|why| panic!("{host}: {why}"))
    }

    /// The same, for commands that must succeed; gives what they print, trimmed.
    pub fn sh(&self, host: &str, script: &str) -> String {
        succeeded(&format!("{host}: {script}"), &self.exec(host, script))
    }

    /// Lets something happen to a host.
    pub fn cause(&self, host: &str, trouble: Trouble) {
        lab::cause(self.name(), host, trouble).unwrap_or_else(|why| panic!("{why}"));
    }

    /// A command of the system's own `ssh` to a host.
    pub fn ssh(&self, user: &str, host: &str) -> Command {
        let address = self.state.host(host).unwrap_or_else(|why| panic!("{why}")).address;
        let mut command = Command::new("ssh");
        command.arg("-i").arg(self.folder().join("key"));
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.folder().join("known_hosts").display()));
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=5"]);
        command.arg(format!("{user}@{address}")).stdin(Stdio::null());
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(why) = lab::down(self.name()) {
            // A second panic while a test fails would hide the first.
            let message = format!("lab `{}` does not go away: {why}", self.name());
            if thread::panicking() { eprintln!("{message}") } else { panic!("{message}") }
        }
    }
}

/// Runs `fettle` with these arguments, from the top of the repository.
pub fn fettle<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    let output = fettle_command(arguments).output();
    output.unwrap_or_else(|why| panic!("{FETTLE}: {why}"))
}

/// The same, not started yet: no terminal, no settings of the user, nothing to read.
pub fn fettle_command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(FETTLE);
    command.args(arguments);
    if command.get_args().next() != Some(OsStr::new("lab")) {
        AGENT.call_once(build_agent);
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("ANSIBLE_") || name == "SSH_AUTH_SOCK") {
            command.env_remove(name);
        }
    }
    command
}

/// Builds the agent of today's sources beside the `fettle` under test. `scripts/test` has done so before and says
/// where it is.
fn build_agent() {
    if std::env::var_os("FETTLE_AGENT_DIR").is_some() {
        return;
    }
    let output = build_command().output().unwrap_or_else(|why| panic!("scripts/build: {why}"));
    succeeded("scripts/build", &output);
}

/// `scripts/build`, to build the agent beside the `fettle` under test.
pub fn build_command() -> Command {
    let folder = Path::new(FETTLE).parent().unwrap_or(Path::new("."));
    let mut build = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/build"));
    build.arg("--agents-only").env("CARGO_TARGET_DIR", folder.parent().unwrap_or(Path::new("."))).stdin(Stdio::null());
    if folder.ends_with("debug") {
        build.arg("--debug");
    }
    build
}

/// The agents that were built, one for each kind of host.
pub fn agents() -> Vec<PathBuf> {
    AGENT.call_once(build_agent);
    let beside = || Path::new(FETTLE).parent().unwrap_or(Path::new(".")).join("agents");
    let folder = std::env::var_os("FETTLE_AGENT_DIR").map_or_else(beside, PathBuf::from);
    let kinds = std::fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    kinds.map(|kind| kind.unwrap().path().join("fettle-agent")).collect()
}

/// What a command that must succeed printed, trimmed.
pub fn succeeded(what: &str, output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "{what}: {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A lab's name that no other test has; it names our process, so that what a killed test leaves can be told.
pub fn unique_name() -> String {
    format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Whether labs can be made; says `SKIPPED` where not.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skipped("a lab needs root");
    }
    root
}

/// Tells whoever runs the tests that one could not. Past the test harness, which keeps back what passing tests print.
pub fn skipped(why: &str) {
    let test = thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
}

/// Takes away labs of tests that were killed before they could.
fn remove_left_over() {
    for name in lab::state::all_names() {
        let owner = name.strip_prefix("test-").and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = lab::down(&name);
        }
    }
}
