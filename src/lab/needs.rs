//! What a lab needs of the machine: rights, programs, kernel features.

use crate::diag::Diagnostic;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs and the Debian packages they come from. The first four make the lab; hosts are no good without the rest.
const PROGRAMS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("sshd", "openssh-server"),
    ("ssh-keygen", "openssh-client"),
    ("ssh", "openssh-client"),
    ("sudo", "sudo"),
    ("mkfs.xfs", "xfsprogs"),
    ("mount", "mount"),
];

/// Finds a program in `PATH` or where Debian keeps those of the administrator (not in everyone's `PATH`).
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Refuses anyone but root.
///
/// # Errors
/// The caller is not root.
pub fn root(what: &str) -> Result<(), Diagnostic> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    Err(Diagnostic::bare(format!("`fettle lab {what}` needs root: it works with namespaces, loop devices and links"))
        .help(format!("run it as root: sudo fettle lab {what} …")))
}

/// Checks everything that `up` needs.
///
/// # Errors
/// Names what is missing, and the packages that bring it.
pub fn check() -> Result<(), Diagnostic> {
    root("up")?;
    let missing: Vec<_> = PROGRAMS.iter().filter(|(name, _)| program(name).is_none()).collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|(name, _)| format!("`{name}`")).collect();
        let packages: BTreeSet<_> = missing.iter().map(|(_, package)| *package).collect();
        let packages: Vec<_> = packages.into_iter().collect();
        return Err(Diagnostic::bare(format!("the lab needs {}, not found on this machine", names.join(", ")))
            .help(format!("apt-get install {}", packages.join(" "))));
    }
    for kind in ["net", "mnt", "pid", "uts", "ipc"] {
        if !Path::new("/proc/self/ns").join(kind).exists() {
            return Err(Diagnostic::bare(format!("this kernel has no {kind} namespaces; a lab host is made of them")));
        }
    }
    for name in ["overlay", "xfs"] {
        if !has_filesystem(name) {
            return Err(Diagnostic::bare(format!("this kernel has no {name} filesystem, which the lab's hosts need"))
                .help(format!("on Debian: modprobe {name}, or install linux-image-amd64 in place of a stripped kernel")));
        }
    }
    if !Path::new("/dev/loop-control").exists() {
        load("loop");
    }
    if !Path::new("/dev/loop-control").exists() {
        return Err(Diagnostic::bare("/dev/loop-control is missing: no loop devices, so no disks for the lab's hosts")
            .help("modprobe loop; in a container, start it with access to loop devices"));
    }
    Ok(())
}

/// Whether the kernel knows a filesystem, loading its module if that brings it.
fn has_filesystem(name: &str) -> bool {
    let known = || std::fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.split_whitespace().any(|word| word == name));
    known() || {
        load(name);
        known()
    }
}

/// Loads a kernel module; what comes of it is looked at afterwards.
fn load(module: &str) {
    if let Some(modprobe) = program("modprobe") {
        let _ = Command::new(modprobe).args(["-q", module]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    }
}
