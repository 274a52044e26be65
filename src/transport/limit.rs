//! How many files may be open: a connection takes three, and every host of a run keeps its own.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// Open files for 20,000 hosts. More would only slow programs down that close whatever might be open.
const ENOUGH: rlim_t = 1 << 16;

/// The limits this program was started with: what is in force, and how far it may be raised.
static STARTED_WITH: OnceLock<Option<(rlim_t, rlim_t)>> = OnceLock::new();

/// Raises the limit as far as it is allowed and useful, the first time.
pub fn raise() {
    STARTED_WITH.get_or_init(|| {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        let wanted = hard.min(ENOUGH);
        // Where it can't be raised, opening a file too many tells.
        (wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok()).then_some((soft, hard))
    });
}

/// Has `command` start with the limit that this program was started with: what runs here for a task, or carries a connection,
/// finds what the operator set.
pub fn as_started(command: &mut Command) -> &mut Command {
    if let Some(Some((soft, hard))) = STARTED_WITH.get().copied() {
        // SAFETY: between fork and exec this makes one system call, and touches no memory of others.
        unsafe {
            command.pre_exec(move || setrlimit(Resource::RLIMIT_NOFILE, soft, hard).map_err(Into::into));
        }
    }
    command
}
