//! The planner on made-up hosts.

use super::*;
use crate::host::{Blank, FileKind, Mount, Overlay, Probe, Signature, Stat, apply};
use crate::modules::{Files, SourceFile};

mod content;
mod mounts;

struct NoFiles;

impl Files for NoFiles {
    fn get(&self, name: &str, _: &str) -> Result<SourceFile, PlanError> {
        Err(PlanError::failed(name))
    }

    fn list(&self, _: &str, _: &str) -> Result<Option<Vec<String>>, PlanError> {
        Ok(None)
    }
}

fn host() -> Overlay<'static> {
    host_with(["SER-sda", "SER-sdb", "SER-sdc"])
}

/// A host with these serial numbers as sda, sdb and sdc; an empty one is none.
fn host_with(serials: [&str; 3]) -> Overlay<'static> {
    let mut o = Overlay::new(&Blank);
    for ((name, minor), serial) in [("sda", 0u32), ("sdb", 16), ("sdc", 32)].into_iter().zip(serials) {
        for (file, text) in [("size", "2097152".to_owned()), ("dev", format!("8:{minor}")), ("ro", "0".into()), ("serial", serial.into())] {
            o.set_file(format!("/sys/block/{name}/{file}"), text, 0o444, 0, 0);
        }
        let node = Stat {
            kind: FileKind::Block,
            mode: 0o660,
            uid: 0,
            gid: 6,
            size: 0,
            mtime: 0.0,
            atime: 0.0,
            ctime: 0.0,
            ino: 0,
            nlink: 1,
            dev: 5,
            rdev: (8, minor),
        };
        o.set_stat(format!("/dev/{name}"), node);
        o.set_probe(format!("/dev/{name}"), Probe { signatures: vec![] });
    }
    o.set_file("/etc/fstab", "# fstab\nUUID=root / ext4 defaults 0 1\n", 0o644, 0, 0);
    o.set_file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444, 0, 0);
    o.set_file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644, 0, 0);
    o.set_file("/etc/group", "root:x:0:\n", 0o644, 0, 0);
    o.set_file("/usr/sbin/mkfs.xfs", "", 0o755, 0, 0);
    o
}

fn run(view: &dyn View, args: Json) -> Result<Plan, PlanError> {
    let args = Args::check(&MODULE, args.as_object().unwrap().clone())?;
    let context = Context {
        view,
        check: true,
        files: &NoFiles,
        render: &|_, _| Err(PlanError::failed("")),
        evaluate: &|_| Err(PlanError::failed("")),
        lookup: &|_| Err(PlanError::failed("")),
        environment: &[],
        user: (0, 0, "root", "/root"),
        facts: &Map::new(),
        gather: &|_, _| Ok(Map::new()),
        secret: false,
    };
    (MODULE.plan)(&args, &context)
}

fn kinds(plan: &Plan) -> Vec<&'static str> {
    plan.changes
        .iter()
        .map(|c| match c {
            Change::MakeFilesystem(_) => "format",
            Change::MakeDirectory(_) => "mkdir",
            Change::WriteFile(_) => "write",
            Change::Mount(_) => "mount",
            Change::Remount(_) => "remount",
            Change::Unmount(_) => "unmount",
            Change::SetAttributes(_) => "attributes",
            Change::Unit(_) => "reload",
            _ => "other",
        })
        .collect()
}

fn refused(view: &dyn View, args: Json) -> String {
    run(view, args).unwrap_err().to_string()
}

fn xfs(uuid: &str) -> Probe {
    Probe { signatures: vec![Signature { kind: "xfs".into(), partition_table: false, uuid: Some(uuid.into()), label: None }] }
}

#[test]
fn blank_disks_are_formatted_together_and_a_second_look_finds_nothing() {
    let mut o = host();
    let plan = run(&o, json!({"devices": ["sda", "/dev/sdb"]})).unwrap();
    assert_eq!(kinds(&plan), ["format", "format", "mkdir", "mkdir", "mkdir", "mount", "mount", "write", "attributes", "attributes"]);
    let applied = apply::predict_all(&plan.changes, &mut o, apply::Options::default());
    assert_eq!(applied.error(), None);
    let fstab = o.read_text(Path::new("/etc/fstab")).unwrap();
    assert!(fstab.starts_with("# fstab\nUUID=root / ext4 defaults 0 1\nUUID="));
    assert!(
        fstab.contains(
            "\t/ais/sda\txfs\tnoatime,nodiratime,logbufs=8,logbsize=256k,largeio,inode64,swalloc,allocsize=131072k,nofail\t0 0\n"
        )
    );
    let again = run(&o, json!({"devices": ["sda", "/dev/sdb"]})).unwrap();
    assert_eq!(kinds(&again), Vec::<&str>::new());
}

#[test]
fn an_interrupted_run_converges_from_after_every_change() {
    let whole = run(&host(), json!({"devices": ["sda", "sdb"]})).unwrap();
    for done in 0..=whole.changes.len() {
        let mut o = host();
        let first = run(&o, json!({"devices": ["sda", "sdb"]})).unwrap();
        assert_eq!(apply::predict_all(&first.changes[..done], &mut o, apply::Options::default()).error(), None);
        let rest = run(&o, json!({"devices": ["sda", "sdb"]})).unwrap();
        let formats = |p: &Plan| kinds(p).iter().filter(|k| **k == "format").count();
        assert_eq!(formats(&rest), formats(&whole).saturating_sub(done), "after {done} changes nothing may be formatted twice");
        assert_eq!(apply::predict_all(&rest.changes, &mut o, apply::Options::default()).error(), None, "after {done}");
        assert_eq!(kinds(&run(&o, json!({"devices": ["sda", "sdb"]})).unwrap()), Vec::<&str>::new(), "after {done}");
    }
}

#[test]
fn what_is_not_blank_is_refused_and_says_how_to_insist() {
    let mut o = host();
    let ext4 = Signature { kind: "ext4".into(), partition_table: false, uuid: None, label: Some("backup".into()) };
    o.set_probe("/dev/sdb", Probe { signatures: vec![ext4.clone()] });
    let message = refused(&o, json!({"devices": ["sda", "sdb"]}));
    assert!(message.contains("nothing is done on this host"), "{message}");
    assert!(
        message.contains(
            "/dev/sdb (1 GiB, serial SER-sdb): it is not blank, it holds ext4 \"backup\". To destroy that, name it: wipe: [\"SER-sdb\"]"
        ),
        "{message}"
    );
    let plan = run(&o, json!({"devices": ["sdb"], "wipe": ["SER-sdb"]})).unwrap();
    match &plan.changes[0] {
        Change::MakeFilesystem(m) => assert_eq!(m.destroys, [ext4]),
        other => panic!("{other:?}"),
    }
    assert!(refused(&o, json!({"devices": ["sdb"], "wipe": ["SER-sda"]})).contains("is not blank"));
    assert!(refused(&o, json!({"devices": ["sdb"], "wipe": ["SER-none"]})).contains("there is no disk `SER-none`"));
}

#[test]
fn a_foreign_xfs_is_neither_formatted_nor_mounted_unasked() {
    let mut o = host();
    o.set_probe("/dev/sda", xfs("11111111-2222-3333-4444-555555555555"));
    assert!(refused(&o, json!({"devices": ["sda"]})).contains("adopt: true"));
    let plan = run(&o, json!({"devices": ["sda"], "adopt": true})).unwrap();
    assert_eq!(kinds(&plan), ["mkdir", "mkdir", "mount", "write", "attributes"]);
}

#[test]
fn disks_in_use_are_refused_each_with_its_reason() {
    let mut o = host();
    let mount = |target: &str, minor| Mount {
        target: target.into(),
        source: "/dev/x".into(),
        device: (8, minor),
        root: "/".into(),
        fstype: "ext4".into(),
        options: vec![],
    };
    o.add_mount(mount("/data", 0));
    o.set_file("/sys/block/sdb/holders/dm-0/dev", "253:0", 0o444, 0, 0);
    o.set_file("/sys/block/sdc/ro", "1", 0o444, 0, 0);
    let message = refused(&o, json!({"devices": ["sda", "sdb", "sdc", "sdx"], "wipe": ["sda", "sdb", "sdc"]}));
    for part in ["it is mounted on /data", "it is held by dm-0", "it is read-only", "there is no disk `sdx`"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(refused(&host(), json!({"devices": ["sda", "SER-sda"]})).contains("is named twice"));
}

#[test]
fn mounting_over_files_is_refused() {
    let mut o = host();
    o.set_file("/ais/sda/precious", "x", 0o644, 0, 0);
    assert!(refused(&o, json!({"devices": ["sda"]})).contains("/ais/sda is not empty (it holds precious)"));
}

#[test]
fn taking_away_leaves_the_data() {
    let mut o = host();
    let plan = run(&o, json!({"devices": ["sda"]})).unwrap();
    apply::predict_all(&plan.changes, &mut o, apply::Options::default());
    let away = run(&o, json!({"devices": ["sda"], "state": "absent"})).unwrap();
    assert_eq!(kinds(&away), ["unmount", "write"]);
    apply::predict_all(&away.changes, &mut o, apply::Options::default());
    assert_eq!(o.read_text(Path::new("/etc/fstab")).unwrap(), "# fstab\nUUID=root / ext4 defaults 0 1\n");
    assert_eq!(kinds(&run(&o, json!({"devices": ["sda"], "state": "absent"})).unwrap()), Vec::<&str>::new());
    let back = run(&o, json!({"devices": ["sda"]})).unwrap();
    assert!(!kinds(&back).contains(&"format"));
}

/// The host after a boot that gave its disks other names: `names` are the old ones of what is now sda, sdb and sdc.
/// What fstab says is mounted, or not.
fn rebooted<'a>(before: &Overlay<'_>, serials: [&str; 3], names: [&str; 3], mounted: bool) -> Overlay<'a> {
    let mut o = host_with(serials);
    o.set_file("/etc/fstab", before.read_text(Path::new("/etc/fstab")).unwrap(), 0o644, 0, 0);
    for (now, old) in ["sda", "sdb", "sdc"].into_iter().zip(names) {
        o.set_probe(format!("/dev/{now}"), before.probe(Path::new(&format!("/dev/{old}"))).unwrap());
        for mount in before.mounts().unwrap().into_iter().filter(|m| mounted && m.source == format!("/dev/{old}")) {
            let device = o.stat(Path::new(&format!("/dev/{now}")), true).unwrap().unwrap().rdev;
            o.add_mount(Mount { device, source: format!("/dev/{now}"), ..mount });
        }
    }
    for target in ["/ais/sda", "/ais/sdb"] {
        let root = before.stat(Path::new(target), true).unwrap().unwrap();
        o.set_stat("/ais", Stat { mode: 0o755, ..root.clone() });
        o.set_stat(target, root);
    }
    o
}

fn prepared(serials: [&str; 3]) -> Overlay<'static> {
    let mut o = host_with(serials);
    let plan = run(&o, json!({"devices": ["sda", "sdb"]})).unwrap();
    assert_eq!(apply::predict_all(&plan.changes, &mut o, apply::Options::default()).error(), None);
    o
}

#[test]
fn what_is_prepared_keeps_its_mount_point_though_its_disk_has_another_name() {
    for (serials, later) in [(["S1", "S2", "S3"], ["S2", "S1", "S3"]), (["", "", ""], ["", "", ""])] {
        let before = prepared(serials);
        for (mounted, changes) in [(true, vec![]), (false, vec!["mount", "mount", "attributes", "attributes"])] {
            let o = rebooted(&before, later, ["sdb", "sda", "sdc"], mounted);
            let plan = run(&o, json!({"devices": ["sda", "sdb"], "wipe": ["sda", "sdb"]})).unwrap();
            assert_eq!(kinds(&plan), changes);
            let places: Vec<_> = plan.result["filesystems"].as_array().unwrap().iter().map(|f| (&f["device"], &f["path"])).collect();
            assert_eq!(places, [(&json!("/dev/sda"), &json!("/ais/sdb")), (&json!("/dev/sdb"), &json!("/ais/sda"))]);
            assert_eq!(plan.warnings.len(), 2);
            let start = format!(
                "/dev/sda (1 GiB{}) is not mounted on /ais/sda: /etc/fstab (line 4) mounts it on /ais/sdb, so it keeps that.",
                if later[0].is_empty() { "" } else { ", serial S2" }
            );
            assert!(plan.warnings[0].starts_with(&start), "{start}: {:?}", plan.warnings);
        }
    }
    let o = rebooted(&prepared(["S1", "S2", "S3"]), ["S2", "S1", "S3"], ["sdb", "sda", "sdc"], true);
    let plan = run(&o, json!({"devices": ["S1", "S2"]})).unwrap();
    assert_eq!((kinds(&plan), plan.warnings), (vec![], vec![]), "a serial number means what it says");
    let away = run(&o, json!({"devices": ["sda"], "state": "absent"})).unwrap();
    match &away.changes[0] {
        Change::Unmount(u) => assert_eq!(u.target, Path::new("/ais/sdb")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mount_point_of_another_disk_is_not_taken() {
    for mounted in [true, false] {
        // What was sda is sdc now; the blank one is sda.
        let o = rebooted(&prepared(["S1", "S2", "S3"]), ["S3", "S2", "S1"], ["sdc", "sdb", "sda"], mounted);
        for wish in [json!({"devices": ["sda"]}), json!({"devices": ["sda"], "state": "absent"})] {
            assert_eq!(
                refused(&o, wish),
                "nothing is done on this host:\n/dev/sda (1 GiB, serial S3): /ais/sda belongs to /dev/sdc (1 GiB, serial S1) (/etc/fstab, line 3). \
                 Kernel names change from boot to boot: to give this disk another place, name it in `filesystems` with its `path`"
            );
        }
        assert_eq!(
            refused(&o, json!({"filesystems": [{"device": "sdc", "path": "/ais/sdc"}]})),
            "nothing is done on this host:\n/dev/sdc (1 GiB, serial S1): /etc/fstab (line 3) mounts it on /ais/sda, and /ais/sdc is asked for: ask for that, \
             or name it by serial number or WWN if another disk is meant; to move it, unmount it and take line 3 out first"
        );
        assert!(
            refused(&o, json!({"devices": ["sdb"], "path_prefix": "/data"})).contains("mounts it on /ais/sdb, and /data/sdb is asked for")
        );
        let plan = run(&o, json!({"filesystems": [{"device": "sda", "path": "/ais/new"}]})).unwrap();
        assert_eq!(kinds(&plan), ["format", "mkdir", "mount", "write", "attributes"]);
    }
    // A disk that is gone for good leaves its place to the one that replaces it.
    let mut o = rebooted(&prepared(["S1", "S2", "S3"]), ["S3", "S2", "S1"], ["sdc", "sdb", "sda"], false);
    o.set_probe("/dev/sdc", Probe { signatures: vec![] });
    assert_eq!(kinds(&run(&o, json!({"devices": ["sda"]})).unwrap()), ["format", "mount", "write", "attributes"]);
}

#[test]
fn what_fstab_uses_otherwise_is_refused_even_where_it_may_be_wiped() {
    let mut o = host();
    let swap = Signature { kind: "swap".into(), partition_table: false, uuid: Some("AAAA-1".into()), label: None };
    let old = Signature { kind: "ext4".into(), partition_table: false, uuid: None, label: Some("old".into()) };
    o.set_probe("/dev/sda", Probe { signatures: vec![swap] });
    o.set_probe("/dev/sdb", Probe { signatures: vec![old] });
    o.set_file(
        "/etc/fstab",
        "UUID=aaaa-1 none swap sw 0 0\nLABEL=old /old ext4 noauto 0 0\n/dev/sdc /scratch xfs noauto 0 0\n",
        0o644,
        0,
        0,
    );
    let message = refused(&o, json!({"devices": ["sda", "sdb", "sdc"], "wipe": ["sda", "sdb", "sdc"]}));
    for part in [
        "(line 1) uses it as swap, and /ais/sda",
        "(line 2) mounts it on /old, and /ais/sdb",
        "(line 3) mounts it on /scratch, and /ais/sdc",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn disks_without_a_serial_number_never_share_a_uuid() {
    let o = rebooted(&prepared(["", "", ""]), ["", "", ""], ["sdc", "sdb", "sda"], true);
    let plan = run(&o, json!({"filesystems": [{"device": "sda", "path": "/ais/new"}]})).unwrap();
    match &plan.changes[0] {
        Change::MakeFilesystem(m) => assert!(!o.read_text(Path::new("/etc/fstab")).unwrap().contains(&m.uuid)),
        other => panic!("{other:?}"),
    }
}
