//! What a disk holds, and whether that may go.

use super::disk::Settings;
use crate::host::block::{self, Disk};
use crate::host::probe::UNFINISHED_XFS;
use crate::host::{FileKind, Signature, View, ViewError, name_all};
use std::path::Path;

/// Whether this is an XFS that fettle has made, on whatever host: its UUID is of version 8 ([`super::disk::uuid`]). mkfs.xfs's own are
/// of version 4.
fn is_made_by_fettle(signature: &Signature) -> bool {
    let uuid = signature.uuid.as_deref().and_then(|u| uuid::Uuid::parse_str(u).ok());
    signature.kind == "xfs" && uuid.is_some_and(|u| u.get_version_num() == 8)
}

/// Whether all that is there is what an interrupted mkfs of fettle's has left.
pub(super) fn is_unfinished(found: &[Signature]) -> bool {
    matches!(found, [one] if one.kind == UNFINISHED_XFS && is_made_by_fettle(&Signature { kind: "xfs".into(), ..one.clone() }))
}

/// Whether `wipe` names this. A filesystem of fettle's own is named by its UUID only: the names of disks may stand in an inventory for
/// years, and a host that is installed anew knows its own filesystems no more.
pub(super) fn is_named(view: &dyn View, disk: &Disk, found: &[Signature], settings: &Settings) -> bool {
    let own = found.iter().any(is_made_by_fettle);
    settings.wipe.iter().any(|name| holds(found, name) || (!own && names(view, disk, name)))
}

/// Whether `name` is the UUID of something there.
fn holds(found: &[Signature], name: &str) -> bool {
    found.iter().any(|s| s.uuid.as_deref().is_some_and(|u| u.eq_ignore_ascii_case(name)))
}

/// Whether `name` is one of the disk's names, or leads to its node.
fn names(view: &dyn View, disk: &Disk, name: &str) -> bool {
    disk.answers_to(name)
        || view.stat(Path::new(name), true).ok().flatten().is_some_and(|s| s.kind == FileKind::Block && s.rdev == disk.device)
}

/// Why what is there stays, and how to insist.
pub(super) fn not_blank(disk: &Disk, found: &[Signature], partitions: &[String]) -> String {
    let what = name_all(found, partitions);
    let adopt = if found.iter().any(|s| s.kind == "xfs") { ", or mount it as it is: adopt: true" } else { "" };
    if let Some(uuid) = found.iter().find(|s| is_made_by_fettle(s)).and_then(|s| s.uuid.as_ref()) {
        return format!(
            "it is not blank, it holds {what}, which fettle has made (on another host, or before this one was installed anew). To destroy \
             that, name the filesystem, not the disk: wipe: [\"{uuid}\"]{adopt}"
        );
    }
    let name = disk.serial.as_deref().or(disk.wwn.as_deref()).map_or_else(|| disk.path.display().to_string(), str::to_owned);
    format!("it is not blank, it holds {what}. To destroy that, name it: wipe: [\"{name}\"]{adopt}")
}

/// What is wrong with `wipe` itself: (errors, warnings). A disk that is there must be one of `chosen`; one that is not there any more may
/// stay named, and so may a filesystem that is gone.
pub(super) fn misnamed(view: &dyn View, disks: &[Disk], chosen: &[(&Disk, Vec<Signature>)], wipe: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut wrong, mut gone) = (vec![], vec![]);
    for name in wipe.iter().filter(|name| !chosen.iter().any(|(disk, found)| holds(found, name) || names(view, disk, name))) {
        let stray = |disk: &Disk| format!("wipe: {} (`{name}`) is not among the disks this task is about", disk.identity());
        match block::find(view, disks, name) {
            Ok(disk) => wrong.push(stray(disk)),
            Err(_) if uuid::Uuid::parse_str(name).is_ok() => {
                let holder = disks.iter().find(|d| view.probe(&d.path).is_ok_and(|p| holds(&p.signatures, name)));
                wrong.extend(holder.map(stray));
            }
            Err(e) if disks.iter().any(|d| d.answers_to(name)) || view.stat(Path::new(name), true).is_ok_and(|s| s.is_some()) => {
                wrong.push(format!("wipe: {e}"));
            }
            Err(e) => gone.push(format!("wipe: {e}")),
        }
    }
    (wrong, gone)
}

/// Which of the chosen disks are another disk over again: one that is chosen too, or one in use.
pub(super) fn twins(view: &dyn View, disks: &[Disk], chosen: &[&Disk]) -> Result<Vec<String>, ViewError> {
    let mut why = vec![];
    for (i, disk) in chosen.iter().enumerate() {
        for other in disks.iter().filter(|d| d.device != disk.device && d.is_same_as(disk)) {
            let is_one = format!(
                "{}: it is the same disk as {}: WWN (or serial number) and size are the same",
                disk.identity(),
                other.path.display()
            );
            if let Some(at) = chosen.iter().position(|c| c.device == other.device) {
                if at > i {
                    why.push(format!("{is_one}. Name one of them"));
                }
            } else if let Some(used) = block::in_use(view, other)?.first() {
                why.push(format!("{is_one}, and that {used}"));
            }
        }
    }
    Ok(why)
}
