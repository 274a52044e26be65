//! Making filesystems. The one change that destroys: everything about the disk is compared again right before.

use crate::host::act::Act;
use crate::host::block::{self, human};
use crate::host::change::MakeFilesystem;
use crate::host::{Change, ChangeError, Outcome, Overlay, Probe, RealHost, Signature, View, ViewError};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;

nix::ioctl_none!(
    /// BLKRRPART of linux/fs.h.
    reread_partitions,
    0x12,
    95
);

/// Why the disk is not (any more) what the plan looked at.
fn refuse(wanted: &MakeFilesystem, view: &dyn View) -> Result<(), ChangeError> {
    let path = &wanted.disk.path;
    let no = |why: String| ChangeError::new(format!("{} is not formatted: {why}", wanted.disk));
    let cannot = |e: ViewError| ChangeError::from(e).map(|e| no(e.to_owned()).message);
    let name = path.strip_prefix("/dev").unwrap_or(path).to_string_lossy().replace('/', "!");
    let disk = block::disk(view, &name).map_err(cannot)?.ok_or_else(|| no("the disk is gone".into()))?;
    if disk.identity() != wanted.disk {
        return Err(no(format!("it is another disk now: {}", disk.identity())));
    }
    let node = view.stat(path, true).map_err(cannot)?;
    if node.is_none_or(|n| n.kind != crate::host::FileKind::Block || n.rdev != wanted.disk.device) {
        return Err(no(format!("{} is not the device node of {}:{}", path.display(), wanted.disk.device.0, wanted.disk.device.1)));
    }
    let used = block::in_use(view, &disk).map_err(cannot)?;
    // Partitions may go where the operator named the disk with its partition table; everything else is in use.
    let table = wanted.destroys.iter().any(|s| s.partition_table);
    if let Some(why) = used.iter().find(|w| !(table && w.starts_with("has partitions"))) {
        return Err(no(format!("it {why}")));
    }
    let found = view.probe(path).map_err(cannot)?.signatures;
    if found != wanted.destroys {
        let words = |all: &[Signature]| {
            if all.is_empty() { "nothing".to_owned() } else { all.iter().map(name_signature).collect::<Vec<_>>().join(", ") }
        };
        return Err(no(format!("it holds {}, the plan found {}: plan again", words(&found), words(&wanted.destroys))));
    }
    Ok(())
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

/// Held while a disk is held exclusively and while a mkfs is being started.
static STARTING: Mutex<()> = Mutex::new(());

impl MakeFilesystem {
    fn result(&self) -> Probe {
        let signature =
            Signature { kind: self.fstype.clone(), partition_table: false, uuid: Some(self.uuid.clone()), label: self.label.clone() };
        Probe { signatures: vec![signature], zeroed: false }
    }
}

impl Act for MakeFilesystem {
    fn describe(&self) -> String {
        let what = if self.destroys.is_empty() { "blank" } else { "NOT BLANK" };
        format!("format {} ({}, {what}) as {}", self.disk.path.display(), human(self.disk.size), self.fstype.to_uppercase())
    }

    fn destroys(&self) -> Option<String> {
        if self.destroys.is_empty() {
            return None;
        }
        Some(format!("{} on {}", self.destroys.iter().map(name_signature).collect::<Vec<_>>().join(", "), self.disk))
    }

    fn predict(&self, overlay: &mut Overlay<'_>) -> Result<Outcome, ChangeError> {
        if overlay.program("mkfs.xfs").is_none() {
            return Err(ChangeError::new("mkfs.xfs is not installed on this host: install xfsprogs"));
        }
        refuse(self, overlay)?;
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
        refuse(self, &RealHost)?;
        // A child of another thread that is just being started has our descriptors until it is: none may start while a disk
        // is held, or its mkfs would find the disk busy.
        let starting = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The kernel gives a block device exclusively to one only: whoever mounts it, swaps to it, or has it in an array or a
        // volume group is in the way here.
        let held = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_EXCL).open(&self.disk.path);
        let held = held.map_err(|e| ChangeError::new(format!("{} is not formatted: somebody holds it ({e})", self.disk)))?;
        // Once more with the device held.
        refuse(self, &RealHost)?;
        let mut command = Command::new(program);
        command.arg("-m").arg(format!("uuid={}", self.uuid));
        if let Some(label) = &self.label {
            command.arg("-L").arg(label);
        }
        command.args(&self.options);
        if !self.destroys.is_empty() {
            // Exactly what was named is there, as seen above.
            command.arg("-f");
        }
        // mkfs.xfs takes the device exclusively itself, so it can't be held any longer; whoever is quicker makes it fail.
        drop(held);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let failed = |e: std::io::Error| ChangeError::new(format!("mkfs.xfs can't be run: {e}"));
        let child = command.arg(&self.disk.path).spawn().map_err(failed)?;
        drop(starting);
        let out = child.wait_with_output().map_err(failed)?;
        if out.status.success() {
            if self.destroys.iter().any(|s| s.partition_table) {
                // The kernel forgets the partitions that are gone. Where it can't now, it does at the next boot.
                if let Ok(device) = std::fs::File::open(&self.disk.path) {
                    // SAFETY: BLKRRPART takes no argument.
                    let _ = unsafe { reread_partitions(std::os::fd::AsRawFd::as_raw_fd(&device)) };
                }
            }
            return Ok(Outcome::default());
        }
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        Err(ChangeError::new(format!("mkfs.xfs failed on {}: {said}", self.disk)))
    }

    fn verify(&self, view: &dyn View) -> Result<(), ChangeError> {
        let found = view.probe(&self.disk.path)?;
        let fine = matches!(found.signatures.as_slice(), [s] if s.kind == self.fstype && s.uuid.as_deref() == Some(self.uuid.as_str()));
        if fine {
            return Ok(());
        }
        let all = found.signatures.iter().map(name_signature).collect::<Vec<_>>().join(", ");
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
