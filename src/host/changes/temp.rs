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
    folder.join(format!(".fettle.{}.{}.{}.tmp", here(), std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)))
}

/// Where numbers of processes mean what they mean here: this boot of this host, and the container. Folders are shared between hosts.
fn here() -> &'static str {
    static HERE: OnceLock<String> = OnceLock::new();
    HERE.get_or_init(|| {
        let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let processes = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let hash = Sha256::new().chain_update(boot).chain_update(processes.as_os_str().as_bytes()).finalize();
        hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    })
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

/// The process here that made a temporary file, by its name.
fn maker(name: &str) -> Option<i32> {
    let (pid, count) = name.strip_prefix(".fettle.")?.strip_prefix(here())?.strip_prefix('.')?.strip_suffix(".tmp")?.split_once('.')?;
    count.parse::<u32>().ok()?;
    pid.parse().ok().filter(|pid| *pid > 0)
}

/// Removes temporary files of processes of this host that are no more from `folder`. One that can't be removed does no harm.
fn remove_left(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let gone = |pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH);
        if entry.file_name().to_str().and_then(maker).is_some_and(gone) {
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

    #[test]
    fn what_the_dead_left_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let of = |host: &str, rest: &str| format!(".fettle.{host}.{rest}.tmp");
        let left = of(here(), &format!("{dead}.0"));
        // On another host, or before a boot, the number is another process's.
        let living = format!("{}.99", std::process::id());
        let elsewhere = [of("0123456789ab", &format!("{dead}.0")), format!(".fettle.{dead}.0.tmp"), of(here(), &living)];
        let others = [".fettle.tmp", "a.tmp"].map(str::to_owned).into_iter().chain(["x.0", "0.0", "-1.0"].map(|rest| of(here(), rest)));
        let others: Vec<String> = others.chain(elsewhere).collect();
        for name in others.iter().chain([&left]) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        drop(Temp::create(folder.path()).unwrap());
        for name in others {
            assert!(folder.path().join(&name).exists(), "{name}");
        }
        assert!(!folder.path().join(left).exists());
    }
}
