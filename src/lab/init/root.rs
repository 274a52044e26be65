//! The host's root: an overlay of the machine's, with a memory filesystem on top.

use super::sysctl::MachineValues;
use super::{Attached, Spec, dev, etc, sysctl};
use crate::diag::Diagnostic;
use crate::lab::failed;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Folders that may be filesystems of their own on the machine. An overlay shows one filesystem only, so each
/// that is gets its own.
const MAYBE_MOUNTED: [&str; 6] = ["/usr", "/usr/local", "/var", "/var/lib", "/opt", "/etc"];
/// Folders that begin empty: what the machine has there is nobody's business inside.
const EMPTY: [(&str, u32); 13] = [
    ("/root", 0o700),
    ("/home", 0o755),
    ("/tmp", 0o1777),
    ("/mnt", 0o755),
    ("/media", 0o755),
    ("/srv", 0o755),
    ("/run", 0o755),
    ("/ais", 0o755),
    ("/var/tmp", 0o1777),
    ("/var/log", 0o755),
    ("/var/lib/fettle", 0o755),
    ("/etc/ssh", 0o755),
    ("/etc/kubernetes", 0o755),
];

/// Builds the host's root below `folder` and makes it this process's `/`. The machine's mounts are gone then.
///
/// # Errors
/// Names the step and what the system said.
pub fn enter(folder: &Path, spec: &Spec, disks: &[Attached], shared: &MachineValues, host_key: &Path) -> Result<(), Diagnostic> {
    let key = fs::read(host_key).map_err(|why| failed(host_key.display(), why))?;
    step("make mounts private", bind_flags(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE))?;
    step("set the host's name", nix::unistd::sethostname(&spec.host).map_err(Into::into))?;
    let base = folder.join("mnt");
    step("make the mount point", fs::create_dir_all(&base))?;
    step("mount a tmpfs", tmpfs(&base, "mode=0755"))?;
    let root = step("mount the root overlay", overlays(&base))?;
    for name in ["proc", "sys", "dev", "run"] {
        step(name, fs::create_dir_all(root.join(name)))?;
    }
    step("mount /proc", special("proc", &root.join("proc")))?;
    step("mount /sys", special("sysfs", &root.join("sys")))?;
    step("mount /run", tmpfs(&root.join("run"), "mode=0755"))?;
    step("make the host's /dev", dev::devices(&root, disks))?;
    step("hide the machine's disks", dev::block(&base, &root, disks))?;
    step("guard the machine's settings", dev::guard(&root))?;
    step("set up stand-ins for the machine's sysctls", sysctl::stand_ins(&base, &root, &spec.host, shared))?;
    step("write the host's files", etc::write(&root, spec, &key))?;
    step("change into the host's root", pivot(&root))?;
    Ok(())
}

fn step<T>(what: &str, result: io::Result<T>) -> Result<T, Diagnostic> {
    result.map_err(|why| failed(format!("building the host: {what}"), why))
}

/// Mounts a memory filesystem.
pub(super) fn tmpfs(target: &Path, options: &str) -> io::Result<()> {
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), Some(options)).map_err(Into::into)
}

/// Shows `from` at `to` as well.
pub(super) fn bind(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>).map_err(Into::into)
}

/// Changes a mount's flags.
pub(super) fn bind_flags(target: &Path, flags: MsFlags) -> io::Result<()> {
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>).map_err(Into::into)
}

fn special(kind: &str, target: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(kind), target, Some(kind), flags, None::<&str>).map_err(Into::into)
}

/// Overlays of the machine's root and of what is mounted in it, under `base`; gives the root.
fn overlays(base: &Path) -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mounted = |path: &str| mounts.lines().any(|line| line.split(' ').nth(4) == Some(path));
    let mut lowers = vec![Path::new("/")];
    lowers.extend(MAYBE_MOUNTED.into_iter().filter(|path| mounted(path)).map(Path::new));
    let root = base.join("root");
    fs::create_dir(&root)?;
    for (n, lower) in lowers.iter().enumerate() {
        let (upper, work) = (base.join(format!("upper{n}")), base.join(format!("work{n}")));
        fs::create_dir(&upper)?;
        fs::create_dir(&work)?;
        fs::set_permissions(&upper, fs::metadata(lower)?.permissions())?;
        for (path, mode) in EMPTY {
            let path = Path::new(path);
            // Of nested filesystems the innermost has the folder.
            if lowers.iter().filter(|lower| path.starts_with(lower)).max_by_key(|lower| lower.as_os_str().len()) == Some(lower) {
                empty(lower, &upper, path, mode)?;
            }
        }
        let target = root.join(lower.strip_prefix("/").unwrap_or(lower));
        let options = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
        mount(Some("overlay"), &target, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    }
    Ok(root)
}

/// Puts an opaque folder into an upper layer: the lower one's content does not show. What the machine does not
/// have is not made.
fn empty(lower: &Path, upper: &Path, path: &Path, mode: u32) -> io::Result<()> {
    let Ok(inside) = path.strip_prefix(lower) else { return Ok(()) };
    if inside.as_os_str().is_empty() || !path.is_dir() || path.is_symlink() {
        return Ok(());
    }
    let target = upper.join(inside);
    fs::create_dir_all(&target)?;
    fs::set_permissions(&target, Permissions::from_mode(mode))?;
    let name = CString::new(target.as_os_str().as_bytes())?;
    // SAFETY: valid C strings, and a value of the length given.
    match unsafe { libc::lsetxattr(name.as_ptr(), c"trusted.overlay.opaque".as_ptr(), c"y".as_ptr().cast(), 1, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes `root` this process's `/` and lets go of the machine's.
fn pivot(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    match nix::unistd::pivot_root(".", ".") {
        Ok(()) => umount2(".", MntFlags::MNT_DETACH)?,
        // The machine runs from its initial memory filesystem, which can't be pivoted away: cover it.
        Err(nix::errno::Errno::EINVAL) => {
            mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
            nix::unistd::chroot(".")?;
        }
        Err(why) => return Err(why.into()),
    }
    std::env::set_current_dir("/")
}
