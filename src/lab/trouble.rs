//! Trouble on purpose: hosts that refuse, hang or vanish.

use super::{enter, failed, found, init, needs, net, state};
use crate::diag::Diagnostic;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// How long a host may take to stop or to listen again.
const LIMIT: Duration = Duration::from_secs(20);

/// What can happen to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Every process but PID 1 is killed: connections break, new ones are refused. Files, mounts and disks stay.
    Stop,
    /// sshd listens again.
    Start,
    /// Every process stops where it is: connections are accepted by the kernel, and nobody answers.
    Freeze,
    /// They go on.
    Thaw,
    /// The cable is pulled: packets vanish.
    Cut,
    /// And plugged in again.
    Plug,
}

/// Lets it happen, and returns once it has.
///
/// # Errors
/// There is no such host, it does not run, or the kernel won't.
pub fn cause(lab: &str, host: &str, trouble: Trouble) -> Result<(), Diagnostic> {
    needs::root("stop, start, freeze, thaw, cut and plug")?;
    let pid = enter::init(lab, host)?;
    match trouble {
        Trouble::Stop => {
            signal(pid, init::STOP)?;
            wait(host, "to stop", || members(pid).is_empty())
        }
        Trouble::Start => {
            signal(pid, init::START)?;
            wait(host, "for sshd to listen", || init::listening(&format!("/proc/{pid}/net/tcp")))
        }
        Trouble::Freeze => members(pid).into_iter().try_for_each(|pid| signal(pid, Signal::SIGSTOP)),
        Trouble::Thaw => members(pid).into_iter().try_for_each(|pid| signal(pid, Signal::SIGCONT)),
        Trouble::Cut => net::plug(&state::load(lab)?.host(host)?.link, false),
        Trouble::Plug => net::plug(&state::load(lab)?.host(host)?.link, true),
    }
}

fn signal(pid: i32, signal: Signal) -> Result<(), Diagnostic> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(why) => Err(failed(format!("process {pid}"), why)),
    }
}

fn wait(host: &str, what: &str, done: impl Fn() -> bool) -> Result<(), Diagnostic> {
    let begin = Instant::now();
    while !done() {
        if begin.elapsed() > LIMIT {
            return Err(Diagnostic::bare(format!("waited {} s {what}: {host}", LIMIT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Living processes of a host other than its PID 1.
fn members(init: i32) -> Vec<i32> {
    let Ok(home) = fs::read_link(format!("/proc/{init}/ns/pid")) else { return vec![] };
    let Ok(processes) = fs::read_dir("/proc") else { return vec![] };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // A dead one that nobody has buried yet has no namespaces any more.
    pids.filter(|pid| *pid != init && fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|space| space == home)).collect()
}

/// Whether a host's PID 1 lives.
pub fn alive(lab: &str, host: &str) -> bool {
    found::init_of(lab, host).is_some()
}
