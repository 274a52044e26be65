//! Disks as an operator chooses them: size, kind, what uses them, what is written on them. Gathered only when asked for by name,
//! since it reads every disk's beginning and end.

use crate::host::{View, block};
use serde_json::{Map, Value as Json, json};

/// Gathers them into `fettle_disks`, by name. `signatures` is null where the disk can't be read (it needs root), and `used` says
/// why a disk must not be formatted; `mounted`: where the whole disk is mounted, and as what.
pub fn gather(view: &dyn View, facts: &mut Map<String, Json>) {
    let mounts = view.mounts().unwrap_or_default();
    let mut all = vec![];
    for disk in block::disks(view).unwrap_or_default() {
        let mount = mounts.iter().rev().find(|m| m.device == disk.device || m.source == disk.path.to_string_lossy());
        let used = block::in_use(view, &disk).unwrap_or_else(|e| vec![format!("can't be looked at: {e}")]);
        let signatures = view.probe(&disk.path).ok().map(|p| p.signatures.iter().map(crate::host::name_signature).collect::<Vec<_>>());
        all.push(json!({
            "name": disk.name, "path": disk.path, "size": disk.size, "serial": disk.serial, "wwn": disk.wwn, "model": disk.model,
            "rotational": disk.rotational, "removable": disk.removable, "used": used, "signatures": signatures,
            "mounted": mount.map(|m| json!({"target": m.target, "fstype": m.fstype})),
        }));
    }
    facts.insert("fettle_disks".into(), all.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Blank, Mount, Overlay};

    #[test]
    fn disks_tell_what_uses_them() {
        let mut host = Overlay::new(&Blank);
        for (name, dev) in [("sda", "8:0"), ("sdb", "8:16")] {
            for (file, text) in [("size", "2097152"), ("dev", dev), ("ro", "0"), ("removable", "0"), ("queue/rotational", "1")] {
                host.set_file(format!("/sys/block/{name}/{file}"), text, 0o444, 0, 0);
            }
        }
        host.add_mount(Mount {
            target: "/ais/sdb".into(),
            source: "/dev/sdb".into(),
            device: (8, 16),
            root: "/".into(),
            fstype: "xfs".into(),
            options: vec![],
        });
        let mut facts = Map::new();
        gather(&host, &mut facts);
        let disks = facts["fettle_disks"].as_array().unwrap();
        assert_eq!((&disks[0]["name"], &disks[0]["used"], &disks[0]["mounted"]), (&json!("sda"), &json!([]), &Json::Null));
        assert_eq!(disks[1]["used"], json!(["is mounted on /ais/sdb"]));
        assert_eq!(disks[1]["mounted"], json!({"target": "/ais/sdb", "fstype": "xfs"}));
        assert_eq!(disks[1]["size"], 1 << 30);
    }
}
