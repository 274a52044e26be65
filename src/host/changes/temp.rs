//! A file that takes another's place only once it is complete.

use super::spot::io_error;
use crate::host::ChangeError;
use nix::libc;
use sha2::{Digest, Sha256};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A new file beside its future place; removed when dropped before [`Temp::rename`].
#[derive(Debug)]
pub(crate) struct Temp {
    /// Where it is.
    pub path: PathBuf,
    /// Open for writing.
    pub file: File,
}

/// A name in `folder` that nobody else uses.
pub(crate) fn temp_name(folder: &Path) -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    // Starts with a dot and ends in none of the suffixes that folders of snippets are read by.
    let Here { machine, boot, processes } = here();
    folder.join(format!(".fettle.{machine}.{boot}.{processes}.{}.{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)))
}

/// Where numbers of processes mean what they mean here. Folders are shared between hosts. Each is a hash, or [`UNTOLD`].
struct Here {
    /// The machine: by its id, which clones share, and its name.
    machine: String,
    /// Its boot.
    boot: String,
    /// The container.
    processes: String,
}

/// What can't be known.
const UNTOLD: &str = "0";

fn here() -> &'static Here {
    static HERE: OnceLock<Here> = OnceLock::new();
    HERE.get_or_init(|| {
        let read = |path: &str| std::fs::read(path).unwrap_or_default();
        let id = read("/etc/machine-id");
        // It is empty, or says so in words, before the first boot is over.
        let told = id.trim_ascii().len() == 32;
        let machine = if told { [id, read("/proc/sys/kernel/hostname")].concat() } else { vec![] };
        let processes = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Here {
            machine: hash(&machine),
            boot: hash(&read("/proc/sys/kernel/random/boot_id")),
            processes: hash(processes.as_os_str().as_bytes()),
        }
    })
}

fn hash(of: &[u8]) -> String {
    if of.is_empty() {
        return UNTOLD.to_owned();
    }
    Sha256::digest(of).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

impl Temp {
    /// An empty file in `folder` that only its owner can read. What processes that were killed left there goes.
    pub fn create(folder: &Path) -> Result<Self, ChangeError> {
        remove_left(folder);
        let path = temp_name(folder);
        let file = new_file(&path, 0o600).map_err(|e| io_error("create a file in", folder, &e))?;
        Ok(Self { path, file })
    }

    /// Puts it in `place`, atomically.
    pub fn rename(self, place: &Path) -> Result<(), ChangeError> {
        std::fs::rename(&self.path, place).map_err(|e| io_error("replace", place, &e))?;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // After a rename nothing is there any more, and nobody else takes this name.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether a file of this name is a temporary one that a process of this machine made which is no more: all that began before its
/// boot, and those of this boot and container that do not run.
fn is_left(name: &str, here: &Here) -> Option<bool> {
    let mut parts = name.strip_prefix(".fettle.")?.strip_suffix(".tmp")?.split('.');
    let (machine, boot, processes) = (parts.next()?, parts.next()?, parts.next()?);
    let (pid, count) = (parts.next()?.parse().ok().filter(|pid| *pid > 0)?, parts.next()?);
    count.parse::<u32>().ok()?;
    if parts.next().is_some() || machine != here.machine || [boot, &here.boot].contains(&UNTOLD) {
        return None;
    }
    if boot != here.boot {
        return Some(machine != UNTOLD);
    }
    let gone = || nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH);
    Some(processes != UNTOLD && processes == here.processes && gone())
}

/// Removes temporary files of processes of this machine that are no more from `folder`. One that can't be removed does no harm.
fn remove_left(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().and_then(|name| is_left(name, here())) == Some(true) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Creates a file that must not be there yet; a link in its place is not followed.
pub(crate) fn new_file(path: &Path, mode: u32) -> io::Result<File> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Gives `file` owner, group, these extended attributes, then mode: in the order in which none undoes another.
pub(crate) fn set_all(file: &File, uid: Option<u32>, gid: Option<u32>, mode: u32, xattrs: &[(String, Vec<u8>)]) -> io::Result<()> {
    std::os::unix::fs::fchown(file, uid, gid)?;
    for (name, value) in xattrs {
        set_xattr(file, name, value).map_err(|e| io::Error::new(e.kind(), format!("extended attribute {name}: {e}")))?;
    }
    let mode = nix::sys::stat::Mode::from_bits_truncate(mode & 0o7777);
    Ok(nix::sys::stat::fchmod(file, mode)?)
}

fn set_xattr(file: &File, name: &str, value: &[u8]) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: the pointers are valid for the lengths given; the name ends in a zero byte.
    let done = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The extended attributes a replaced file hands on: all but those that vouch for the old content.
pub(crate) fn inherited(xattrs: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let about_content = ["security.capability", "security.ima", "security.evm"];
    xattrs.into_iter().filter(|(name, _)| !about_content.contains(&name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that is no more.
    fn dead() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn what_the_dead_left_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let Here { machine, boot, processes } = here();
        let of = |rest: &str| format!(".fettle.{machine}.{boot}.{processes}.{rest}.tmp");
        let left = of(&format!("{}.0", dead()));
        let living = of(&format!("{}.99", std::process::id()));
        let others = [".fettle.tmp", "a.tmp"].map(str::to_owned).into_iter().chain(["x.0", "0.0", "-1.0", "1"].map(of)).chain([living]);
        let others: Vec<String> = others.collect();
        for name in others.iter().chain([&left]) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        drop(Temp::create(folder.path()).unwrap());
        for name in others {
            assert!(folder.path().join(&name).exists(), "{name}");
        }
        assert!(!folder.path().join(left).exists());
    }

    #[test]
    fn a_boot_ends_all_processes_of_its_machine_and_no_others() {
        let at = |machine: &str, boot: &str| Here { machine: machine.into(), boot: boot.into(), processes: "c".into() };
        let (living, dead) = (std::process::id(), dead());
        let left = |name: &str, pid: u32, here: &Here| is_left(&format!(".fettle.{name}.{pid}.0.tmp"), here) == Some(true);
        let here = at("m", "b");
        assert_eq!([left("m.b.c", dead, &here), left("m.b.c", living, &here)], [true, false]);
        // Before the boot the number was another process's, whatever it is now, and in whatever container.
        assert_eq!([left("m.a.c", dead, &here), left("m.a.c", living, &here), left("m.a.d", living, &here)], [true; 3]);
        for name in ["m.b.d", "n.b.c", "n.a.c", "0.a.c", "m.0.c", "m.b", "m.b.c.d"] {
            assert!(!left(name, dead, &here), "{name}");
        }
        // A machine that can't be told from others leaves all but its own.
        let unknown = at(UNTOLD, "b");
        assert_eq!([left("0.b.c", dead, &unknown), left("0.a.c", dead, &unknown)], [true, false]);
        assert!(!left("m.0.c", dead, &at("m", UNTOLD)), "nobody knows whose boot");
    }
}
