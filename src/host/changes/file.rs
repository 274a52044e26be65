//! Writing files.

use super::run::{capture, split_words};
use super::spot::{Spot, io_error, kind_word, may_give_away, mount_of, same_attributes, spot, sync_folder, umask};
use super::temp::{Temp, inherited, new_file, set_all};
use crate::host::act::Act;
use crate::host::change::{Remove, WriteFile};
use crate::host::real::xattrs_of;
use crate::host::{Change, ChangeError, Diff, FileKind, Outcome, Overlay, RealHost, Stat, View, ViewError, clock};
use serde_json::json;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Most bytes of old content kept for undoing: a journal is no backup of large files.
pub(crate) const UNDO_LIMIT: u64 = 1 << 20;

/// Most bytes of either side shown in a diff.
const DIFF_LIMIT: usize = 1 << 20;

/// What is known before writing.
struct Prepared {
    spot: Spot,
    mode: u32,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl WriteFile {
    /// The checks a dry run and the real thing share.
    fn prepare(&self, view: &Overlay<'_>) -> Result<Prepared, ChangeError> {
        let spot = spot(view, &self.path, self.follow)?;
        if let Some(stat) = &spot.stat {
            if stat.kind != FileKind::File {
                return Err(ChangeError::new(format!(
                    "{} is {}, not a regular file; remove it first",
                    self.path.display(),
                    kind_word(stat.kind)
                )));
            }
            if mount_of(view, &spot.path)?.is_some_and(|m| m.target == spot.path) {
                return Err(ChangeError::new(format!(
                    "{} is a mount point of its own: it can't be replaced; change the file that is mounted there",
                    self.path.display()
                )));
            }
        }
        let (uid, gid) = match &spot.stat {
            Some(stat) => (Some(self.uid.unwrap_or(stat.uid)), Some(self.gid.unwrap_or(stat.gid))),
            None => (self.uid, self.gid),
        };
        // The new file is the process's before it is given away.
        let mine = Stat { uid: nix::unistd::geteuid().as_raw(), gid: view.new_gid(&spot.path), ..blank_stat() };
        may_give_away(view, &self.path, &mine, uid, gid)?;
        let mode = self.mode.or(spot.stat.as_ref().map(|s| s.mode)).unwrap_or_else(|| 0o666 & !umask(view));
        Ok(Prepared { spot, mode: mode & 0o7777, uid, gid })
    }

    /// Runs the operator's check on the file that is to be put in place.
    fn validate(&self, command: &str, file: &Path) -> Result<(), ChangeError> {
        let path = self.path.display();
        if !command.contains("%s") {
            return Err(ChangeError::new(format!("`validate` must contain %s, which stands for the new file: {command}")));
        }
        let argv: Vec<String> = split_words(command)
            .map_err(|e| ChangeError::new(format!("`validate` can't be read: {e}: {command}")))?
            .into_iter()
            .map(|word| word.replace("%s", &file.to_string_lossy()))
            .collect();
        let output = capture(&argv, None, None, &[]).map_err(|e| {
            ChangeError::new(format!(
                "{path} was not written: the validation `{command}` could not be run: {}",
                crate::host::real::words(&e)
            ))
        })?;
        if output.rc == 0 {
            return Ok(());
        }
        let (stdout, stderr) = if self.secret { (String::new(), String::new()) } else { (output.stdout, output.stderr) };
        let said = [stderr.trim(), stdout.trim()].into_iter().find(|s| !s.is_empty()).map(|s| format!(": {s}")).unwrap_or_default();
        let mut e = ChangeError::new(format!("{path} was not written: the validation `{command}` ended with {}{said}", output.rc));
        e.fields.extend([
            ("exit_status".to_owned(), json!(output.rc)),
            ("stdout".to_owned(), json!(stdout)),
            ("stderr".to_owned(), json!(stderr)),
        ]);
        Err(e)
    }
}

impl Act for WriteFile {
    fn describe(&self) -> String {
        let mode = self.mode.map(|m| format!(", mode {m:04o}")).unwrap_or_default();
        format!("write {} ({}{mode})", self.path.display(), size(self.content.len() as u64))
    }

    fn describe_with(&self, before: &dyn View) -> String {
        let what = match before.stat(&self.path, true) {
            Ok(None) => "create",
            Ok(Some(_)) => "replace",
            Err(_) => "write",
        };
        self.describe().replacen("write", what, 1)
    }

    fn diff(&self, before: &dyn View) -> Option<Diff> {
        if self.secret {
            return None;
        }
        let old = match before.read(&self.path) {
            Ok(bytes) => bytes,
            Err(ViewError::NotFound(_)) => vec![],
            Err(_) => return None,
        };
        let name = self.path.display().to_string();
        Some(Diff { before_header: name.clone(), after_header: name, before: shown(&old), after: shown(&self.content) })
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let p = self.prepare(overlay)?;
        let uid = p.uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw());
        let gid = p.gid.unwrap_or_else(|| overlay.new_gid(&p.spot.path));
        overlay.set_file(&p.spot.path, self.content.clone(), p.mode, uid, gid);
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let p = self.prepare(&Overlay::new(&RealHost))?;
        let place = p.spot.path;
        let xattrs = match &p.spot.stat {
            Some(_) => inherited(xattrs_of(&place).map_err(|e| io_error("read the extended attributes of", &place, &e))?),
            None => vec![],
        };
        let mut temp = Temp::create(&p.spot.folder)?;
        let written = temp
            .file
            .write_all(&self.content)
            .and_then(|()| set_all(&temp.file, p.uid, p.gid, p.mode, &xattrs))
            .and_then(|()| temp.file.sync_all());
        written.map_err(|e| io_error("write the new content of", &self.path, &e))?;
        if let Some(command) = &self.validate {
            self.validate(command, &temp.path)?;
        }
        let mut outcome = Outcome::default();
        if let (true, Some(old)) = (self.backup, &p.spot.stat) {
            let backup = back_up(&place, old)?;
            outcome.fields.insert("backup_file".into(), json!(backup.to_string_lossy()));
        }
        temp.rename(&place)?;
        sync_folder(&p.spot.folder)?;
        Ok(outcome)
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        let Some(stat) = view.stat(&self.path, self.follow)? else {
            return Err(ChangeError::new(format!("{} should be there now, but is not", self.path.display())));
        };
        if stat.kind != FileKind::File {
            return Err(ChangeError::new(format!("{} should be a file now, but is {}", self.path.display(), kind_word(stat.kind))));
        }
        same_attributes(&self.path, &stat, self.mode, self.uid, self.gid)?;
        // Written by root, a file may be unreadable only to nobody; written by others, its new mode may shut them out.
        if !crate::host::rights::permits(view, &stat, 0o4) {
            return Ok(());
        }
        let found = view.read(&self.path)?;
        if found != self.content {
            let (expected, found) = (self.content.len(), found.len());
            return Err(ChangeError::new(format!(
                "{} does not hold what was written ({expected} bytes written, {found} read back): something else writes it too",
                self.path.display()
            )));
        }
        Ok(())
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        restore_file(before, &self.path, self.follow, self.secret)
    }
}

/// The changes that put the file at `path` back as it is in `before` (links followed where `follow`).
pub(crate) fn restore_file(before: &dyn View, path: &Path, follow: bool, secret: bool) -> Result<Vec<Change>, String> {
    // A link may point to nothing yet: what is undone is the file it leads to.
    let path = &Overlay::new(before).resolve(path, follow).map_err(|e| e.to_string())?;
    let Some(stat) = before.stat(path, false).map_err(|e| e.to_string())? else {
        return Ok(vec![Change::Remove(Remove { path: path.to_owned() })]);
    };
    if stat.kind != FileKind::File {
        return Err(format!("{} is {}", path.display(), kind_word(stat.kind)));
    }
    if stat.size > UNDO_LIMIT {
        return Err(format!("{} is too large to be kept ({})", path.display(), size(stat.size)));
    }
    let content = before.read(path).map_err(|e| e.to_string())?;
    Ok(vec![Change::WriteFile(WriteFile {
        path: path.to_owned(),
        content,
        mode: Some(stat.mode),
        uid: Some(stat.uid),
        gid: Some(stat.gid),
        backup: false,
        validate: None,
        secret,
        // There is no link in the path: one that is put there later is none of ours.
        follow: false,
    })])
}

/// Copies the file at `place` beside it, with attributes, under Ansible's name for backups.
fn back_up(place: &Path, old: &Stat) -> Result<PathBuf, ChangeError> {
    let failed = |e: &io::Error| io_error("back up", place, e);
    // Who may write to the folder may have put a link there since it was looked at, to a file that is not theirs to read.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let mut from = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(place).map_err(|e| failed(&e))?;
    let found = from.metadata().map_err(|e| failed(&e))?;
    if (found.dev(), found.ino()) != (old.dev, old.ino) {
        return Err(ChangeError::new(format!("cannot back up {}: another file has taken its place just now", place.display())));
    }
    // The name tells the second: a file may be backed up several times in one. A bound, as each try costs a call.
    let mut tries = 0..1000;
    let (backup, mut to) = loop {
        let mut name = place.as_os_str().to_owned();
        let again = tries.next().filter(|n| *n > 0).map(|n| format!("-{n}")).unwrap_or_default();
        name.push(format!(".{}{again}.{}", std::process::id(), clock::backup_suffix(SystemTime::now())));
        let backup = PathBuf::from(name);
        match new_file(&backup, 0o600) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && !tries.is_empty() => {}
            made => break (backup, made.map_err(|e| failed(&e))?),
        }
    };
    let copied = io::copy(&mut from, &mut to)
        .and_then(|_| set_all(&to, Some(old.uid), Some(old.gid), old.mode, &xattrs_of(place)?))
        .and_then(|()| to.sync_all());
    if let Err(e) = copied {
        let _ = std::fs::remove_file(&backup);
        return Err(failed(&e));
    }
    Ok(backup)
}

/// Content as a diff shows it.
fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= DIFF_LIMIT && !text.contains('\0') => text.to_owned(),
        _ => format!("({} not shown: binary or large)\n", size(bytes.len() as u64)),
    }
}

/// `1 byte`, `120 bytes`, `3.4 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        1 => "1 byte".into(),
        0..=9999 => format!("{bytes} bytes"),
        10_000..=1_048_575 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A regular file of no particular properties.
fn blank_stat() -> Stat {
    Stat {
        kind: FileKind::File,
        mode: 0o600,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: 0.0,
        atime: 0.0,
        ctime: 0.0,
        ino: 0,
        nlink: 1,
        dev: 0,
        rdev: (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_backed_up_but_what_was_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("f");
        std::fs::write(&place, "mine").unwrap();
        let looked_at = RealHost.stat(&place, false).unwrap().unwrap();
        std::fs::write(folder.path().join("secret"), "root's").unwrap();
        std::fs::remove_file(&place).unwrap();
        std::os::unix::fs::symlink("secret", &place).unwrap();
        back_up(&place, &looked_at).unwrap_err();
        std::fs::rename(folder.path().join("secret"), &place).unwrap();
        let said = back_up(&place, &looked_at).unwrap_err().message;
        assert!(said.contains("another file has taken its place"), "{said}");
        assert_eq!(RealHost.list(folder.path()).unwrap(), ["f"], "no copy is made");
        back_up(&place, &RealHost.stat(&place, false).unwrap().unwrap()).unwrap();
    }
}
