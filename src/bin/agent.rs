//! `fettle-agent`, the program on the host. The controller puts it there and speaks to it over its standard
//! input and output; run by hand it only says what it is.

use std::io::IsTerminal;
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
    match fettle::agent::serve(std::io::stdin(), std::io::stdout()) {
        fettle::agent::Exit::Done => ExitCode::SUCCESS,
        fettle::agent::Exit::Lost => ExitCode::from(3),
        fettle::agent::Exit::Refused => ExitCode::from(4),
    }
}

/// The standard library asks for the bounds of the main thread's stack, to tell an overflow from another fault. The C library
/// finds them with scanf, which with all it needs is a fortieth of the agent; without an answer an overflow ends the agent just
/// the same, with fewer words. 38 is ENOSYS.
#[unsafe(no_mangle)]
pub extern "C" fn pthread_getattr_np(_thread: usize, _attributes: *mut u8) -> i32 {
    38
}
