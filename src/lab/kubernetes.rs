//! A Kubernetes control plane for a lab, whose nodes are the lab's hosts. Nodes and pods are played: nothing runs in the pods.

use super::names::Lab;
use super::state::{self, LabState};
use super::{failed, found, outliving};
use crate::diag::Diagnostic;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a control plane may take to end.
const LIMIT: Duration = Duration::from_secs(20);

/// Starts the control plane of the lab `name`, or finds that it runs. Gives the path of its kubeconfig.
///
/// # Errors
/// The program is not there, or did not start.
pub fn start(name: &str) -> Result<PathBuf, Diagnostic> {
    let state = state::load(name)?;
    let folder = folder(&Lab::new(name)?);
    if let Ok(path) = kubeconfig(name) {
        return Ok(path);
    }
    let program = program()?;
    let address = bridge_address(&state)?;
    fs::create_dir_all(&folder).map_err(|why| failed(folder.display(), why))?;
    let log = folder.join("log");
    let log_file = fs::File::create(&log).map_err(|why| failed(log.display(), why))?;
    let nodes: Vec<String> = state.hosts.iter().map(|h| format!("{}={}", h.name, h.address)).collect();
    let mut command = Command::new(&program);
    command
        .arg("--data")
        .arg(&folder)
        .args(["--listen", &address.to_string(), "--pod-ip", &address.to_string(), "--nodes", &nodes.join(","), "--stdin=false"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        // It outlives us, and Ctrl-C at our terminal.
        .process_group(0);
    let mut child = outliving(&mut command).spawn().map_err(|why| failed(program.display(), why))?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        // It says one line when it is ready, or ends; it limits its own waiting to two minutes.
        BufReader::new(out).read_line(&mut line).map_err(|why| failed(program.display(), why))?;
    }
    if line.trim().is_empty() {
        let _ = child.wait();
        let said = fs::read_to_string(&log).unwrap_or_default();
        let last = said.lines().rev().find(|l| l.starts_with("control-plane:")).unwrap_or("it said nothing").to_owned();
        return Err(failed("the control plane did not start", last).help(format!("its log: {}", log.display())));
    }
    kubeconfig(name)
}

/// The kubeconfig of a lab's control plane.
///
/// # Errors
/// The lab has none that runs.
pub fn kubeconfig(name: &str) -> Result<PathBuf, Diagnostic> {
    let lab = Lab::new(name)?;
    state::load(name)?;
    let path = folder(&lab).join("admin.conf");
    if pids(&lab).is_empty() || !path.exists() {
        return Err(Diagnostic::bare(format!("lab `{name}` has no Kubernetes control plane"))
            .help(format!("fettle lab up --kubernetes --name {name} gives it one")));
    }
    Ok(path)
}

/// Ends a lab's control plane, if it has one.
pub(super) fn stop(lab: &Lab) -> Result<(), Diagnostic> {
    let begin = Instant::now();
    loop {
        let left = pids(lab);
        if left.is_empty() {
            return Ok(());
        }
        // What it keeps may all be lost.
        for pid in &left {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        if begin.elapsed() > LIMIT {
            return Err(Diagnostic::bare(format!("the control plane of lab `{}` does not end: process {}", lab.name(), left[0])));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn folder(lab: &Lab) -> PathBuf {
    lab.run().join("kubernetes")
}

/// Processes that work on this lab's control plane: they name its folder.
fn pids(lab: &Lab) -> Vec<i32> {
    found::control_planes(&folder(lab))
}

/// The program, which `scripts/control-plane` builds.
fn program() -> Result<PathBuf, Diagnostic> {
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.parent().unwrap_or(Path::new("."));
    let named = std::env::var_os("FETTLE_CONTROL_PLANE").map(PathBuf::from);
    let places = [named, Some(beside.join("control-plane")), beside.parent().map(|p| p.join("control-plane"))];
    places.into_iter().flatten().map(|folder| folder.join("control-plane")).find(|p| p.is_file()).ok_or_else(|| {
        Diagnostic::bare("the program of the control plane is not built")
            .help("scripts/control-plane builds it (it needs Go); $FETTLE_CONTROL_PLANE names another folder with it")
    })
}

fn bridge_address(state: &LabState) -> Result<Ipv4Addr, Diagnostic> {
    let all = nix::ifaddrs::getifaddrs().map_err(|why| failed("addresses of this machine", why))?;
    let mut own = all.filter(|a| a.interface_name == state.bridge);
    own.find_map(|a| a.address.as_ref().and_then(|a| a.as_sockaddr_in().map(|a| a.ip())))
        .ok_or_else(|| Diagnostic::bare(format!("the bridge {} of lab `{}` has no address", state.bridge, state.name)))
}
