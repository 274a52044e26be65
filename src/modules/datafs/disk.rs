//! What is to be done with one disk.

use super::place::{Place, foreign, free_uuid, not_in_fstab};
use super::{Steps, content};
use crate::host::block::{self, Disk};
use crate::host::change::{MakeFilesystem, MountChange};
use crate::host::fstab::{Entry, Fstab};
use crate::host::{Change, FileKind, Mount, Probe, View, ViewError, changes_on_remount, is_whole, missing_options, partitions_hold};
use crate::modules::PlanError;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The options AIStore's guide recommends for data filesystems (ais-k8s, datafs_mount; `nobarrier` is gone from the
/// kernel), with `nofail`: a host with a dead disk still boots.
pub const OPTIONS: &str = "noatime,nodiratime,logbufs=8,logbsize=256k,largeio,inode64,swalloc,allocsize=131072k,nofail";

/// Bytes of an XFS label (xfs_fs.h, XFSLABEL_MAX).
pub const LABEL_LIMIT: usize = 12;

/// The smallest XFS that mkfs.xfs makes (300 MB since xfsprogs 5.19).
const LEAST: u64 = 300 << 20;

/// One disk the operator names.
#[derive(Debug)]
pub struct Wanted {
    /// As named.
    pub device: String,
    /// Where to mount it; `None`: below the prefix, under its kernel name.
    pub path: Option<PathBuf>,
    /// Label.
    pub label: Option<String>,
    /// The prefix.
    pub prefix: PathBuf,
}

/// What holds for all disks.
#[derive(Debug)]
pub struct Settings {
    /// Mount options.
    pub options: Vec<String>,
    /// Disks, and filesystems by UUID, that may be destroyed.
    pub wipe: Vec<String>,
    /// Foreign XFS is mounted as it is.
    pub adopt: bool,
    /// `/etc/machine-id`.
    pub machine_id: String,
}

/// A disk that was found, and what it is for.
pub(super) struct Chosen<'d> {
    pub disk: &'d Disk,
    /// What it holds.
    pub held: Probe,
    /// Its mount point.
    pub place: Place,
    /// The label asked for.
    pub label: Option<String>,
}

/// Why a disk is left alone.
#[derive(Debug)]
pub enum Refused {
    /// For these reasons.
    No(Vec<String>),
    /// Looking failed.
    Plan(PlanError),
}

impl From<ViewError> for Refused {
    fn from(e: ViewError) -> Self {
        Self::Plan(e.into())
    }
}

pub(super) fn no<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::No(vec![why.into()]))
}

/// The UUID our filesystem on this disk of this host has: version 8 (RFC 9562, "custom"), from what identifies both.
/// `count` tells several such disks apart that identify themselves alike.
pub fn uuid(machine_id: &str, disk: &Disk, count: usize) -> String {
    let who = disk.wwn.as_deref().or(disk.serial.as_deref()).unwrap_or(&disk.name);
    let more = if count > 0 { format!("\n{count}") } else { String::new() };
    let digest = Sha256::digest(format!("fettle datafs\n{machine_id}\n{who}\n{}{more}", disk.size));
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    uuid::Uuid::from_bytes(bytes).to_string()
}

/// Refuses a mount that is not this disk's whole filesystem.
fn whole(mount: &Mount, disk: &Disk) -> Result<(), Refused> {
    if is_whole(mount, &disk.path, disk.device) {
        return Ok(());
    }
    let what = if mount.root == "/" { String::new() } else { format!("the folder {} of ", mount.root) };
    no(format!("{what}{} is mounted on {} already", mount.source, mount.target.display()))
}

/// The topmost mount on `target`.
pub(super) fn mount_at(view: &dyn View, target: &Path) -> Result<Option<Mount>, ViewError> {
    Ok(view.mounts()?.into_iter().rev().find(|m| m.target == target))
}

/// Makes, enters into fstab and mounts; returns the filesystem's UUID.
pub(super) fn mounted(
    view: &dyn View,
    chosen: &Chosen<'_>,
    settings: &Settings,
    fstab: &mut Fstab,
    steps: &mut Steps,
) -> Result<String, Refused> {
    let Chosen { disk, held, place: Place { target, listed }, label } = chosen;
    let found = &held.signatures;
    let entry = match fstab.at(listed) {
        Ok(entry) => entry,
        Err(e) => return no(e),
    };
    if let Some(entry) = &entry {
        foreign(view, disk, held, entry)?;
    }
    let ours = free_uuid(&settings.machine_id, disk, listed, fstab);
    let here = mount_at(view, target)?;
    if let Some(mount) = &here {
        whole(mount, disk)?;
        let Some(uuid) = found.iter().find(|s| s.kind == "xfs").and_then(|s| s.uuid.clone()) else {
            return no(format!("it is mounted on {} as {}, not as XFS: unmount it first", target.display(), mount.fstype));
        };
        let missing = missing_options(&settings.options, mount);
        if !missing.is_empty() {
            if changes_on_remount("xfs", &missing) {
                steps.mount.push(Change::Remount(change(disk, target, &uuid, settings)));
            } else {
                steps.warnings.push(format!(
                    "{} is not mounted with {}; XFS takes that only when it is mounted anew (at the next boot, or unmount and mount it when nothing uses it)",
                    target.display(),
                    missing.join(",")
                ));
            }
        }
        label_stays(chosen, steps);
        return enter(fstab, listed, &uuid, settings);
    }
    let wiped = content::is_named(view, disk, found, settings);
    // What partitions hold is told below.
    let used = block::in_use(view, disk)?.into_iter().filter(|u| !u.starts_with("has partitions"));
    let used: Vec<String> = used.map(|u| format!("it {u}")).collect();
    if !used.is_empty() {
        return Err(Refused::No(used));
    }
    match view.stat(target, true)? {
        None => {}
        Some(stat) if stat.kind != FileKind::Directory => return no(format!("{} is not a directory", target.display())),
        Some(_) => {
            if let Some(first) = view.list(target)?.first() {
                return no(format!("{} is not empty (it holds {first}): mounting would hide that; move it away", target.display()));
            }
        }
    }
    let by_entry = |uuid: &str| entry.as_ref().is_some_and(|e| e.source.eq_ignore_ascii_case(&format!("UUID={uuid}")));
    let kept = match found.as_slice() {
        [] => None,
        [one] if one.kind == "xfs" => one.uuid.clone().filter(|u| *u == ours || by_entry(u) || (settings.adopt && !wiped)),
        _ => None,
    };
    let uuid = match kept {
        Some(uuid) => {
            if !disk.partitions.is_empty() {
                // mkfs was cut off before the kernel forgot them. They are in nobody's way.
                let (path, parts) = (disk.path.display(), disk.partitions.join(", "));
                steps.warnings.push(format!(
                    "{path} has no partition table any more, but the kernel still lists {parts}: until the next boot, or blockdev --rereadpt {path}"
                ));
            }
            label_stays(chosen, steps);
            uuid
        }
        None => {
            let partitions = partitions_hold(view, disk)?;
            if !(wiped || content::is_unfinished(found) || (found.is_empty() && partitions.is_empty())) {
                return no(content::not_blank(disk, found, &partitions));
            }
            not_in_fstab(view, disk, &fstab.entries())?;
            if view.is_held(&disk.path) {
                return no(
                    "somebody holds it: it (or a partition of it) is mounted in another mount namespace, or a program has opened it for itself alone",
                );
            }
            if disk.size < LEAST {
                return no(format!("it has {}, and XFS needs {}", block::human(disk.size), block::human(LEAST)));
            }
            steps.format.push(Change::MakeFilesystem(MakeFilesystem {
                disk: disk.identity(),
                fstype: "xfs".into(),
                uuid: ours.clone(),
                label: label.clone(),
                options: vec![],
                destroys: found.clone(),
                partitions,
            }));
            ours
        }
    };
    steps.mount.push(Change::Mount(change(disk, target, &uuid, settings)));
    steps.mount_points.push(target.clone());
    enter(fstab, listed, &uuid, settings)
}

/// Says so where an existing filesystem has another label than the one asked for.
fn label_stays(chosen: &Chosen<'_>, steps: &mut Steps) {
    let has = chosen.held.signatures.iter().find(|s| s.kind == "xfs").and_then(|s| s.label.as_deref());
    if let Some(wanted) = chosen.label.as_deref().filter(|wanted| has != Some(*wanted)) {
        let path = chosen.disk.path.display();
        steps.warnings.push(format!(
            "{path} keeps its label ({}), though {wanted} is asked for: a label is given when a filesystem is made. While it is not mounted, \
             xfs_admin -L {wanted} {path} changes it",
            has.unwrap_or("none")
        ));
    }
}

fn change(disk: &Disk, target: &Path, uuid: &str, settings: &Settings) -> MountChange {
    MountChange {
        source: format!("UUID={uuid}"),
        device: Some(disk.path.clone()),
        target: target.to_owned(),
        fstype: "xfs".into(),
        options: settings.options.clone(),
    }
}

/// Brings the fstab entry into its form; an entry that says the same already keeps its bytes.
fn enter(fstab: &mut Fstab, target: &Path, uuid: &str, settings: &Settings) -> Result<String, Refused> {
    let wanted = Entry {
        source: format!("UUID={uuid}"),
        target: target.to_owned(),
        fstype: "xfs".into(),
        options: settings.options.clone(),
        line: 0,
    };
    let same = |e: &Entry| e.source.eq_ignore_ascii_case(&wanted.source) && e.fstype == wanted.fstype && e.options == wanted.options;
    match fstab.at(target) {
        Ok(Some(entry)) if same(&entry) => {}
        _ => fstab.set(&wanted).map_err(|e| Refused::No(vec![e]))?,
    }
    Ok(uuid.to_owned())
}

/// Unmounts, and takes the entry out where `absent`. Data is not touched.
pub(super) fn unmounted(
    view: &dyn View,
    chosen: &Chosen<'_>,
    absent: bool,
    fstab: &mut Fstab,
    steps: &mut Steps,
) -> Result<String, Refused> {
    let Chosen { disk, held, place, .. } = chosen;
    if let Some(mount) = mount_at(view, &place.target)? {
        whole(&mount, disk)?;
        steps.unmount(&place.target);
    }
    if absent {
        if let Ok(Some(entry)) = fstab.at(&place.listed) {
            foreign(view, disk, held, &entry)?;
        }
        fstab.remove(&place.listed).or_else(no)?;
    }
    Ok(held.signatures.iter().find(|s| s.kind == "xfs").and_then(|s| s.uuid.clone()).unwrap_or_default())
}
