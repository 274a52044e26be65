//! Running a command inside a host, without SSH.

use super::{failed, found, needs, state};
use crate::diag::Diagnostic;
use nix::sched::{CloneFlags, setns};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};

/// The environment inside: what a login as root would have, and the terminal.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("USER", "root"),
    ("SHELL", "/bin/bash"),
    ("LANG", "C.UTF-8"),
];

/// Runs a command as root in all namespaces of a host, with our own standard input and output. Gives its exit
/// code, or as a shell does 128 and the signal's number, 127 for a program that is not there, 126 for one that can't be run.
///
/// # Errors
/// There is no such host, or it does not run.
pub fn exec<S: AsRef<OsStr>>(lab: &str, host: &str, command: &[S]) -> Result<i32, Diagnostic> {
    needs::root("exec")?;
    let [program, arguments @ ..] = command else {
        return Err(Diagnostic::bare("no command to run").help(format!("fettle lab exec {host} -- COMMAND")));
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let mut child = match start(lab, host, command)? {
        Ok(child) => child,
        Err(why) => {
            eprintln!("error: cannot run `{}` in {host}: {why}", program.as_ref().to_string_lossy());
            return Ok(if why.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    let status = child.wait().map_err(|why| failed("wait", why))?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

/// Starts a command as root in all namespaces of a host.
///
/// # Errors
/// There is no such host, it does not run, or the program is not there.
pub fn spawn(lab: &str, host: &str, command: Command) -> Result<Child, Diagnostic> {
    let name = command.get_program().to_string_lossy().into_owned();
    start(lab, host, command)?.map_err(|why| failed(format!("cannot run `{name}` in {host}"), why))
}

/// The inner error: the command can't be run.
fn start(lab: &str, host: &str, mut command: Command) -> Result<std::io::Result<Child>, Diagnostic> {
    let pid = init(lab, host)?;
    let open = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}")).map_err(|why| failed(format!("{host} has just ended"), why));
    let processes = open("pid")?;
    // The mounts last: `/proc` is another one after that.
    let rest = [
        (open("net")?, CloneFlags::CLONE_NEWNET),
        (open("uts")?, CloneFlags::CLONE_NEWUTS),
        (open("ipc")?, CloneFlags::CLONE_NEWIPC),
        (open("mnt")?, CloneFlags::CLONE_NEWNS),
    ];
    command.env_clear().envs(ENVIRONMENT);
    if let Some(terminal) = std::env::var_os("TERM") {
        command.env("TERM", terminal);
    }
    let join = move || {
        for (file, kind) in &rest {
            setns(file, *kind)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(join) };
    // Which PID namespace children are born into is a matter of the thread; ours keeps its own.
    let spawned = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(&processes, CloneFlags::CLONE_NEWPID)?;
            command.spawn()
        });
        thread.join()
    });
    spawned.map_err(|_| Diagnostic::bare(format!("the command could not be started in {host}")))
}

/// The PID 1 of a host, as this machine counts.
pub(super) fn init(lab: &str, host: &str) -> Result<i32, Diagnostic> {
    state::load(lab)?.host(host)?;
    found::init_of(lab, host).ok_or_else(|| {
        Diagnostic::bare(format!("{host} of lab `{lab}` no longer runs")).help(format!("fettle lab down --name {lab}, then up again"))
    })
}
