//! The overlay's own rules, on a made-up host.

use super::*;
use crate::host::{Probed, Signature};

#[test]
fn links_are_followed_in_the_merged_tree() {
    let mut host = Overlay::new(&Blank);
    host.set_file("/usr/lib/real", "x", 0o644, 0, 0);
    host.set_link("/lib", "usr/lib");
    host.set_link("/etc/a", "../lib/./real");
    let mut over = Overlay::new(&host);
    assert_eq!(over.read_text(Path::new("/etc/a")).unwrap(), "x");
    over.set_file("/lib/real", "y", 0o600, 1, 2);
    assert_eq!(over.read_text(Path::new("/etc/a")).unwrap(), "y");
    assert_eq!(over.read_text(Path::new("/usr/lib/real")).unwrap(), "y");
    assert_eq!(host.read_text(Path::new("/usr/lib/real")).unwrap(), "x", "what is below stays");
    over.remove("/usr/lib");
    assert_eq!(over.stat(Path::new("/etc/a"), true).unwrap(), None);
    assert!(over.stat(Path::new("/etc/a"), false).unwrap().is_some());
    assert!(over.list(Path::new("/usr")).unwrap().is_empty());
    over.set_link("/loop", "/loop");
    assert!(over.read(Path::new("/loop")).unwrap_err().to_string().contains("too many levels"));
}

#[test]
fn what_a_dry_run_cannot_know_is_never_guessed() {
    let mut host = Overlay::new(&Blank);
    host.set_file("/etc/x/a", "a", 0o644, 0, 0);
    let mut over = Overlay::new(&host);
    over.mark_unknown("/etc/x", "a command may change it");
    let unknown = ViewError::Unknown("a command may change it".into());
    assert_eq!(over.read(Path::new("/etc/x/a")), Err(unknown.clone()));
    assert_eq!(over.stat(Path::new("/etc/x/a"), true), Err(unknown.clone()));
    assert_eq!(over.list(Path::new("/etc")), Err(unknown));
    over.set_file("/etc/x", "now a file", 0o644, 0, 0);
    assert_eq!(over.list(Path::new("/etc")).unwrap(), ["x"]);
}

fn mount(source: &str, target: &str) -> Mount {
    Mount {
        target: target.into(),
        source: source.into(),
        device: (8, 16),
        root: "/".into(),
        fstype: "xfs".into(),
        options: vec!["rw".into()],
    }
}

#[test]
fn a_mount_hides_what_is_below_it() {
    let mut host = Overlay::new(&Blank);
    host.set_stat("/dev/sdb", Stat { kind: FileKind::Block, rdev: (8, 16), ..new_stat(FileKind::Block, 0o660, 0, 6) });
    host.set_stat("/dev/sdc", Stat { kind: FileKind::Block, rdev: (8, 32), ..new_stat(FileKind::Block, 0o660, 0, 6) });
    host.set_file("/data/sdb/old", "x", 0o644, 5, 5);
    let mut over = Overlay::new(&host);
    let xfs = Signature { kind: "xfs".into(), partition_table: false, uuid: None, label: None };
    over.set_probe("/dev/sdb", Probe { signatures: vec![xfs] });
    over.set_attributes("/data/sdb", true, Some(0o700), Some(7), Some(7));
    over.add_mount(mount("/dev/sdb", "/data/sdb"));
    assert!(over.list(Path::new("/data/sdb")).unwrap().is_empty());
    let stat = over.stat(Path::new("/data/sdb"), true).unwrap().unwrap();
    assert_eq!((stat.mode, stat.uid, stat.gid), (0o755, 0, 0));
    over.set_file("/data/sdb/new", "y", 0o644, 0, 0);
    assert_eq!(over.list(Path::new("/data/sdb")).unwrap(), ["new"]);
    assert_eq!(over.mounts().unwrap().len(), 1);
    over.remove_mount("/data/sdb");
    assert_eq!(over.list(Path::new("/data/sdb")).unwrap(), ["old"]);
    assert_eq!(over.stat(Path::new("/data/sdb"), true).unwrap().unwrap().mode, 0o700);

    // A filesystem nobody has seen yet: neither its files nor its root's owner are known, until set.
    over.add_mount(mount("/dev/sdc", "/data/sdb"));
    assert!(matches!(over.read(Path::new("/data/sdb/old")), Err(ViewError::Unknown(_))));
    assert!(matches!(over.stat(Path::new("/data/sdb"), true), Err(ViewError::Unknown(_))));
    over.set_attributes("/data/sdb", true, Some(0o750), Some(1), Some(1));
    assert_eq!(over.stat(Path::new("/data/sdb"), true).unwrap().unwrap().mode, 0o750);
    assert!(matches!(over.list(Path::new("/data/sdb")), Err(ViewError::Unknown(_))));
}

#[test]
fn a_predicted_unit_file_makes_a_unit() {
    let mut over = Overlay::new(&Blank);
    assert_eq!(over.unit("x").unwrap().load, "not-found");
    over.set_file("/etc/systemd/system/x.service", "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n", 0o644, 0, 0);
    let state = over.unit("x").unwrap();
    assert_eq!((state.load.as_str(), state.file.as_str()), ("loaded", "disabled"));
    over.set_unit("x.service", UnitState { active: "active".into(), ..state });
    assert_eq!(over.unit("x").unwrap().active, "active");
}

#[test]
fn systemd_must_read_again_what_changed_since_it_did() {
    let mut over = Overlay::new(&Blank);
    let needed = |over: &Overlay<'_>| over.unit("x").unwrap().properties.iter().any(|(k, v)| k == "NeedDaemonReload" && v == "yes");
    let write = |over: &mut Overlay<'_>, path: &str| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        over.set_file(path, "[Service]\nType=oneshot\nExecStart=/bin/true\n", 0o644, 0, 0);
    };
    write(&mut over, "/etc/systemd/system/x.service");
    assert!(!needed(&over), "a unit nobody has used yet is read when it is");
    let state = over.unit("x").unwrap();
    assert!(state.properties.contains(&("Type".into(), "oneshot".into())));
    over.set_unit("x", state);
    assert!(!needed(&over));
    write(&mut over, "/etc/systemd/system/x.service");
    assert!(needed(&over));
    assert!(needed(&Overlay::new(&over)), "seen through another overlay");
    over.reload_units();
    assert!(!needed(&over) && !needed(&Overlay::new(&over)));
    write(&mut over, "/etc/systemd/system/x.service.d/10-more.conf");
    assert!(needed(&over));
}

#[test]
fn programs_follow_predicted_files() {
    let mut host = Overlay::new(&Blank);
    host.set_file("/usr/sbin/mkfs.xfs", "", 0o755, 0, 0);
    host.set_file("/usr/bin/data", "", 0o644, 0, 0);
    let mut over = Overlay::new(&host);
    assert_eq!(over.program("mkfs.xfs"), Some("/usr/sbin/mkfs.xfs".into()));
    assert_eq!(over.program("data"), None, "not executable");
    over.remove("/usr/sbin/mkfs.xfs");
    assert_eq!(over.program("mkfs.xfs"), None);
}

#[test]
fn devices_are_probed_together_as_one_by_one() {
    let signed = |kind: &str| Probe { signatures: vec![Signature { kind: kind.into(), partition_table: false, uuid: None, label: None }] };
    let mut host = Overlay::new(&Blank);
    for (i, name) in ["/dev/sda", "/dev/sdb", "/dev/sdc", "/dev/sdd"].into_iter().enumerate() {
        host.set_stat(name, Stat { kind: FileKind::Block, rdev: (8, i as u32 * 16), ..new_stat(FileKind::Block, 0o660, 0, 6) });
        host.set_probe(name, signed(name));
    }
    let mut over = Overlay::new(&host);
    over.set_probe("/dev/sdb", signed("xfs"));
    over.mark_unknown("/dev/sdc", "a command may change it");
    over.set_link("/dev/disk", "sda");
    let paths: Vec<PathBuf> = ["sdd", "sdc", "disk", "sdb", "none", "sda"].iter().map(|n| Path::new("/dev").join(n)).collect();
    let one_by_one: Vec<_> = paths.iter().map(|p| over.probe(p)).collect();
    assert_eq!(one_by_one[3], Ok(signed("xfs")));
    assert_eq!(over.probe_all(&paths), one_by_one);
    // Read once, it is not asked again, whatever comes.
    let probed = Probed::new(&over, &paths[..5]);
    assert_eq!(paths.iter().map(|p| probed.probe(p)).collect::<Vec<_>>(), one_by_one);
}
