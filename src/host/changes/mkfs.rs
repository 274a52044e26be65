//! Making filesystems. The one change that destroys: everything about the disk is compared again right before.

use crate::host::act::Act;
use crate::host::block::{self, Disk, human};
use crate::host::change::MakeFilesystem;
use crate::host::{Change, ChangeError, Outcome, Overlay, Probe, RealHost, Signature, View, ViewError, probe};
use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

nix::ioctl_none!(
    /// BLKRRPART of linux/fs.h.
    reread_partitions,
    0x12,
    95
);

/// The disk the plan looked at, if it still is that one.
fn same_disk(wanted: &MakeFilesystem, view: &dyn View) -> Result<Disk, ChangeError> {
    let path = &wanted.disk.path;
    let name = path.strip_prefix("/dev").unwrap_or(path).to_string_lossy().replace('/', "!");
    let disk = block::disk(view, &name)?.ok_or_else(|| ChangeError::new("the disk is gone"))?;
    if disk.identity() != wanted.disk {
        return Err(ChangeError::new(format!("it is another disk now: {}", disk.identity())));
    }
    let node = view.stat(path, true)?;
    if node.is_none_or(|n| n.kind != crate::host::FileKind::Block || n.rdev != wanted.disk.device) {
        let (major, minor) = wanted.disk.device;
        return Err(ChangeError::new(format!("{} is not the device node of {major}:{minor}", path.display())));
    }
    Ok(disk)
}

/// The disk, if it is what the plan looked at still, and nothing uses it.
fn unused(wanted: &MakeFilesystem, view: &dyn View) -> Result<Disk, ChangeError> {
    let not = |e: ChangeError| e.map(|e| format!("{} is not formatted: {e}", wanted.disk));
    let disk = same_disk(wanted, view).map_err(not)?;
    let used = block::in_use(view, &disk).map_err(|e| not(e.into()))?;
    // What partitions hold is compared with the plan; everything else is in use.
    match used.iter().find(|w| !w.starts_with("has partitions")) {
        Some(why) => Err(not(ChangeError::new(format!("it {why}")))),
        None => Ok(disk),
    }
}

/// The disk, if it is what the plan looked at still, unused, and holds what it held.
fn refuse(wanted: &MakeFilesystem, view: &dyn View) -> Result<Disk, ChangeError> {
    let no = |why: String| ChangeError::new(format!("{} is not formatted: {why}", wanted.disk));
    let cannot = |e: ViewError| ChangeError::from(e).map(|e| no(e.to_owned()).message);
    let disk = unused(wanted, view)?;
    let found = view.probe(&wanted.disk.path).map_err(cannot)?.signatures;
    let partitions = partitions_hold(view, &disk).map_err(cannot)?;
    if found != wanted.destroys || partitions != wanted.partitions {
        let words = |found, partitions| Some(name_all(found, partitions)).filter(|t| !t.is_empty()).unwrap_or_else(|| "nothing".into());
        let (now, then) = (words(&found, &partitions), words(&wanted.destroys, &wanted.partitions));
        return Err(no(format!("it holds {now}, the plan found {then}: plan again")));
    }
    Ok(disk)
}

/// What each partition of a disk holds, in words: `ext4 "backup" (sdb1)`.
pub fn partitions_hold(view: &dyn View, disk: &Disk) -> Result<Vec<String>, ViewError> {
    let hold = |part: &String| {
        let held = name_all(&view.probe(&Path::new("/dev").join(part))?.signatures, &[]);
        Ok(format!("{} ({part})", if held.is_empty() { "an empty partition" } else { &held }))
    };
    disk.partitions.iter().map(hold).collect()
}

/// All that a disk and its partitions hold.
pub fn name_all(signatures: &[Signature], partitions: &[String]) -> String {
    signatures.iter().map(name_signature).chain(partitions.iter().cloned()).collect::<Vec<_>>().join(", ")
}

/// `ext4 "backup"`.
pub fn name_signature(signature: &Signature) -> String {
    let kind = if signature.partition_table { format!("a partition table ({})", signature.kind) } else { signature.kind.clone() };
    match (&signature.label, &signature.uuid) {
        (Some(label), _) => format!("{kind} {label:?}"),
        (None, Some(uuid)) => format!("{kind} {uuid}"),
        _ => kind,
    }
}

/// Held from letting a disk go until its mkfs has started.
static STARTING: Mutex<()> = Mutex::new(());

/// How long a disk that was let go may still be held: a child that another thread has started has our descriptors until the kernel
/// closes them, on the way to its own program. That takes microseconds; on a host where hundreds of processes wait for a processor,
/// many times more.
const LET_GO: Duration = Duration::from_secs(10);

/// Lets a disk go, and waits until nobody holds it. False: somebody still does.
fn let_go(held: File, path: &Path) -> bool {
    drop(held);
    let begun = Instant::now();
    while RealHost.is_held(path) {
        if begun.elapsed() > LET_GO {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

impl MakeFilesystem {
    fn is_blank(&self) -> bool {
        self.destroys.is_empty() && self.partitions.is_empty()
    }

    /// Takes away what was named, and seen to be there: all of it, since mkfs.xfs clears less than what others write their
    /// marks to, and the kernel's list of partitions too, which mkfs may not outlive.
    fn clear(&self, held: &File) -> std::io::Result<()> {
        probe::clear(held, self.disk.size)?;
        // Where the kernel can't now (or has no partitions for such a device), it does at the next boot.
        // SAFETY: BLKRRPART takes no argument.
        let _ = unsafe { reread_partitions(std::os::fd::AsRawFd::as_raw_fd(held)) };
        Ok(())
    }

    fn result(&self) -> Probe {
        let signature =
            Signature { kind: self.fstype.clone(), partition_table: false, uuid: Some(self.uuid.clone()), label: self.label.clone() };
        Probe { signatures: vec![signature] }
    }
}

impl Act for MakeFilesystem {
    fn describe(&self) -> String {
        let what = if self.is_blank() { "blank" } else { "NOT BLANK" };
        format!("format {} ({}, {what}) as {}", self.disk.path.display(), human(self.disk.size), self.fstype.to_uppercase())
    }

    fn destroys(&self) -> Option<String> {
        (!self.is_blank()).then(|| format!("{} on {}", name_all(&self.destroys, &self.partitions), self.disk))
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        if overlay.program("mkfs.xfs").is_none() {
            return Err(ChangeError::new("mkfs.xfs is not installed on this host: install xfsprogs"));
        }
        let disk = refuse(self, overlay)?;
        for part in &disk.partitions {
            overlay.remove(Path::new("/sys/block").join(&disk.name).join(part));
        }
        overlay.set_probe(&self.disk.path, self.result());
        Ok(Outcome::default())
    }

    fn perform(&self) -> Result<Outcome, ChangeError> {
        if self.fstype != "xfs" {
            return Err(ChangeError::new(format!("{} is not a filesystem fettle makes", self.fstype)));
        }
        let Some(program) = RealHost.program("mkfs.xfs") else {
            return Err(ChangeError::new("mkfs.xfs is not installed on this host: install xfsprogs"));
        };
        // Why not, in better words than the kernel's below.
        unused(self, &RealHost)?;
        // The kernel gives a block device exclusively to one only: whoever mounts it, swaps to it, or has it in an array or a
        // volume group is in the way here.
        let not = |why: String| ChangeError::new(format!("{} is not formatted: {why}", self.disk));
        let held = std::fs::OpenOptions::new().read(true).write(!self.is_blank()).custom_flags(nix::libc::O_EXCL).open(&self.disk.path);
        let held = held.map_err(|e| not(format!("somebody holds it ({e})")))?;
        // With the device held.
        refuse(self, &RealHost)?;
        let rdev = held.metadata().map_err(|e| not(e.to_string()))?.rdev();
        if (nix::libc::major(rdev), nix::libc::minor(rdev)) != self.disk.device {
            return Err(not("its device node is another disk's now".into()));
        }
        if !self.is_blank() {
            self.clear(&held).map_err(|e| ChangeError::new(format!("{} can't be cleared: {e}", self.disk)))?;
        }
        let mut command = Command::new(program);
        command.arg("-m").arg(format!("uuid={}", self.uuid));
        if let Some(label) = &self.label {
            command.arg("-L").arg(label);
        }
        command.args(&self.options);
        if !self.is_blank() {
            // Exactly what was named is there, as seen above.
            command.arg("-f");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).arg(&self.disk.path);
        let failed = |e: std::io::Error| ChangeError::new(format!("mkfs.xfs can't be run: {e}"));
        let child = {
            let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
            // mkfs.xfs takes the device exclusively itself, so it can't be held any longer; whoever is quicker makes it fail.
            if !let_go(held, &self.disk.path) {
                let done = if self.is_blank() { "" } else { "was cleared, but " };
                return Err(ChangeError::new(format!(
                    "{} {done}is not formatted: somebody took it as it was let go (lsblk and lsof say who); run it again when it is free",
                    self.disk
                )));
            }
            command.spawn().map_err(failed)?
        };
        let out = child.wait_with_output().map_err(failed)?;
        if out.status.success() {
            return Ok(Outcome::default());
        }
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        Err(ChangeError::new(format!("mkfs.xfs failed on {}: {said}", self.disk)))
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        // Another disk may hold a copy.
        same_disk(self, view).map_err(|e| e.map(|e| format!("{} can't be read back: {e}", self.disk)))?;
        // Nothing else was there, so nothing else can be.
        if self.is_blank() && view.holds(&self.disk.path, &self.uuid)? {
            return Ok(());
        }
        let found = view.probe(&self.disk.path)?;
        let fine = matches!(found.signatures.as_slice(), [s] if s.kind == self.fstype && s.uuid.as_deref() == Some(self.uuid.as_str()));
        if fine {
            return Ok(());
        }
        let all = name_all(&found.signatures, &[]);
        Err(ChangeError::new(format!(
            "{} should now hold {} {}, but holds {}",
            self.disk,
            self.fstype,
            self.uuid,
            if all.is_empty() { "nothing" } else { &all }
        )))
    }

    fn undo(&self, _: &dyn View) -> Result<Vec<Change>, String> {
        Err(format!("what was on {} before its filesystem was made can't be brought back", self.disk))
    }
}
