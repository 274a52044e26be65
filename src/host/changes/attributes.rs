//! Mode, owner and group; timestamps.

use super::file::restore_file;
use super::spot::{io_error, may_change_attributes, may_give_away, same_attributes, spot, umask};
use super::temp::new_file;
use crate::host::act::Act;
use crate::host::change::{Remove, SetAttributes, Touch};
use crate::host::identity::{group_name, user_name};
use crate::host::overlay::now;
use crate::host::{Change, ChangeError, Diff, FileKind, Outcome, Overlay, RealHost, Stat, View, ViewError};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, fstat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

impl SetAttributes {
    /// Where it is, and how; `None`: it is there, but a dry run can't know its attributes.
    fn prepare(&self, view: &Overlay<'_>) -> Result<(PathBuf, Option<Stat>), ChangeError> {
        let path = view.resolve(&self.path, self.follow)?;
        let stat = match view.stat(&path, false) {
            Ok(Some(stat)) => stat,
            Ok(None) => return Err(ChangeError::new(format!("{} does not exist: its attributes can't be set", self.path.display()))),
            Err(ViewError::Unknown(_)) => return Ok((path, None)),
            Err(e) => return Err(e.into()),
        };
        if stat.kind == FileKind::Symlink && self.mode.is_some() {
            return Err(ChangeError::new(format!("{} is a symbolic link: links have no mode of their own", self.path.display())));
        }
        may_change_attributes(view, &path, &stat)?;
        may_give_away(view, &path, &stat, self.uid, self.gid)?;
        Ok((path, Some(stat)))
    }

    /// The mode there will be: asked for, or what the kernel leaves of the old one when the owner is set.
    fn resulting_mode(&self, stat: &Stat) -> u32 {
        let mut mode = stat.mode;
        if stat.kind != FileKind::Directory && stat.kind != FileKind::Symlink && (self.uid.is_some() || self.gid.is_some()) {
            mode &= !0o4000;
            if mode & 0o010 != 0 {
                mode &= !0o2000;
            }
        }
        self.mode.map_or(mode, |m| m & 0o7777)
    }

    /// What is asked for, as text.
    fn wishes(&self, view: Option<&dyn View>) -> String {
        let mut wishes = vec![];
        if let Some(mode) = self.mode {
            wishes.push(format!("mode {:04o}", mode & 0o7777));
        }
        if let Some(uid) = self.uid {
            wishes.push(format!("owner {}", view.map_or_else(|| uid.to_string(), |v| user_name(v, uid))));
        }
        if let Some(gid) = self.gid {
            wishes.push(format!("group {}", view.map_or_else(|| gid.to_string(), |v| group_name(v, gid))));
        }
        wishes.join(", ")
    }
}

impl Act for SetAttributes {
    fn describe(&self) -> String {
        format!("set {} of {}", self.wishes(None), self.path.display())
    }

    fn describe_with(&self, before: &dyn View) -> String {
        let Ok(Some(stat)) = before.stat(&self.path, self.follow) else {
            return format!("set {} of {}", self.wishes(Some(before)), self.path.display());
        };
        let mut parts = vec![];
        if let Some(mode) = self.mode.filter(|m| m & 0o7777 != stat.mode) {
            parts.push(format!("mode {:04o} → {:04o}", stat.mode, mode & 0o7777));
        }
        if let Some(uid) = self.uid.filter(|u| *u != stat.uid) {
            parts.push(format!("owner {} → {}", user_name(before, stat.uid), user_name(before, uid)));
        }
        if let Some(gid) = self.gid.filter(|g| *g != stat.gid) {
            parts.push(format!("group {} → {}", group_name(before, stat.gid), group_name(before, gid)));
        }
        if parts.is_empty() {
            return format!("set {} of {}", self.wishes(Some(before)), self.path.display());
        }
        format!("set attributes of {}: {}", self.path.display(), parts.join(", "))
    }

    fn diff(&self, before: &dyn View) -> Option<Diff> {
        let stat = before.stat(&self.path, self.follow).ok().flatten()?;
        let (mut old, mut new) = (String::new(), String::new());
        let mut line = |what: &str, was: String, will: String| {
            old.push_str(&format!("{what}: {was}\n"));
            new.push_str(&format!("{what}: {will}\n"));
        };
        if let Some(mode) = self.mode.filter(|m| m & 0o7777 != stat.mode) {
            line("mode", format!("\"{:04o}\"", stat.mode), format!("\"{:04o}\"", mode & 0o7777));
        }
        if let Some(uid) = self.uid.filter(|u| *u != stat.uid) {
            line("owner", user_name(before, stat.uid), user_name(before, uid));
        }
        if let Some(gid) = self.gid.filter(|g| *g != stat.gid) {
            line("group", group_name(before, stat.gid), group_name(before, gid));
        }
        let name = self.path.display().to_string();
        Some(Diff { before_header: name.clone(), after_header: name, before: old, after: new })
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let (path, stat) = self.prepare(overlay)?;
        let mode = match &stat {
            Some(stat) => Some(self.resulting_mode(stat)),
            None => self.mode,
        };
        overlay.set_attributes(&path, false, mode, self.uid, self.gid);
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let (path, stat) = self.prepare(&Overlay::new(&RealHost))?;
        // What was looked at, and nothing that has taken its place since: who may write to the folder may put a link there.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = open(&path, flags, Mode::empty()).map_err(|e| io_error("set the attributes of", &self.path, &e.into()))?;
        let found = fstat(&file).map_err(|e| io_error("set the attributes of", &self.path, &e.into()))?;
        if stat.is_none_or(|s| (s.dev, s.ino) != (found.st_dev, found.st_ino)) {
            let path = self.path.display();
            return Err(ChangeError::new(format!("cannot set the attributes of {path}: something else has taken its place just now")));
        }
        // The owner first: setting it takes setuid and setgid bits away.
        if self.uid.is_some() || self.gid.is_some() {
            let (uid, gid) = (self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw));
            fchownat(&file, "", uid, gid, AtFlags::AT_EMPTY_PATH).map_err(|e| io_error("set the owner of", &self.path, &e.into()))?;
        }
        if let Some(mode) = self.mode {
            // An open file of this kind has no fchmod.
            let open = format!("/proc/self/fd/{}", file.as_raw_fd());
            let mode = Mode::from_bits_truncate(mode & 0o7777);
            fchmodat(AT_FDCWD, open.as_str(), mode, FchmodatFlags::FollowSymlink)
                .map_err(|e| io_error("set the mode of", &self.path, &e.into()))?;
        }
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        match view.stat(&self.path, self.follow)? {
            Some(stat) => same_attributes(&self.path, &stat, self.mode, self.uid, self.gid),
            None => Err(ChangeError::new(format!("{} is gone", self.path.display()))),
        }
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        let stat = before.stat(&self.path, self.follow).map_err(|e| e.to_string())?;
        let stat = stat.ok_or_else(|| format!("{} did not exist", self.path.display()))?;
        let mode = (stat.kind != FileKind::Symlink).then_some(stat.mode);
        let back = SetAttributes { mode, uid: self.uid.map(|_| stat.uid), gid: self.gid.map(|_| stat.gid), ..self.clone() };
        Ok(vec![Change::SetAttributes(back)])
    }
}

/// Seconds since 1970 as the kernel takes them.
fn timespec(seconds: f64) -> TimeSpec {
    let whole = seconds.floor();
    // Not by nanoseconds since 1970: they end in 2262.
    TimeSpec::new(whole as i64, (((seconds - whole) * 1e9) as i64).min(999_999_999))
}

impl Act for Touch {
    fn describe(&self) -> String {
        format!("touch {}", self.path.display())
    }

    fn describe_with(&self, before: &dyn View) -> String {
        match before.stat(&self.path, true) {
            Ok(None) => format!("create {} (empty)", self.path.display()),
            _ => format!("set the times of {}", self.path.display()),
        }
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let path = self.prepare(overlay)?;
        if overlay.stat(&path, false)?.is_none() {
            let (uid, gid) = (nix::unistd::geteuid().as_raw(), overlay.new_gid(&path));
            overlay.set_file(&path, "", 0o666 & !umask(overlay), uid, gid);
        }
        overlay.set_times(&path, self.atime.unwrap_or_else(now), self.mtime.unwrap_or_else(now));
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let host = Overlay::new(&RealHost);
        let path = self.prepare(&host)?;
        if host.stat(&path, false)?.is_none() {
            new_file(&path, 0o666).map_err(|e| io_error("create", &self.path, &e))?;
        }
        let (atime, mtime) = (timespec(self.atime.unwrap_or_else(now)), timespec(self.mtime.unwrap_or_else(now)));
        utimensat(AT_FDCWD, &path, &atime, &mtime, UtimensatFlags::FollowSymlink)
            .map_err(|e| io_error("set the times of", &self.path, &e.into()))?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        let Some(stat) = view.stat(&self.path, true)? else {
            return Err(ChangeError::new(format!("{} should be there now, but is not", self.path.display())));
        };
        // Some filesystems keep whole seconds only.
        match self.mtime {
            Some(mtime) if (stat.mtime - mtime).abs() > 1.0 => Err(ChangeError::new(format!(
                "the modification time of {} should be {mtime} now, but is {}",
                self.path.display(),
                stat.mtime
            ))),
            _ => Ok(()),
        }
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        let path = Overlay::new(before).resolve(&self.path, true).map_err(|e| e.to_string())?;
        Ok(vec![match before.stat(&path, false).map_err(|e| e.to_string())? {
            None => Change::Remove(Remove { path }),
            Some(stat) => Change::Touch(Touch { path, atime: Some(stat.atime), mtime: Some(stat.mtime) }),
        }])
    }
}

impl Touch {
    /// Where the file is or will be.
    fn prepare(&self, view: &Overlay<'_>) -> Result<PathBuf, ChangeError> {
        let path = view.resolve(&self.path, true)?;
        match view.stat(&path, false)? {
            Some(stat) => may_change_attributes(view, &path, &stat).map(|()| path),
            None => spot(view, &self.path, true).map(|s| s.path),
        }
    }
}

/// The changes that bring the attributes of `path` itself back, for changes that replace what is there.
pub(crate) fn restore_any(before: &dyn View, path: &Path, stat: &Stat) -> Result<Vec<Change>, String> {
    match stat.kind {
        FileKind::File => restore_file(before, path, false, false),
        FileKind::Symlink => {
            let target = before.read_link(path).map_err(|e| e.to_string())?;
            let link = crate::host::change::MakeLink { path: path.to_owned(), target, hard: false };
            let owner = SetAttributes { path: path.to_owned(), mode: None, uid: Some(stat.uid), gid: Some(stat.gid), follow: false };
            Ok(vec![Change::MakeLink(link), Change::SetAttributes(owner)])
        }
        FileKind::Directory => Ok(vec![Change::MakeDirectory(crate::host::change::MakeDirectory {
            path: path.to_owned(),
            mode: Some(stat.mode),
            uid: Some(stat.uid),
            gid: Some(stat.gid),
        })]),
        other => Err(format!("{} is {}", path.display(), super::spot::kind_word(other))),
    }
}
