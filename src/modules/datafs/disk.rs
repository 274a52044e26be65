//! What is to be done with one disk.

use super::place::{Place, foreign, free_uuid};
use super::{Steps, place};
use crate::host::block::{self, Disk};
use crate::host::change::{MakeFilesystem, MountChange};
use crate::host::fstab::{Entry, Fstab};
use crate::host::{Change, FileKind, Mount, View, ViewError, changes_on_remount, is_whole, missing_options};
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
    /// Disks that may be destroyed.
    pub wipe: Vec<String>,
    /// Foreign XFS is mounted as it is.
    pub adopt: bool,
    /// `/etc/machine-id`.
    pub machine_id: String,
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
    disk: &Disk,
    place: &Place,
    label: Option<&str>,
    settings: &Settings,
    fstab: &mut Fstab,
    steps: &mut Steps,
) -> Result<String, Refused> {
    let Place { target, listed } = place;
    let probe = view.probe(&disk.path)?;
    let entry = match fstab.at(listed) {
        Ok(entry) => entry,
        Err(e) => return no(e),
    };
    if let Some(entry) = &entry {
        foreign(view, disk, &probe, entry)?;
    }
    let found = probe.signatures;
    let ours = free_uuid(&settings.machine_id, disk, listed, fstab);
    let here = mount_at(view, target)?;
    if let Some(mount) = &here {
        whole(mount, disk)?;
        let Some(held) = found.iter().find(|s| s.kind == "xfs").and_then(|s| s.uuid.clone()) else {
            return no(format!("it is mounted on {} as {}, not as XFS: unmount it first", target.display(), mount.fstype));
        };
        let missing = missing_options(&settings.options, mount);
        if !missing.is_empty() {
            if changes_on_remount("xfs", &missing) {
                steps.mount.push(Change::Remount(change(disk, target, &held, settings)));
            } else {
                steps.warnings.push(format!(
                    "{} is not mounted with {}; XFS takes that only when it is mounted anew (at the next boot, or unmount and mount it when nothing uses it)",
                    target.display(),
                    missing.join(",")
                ));
            }
        }
        return enter(fstab, listed, &held, settings);
    }
    let table = found.iter().any(|s| s.partition_table);
    let wiped = settings.wipe.iter().any(|w| {
        disk.answers_to(w)
            || view.stat(Path::new(w), true).ok().flatten().is_some_and(|s| s.kind == FileKind::Block && s.rdev == disk.device)
    });
    let used: Vec<String> = block::in_use(view, disk)?
        .into_iter()
        .filter(|u| !(wiped && table && u.starts_with("has partitions")))
        .map(|u| format!("it {u}"))
        .collect();
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
        Some(uuid) => uuid,
        None => {
            if !found.is_empty() && !wiped {
                let what = found.iter().map(crate::host::name_signature).collect::<Vec<_>>().join(", ");
                let name = disk.serial.as_deref().or(disk.wwn.as_deref()).map_or_else(|| disk.path.display().to_string(), str::to_owned);
                let adopt = if found.iter().any(|s| s.kind == "xfs") { ", or mount it as it is: adopt: true" } else { "" };
                return no(format!("it is not blank, it holds {what}. To destroy that, name it: wipe: [\"{name}\"]{adopt}"));
            }
            if disk.size < LEAST {
                return no(format!("it has {}, and XFS needs {}", block::human(disk.size), block::human(LEAST)));
            }
            steps.format.push(Change::MakeFilesystem(MakeFilesystem {
                disk: disk.identity(),
                fstype: "xfs".into(),
                uuid: ours.clone(),
                label: label.map(str::to_owned),
                options: vec![],
                destroys: found,
            }));
            ours
        }
    };
    steps.mount.push(Change::Mount(change(disk, target, &uuid, settings)));
    steps.mount_points.push(target.clone());
    enter(fstab, listed, &uuid, settings)
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
    disk: &Disk,
    place: &Place,
    absent: bool,
    fstab: &mut Fstab,
    steps: &mut Steps,
) -> Result<String, Refused> {
    if let Some(mount) = mount_at(view, &place.target)? {
        whole(&mount, disk)?;
        steps.unmount(&place.target);
    }
    if absent {
        if let Ok(Some(entry)) = fstab.at(&place.listed) {
            foreign(view, disk, &place::held(view, disk, false)?, &entry)?;
        }
        fstab.remove(&place.listed).or_else(no)?;
    }
    let found = place::held(view, disk, false)?.signatures;
    Ok(found.into_iter().find(|s| s.kind == "xfs").and_then(|s| s.uuid).unwrap_or_default())
}
