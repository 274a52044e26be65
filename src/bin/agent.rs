//! `fettle-agent`, the program on the host. The controller puts it there and speaks to it over its standard
//! input and output; run by hand it only says what it is.

use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some("--version") => {
            println!("fettle-agent {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some("serve") if !std::io::stdin().is_terminal() => {}
        _ => {
            eprintln!("fettle-agent {}: started on hosts by fettle, not by hand", env!("CARGO_PKG_VERSION"));
            return ExitCode::from(2);
        }
    }
    // The run must outlive the connection's end long enough to finish the change it is in.
    // SAFETY: setting a signal to be ignored runs no handler of ours.
    unsafe {
        let ignore = nix::sys::signal::SigHandler::SigIgn;
        let _ = nix::sys::signal::signal(nix::sys::signal::Signal::SIGHUP, ignore);
        let _ = nix::sys::signal::signal(nix::sys::signal::Signal::SIGPIPE, ignore);
    }
    leave_terminal();
    match fettle::agent::serve(std::io::stdin(), std::io::stdout()) {
        fettle::agent::Exit::Done => ExitCode::SUCCESS,
        fettle::agent::Exit::Lost => ExitCode::from(3),
        fettle::agent::Exit::Refused => ExitCode::from(4),
    }
}

/// An agent on the operator's machine has the operator's terminal from its start, and is in its background: what asks there
/// would be stopped, and the agent with it. Without a terminal it fails, as on any other host.
fn leave_terminal() {
    if let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") {
        // SAFETY: this takes no argument, and touches no memory.
        unsafe { nix::libc::ioctl(terminal.as_raw_fd(), nix::libc::TIOCNOTTY) };
    }
}

/// The standard library asks for the bounds of the main thread's stack, to tell an overflow from another fault. The C library
/// finds them with scanf, which with all it needs is a fortieth of the agent; without an answer an overflow ends the agent just
/// the same, with fewer words. 38 is ENOSYS.
#[unsafe(no_mangle)]
pub extern "C" fn pthread_getattr_np(_thread: usize, _attributes: *mut u8) -> i32 {
    38
}
