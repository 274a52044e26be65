//! Where a change to a file happens, and whether it may: the same checks for a dry run and for real.

use crate::host::real::words;
use crate::host::rights::{in_group, is_root_or, permits};
use crate::host::{ChangeError, FileKind, Mount, Overlay, Stat, View, ViewError};
use nix::unistd::geteuid;
use std::io;
use std::path::{Path, PathBuf};

/// A path where something is to be made, replaced or removed.
#[derive(Debug)]
pub(crate) struct Spot {
    /// Without links in it.
    pub path: PathBuf,
    /// The folder it is in.
    pub folder: PathBuf,
    /// What is there now.
    pub stat: Option<Stat>,
}

impl From<ViewError> for ChangeError {
    fn from(e: ViewError) -> Self {
        let unknown = match &e {
            ViewError::Unknown(why) => Some(why.clone()),
            _ => None,
        };
        Self { unknown, ..Self::new(e.to_string()) }
    }
}

/// "cannot `what` `path`: why".
pub(crate) fn io_error(what: &str, path: &Path, e: &io::Error) -> ChangeError {
    ChangeError::new(format!("cannot {what} {}: {}", path.display(), words(e)))
}

/// Looks at `path`, whose folder must be there, and checks that entries of that folder may be changed.
pub(crate) fn spot(view: &Overlay<'_>, path: &Path, follow: bool) -> Result<Spot, ChangeError> {
    let resolved = view.resolve(path, follow)?;
    let Some(folder) = resolved.parent().map(Path::to_owned) else {
        return Err(ChangeError::new("`/` can be neither replaced nor removed"));
    };
    match view.stat(&folder, true)? {
        None => {
            let folder = folder.display();
            Err(ChangeError::new(format!("{} cannot be made: the folder {folder} does not exist; make it first", path.display())))
        }
        Some(stat) if stat.kind != FileKind::Directory => {
            Err(ChangeError::new(format!("{} cannot be made: {} is not a directory", path.display(), folder.display())))
        }
        Some(stat) => {
            let found = view.stat(&resolved, false)?;
            may_change_entries(view, &folder, &stat, found.as_ref())?;
            Ok(Spot { path: resolved, folder, stat: found })
        }
    }
}

/// Whether entries of `folder` may be made, replaced and removed.
fn may_change_entries(view: &dyn View, folder: &Path, stat: &Stat, entry: Option<&Stat>) -> Result<(), ChangeError> {
    not_read_only(view, folder)?;
    if let Some(mount) = mount_of(view, folder)?
        && matches!(mount.fstype.as_str(), "proc" | "sysfs")
    {
        return Err(ChangeError::new(format!(
            "{} belongs to the kernel: files there are neither made nor replaced nor removed",
            folder.display()
        )));
    }
    if !permits(view, stat, 0o3) {
        return Err(ChangeError::new(format!("no permission to change what is in {} ({})", folder.display(), whose(stat))));
    }
    let sticky = stat.mode & 0o1000 != 0 && !is_root_or(view, Some(stat.uid));
    if sticky && entry.is_some_and(|e| !is_root_or(view, Some(e.uid))) {
        return Err(ChangeError::new(format!("no permission to replace another user's file in {}", folder.display())));
    }
    Ok(())
}

/// Whether mode and times of what has `stat` may be changed.
pub(crate) fn may_change_attributes(view: &dyn View, path: &Path, stat: &Stat) -> Result<(), ChangeError> {
    not_read_only(view, path)?;
    if is_root_or(view, Some(stat.uid)) {
        return Ok(());
    }
    Err(ChangeError::new(format!("no permission to change the attributes of {} ({})", path.display(), whose(stat))))
}

/// Whether the owner may be changed from `stat`'s to these.
pub(crate) fn may_give_away(view: &dyn View, path: &Path, stat: &Stat, uid: Option<u32>, gid: Option<u32>) -> Result<(), ChangeError> {
    let same_user = uid.is_none_or(|u| u == stat.uid);
    let group_ok = gid.is_none_or(|g| g == stat.gid || (is_root_or(view, Some(stat.uid)) && in_group(g)));
    if is_root_or(view, None) || (same_user && group_ok) {
        return Ok(());
    }
    Err(ChangeError::new(format!("no permission to change owner or group of {}: only root may ({})", path.display(), whose(stat))))
}

/// Fails where `path` is on a filesystem mounted read-only.
pub(crate) fn not_read_only(view: &dyn View, path: &Path) -> Result<(), ChangeError> {
    match mount_of(view, path)? {
        Some(mount) if mount.options.iter().any(|o| o == "ro") => {
            Err(ChangeError::new(format!("{} is on a filesystem mounted read-only on {}", path.display(), mount.target.display())))
        }
        _ => Ok(()),
    }
}

/// The mount `path` (without links in it) is on.
pub(crate) fn mount_of(view: &dyn View, path: &Path) -> Result<Option<Mount>, ViewError> {
    let mut found: Option<Mount> = None;
    for mount in view.mounts()? {
        let longer = found.as_ref().is_none_or(|f| mount.target.as_os_str().len() >= f.target.as_os_str().len());
        if longer && path.starts_with(&mount.target) {
            found = Some(mount);
        }
    }
    Ok(found)
}

/// "mode 0755, owner 0:0; this is user 1000".
fn whose(stat: &Stat) -> String {
    format!("mode {:04o}, owner {}:{}; this is user {}", stat.mode, stat.uid, stat.gid, geteuid())
}

/// The process's umask. Read from `/proc`, for asking the kernel means changing it for all threads.
pub(crate) fn umask(view: &dyn View) -> u32 {
    let status = view.read(Path::new("/proc/self/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).and_then(|text| u32::from_str_radix(text.trim(), 8).ok());
    // 022 is what login programs set; kernels before 4.7 don't tell.
    umask.unwrap_or(0o022)
}

/// A word for what is there.
pub(crate) fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "a regular file",
        FileKind::Directory => "a directory",
        FileKind::Symlink => "a symbolic link",
        FileKind::Block => "a block device",
        FileKind::Char => "a character device",
        FileKind::Fifo => "a FIFO",
        FileKind::Socket => "a socket",
    }
}

/// Compares attributes that were asked for with those found.
pub(crate) fn same_attributes(path: &Path, stat: &Stat, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>) -> Result<(), ChangeError> {
    let wrong = |what: &str, expected: String, found: String| {
        Err(ChangeError::new(format!("{what} of {} should be {expected} now, but is {found}", path.display())))
    };
    if let Some(mode) = mode.filter(|m| m & 0o7777 != stat.mode) {
        return wrong("the mode", format!("{:04o}", mode & 0o7777), format!("{:04o}", stat.mode));
    }
    if let Some(uid) = uid.filter(|u| *u != stat.uid) {
        return wrong("the owner", uid.to_string(), stat.uid.to_string());
    }
    if let Some(gid) = gid.filter(|g| *g != stat.gid) {
        return wrong("the group", gid.to_string(), stat.gid.to_string());
    }
    Ok(())
}

/// Makes sure the folder's entries are on disk. Filesystems that can't (EINVAL) have nothing to lose.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), ChangeError> {
    match std::fs::File::open(folder).and_then(|f| f.sync_all()) {
        Ok(()) => Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(nix::libc::EINVAL | nix::libc::EACCES)) => Ok(()),
        Err(e) => Err(io_error("sync", folder, &e)),
    }
}
