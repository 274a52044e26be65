//! `connection: local`: the agent as a child process.

use super::agents;
use super::bootstrap::{SUDO_PROMPT, Sudo};
use super::error::LinkError;
use super::limit;
use super::pipe::Pipe;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

/// An agent on this machine.
pub struct Local {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    errors: ChildStderr,
}

/// Starts the agent.
pub fn start(sudo: Sudo) -> Result<Local, LinkError> {
    let machine = nix::sys::utsname::uname().map(|u| u.machine().to_string_lossy().into_owned()).unwrap_or_default();
    let agent = agents::for_machine(&machine).map_err(LinkError::Agent)?;
    let root = nix::unistd::geteuid().is_root();
    let mut command = match sudo {
        Sudo::No => Command::new(&agent.path),
        _ if root => Command::new(&agent.path),
        Sudo::WithoutPassword => {
            let mut command = Command::new("sudo");
            command.args(["-n", "--"]).arg(&agent.path);
            command
        }
        Sudo::WithPassword => {
            let mut command = Command::new("sudo");
            command.args(["-S", "-p", SUDO_PROMPT, "--"]).arg(&agent.path);
            command
        }
    };
    let failed = |e: io::Error| LinkError::Agent(format!("{} can't be started: {e}", agent.path.display()));
    // Ctrl-C is for fettle, which lets the agent finish the change it is in: in a process group of its own it does not hear it.
    command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = limit::as_started(&mut command).spawn().map_err(failed)?;
    let lacking = || failed(io::ErrorKind::BrokenPipe.into());
    let input = child.stdin.take().ok_or_else(lacking)?;
    let output = child.stdout.take().ok_or_else(lacking)?;
    let errors = child.stderr.take().ok_or_else(lacking)?;
    for descriptor in [input.as_fd(), output.as_fd(), errors.as_fd()] {
        fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|e| failed(e.into()))?;
    }
    Ok(Local { child, input: Some(input), output, errors })
}

impl Pipe for Local {
    fn read_out(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.output.read(buffer)
    }

    fn read_err(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.errors.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn descriptors(&self, writing: bool) -> (Vec<RawFd>, Vec<RawFd>) {
        let write = self.input.iter().filter(|_| writing).map(AsRawFd::as_raw_fd).collect();
        (vec![self.output.as_raw_fd(), self.errors.as_raw_fd()], write)
    }

    fn close_input(&mut self) {
        self.input = None;
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().map(|s| s.code().unwrap_or(-1))
    }
}
