//! Mounting, changing mount options, unmounting.
//!
//! mount(8) does it: it knows every option of every filesystem. What it did is then read back from the kernel's own table.

use super::options::{self, missing_options, own_options};
use super::run::capture;
use crate::host::act::Act;
use crate::host::block::{self, Disk};
use crate::host::change::{MountChange, Unmount};
use crate::host::rights::is_root_or;
use crate::host::{Change, ChangeError, FileKind, Mount, Outcome, Overlay, RealHost, View, ViewError};
use std::path::{Path, PathBuf};

/// A [`MountChange`] as a new mount.
pub(crate) struct AsMount<'a>(pub &'a MountChange);

/// A [`MountChange`] as a change of options of what is mounted.
pub(crate) struct AsRemount<'a>(pub &'a MountChange);

/// The filesystems of a host.
#[derive(Debug, Default)]
pub struct Filesystems {
    /// Device, whole or a partition, and UUID. Devices that others are stacked on (multipath, RAID) are left out: who is
    /// stacked on them is meant. So is btrfs, which has one UUID on all of its devices.
    pub known: Vec<(PathBuf, String)>,
    /// Why a dry run can't know what one of the devices holds.
    pub unknown: Option<ViewError>,
}

/// All filesystems that have a UUID.
pub fn filesystems(view: &dyn View) -> Result<Filesystems, ViewError> {
    let mut all = Filesystems::default();
    let is_held = |folder: &Path| view.list(&folder.join("holders")).is_ok_and(|h| !h.is_empty());
    let devices: Vec<PathBuf> = block::devices(&block::disks(view)?).filter(|(_, folder)| !is_held(folder)).map(|(path, _)| path).collect();
    for (path, probe) in devices.iter().zip(view.probe_all(&devices)) {
        match probe {
            Ok(probe) => {
                let of = probe.signatures.into_iter().filter(|s| !s.partition_table && s.kind != "btrfs").filter_map(|s| s.uuid);
                all.known.extend(of.map(|uuid| (path.clone(), uuid)));
            }
            Err(e @ ViewError::Unknown(_)) => all.unknown = Some(e),
            // A disk that can't be read can't be the one.
            Err(_) => {}
        }
    }
    Ok(all)
}

/// Why a filesystem can't be mounted by its UUID: these devices have it all. Nobody knows which of them a boot takes.
pub fn ambiguous(uuid: &str, devices: &[PathBuf]) -> String {
    let names: Vec<String> = devices.iter().map(|d| d.display().to_string()).collect();
    format!(
        "{} hold filesystems with one UUID ({uuid}), and it can't be told which of them a boot mounts: detach the copy, erase it, or give it \
         another UUID (xfs_admin -U generate)",
        names.join(" and ")
    )
}

/// Whether `other` is the disk at `path` by another way to it: a second port or path that nothing has put together.
pub fn is_other_name(disks: &[Disk], path: &Path, other: &Path) -> bool {
    let of = |path: &Path| disks.iter().find(|d| d.path == path);
    of(path).zip(of(other)).is_some_and(|(one, two)| one.device != two.device && one.is_same_as(two))
}

/// The device behind a change's source. Where the plan named it, and saw that no other has the filesystem, it is looked at
/// alone: to read all of a host's disks for each of its mounts takes minutes.
fn device(change: &MountChange, view: &dyn View) -> Result<PathBuf, ChangeError> {
    let Some(uuid) = change.source.strip_prefix("UUID=") else {
        return Ok(change.device.clone().unwrap_or_else(|| PathBuf::from(&change.source)));
    };
    let uuid = uuid.trim_matches('"').to_ascii_lowercase();
    if let Some(named) = &change.device {
        if view.holds(named, &uuid)? {
            return Ok(named.clone());
        }
        return Err(ChangeError::new(format!("{} holds no filesystem with UUID {uuid}", named.display())));
    }
    let Filesystems { known, unknown } = filesystems(view)?;
    let found: Vec<PathBuf> = known.into_iter().filter(|(_, held)| *held == uuid).map(|(path, _)| path).collect();
    match (found.as_slice(), unknown) {
        ([_, _, ..], _) => Err(ChangeError::new(ambiguous(&uuid, &found))),
        ([one], _) => Ok(one.clone()),
        // It may be on the one of which nothing can be known.
        ([], Some(e)) => Err(e.into()),
        ([], None) => Err(ChangeError::new(format!("there is no filesystem with UUID {uuid}"))),
    }
}

/// Whether a mount is of the whole filesystem on the device with this path and these numbers. Filesystems without numbers
/// of their own (btrfs) are known by the path they were mounted from.
pub fn is_whole(mount: &Mount, path: &Path, numbers: (u32, u32)) -> bool {
    if mount.device.0 == 0 { Path::new(&mount.source) == path } else { mount.device == numbers && mount.root == "/" }
}

fn topmost(view: &dyn View, target: &Path) -> Result<Option<Mount>, ChangeError> {
    let mounts = view.mounts()?;
    Ok(mounts.into_iter().rev().find(|m| m.target == target))
}

/// Fails where this is not root: mount(8) takes device and options from nobody else.
fn only_root(what: &str, target: &Path, view: &dyn View) -> Result<(), ChangeError> {
    if is_root_or(view, None) {
        return Ok(());
    }
    Err(ChangeError::new(format!("{} can't be {what}: only root may; use `become: true`", target.display())))
}

fn check_target(change: &MountChange, view: &dyn View) -> Result<(), ChangeError> {
    let target = &change.target;
    only_root("mounted", target, view)?;
    let stat = view.stat(target, true)?;
    if stat.is_none_or(|s| s.kind != FileKind::Directory) {
        return Err(ChangeError::new(format!("{} is not a directory to mount on", target.display())));
    }
    if let Some(mount) = topmost(view, target)? {
        return Err(ChangeError::new(format!("{} is mounted on {} already", mount.source, target.display())));
    }
    Ok(())
}

fn run(argv: &[&str], what: &str) -> Result<(), ChangeError> {
    let words: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
    let out = capture(&words, None, None, &[]).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => ChangeError::new(format!("{} is not installed on this host", argv.first().unwrap_or(&""))),
        _ => ChangeError::new(format!("{what} failed: {}", crate::host::real::words(&e))),
    })?;
    if out.rc == 0 {
        return Ok(());
    }
    Err(ChangeError::new(format!("{what} failed: {}", out.stderr.trim())))
}

impl Act for AsMount<'_> {
    fn describe(&self) -> String {
        let what = self.0.device.as_ref().map_or_else(|| self.0.source.clone(), |d| d.display().to_string());
        format!("mount {what} on {}", self.0.target.display())
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        check_target(self.0, overlay)?;
        let device = device(self.0, overlay)?;
        let rdev = overlay.stat(&device, true)?.map_or((0, 0), |s| s.rdev);
        overlay.add_mount(Mount {
            target: self.0.target.clone(),
            source: device.to_string_lossy().into_owned(),
            device: rdev,
            root: "/".into(),
            fstype: self.0.fstype.clone(),
            options: options::predicted(&self.0.options),
        });
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        check_target(self.0, &RealHost)?;
        let device = device(self.0, &RealHost)?;
        let options = options::for_mount(&self.0.options);
        let (device, target) = (device.to_string_lossy(), self.0.target.to_string_lossy());
        run(&["mount", "-t", &self.0.fstype, "-o", &options, &device, &target], &format!("mounting {device} on {target}"))?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        let device = device(self.0, view)?;
        let target = self.0.target.display();
        let mount = topmost(view, &self.0.target)?
            .ok_or_else(|| ChangeError::new(format!("nothing is mounted on {target} although mounting succeeded")))?;
        let numbers = view.stat(&device, true)?.map_or((0, 0), |s| s.rdev);
        if !is_whole(&mount, &device, numbers) {
            return Err(ChangeError::new(format!("{target} holds {} instead of {}", mount.source, device.display())));
        }
        options_in_effect(self.0, &mount)
    }

    fn undo(&self, _: &dyn View) -> Result<Vec<Change>, String> {
        Ok(vec![Change::Unmount(Unmount { target: self.0.target.clone() })])
    }
}

fn options_in_effect(change: &MountChange, mount: &Mount) -> Result<(), ChangeError> {
    let missing = missing_options(&change.options, mount);
    if missing.is_empty() {
        return Ok(());
    }
    Err(ChangeError::new(format!(
        "{} is mounted, but without {} (the kernel shows {})",
        change.target.display(),
        missing.join(","),
        mount.options.join(",")
    )))
}

impl Act for AsRemount<'_> {
    fn describe(&self) -> String {
        format!("remount {} with {}", self.0.target.display(), self.0.options.join(","))
    }

    fn describe_with(&self, before: &dyn View) -> String {
        let missing = match topmost(before, &self.0.target) {
            Ok(Some(mount)) => missing_options(&self.0.options, &mount),
            _ => vec![],
        };
        if missing.is_empty() {
            return self.describe();
        }
        format!("remount {}  options: + {}", self.0.target.display(), missing.join(","))
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let mount = self.mounted(overlay)?;
        let mut options = options::predicted(&self.0.options);
        // What is the filesystem's own stays where nothing else is said about it.
        options.extend(own_options(&mount.options).filter(|o| *o != "inode32" && !self.0.options.contains(o)).cloned());
        overlay.set_mount_options(&self.0.target, options);
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let (target, mount) = (&self.0.target, self.mounted(&RealHost)?);
        let options = options::for_remount(&self.0.options, &mount.options);
        // Told both, mount(8) adds no options of fstab.
        let target = target.to_string_lossy();
        run(&["mount", "-o", &options, &mount.source, &target], &format!("remounting {target}"))?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        let target = &self.0.target;
        let mount = topmost(view, target)?.ok_or_else(|| ChangeError::new(format!("nothing is mounted on {}", target.display())))?;
        options_in_effect(self.0, &mount)
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        let mount = topmost(before, &self.0.target).map_err(|e| e.message)?.ok_or("nothing was mounted there")?;
        Ok(vec![Change::Remount(MountChange { options: mount.options, ..self.0.clone() })])
    }
}

impl AsRemount<'_> {
    /// What is mounted, if it can be remounted with these options.
    fn mounted(&self, view: &dyn View) -> Result<Mount, ChangeError> {
        let target = &self.0.target;
        only_root("remounted", target, view)?;
        let mount = topmost(view, target)?.ok_or_else(|| ChangeError::new(format!("nothing is mounted on {}", target.display())))?;
        match options::fixed_at_mount(&self.0.fstype, &missing_options(&self.0.options, &mount)) {
            Some(fixed) => Err(fixed_error(target, fixed)),
            None => Ok(mount),
        }
    }
}

fn fixed_error(target: &Path, option: &str) -> ChangeError {
    ChangeError::new(format!(
        "XFS takes `{option}` only when it is mounted anew: unmount {} (the entry in /etc/fstab has the option) and mount it again when nothing uses it",
        target.display()
    ))
}

impl Unmount {
    /// What is known to fail.
    fn check(&self, view: &dyn View) -> Result<(), ChangeError> {
        if self.target == Path::new("/") {
            return Err(ChangeError::new("the root filesystem is not unmounted"));
        }
        only_root("unmounted", &self.target, view)?;
        if topmost(view, &self.target)?.is_none() {
            return Err(ChangeError::new(format!("nothing is mounted on {}", self.target.display())));
        }
        Ok(())
    }
}

impl Act for Unmount {
    fn describe(&self) -> String {
        format!("unmount {}", self.target.display())
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        self.check(overlay)?;
        overlay.remove_mount(&self.target);
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        self.check(&RealHost)?;
        let unmounted = run(&["umount", &self.target.to_string_lossy()], &format!("unmounting {}", self.target.display()));
        unmounted.map(|()| Outcome::default()).map_err(|e| {
            let who = users(&self.target);
            if who.is_empty() { e } else { ChangeError::new(format!("{}; in use by {}", e.message, who.join(", "))) }
        })
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        match topmost(view, &self.target)? {
            None => Ok(()),
            Some(mount) => Err(ChangeError::new(format!("{} is still mounted on {}", mount.source, self.target.display()))),
        }
    }

    fn undo(&self, before: &dyn View) -> Result<Vec<Change>, String> {
        let mount = topmost(before, &self.target).map_err(|e| e.message)?.ok_or("nothing was mounted there")?;
        if mount.root != "/" && mount.device.0 != 0 {
            return Err(format!("it was a bind mount, of {} of {}", mount.root, mount.source));
        }
        // By UUID where there is one: when this is undone, another disk may have the kernel name.
        let held = before.probe(Path::new(&mount.source)).map(|p| p.signatures).unwrap_or_default();
        let uuid = held.into_iter().find(|s| s.kind == mount.fstype && s.kind != "btrfs").and_then(|s| s.uuid);
        let (source, device) = match uuid {
            Some(uuid) => (format!("UUID={uuid}"), None),
            None => (mount.source.clone(), Some(mount.source.into())),
        };
        let change = MountChange { source, device, target: self.target.clone(), fstype: mount.fstype, options: mount.options };
        Ok(vec![Change::Mount(change)])
    }
}

/// Processes with a file, working folder or root below `target`, at most five: enough to know where to look.
fn users(target: &Path) -> Vec<String> {
    let below = |link: PathBuf| std::fs::read_link(link).is_ok_and(|path| path.starts_with(target));
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let uses = |process: &Path| {
        below(process.join("cwd")) || below(process.join("root")) || entries(&process.join("fd")).any(|file| below(file.path()))
    };
    let mut found = vec![];
    for entry in entries(Path::new("/proc")) {
        let (id, process) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if found.len() < 5 && id.parse::<u32>().is_ok() && uses(&process) {
            let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            found.push(format!("{} ({id})", name.trim_end()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_a_folder_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let me = || users(folder.path()).into_iter().filter(|u| u.ends_with(&format!(" ({})", std::process::id()))).count();
        assert_eq!(me(), 0);
        let _file = std::fs::File::create(folder.path().join("f")).unwrap();
        assert_eq!(me(), 1);
    }
}
