//! Mounting, changing mount options, unmounting.
//!
//! mount(8) does it: it knows every option of every filesystem. What it did is then read back from the kernel's own table.

use super::mkfs::device_of_uuid;
use crate::host::act::Act;
use crate::host::change::{MountChange, Unmount};
use crate::host::{Change, ChangeError, FileKind, Mount, Outcome, Overlay, RealHost, View};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A [`MountChange`] as a new mount.
pub(crate) struct AsMount<'a>(pub &'a MountChange);

/// A [`MountChange`] as a change of options of what is mounted.
pub(crate) struct AsRemount<'a>(pub &'a MountChange);

/// Options that only fstab, systemd or mount(8) read; the kernel never shows them.
const NOT_SHOWN: &[&str] = &[
    "defaults",
    "nofail",
    "fail",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "_netdev",
    "owner",
    "group",
    "loop",
    "rw",
    "async",
    "exec",
    "suid",
    "dev",
    "atime",
    "diratime",
    "norelatime",
];

fn shown(option: &str) -> bool {
    !(NOT_SHOWN.contains(&option) || option.starts_with("x-") || option.starts_with("comment="))
}

/// Sizes in one form: `131072k`, `128m` and `134217728` are the same.
fn canonical(option: &str) -> String {
    let Some((key, value)) = option.split_once('=') else { return option.to_owned() };
    let (digits, factor) = match value.chars().last().map(|c| c.to_ascii_lowercase()) {
        Some('k') => (&value[..value.len() - 1], 1u64 << 10),
        Some('m') => (&value[..value.len() - 1], 1 << 20),
        Some('g') => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1),
    };
    match digits.parse::<u64>() {
        Ok(n) => format!("{key}={}", n.saturating_mul(factor)),
        Err(_) => option.to_owned(),
    }
}

/// Options asked for that the kernel does not show as in effect. `nodiratime` is implied by `noatime`.
pub fn missing_options(wanted: &[String], mount: &Mount) -> Vec<String> {
    let now: Vec<String> = mount.options.iter().map(|o| canonical(o)).collect();
    let has = |o: &str| now.iter().any(|n| n == o);
    wanted
        .iter()
        .filter(|o| shown(o))
        .filter(|o| {
            let o = canonical(o);
            let implied = match o.as_str() {
                "nodiratime" => has("noatime"),
                "inode64" => !has("inode32"),
                _ => false,
            };
            !(has(&o) || implied)
        })
        .cloned()
        .collect()
}

/// The device behind a change's source.
fn device(change: &MountChange, view: &dyn View) -> Result<PathBuf, ChangeError> {
    if let Some(uuid) = change.source.strip_prefix("UUID=") {
        return device_of_uuid(view, &uuid.to_ascii_lowercase())?
            .ok_or_else(|| ChangeError::new(format!("there is no filesystem with UUID {uuid}")));
    }
    Ok(change.device.clone().unwrap_or_else(|| PathBuf::from(&change.source)))
}

fn topmost(view: &dyn View, target: &Path) -> Result<Option<Mount>, ChangeError> {
    let mounts = view.mounts()?;
    Ok(mounts.into_iter().rev().find(|m| m.target == target))
}

fn check_target(change: &MountChange, view: &dyn View) -> Result<(), ChangeError> {
    let target = &change.target;
    let stat = view.stat(target, true)?;
    if stat.is_none_or(|s| s.kind != FileKind::Directory) {
        return Err(ChangeError::new(format!("{} is not a directory to mount on", target.display())));
    }
    if let Some(mount) = topmost(view, target)? {
        return Err(ChangeError::new(format!("{} is mounted on {} already", mount.source, target.display())));
    }
    Ok(())
}

fn run(program: &str, args: &[&std::ffi::OsStr], what: &str) -> Result<(), ChangeError> {
    let Some(path) = RealHost.program(program) else {
        return Err(ChangeError::new(format!("{program} is not installed on this host")));
    };
    let out = Command::new(path).args(args).output().map_err(|e| ChangeError::new(format!("{program} can't be started: {e}")))?;
    if out.status.success() {
        return Ok(());
    }
    Err(ChangeError::new(format!("{what} failed: {}", String::from_utf8_lossy(&out.stderr).trim())))
}

fn kernel_options(options: &[String]) -> String {
    let all: Vec<&str> = options.iter().map(String::as_str).filter(|o| !o.starts_with("x-") && *o != "nofail").collect();
    if all.is_empty() { "defaults".into() } else { all.join(",") }
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
            options: self.0.options.iter().filter(|o| shown(o)).cloned().collect(),
        });
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        check_target(self.0, &RealHost)?;
        let device = device(self.0, &RealHost)?;
        let options = kernel_options(&self.0.options);
        let args: [&std::ffi::OsStr; 6] =
            ["-t".as_ref(), self.0.fstype.as_ref(), "-o".as_ref(), options.as_ref(), device.as_ref(), self.0.target.as_ref()];
        run("mount", &args, &format!("mounting {} on {}", device.display(), self.0.target.display()))?;
        Ok(Outcome::default())
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        let device = device(self.0, view)?;
        let target = self.0.target.display();
        let mount = topmost(view, &self.0.target)?
            .ok_or_else(|| ChangeError::new(format!("nothing is mounted on {target} although mounting succeeded")))?;
        let rdev = view.stat(&device, true)?.map(|s| s.rdev);
        if rdev != Some(mount.device) && mount.source != device.to_string_lossy() {
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
        match topmost(before, &self.0.target) {
            Ok(Some(mount)) => {
                format!("remount {}  options: + {}", self.0.target.display(), missing_options(&self.0.options, &mount).join(","))
            }
            _ => self.describe(),
        }
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        let target = &self.0.target;
        let mount = topmost(overlay, target)?.ok_or_else(|| ChangeError::new(format!("nothing is mounted on {}", target.display())))?;
        let missing = missing_options(&self.0.options, &mount);
        if let Some(fixed) = fixed_at_mount(&self.0.fstype, &missing) {
            return Err(fixed_error(target, fixed));
        }
        let mut options = mount.options.clone();
        options.extend(missing);
        overlay.set_mount_options(target, options);
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        let target = &self.0.target;
        let mount = topmost(&RealHost, target)?.ok_or_else(|| ChangeError::new(format!("nothing is mounted on {}", target.display())))?;
        if let Some(fixed) = fixed_at_mount(&self.0.fstype, &missing_options(&self.0.options, &mount)) {
            return Err(fixed_error(target, fixed));
        }
        let options = format!("remount,{}", kernel_options(&self.0.options));
        run("mount", &["-o".as_ref(), options.as_ref(), target.as_ref()], &format!("remounting {}", target.display()))?;
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

/// Whether all of `missing` can take effect by a remount.
pub fn changes_on_remount(fstype: &str, missing: &[String]) -> bool {
    fixed_at_mount(fstype, missing).is_none()
}

/// Options XFS takes only when mounting anew (Documentation/admin-guide/xfs.rst: a remount changes none but a few).
fn fixed_at_mount<'o>(fstype: &str, missing: &'o [String]) -> Option<&'o str> {
    const CHANGEABLE: &[&str] =
        &["inode32", "inode64", "noatime", "nodiratime", "relatime", "lazytime", "ro", "nosuid", "nodev", "noexec", "sync"];
    missing.iter().map(String::as_str).find(|o| fstype == "xfs" && !CHANGEABLE.contains(o))
}

fn fixed_error(target: &Path, option: &str) -> ChangeError {
    ChangeError::new(format!(
        "XFS takes {option} only when it is mounted anew: unmount {} (the entry in /etc/fstab has the option) and mount it again when nothing uses it",
        target.display()
    ))
}

impl Act for Unmount {
    fn describe(&self) -> String {
        format!("unmount {}", self.target.display())
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        if self.target == Path::new("/") {
            return Err(ChangeError::new("the root filesystem is not unmounted"));
        }
        if topmost(overlay, &self.target)?.is_none() {
            return Err(ChangeError::new(format!("nothing is mounted on {}", self.target.display())));
        }
        overlay.remove_mount(&self.target);
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        if self.target == Path::new("/") {
            return Err(ChangeError::new("the root filesystem is not unmounted"));
        }
        let unmounted = run("umount", &[self.target.as_ref()], &format!("unmounting {}", self.target.display()));
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
        let change = MountChange {
            source: mount.source.clone(),
            device: Some(mount.source.into()),
            target: self.target.clone(),
            fstype: mount.fstype,
            options: mount.options,
        };
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

    #[test]
    fn options_are_compared_by_what_they_mean() {
        let mount = |options: &str| Mount {
            target: "/m".into(),
            source: "/dev/x".into(),
            device: (8, 0),
            root: "/".into(),
            fstype: "xfs".into(),
            options: options.split(',').map(str::to_owned).collect(),
        };
        let wanted: Vec<String> = "noatime,nodiratime,logbufs=8,logbsize=256k,largeio,inode64,swalloc,allocsize=131072k,nofail"
            .split(',')
            .map(str::to_owned)
            .collect();
        let shown = mount("rw,noatime,nodiratime,attr2,largeio,inode64,swalloc,allocsize=131072k,logbufs=8,logbsize=256k,noquota");
        assert!(missing_options(&wanted, &shown).is_empty());
        assert_eq!(
            missing_options(&wanted, &mount("rw,noatime,inode64,logbufs=8,logbsize=32k")),
            ["logbsize=256k", "largeio", "swalloc", "allocsize=131072k"]
        );
        assert_eq!(canonical("allocsize=128m"), canonical("allocsize=131072k"));
    }
}
