//! Directories, links, and removing.

use super::attributes::restore_any;
use super::file::{UNDO_LIMIT, size};
use super::spot::{Spot, io_error, kind_word, may_give_away, same_attributes, spot, sync_folder, umask};
use super::temp::temp_name;
use crate::host::act::Act;
use crate::host::change::{MakeDirectory, MakeLink, Remove};
use crate::host::{Change, ChangeError, FileKind, Outcome, Overlay, RealHost, Stat, View};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl MakeDirectory {
    /// Where it will be, and its mode.
    fn prepare(&self, view: &Overlay<'_>) -> Result<(Spot, u32), ChangeError> {
        let spot = spot(view, &self.path, false)?;
        if let Some(stat) = &spot.stat {
            let what = kind_word(stat.kind);
            return Err(ChangeError::new(format!("{} cannot be made: {what} is there already", self.path.display())));
        }
        let uid = nix::unistd::geteuid().as_raw();
        let folder = view.stat(&spot.folder, true)?;
        let inherited = folder.map_or(0, |f| f.mode & 0o2000);
        let mode = self.mode.map_or_else(|| 0o777 & !umask(view) | inherited, |m| m & 0o7777);
        let mine = Stat { uid, gid: view.new_gid(&spot.path), ..directory_stat() };
        may_give_away(view, &self.path, &mine, self.uid, self.gid)?;
        Ok((spot, mode))
    }
}

impl Act for MakeDirectory {
    fn describe(&self) -> String {
        let mode = self.mode.map(|m| format!(" (mode {:04o})", m & 0o7777)).unwrap_or_default();
        format!("make directory {}{mode}", self.path.display())
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let (spot, mode) = self.prepare(overlay)?;
        let uid = self.uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw());
        let gid = self.gid.unwrap_or_else(|| overlay.new_gid(&spot.path));
        overlay.set_directory(&spot.path, mode, uid, gid);
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let (spot, mode) = self.prepare(&Overlay::new(&RealHost))?;
        nix::unistd::mkdir(&spot.path, Mode::from_bits_truncate(0o700)).map_err(|e| io_error("make", &self.path, &e.into()))?;
        // Should this fail, the directory stays, closed to others; the next run sets its attributes.
        // Who may write to the folder may have put a link in its place.
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let made = nix::fcntl::open(&spot.path, flags, Mode::empty()).map_err(|e| io_error("set the mode of", &self.path, &e.into()))?;
        if self.uid.is_some() || self.gid.is_some() {
            std::os::unix::fs::fchown(&made, self.uid, self.gid).map_err(|e| io_error("set the owner of", &self.path, &e))?;
        }
        fchmod(&made, Mode::from_bits_truncate(mode)).map_err(|e| io_error("set the mode of", &self.path, &e.into()))?;
        sync_folder(&spot.folder)?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        match view.stat(&self.path, false)? {
            Some(stat) if stat.kind == FileKind::Directory => same_attributes(&self.path, &stat, self.mode, self.uid, self.gid),
            Some(stat) => {
                Err(ChangeError::new(format!("{} should be a directory now, but is {}", self.path.display(), kind_word(stat.kind))))
            }
            None => Err(ChangeError::new(format!("the directory {} should be there now, but is not", self.path.display()))),
        }
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        match before.stat(&self.path, false).map_err(|e| e.to_string())? {
            None => Ok(vec![Change::Remove(Remove { path: self.path.clone() })]),
            Some(_) => Ok(vec![]),
        }
    }
}

impl MakeLink {
    /// Where the link will be.
    fn prepare(&self, view: &Overlay<'_>) -> Result<Spot, ChangeError> {
        let spot = spot(view, &self.path, false)?;
        if spot.stat.as_ref().is_some_and(|s| s.kind == FileKind::Directory) {
            return Err(ChangeError::new(format!("{} is a directory: remove it first to put a link in its place", self.path.display())));
        }
        if self.target.as_os_str().is_empty() {
            return Err(ChangeError::new(format!("{} cannot be made: a link to nothing is none", self.path.display())));
        }
        if self.hard {
            let target = self.target.display();
            if self.target != self.path && self.target.starts_with(&self.path) {
                return Err(ChangeError::new(format!("{} cannot be made: {target} leads through what it replaces", self.path.display())));
            }
            let stat =
                view.stat(&self.target, false)?.ok_or_else(|| ChangeError::new(format!("{target} does not exist: it can't be linked")))?;
            if stat.kind == FileKind::Directory {
                return Err(ChangeError::new(format!("{target} is a directory: directories have no hard links")));
            }
            // Of the folders: files of an overlay filesystem have the number of the layer they are in
            // (Documentation/filesystems/overlayfs.rst). 0: only predicted.
            let device = |folder: &Path| Ok::<_, crate::host::ViewError>(view.stat(folder, true)?.map_or(0, |s| s.dev));
            let (there, here) = (device(&super::spot::spot(view, &self.target, false)?.folder)?, device(&spot.folder)?);
            if there != 0 && here != 0 && there != here {
                return Err(ChangeError::new(format!(
                    "{} and {target} are on different filesystems: there are no hard links across",
                    self.path.display()
                )));
            }
        }
        Ok(spot)
    }
}

impl Act for MakeLink {
    fn describe(&self) -> String {
        let kind = if self.hard { "hard link" } else { "link" };
        format!("make {kind} {} → {}", self.path.display(), self.target.display())
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let spot = self.prepare(overlay)?;
        if self.hard {
            overlay.set_hard_link(&spot.path, &self.target);
        } else {
            overlay.set_link(&spot.path, &self.target);
        }
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let spot = self.prepare(&Overlay::new(&RealHost))?;
        let temp = temp_name(&spot.folder);
        let made = if self.hard { std::fs::hard_link(&self.target, &temp) } else { std::os::unix::fs::symlink(&self.target, &temp) };
        made.map_err(|e| io_error("make the link", &self.path, &e))?;
        let renamed = std::fs::rename(&temp, &spot.path);
        // Renaming onto another name of the same file does nothing and leaves both.
        let _ = std::fs::remove_file(&temp);
        renamed.map_err(|e| io_error("make the link", &self.path, &e))?;
        sync_folder(&spot.folder)?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        let path = self.path.display();
        if self.hard {
            let (link, target) = (view.stat(&self.path, false)?, view.stat(&self.target, false)?);
            return match (link, target) {
                (Some(a), Some(b)) if (a.dev, a.ino) == (b.dev, b.ino) => Ok(()),
                _ => Err(ChangeError::new(format!("{path} should be another name of {} now, but is not", self.target.display()))),
            };
        }
        let found = view.read_link(&self.path)?;
        if found == self.target {
            return Ok(());
        }
        Err(ChangeError::new(format!("{path} should point to {} now, but points to {}", self.target.display(), found.display())))
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        match before.stat(&self.path, false).map_err(|e| e.to_string())? {
            None => Ok(vec![Change::Remove(Remove { path: self.path.clone() })]),
            // The link goes first: a file written there would go where it points.
            Some(stat) => Ok([Change::Remove(Remove { path: self.path.clone() })]
                .into_iter()
                .chain(restore_any(before, &self.path, &stat)?)
                .collect()),
        }
    }
}

impl Remove {
    /// What is to go; `None`: it is gone already. Never `/`, a mount point or what has one below.
    fn prepare(&self, view: &Overlay<'_>) -> Result<Option<(Spot, Stat)>, ChangeError> {
        let resolved = view.resolve(&self.path, false)?;
        if resolved == Path::new("/") {
            return Err(ChangeError::new(format!("{} is the root directory: it is never removed", self.path.display())));
        }
        let Some(stat) = view.stat(&resolved, false)? else { return Ok(None) };
        if let Some(mount) = view.mounts()?.iter().find(|m| m.target.starts_with(&resolved)) {
            let mounted = mount.target.display();
            let how = if mount.target == resolved { "it is a mount point".into() } else { format!("{mounted} below it is a mount point") };
            return Err(ChangeError::new(format!("{} is not removed: {how}; unmount it first", self.path.display())));
        }
        Ok(Some((spot(view, &self.path, false)?, stat)))
    }
}

impl Act for Remove {
    fn describe(&self) -> String {
        format!("remove {}", self.path.display())
    }

    fn describe_with(&self, before: &dyn View) -> String {
        match before.stat(&self.path, false) {
            Ok(Some(stat)) => match stat.kind {
                FileKind::Directory => format!("remove directory {} and all below it", self.path.display()),
                FileKind::Symlink => format!("remove link {}", self.path.display()),
                _ => self.describe(),
            },
            _ => self.describe(),
        }
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        if let Some((spot, _)) = self.prepare(overlay)? {
            overlay.remove(&spot.path);
        }
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let Some((spot, stat)) = self.prepare(&Overlay::new(&RealHost))? else { return Ok(Outcome::default()) };
        let failed = |e: Errno| match e {
            Errno::EXDEV => ChangeError::new(format!("{} is not wholly removed: another filesystem begins below it", self.path.display())),
            e => io_error("remove", &self.path, &e.into()),
        };
        let folder =
            nix::fcntl::open(&spot.folder, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
        let name = spot.path.file_name().map(|n| n.as_bytes()).unwrap_or_default();
        let name = CString::new(name).map_err(|_| ChangeError::new(format!("{} has a zero byte in its name", self.path.display())))?;
        remove_entry(&folder, &name, None, stat.dev).map_err(failed)?;
        sync_folder(&spot.folder)?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        match view.stat(&self.path, false)? {
            None => Ok(()),
            Some(stat) => Err(ChangeError::new(format!("{} should be gone now, but is {}", self.path.display(), kind_word(stat.kind)))),
        }
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        let mut changes = vec![];
        let mut room = UNDO_LIMIT;
        if let Some(stat) = before.stat(&self.path, false).map_err(|e| e.to_string())? {
            collect(before, &self.path, &stat, &mut room, &mut changes)?;
        }
        Ok(changes)
    }
}

/// The changes that make what is at `path` again, as long as there is `room` for its content.
fn collect(before: &dyn View, path: &Path, stat: &Stat, room: &mut u64, changes: &mut Vec<Change>) -> Result<(), String> {
    // An entry costs something too, or a million empty files would be kept.
    let cost = 64 + if stat.kind == FileKind::File { stat.size } else { 0 };
    *room = room.checked_sub(cost).ok_or_else(|| format!("{} is too large to be kept (over {})", path.display(), size(UNDO_LIMIT)))?;
    changes.extend(restore_any(before, path, stat)?);
    if stat.kind == FileKind::Directory {
        for name in before.list(path).map_err(|e| e.to_string())? {
            let child = path.join(name);
            if let Some(stat) = before.stat(&child, false).map_err(|e| e.to_string())? {
                collect(before, &child, &stat, room, changes)?;
            }
        }
    }
    Ok(())
}

/// Removes `name` of the open folder with all below it, never leaving the device `dev` and never following a link.
fn remove_entry(folder: &impl std::os::fd::AsFd, name: &CStr, kind: Option<Type>, dev: u64) -> nix::Result<()> {
    if kind.is_none_or(|k| k == Type::Directory)
        && fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR
    {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(folder, name, flags, Mode::empty())?;
        if fstat(&dir)?.st_dev != dev {
            return Err(Errno::EXDEV);
        }
        let entries: Vec<_> = dir.iter().collect::<nix::Result<_>>()?;
        for entry in &entries {
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                remove_entry(&dir, entry.file_name(), entry.file_type(), dev)?;
            }
        }
        return unlinkat(folder, name, UnlinkatFlags::RemoveDir);
    }
    match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// A directory of no particular properties.
fn directory_stat() -> Stat {
    Stat {
        kind: FileKind::Directory,
        mode: 0o700,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: 0.0,
        atime: 0.0,
        ctime: 0.0,
        ino: 0,
        nlink: 2,
        dev: 0,
        rdev: (0, 0),
    }
}
