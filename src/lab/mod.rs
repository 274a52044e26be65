//! Throw-away test hosts on this machine.
//!
//! A lab is a bridge and a few hosts. A host is a set of namespaces (network, mount, PID, UTS, IPC) with a real
//! sshd on an address of its own, an overlay of the machine's root as its root, its own `/etc`, `/dev`, `/proc`
//! and `/sys/block`, and loop devices as its disks (`sda`, `sdb`, …). It is no security boundary: root inside is
//! root of the machine. But nothing a playbook does there stays: whatever belongs to the whole machine (`vm.*`,
//! `kernel.*`, `fs.*` and the shared part of `net.core.*`) is a stand-in inside, see [`init::sysctl`].
//!
//! | file | what it is for |
//! |---|---|
//! | `names` | where a lab keeps its things, and what they are called |
//! | `needs` | programs, kernel features and rights a lab needs |
//! | `state` | what `up` writes down for the other commands |
//! | `found` | what of a lab is there now: processes, loop devices, links, mounts |
//! | `up`, `down` | making and taking away |
//! | `enter` | running a command inside a host |
//! | `trouble` | hosts that refuse, hang or vanish, for tests |
//! | `loops`, `net` | loop devices; bridge, subnet, links |
//! | `kubernetes` | a control plane whose nodes are the hosts |
//! | `init` | what runs inside: builds the host's root, then is its PID 1 |
//!
//! The host's life hangs on its PID 1: when that dies, the kernel takes processes, mounts, links and loop devices
//! with it. `down` needs no memory of what was made; it looks for what is there ([`found`]).

// Making and removing hosts is what this room is for; it never acts on a host that fettle prepares.
#![allow(clippy::disallowed_methods)]

pub mod down;
pub mod enter;
pub mod found;
pub mod init;
pub mod kubernetes;
pub mod loops;
pub mod names;
pub mod needs;
pub mod net;
pub mod state;
pub mod trouble;
pub mod up;

pub use down::{down, down_all};
pub use enter::exec;
pub use state::{HostState, LabState, list};
pub use trouble::{Trouble, cause};
pub use up::{Options, Up, up};

use crate::diag::Diagnostic;
use nix::libc;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// The path of a lab's inventory.
///
/// # Errors
/// There is no such lab, or it has not come up.
pub fn inventory(name: &str) -> Result<PathBuf, Diagnostic> {
    state::load(name)?;
    Ok(names::Lab::new(name)?.inventory())
}

/// Keeps files that are open here by accident from a program that outlives us: a lock that is held while a lab comes up would be
/// held as long as the lab.
fn outliving(command: &mut Command) -> &mut Command {
    let close = || {
        // SAFETY: the call takes no pointers. A kernel before 5.11 does not know it: then they stay open.
        let _ = unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
        Ok(())
    };
    // SAFETY: between fork and exec only a system call is made.
    unsafe { command.pre_exec(close) }
}

/// An error with the system's words for it.
pub(crate) fn failed(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::bare(format!("{what}: {why}"))
}
